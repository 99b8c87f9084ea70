"""What of the beginning of a SMILES string decides what can come next, and nothing else of it.

Beginnings that are equal here can be followed by the same strings. Most of a molecule that was written is forgotten: an
atom is live while it can still get a bond, that is the current one, those with an open branch or ring bond; besides
live atoms only aromatic ones are kept that wait for a double bond. Molecules share such beginnings far more often than
they share strings, so what can come next needs to be worked out for few of them.

Sets of atoms are integers with a bit for each.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from molgen_plugins.molecules.smiles.atom_tokens import MAYBE_DOUBLE, Atom, order_of, the_atom
from molgen_plugins.molecules.smiles.double_bonds import as_set, bits, can_cover

#: The number of the current atom where there is none: at the beginning and behind a dot.
NOWHERE = -1
#: Stands for any aromatic atom that gets no further bond and needs a double one.
WAITING = the_atom(0, aromatic=True, accepts=False, lacking=frozenset({2}))


@dataclass(frozen=True, slots=True)
class PrefixState:
    """The live atoms, then those that wait for a double bond, and what is open.

    Attributes:
        live: how many of the atoms are live.
        kinds: of each atom, of which an aromatic one keeps its valence, another only whether it accepts dative bonds.
        free: what the orders of further bonds of each atom may add up to; an open ring bond is counted already.
        doubles: with which others each aromatic atom may have a double bond.
        joined: to which others each live atom is joined, where a ring bond could join them again.
        branches: the atoms at which a branch is open.
        rings: class of the token, atom and symbol of each open ring bond.
        current: the atom that the next one is joined to.
        bond: the symbol before the next atom or ring bond.
        opened: whether a branch was opened right before.
        accepted: whether some atom accepts dative bonds.
    """

    live: int = 0
    kinds: tuple[Atom, ...] = ()
    free: tuple[int, ...] = ()
    doubles: tuple[int, ...] = ()
    joined: tuple[int, ...] = ()
    branches: tuple[int, ...] = ()
    rings: tuple[tuple[int, int, str], ...] = ()
    current: int = NOWHERE
    bond: str = ""
    opened: bool = False
    accepted: bool = False

    def stays_open(self, atom: int, closing: bool = False) -> bool:
        """Whether an atom can still get a bond once another one is the current one, or a ring bond of it closed."""
        if atom in self.branches or (closing and atom == self.current):
            return True
        return sum(other == atom for _, other, _ in self.rings) > int(closing)

    def before(self, symbol: str) -> PrefixState:
        """With the symbol of a bond."""
        return replace(self, bond=symbol, opened=False)

    def branched(self) -> PrefixState:
        """With a branch opened."""
        return replace(self, branches=(*self.branches, self.current), opened=True)

    def ring_opened(self, number: int) -> PrefixState:
        """With a ring bond of that class opened."""
        free = list(self.free)
        free[self.current] -= order_of(self.bond)
        rings = sorted([*self.rings, (number, self.current, self.bond)])
        return replace(self, free=tuple(free), rings=tuple(rings), bond="")

    def covered(self, settled: int = 0, more: Mapping[int, int] | None = None, pair: int = 0, spared: int = 0) -> bool:
        """Whether the aromatic atoms around some that are about to get no further bond can all have what they need.

        Args:
            settled: atoms that get no further bond.
            more: orders that some atoms get first.
            pair: two atoms that are about to be joined by a bond that may be double.
            spared: an atom that has its double bond with one that is to come.
        """
        more = more or {}
        doubles = list(self.doubles)
        for atom in bits(pair):
            doubles[atom] |= pair & ~(1 << atom)
        around = settled | as_set(more)
        for atom in bits(around):
            around |= doubles[atom]
        wanting = seen = 0
        while left := around & ~seen:
            lowest = left & -left
            atom, seen = lowest.bit_length() - 1, seen | lowest
            if self._wants_double(atom, more.get(atom, 0)):
                wanting |= lowest
                around |= doubles[atom]
        must = wanting & (settled | -1 << self.live) & ~spared
        return can_cover(must, doubles, wanting & ~spared)

    def _wants_double(self, atom: int, more: int) -> bool:
        kind = self.kinds[atom]
        return kind.wants_double(kind.most - self.free[atom] + more)


class PrefixBuilder:
    """A beginning that is gone on with, by one token that can come and after which less may be live."""

    def __init__(self, prefix: PrefixState) -> None:
        self.kinds = list(prefix.kinds)
        self.free = list(prefix.free)
        self.doubles = list(prefix.doubles)
        self.joined = list(prefix.joined)
        self.branches = list(prefix.branches)
        self.rings = {number: (atom, symbol) for number, atom, symbol in prefix.rings}
        self.current, self.bond, self.opened = prefix.current, prefix.bond, prefix.opened
        self.accepted = prefix.accepted

    def atom(self, kind: Atom) -> None:
        """Join another atom to the current one."""
        number, before = len(self.kinds), self.current
        self.kinds.append(kind if kind.aromatic else the_atom(0, aromatic=False, accepts=kind.accepts))
        self.free.append(kind.most)
        self.doubles.append(0)
        self.joined.append(0)
        if before != NOWHERE:
            self._join(before, number, self.bond)
        self.current, self.bond, self.opened = number, "", False
        self.accepted |= kind.accepts

    def ring_closed(self, number: int) -> None:
        """Close the ring bond of that class."""
        other, opened = self.rings.pop(number)
        self.free[other] += order_of(opened)
        self._join(self.current, other, self.bond or opened)
        self.bond = ""

    def back(self) -> None:
        """Close a branch."""
        self.current = self.branches.pop()

    def apart(self) -> None:
        """Write a dot, behind which another molecule begins."""
        self.current = NOWHERE

    def _join(self, one: int, other: int, symbol: str) -> None:
        double = symbol in MAYBE_DOUBLE and self.kinds[one].aromatic and self.kinds[other].aromatic
        for atom, neighbour in ((one, other), (other, one)):
            self.free[atom] -= order_of(symbol)
            self.joined[atom] |= 1 << neighbour
            if double:
                self.doubles[atom] |= 1 << neighbour

    # --- forgetting -------------------------------------------------------------------------------

    def prefix(self) -> PrefixState:
        """What of all this decides what can come next."""
        again = as_set(self.branches) | (1 << self.current if self.current != NOWHERE else 0)
        live = again | as_set(atom for atom, _ in self.rings.values())
        waiting = self._waiting(live)
        atoms = bits(live)
        number = {atom: place for place, atom in enumerate(atoms + waiting)} | {NOWHERE: NOWHERE}
        # A ring bond joins an atom that becomes the current one again with any other live atom.
        joined = [self.joined[atom] & (live if again >> atom & 1 else again) for atom in atoms]
        return PrefixState(
            len(atoms),
            (*[self.kinds[atom] for atom in atoms], *[WAITING] * len(waiting)),
            (*[self.free[atom] for atom in atoms], *[0] * len(waiting)),
            tuple([as_set([number[each] for each in bits(self.doubles[atom])]) for atom in atoms + waiting]),
            (*[as_set([number[each] for each in bits(own)]) for own in joined], *[0] * len(waiting)),
            tuple([number[atom] for atom in self.branches]),
            tuple(sorted([(token, number[atom], symbol) for token, (atom, symbol) in self.rings.items()])),
            number[self.current],
            self.bond,
            self.opened,
            self.accepted,
        )

    def _waiting(self, live: int) -> tuple[int, ...]:
        """The atoms without further bonds that need a double one and whose choice depends on live atoms.

        What lies between is shortened, to the same effect: an atom with one partner left takes it, and of two such
        atoms in a row either both pair outwards or neither does, like the ends of a bond between their other partners.
        """
        kept, reached = live, list(bits(live))
        while reached:
            for other in bits(self.doubles[reached.pop()] & ~kept):
                kind = self.kinds[other]
                if kind.wants_double(kind.most - self.free[other]):
                    kept |= 1 << other
                    reached.append(other)
        doubles = self.doubles = [own & kept for own in self.doubles]
        unsettled = [*bits(kept & ~live)]
        while unsettled:
            atom = unsettled.pop()
            if gone := _superfluous(atom, doubles, live, kept):
                kept &= ~gone
                ends = [other for each in bits(gone) for other in bits(doubles[each] & ~gone)]
                for other in ends:
                    doubles[other] &= ~gone
                if doubles[atom].bit_count() == 2:
                    one, other = ends
                    doubles[one] |= 1 << other
                    doubles[other] |= 1 << one
                unsettled += [other for other in ends if not live >> other & 1]
        return bits(kept & ~live)


def _superfluous(atom: int, doubles: list[int], live: int, kept: int) -> int:
    """The atom and a partner that can be left out together, or no atoms."""
    own = doubles[atom]
    if not kept >> atom & 1 or own.bit_count() > 2:
        return 0
    for partner in bits(own & ~live):
        pair = 1 << atom | 1 << partner
        ends = own & ~pair, doubles[partner] & ~pair
        if not ends[0] or (all(end.bit_count() == 1 for end in ends) and ends[0] != ends[1]):
            return pair
    return 0
