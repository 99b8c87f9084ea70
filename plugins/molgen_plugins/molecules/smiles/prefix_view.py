"""What some tokens see of the beginning of a SMILES string: where beginnings look the same, the same of them can come.

Tokens that close at most so many branches and only some ring bonds look at few atoms: the current one, those that
they go back to, and those at the other ends of the ring bonds. Of all other atoms it counts whether aromatic ones can
have the double bonds that they need, and that depends on which of the atoms in view take part: an answer of yes or no
for each set of them. So beginnings look the same far more often than they are the same.

Sets of atoms are integers with a bit for each.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence

from molgen_plugins.molecules.smiles.double_bonds import as_set, bits, can_cover
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
        tuple([_among(prefix.joined[atom], atoms) for atom in atoms]) if closing else None,
        tuple([_among(prefix.doubles[atom], atoms) if prefix.doubles[atom] & own else 0 for atom in atoms]),
        tuple(sorted(_pairings(prefix, atoms))),
        (prefix.bond, prefix.opened, prefix.accepted, bool(below), bool(others)),
    )


def _split(branches: tuple[int, ...], back: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The atoms with an open branch that stays open, and those of the last branches."""
    return branches[: len(branches) - back], branches[len(branches) - back :]


def _among(set_: int, atoms: Sequence[int]) -> int:
    """Which of some atoms are in a set, as a set of their places."""
    return as_set([place for place, atom in enumerate(atoms) if set_ >> atom & 1])


def _pairings(prefix: PrefixState, atoms: Sequence[int]) -> Iterator[tuple[int, tuple[bool, ...]]]:
    """How each group of connected atoms out of view can have its double bonds.

    Yields:
        the places of the atoms in view that it can share double bonds with, as a set, and for each set of these
        whether all is well where just they have theirs with this group.
    """
    own = seen = as_set(atoms)
    for atom in atoms:
        for other in bits(prefix.doubles[atom] & ~own):
            if not seen >> other & 1 and _wants(prefix, other):
                group, touched = _group(prefix, other, own)
                seen |= group
                contacts = [place for place, each in enumerate(atoms) if touched >> each & 1]
                yield as_set(contacts), _possible(prefix, group, [atoms[place] for place in contacts])


def _wants(prefix: PrefixState, atom: int) -> bool:
    kind = prefix.kinds[atom]
    return kind.aromatic and kind.wants_double(kind.most - prefix.free[atom])


def _group(prefix: PrefixState, atom: int, own: int) -> tuple[int, int]:
    """The atoms out of view that may share double bonds with this one, step by step, and all that are next to them."""
    group, touched, left = 1 << atom, 0, [atom]
    while left:
        near = prefix.doubles[left.pop()]
        touched |= near & own
        for other in bits(near & ~own & ~group):
            if _wants(prefix, other):
                group |= 1 << other
                left.append(other)
    return group, touched


def _possible(prefix: PrefixState, group: int, contacts: Sequence[int]) -> tuple[bool, ...]:
    """Whether a group can have its double bonds, for each set of atoms in view that have theirs with it."""
    must, neighbours = group & prefix.closed, list(prefix.doubles)
    for atom in contacts:
        neighbours[atom] &= group
    sets = [0]
    for atom in contacts:
        sets += [own | 1 << atom for own in sets]
    return tuple([can_cover(must | own, neighbours, group | own) for own in sets])
