"""What of the beginning of a SMILES string decides what can come next, and nothing else of it.

Beginnings that are equal here can be followed by the same strings. Most of a molecule that was written is forgotten: an
atom is live while it can still get a bond, that is the current one, those with an open branch or ring bond; besides
live atoms only aromatic ones are kept that wait for a double bond. Molecules share such beginnings far more often than
they share strings, so what can come next needs to be worked out for few of them.

Sets of atoms are integers with a bit for each.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from molgen_plugins.molecules.bit_sets import as_set, bits
from molgen_plugins.molecules.smiles.atom_tokens import MAYBE_DOUBLE, Atom, order_of, the_atom
from molgen_plugins.molecules.smiles.double_bonds import can_cover

#: The number of the current atom where there is none: at the beginning and behind a dot.
NOWHERE = -1
#: Stands for any aromatic atom that gets no further bond and needs a double one.
WAITING = the_atom(0, aromatic=True, accepts=False, lacking=frozenset({2}))


class Beginning(ABC):
    """What a beginning says of its atoms, however it is kept: see `PrefixState` for its attributes.

    Attributes:
        closed: the atoms that get no further bond.
    """

    __slots__ = ()
    kinds: Sequence[Atom]
    free: Sequence[int]
    doubles: Sequence[int]
    joined: Sequence[int]
    branches: Sequence[int]
    rings: Sequence[tuple[int, int, str]]
    current: int
    bond: str
    opened: bool
    accepted: bool

    @property
    @abstractmethod
    def closed(self) -> int:
        """The atoms that get no further bond."""

    def stays_open(self, atom: int, closing: bool = False) -> bool:
        """Whether an atom can still get a bond once another one is the current one, or a ring bond of it closed."""
        if atom in self.branches or (closing and atom == self.current):
            return True
        count = 0
        for _, other, _ in self.rings:
            count += other == atom
        return count > closing

    def may_rest(self, atom: int, order: int = 0) -> bool:
        """Whether an atom may get no further bond after one of this order: whether all of its electrons are paired."""
        ends = self.kinds[atom].ends
        return ends is None or self.free[atom] - order in ends

    def covered(self, settled: int = 0, more: Mapping[int, int] | None = None, pair: int = 0, spared: int = 0) -> bool:
        """Whether the aromatic atoms around some that are about to get no further bond can all have what they need.

        Args:
            settled: atoms that get no further bond.
            more: orders that some atoms get first.
            pair: two atoms that are about to be joined by a bond that may be double.
            spared: an atom that has its double bond with one that is to come.
        """
        kinds, free, wanting, left = self.kinds, self.free, 0, settled
        more = more or {}
        for atom in more:
            left |= 1 << atom
        doubles: Sequence[int] = self.doubles
        if pair:
            doubles = list(doubles)
            for atom in bits(pair):
                doubles[atom] |= pair & ~(1 << atom)
        for atom in bits(left):
            left |= doubles[atom]
        seen = left
        while left:
            lowest = left & -left
            atom, left = lowest.bit_length() - 1, left ^ lowest
            kind = kinds[atom]
            if kind.wanting and kind.wanting >> (kind.most - free[atom] + more.get(atom, 0)) & 1:
                wanting |= lowest
                left |= doubles[atom] & ~seen
                seen |= doubles[atom]
        if not wanting:
            return True
        must = wanting & (settled | self.closed) & ~spared
        return can_cover(must, doubles, wanting & ~spared)


@dataclass(frozen=True, slots=True)
class PrefixState(Beginning):
    """The live atoms, then those that wait for a double bond, and what is open.

    Attributes:
        live: how many of the atoms are live.
        kinds: what of each atom still matters, see `Atom.with_room`.
        free: what the orders of further bonds of each atom may add up to; an open ring bond is counted already.
        doubles: with which others each aromatic atom may have a double bond.
        joined: to which other live atoms each is joined at which a ring bond can close.
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

    @property
    def closed(self) -> int:
        """The atoms that get no further bond: those behind the live ones."""
        return -1 << self.live


