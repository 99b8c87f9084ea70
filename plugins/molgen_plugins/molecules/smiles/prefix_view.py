"""What some tokens see of the beginning of a SMILES string: where beginnings look the same, the same of them can come.

Tokens that close at most so many branches and only some ring bonds look at few atoms: the current one, those that
they go back to, and those at the other ends of the ring bonds. Of all other atoms it counts whether aromatic ones can
have the double bonds that they need, and that depends on which of the atoms in view take part: an answer of yes or no
for each set of them. So beginnings look the same far more often than they are the same.

Sets of atoms are integers with a bit for each.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from functools import lru_cache

from molgen_plugins.molecules.bit_sets import as_set, bits
from molgen_plugins.molecules.smiles.double_bonds import can_cover
from molgen_plugins.molecules.smiles.prefix_state import NOWHERE, PrefixState


def prefix_view(prefix: PrefixState, back: int, rings: int) -> Hashable:
    """What some tokens see of a beginning.

    Args:
        prefix: the beginning.
        back: how many open branches the tokens may close, of those that there are.
        rings: the numbers of open ring bonds that they may close, as a set.
    """
    if prefix.current == NOWHERE:
        return prefix
    below, top = _split(prefix.branches, back)
    closing = [ring for ring in prefix.rings if rings >> ring[0] & 1]
    others = as_set([atom for number, atom, _ in prefix.rings if not rings >> number & 1])
    atoms = tuple(dict.fromkeys([prefix.current, *top, *[atom for _, atom, _ in closing]]))
    own, open_below = as_set(atoms), as_set(below)
    return (
        tuple([(prefix.kinds[atom], prefix.free[atom], open_below >> atom & 1, others >> atom & 1) for atom in atoms]),
        tuple([atoms.index(atom) for atom in top]),
        tuple([(number, atoms.index(atom), symbol) for number, atom, symbol in closing]),
        tuple([_among(prefix.joined[atom], atoms) for atom in (prefix.current, *top)]),
        tuple([_among(prefix.doubles[atom], atoms) if prefix.doubles[atom] & own else 0 for atom in atoms]),
        _pairings(prefix.doubles, _wanting(prefix), prefix.live, atoms),
        (prefix.bond, prefix.opened, prefix.accepted, bool(below), bool(others)),
    )


def _split(branches: tuple[int, ...], back: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The atoms with an open branch that stays open, and those of the last branches."""
    return branches[: len(branches) - back], branches[len(branches) - back :]


def _among(set_: int, atoms: Sequence[int]) -> int:
    """Which of some atoms are in a set, as a set of their places."""
    return as_set([place for place, atom in enumerate(atoms) if set_ >> atom & 1])


def _wanting(prefix: PrefixState) -> int:
    """The atoms that need a double bond as they stand, as a set."""
    found, place = 0, 1
    for kind, free in zip(prefix.kinds, prefix.free, strict=True):
        if kind.wanting and kind.wanting >> (kind.most - free) & 1:
            found |= place
        place <<= 1
    return found


Pairings = tuple[tuple[int, tuple[bool, ...]], ...]


@lru_cache(1 << 14)
def _pairings(doubles: tuple[int, ...], wanting: int, live: int, atoms: tuple[int, ...]) -> Pairings:
    """How each group of connected atoms out of view can have its double bonds.

    Args:
        doubles: with which others each atom may have a double bond.
        wanting: the atoms that need one.
        live: how many of the atoms can still get bonds, the first ones.
        atoms: those in view.

    Returns:
        for each group the places of the atoms in view that it can share double bonds with, as a set, and for each set
        of these whether all is well where just they have theirs with this group.
    """
    own = seen = as_set(atoms)
    found = []
    for atom in atoms:
        for other in bits(doubles[atom] & ~own):
            if not seen >> other & 1 and wanting >> other & 1:
                group, touched = _group(doubles, wanting, other, own)
                seen |= group
                contacts = [place for place, each in enumerate(atoms) if touched >> each & 1]
                can = _possible(doubles, group, group >> live << live, [atoms[place] for place in contacts])
                found.append((as_set(contacts), can))
    return tuple(sorted(found))


def _group(doubles: Sequence[int], wanting: int, atom: int, own: int) -> tuple[int, int]:
    """The atoms out of view that may share double bonds with this one, step by step, and all that are next to them."""
    group, touched, left = 1 << atom, 0, [atom]
    while left:
        near = doubles[left.pop()]
        touched |= near & own
        for other in bits(near & wanting & ~own & ~group):
            group |= 1 << other
            left.append(other)
    return group, touched


def _possible(doubles: Sequence[int], group: int, must: int, contacts: Sequence[int]) -> tuple[bool, ...]:
    """Whether a group can have its double bonds, for each set of atoms in view that have theirs with it."""
    neighbours = list(doubles)
    for atom in contacts:
        neighbours[atom] &= group
    sets = [0]
    for atom in contacts:
        sets += [own | 1 << atom for own in sets]
    return tuple([can_cover(must | own, neighbours, group | own) for own in sets])