class PrefixBuilder(Beginning):
    """A beginning that is gone on with, token by token; nothing is forgotten of it before `prefix` is asked for."""

    __slots__ = (
        "accepted", "bond", "branches", "current", "doubles", "free", "joined", "kinds", "opened", "rings",
    )  # fmt: skip
    kinds: list[Atom]
    free: list[int]
    doubles: list[int]
    joined: list[int]
    branches: list[int]
    rings: list[tuple[int, int, str]]

    def __init__(self, prefix: Beginning) -> None:
        self.kinds = list(prefix.kinds)
        self.free = list(prefix.free)
        self.doubles = list(prefix.doubles)
        self.joined = list(prefix.joined)
        self.branches = list(prefix.branches)
        self.rings = list(prefix.rings)
        self.current, self.bond, self.opened = prefix.current, prefix.bond, prefix.opened
        self.accepted = prefix.accepted

    def atom(self, kind: Atom) -> None:
        """Join another atom to the current one."""
        number, before = len(self.kinds), self.current
        self.kinds.append(kind)
        self.free.append(kind.most)
        self.doubles.append(0)
        self.joined.append(0)
        if before != NOWHERE:
            self._join(before, number, self.bond)
        self.current, self.bond, self.opened = number, "", False
        self.accepted |= kind.accepts

    def bond_written(self, symbol: str) -> None:
        """Write the symbol of a bond."""
        self.bond, self.opened = symbol, False

    def branched(self) -> None:
        """Open a branch."""
        self.branches.append(self.current)
        self.opened = True

    def ring(self, number: int) -> None:
        """Open the ring bond of that class, or close it if it is open."""
        for place, (other_number, other, opened) in enumerate(self.rings):
            if other_number == number:
                del self.rings[place]
                self.free[other] += order_of(opened)
                self._join(self.current, other, self.bond or opened)
                break
        else:
            self.free[self.current] -= order_of(self.bond)
            self.rings.append((number, self.current, self.bond))
        self.bond = ""

    def back(self) -> None:
        """Close a branch."""
        self.current = self.branches.pop()

    def apart(self) -> None:
        """Write a dot, behind which another molecule begins."""
        self.current = NOWHERE

    @property
    def live(self) -> int:
        """The atoms that can get further bonds."""
        found = self._again()
        for _, atom, _ in self.rings:
            found |= 1 << atom
        return found

    @property
    def closed(self) -> int:
        """The atoms that get no further bond."""
        return ~self.live

    def _again(self) -> int:
        """The atoms that are the current one, or become it again."""
        found = 1 << self.current if self.current != NOWHERE else 0
        for atom in self.branches:
            found |= 1 << atom
        return found

    def _join(self, one: int, other: int, symbol: str) -> None:
        order, free, joined, kinds = order_of(symbol), self.free, self.joined, self.kinds
        free[one] -= order
        free[other] -= order
        joined[one] |= 1 << other
        joined[other] |= 1 << one
        if symbol in MAYBE_DOUBLE and kinds[one].aromatic and kinds[other].aromatic:
            self.doubles[one] |= 1 << other
            self.doubles[other] |= 1 << one

    # --- forgetting -------------------------------------------------------------------------------

    def prefix(self) -> PrefixState:
        """What of all this decides what can come next."""
        again, live = self._again(), self.live
        waiting = self._waiting(live)
        atoms = bits(live)
        number = {atom: place for place, atom in enumerate(atoms + waiting)} | {NOWHERE: NOWHERE}
        # A ring bond closes at an atom that becomes the current one again, and may be open at any live one.
        joined = [self.joined[atom] & live if again >> atom & 1 else 0 for atom in atoms]
        room = list(self.free)
        for _, atom, symbol in self.rings:
            room[atom] += order_of(symbol)
        return PrefixState(
            len(atoms),
            (*[self.kinds[atom].with_room(room[atom]) for atom in atoms], *[WAITING] * len(waiting)),
            (*[self.free[atom] for atom in atoms], *[0] * len(waiting)),
            tuple([as_set([number[each] for each in bits(self.doubles[atom])]) for atom in atoms + waiting]),
            (*[as_set([number[each] for each in bits(own)]) for own in joined], *[0] * len(waiting)),
            tuple([number[atom] for atom in self.branches]),
            tuple(sorted([(token, number[atom], symbol) for token, atom, symbol in self.rings])),
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
