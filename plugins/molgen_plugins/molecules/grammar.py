"""What can come next in a SMILES string: branches, ring bonds, valences and Kekulé structures, token by token.

A beginning is ruled out where no canonical SMILES of a molecule goes on from it. Not everything that remains can be
finished, but nothing that RDKit writes is ruled out: an atom takes no bond beyond its largest valence, a branch or ring
bond closes what was opened, and aromatic atoms that can get no further bond must have a double bond each among
themselves or with atoms that still can. Valences and the rule which aromatic atoms need a double bond are RDKit's.

A string may end while a ring bond is open, and is none of a molecule then. A model that wants to end there has
forgotten the ring: made to go on, it closed the ring anywhere, and its molecules were less like its data.

Letters in shapes: K classes.
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np

from molgen.space import Grammar, Reading
from molgen_plugins.molecules.double_bonds import can_cover

#: The order of what a bond is written as; a dative bond counts for one of its ends only, so for neither here.
ORDERS: Mapping[str, int] = {"-": 1, "=": 2, "#": 3, "$": 4, ":": 1, "/": 1, "\\": 1, "->": 0, "<-": 0}
#: Bonds between aromatic atoms that may turn out to be double.
_MAYBE_DOUBLE = frozenset({"", ":"})
_DATIVE = frozenset({"->", "<-"})
#: Elements that accept no dative bond.
_DONORS = frozenset({"H", "C", "N", "O", "F", "P", "S", "Cl", "Se", "Br", "I"})
#: The number of the current atom where there is none: at the beginning and behind a dot.
NOWHERE = -1
#: Of atoms without a list of valences.
_UNLIMITED = 99
_ATOM = re.compile(
    r"\[\d*(?P<element>[A-Z][a-z]?|[a-z][a-z]?|\*)(?:@{0,2})(?P<hydrogens>H\d*)?(?P<charge>[+-]\d*)?[^\]]*\]"
)
_ORGANIC = frozenset(["B", "C", "N", "O", "P", "S", "F", "Cl", "Br", "I", "b", "c", "n", "o", "p", "s", "*"])


def _order(symbol: str) -> int:
    """The order of a bond as it is written; one that is not written counts as one."""
    return ORDERS[symbol] if symbol else 1


@dataclass(frozen=True)
class Atom:
    """What a token of an atom says.

    Attributes:
        most: the largest sum of the orders of its bonds.
        aromatic: whether it is written as an aromatic one.
        accepts: whether it can be the end of a dative bond.
        lacking: sums of orders, maybe double bonds counted as one, with which an aromatic atom needs one double bond.
    """

    most: int
    aromatic: bool
    accepts: bool
    lacking: frozenset[int] = frozenset()

    def wants_double(self, orders: int) -> bool:
        """Whether it needs one double bond; what has fewer than the two bonds of a ring yet is judged as if it had."""
        return (orders if orders > 2 else 2) in self.lacking


@lru_cache(4096)
def atom_of(token: str) -> Atom | None:
    """The atom that a token stands for, or None."""
    if token in _ORGANIC:
        element, hydrogens, charge = token, 0, 0
    elif match := _ATOM.fullmatch(token):
        element = match["element"]
        hydrogens = int((match["hydrogens"] or "H0")[1:] or 1)
        sign = match["charge"] or "+0"
        charge = int(sign[0] + (sign[1:] or "1"))
    else:
        return None
    if element == "*":
        return Atom(_UNLIMITED, aromatic=False, accepts=True)
    name = element.capitalize()
    valences = tuple(v - hydrogens for v in _valences(name, charge))
    most = max((*valences, *(v - hydrogens for v in _valences(name, 0))))
    aromatic = element[0].islower()
    lacking = (
        {sum_ for sum_ in range(most) if next((v for v in valences if v >= sum_), sum_) > sum_} if aromatic else ()
    )
    return Atom(most, aromatic, name not in _DONORS, frozenset(lacking))


@lru_cache(512)
def _valences(element: str, charge: int) -> tuple[int, ...]:
    """The valences of an element, those of the one with as many electrons where it is charged."""
    from rdkit import Chem

    table = Chem.GetPeriodicTable()
    try:
        number = table.GetAtomicNumber(element) - charge
        valences = tuple(table.GetValenceList(number)) if number > 0 else (0,)
    except RuntimeError:
        return (_UNLIMITED,)
    return tuple(_UNLIMITED if v < 0 else v for v in valences)


@dataclass(frozen=True)
class SmilesGrammar(Grammar):
    """The grammar of strings over the given tokens, of which None stands for nothing."""

    tokens: tuple[str | None, ...]

    def start(self) -> Reading:
        """The reading of an empty string."""
        return SmilesReading(self)

    @cached_property
    def atoms(self) -> Mapping[int, Atom]:
        """The atoms by class."""
        found = {number: atom_of(token) for number, token in enumerate(self.tokens) if token is not None}
        return {number: atom for number, atom in found.items() if atom is not None}

    @cached_property
    def bonds(self) -> Mapping[int, str]:
        """The symbols of bonds by class."""
        return {number: token for number, token in enumerate(self.tokens) if token is not None and token in ORDERS}

    @cached_property
    def like_bonds(self) -> Sequence[tuple[str, np.ndarray]]:
        """The symbols of bonds that come at the same places: one of them, and the classes of all."""
        groups: dict[tuple[int, bool, str], list[tuple[int, str]]] = {}
        for number, symbol in self.bonds.items():
            key = ORDERS[symbol], symbol in _MAYBE_DOUBLE, symbol if symbol in _DATIVE else ""
            groups.setdefault(key, []).append((number, symbol))
        return [(group[0][1], np.array([number for number, _ in group])) for group in groups.values()]

    @cached_property
    def ring_numbers(self) -> np.ndarray:
        """The classes that are numbers of ring bonds."""
        return np.array(
            [n for n, token in enumerate(self.tokens) if token and (token.isdigit() or token[0] == "%")], int
        )

    @cached_property
    def classes(self) -> Mapping[str, int]:
        """The classes of the other symbols."""
        return {token: number for number, token in enumerate(self.tokens) if token in ("(", ")", ".")}

    @cached_property
    def ends_of_branches(self) -> tuple[int, ...]:
        """The class that ends a branch, if there is one."""
        return (self.classes[")"],) if ")" in self.classes else ()

    @cached_property
    def _joined(self) -> dict[tuple[int, int, bool], np.ndarray]:
        return {}

    @cached_property
    def acceptors(self) -> np.ndarray:
        """Which classes are atoms that accept a dative bond, bool (K + 1,)."""
        return np.array([number in self.atoms and self.atoms[number].accepts for number in range(len(self.tokens) + 1)])

    def atoms_for(self, order: int, free: int, double: bool) -> np.ndarray:
        """Which classes are atoms that can be joined, bool (K + 1,).

        Args:
            order: of the bond.
            free: what must be left of their largest valence.
            double: only those with which an aromatic atom can share its double bond.
        """
        key = order, free, double
        if key not in self._joined:
            found = np.zeros(len(self.tokens) + 1, bool)
            for number, atom in self.atoms.items():
                found[number] = atom.most >= order + free and (not double or atom.wants_double(order))
            self._joined[key] = found
        return self._joined[key].copy()


class SmilesReading(Reading):
    """What was read of one string: its atoms and bonds, what is open, and where the next atom is joined.

    `orders` are the orders of the bonds of each atom, one for each ring bond that is open at it.
    """

    def __init__(self, grammar: SmilesGrammar) -> None:
        self.grammar = grammar
        self.kinds: list[Atom] = []
        self.orders: list[int] = []
        self.joined: list[set[int]] = []
        #: to which atoms each aromatic one may have a double bond.
        self.doubles: list[set[int]] = []
        #: ring bonds that are open at each atom.
        self.waiting: list[int] = []
        self.branches: list[int] = []
        self.rings: dict[int, tuple[int, str]] = {}
        self.current = NOWHERE
        #: the bond before the next atom, and whether a branch was opened right before it.
        self.bond, self.opened = "", False
        #: what can come next, nothing once the string is lost; None where it is not known yet.
        self._found: np.ndarray | None = None
        self._answers: dict[Hashable, bool] = {}

    # --- what can come ----------------------------------------------------------------------------

    def possible(self) -> np.ndarray:
        """Which classes, and the end as the last, can come next, bool (K + 1,); all of them where nothing can."""
        if self._found is None:
            self._found = self._next()
        return self._found if self._found.any() else ~self._found

    def closing(self) -> np.ndarray:
        """Whether a branch can be closed, bool (K + 1,)."""
        found, possible = np.zeros(len(self.grammar.tokens) + 1, bool), self.possible()
        for number in self.grammar.ends_of_branches:
            found[number] = possible[number]
        return found

    def _next(self) -> np.ndarray:
        found = self._atoms()
        if self.current != NOWHERE:
            if not self.bond:
                for symbol, numbers in self.grammar.like_bonds:
                    found[numbers] = self._bond_can_come(symbol)
            if self._ring_can_open():
                found[self.grammar.ring_numbers] = True
            for number in self.rings:
                found[number] = self._ring_can_close(number)
            if not self.bond and not self.opened:
                self._close(found)
        return found

    def _atoms(self) -> np.ndarray:
        current, grammar = self.current, self.grammar
        if current == NOWHERE:
            return grammar.atoms_for(0, 0, False)
        if self.bond == "->":
            return grammar.acceptors.copy()
        order = _order(self.bond)
        if self.orders[current] + order > self.kinds[current].most:
            return np.zeros(len(grammar.tokens) + 1, bool)
        # Where a ring bond waits and no branch ends, the next atom must be able to go on.
        free = int(bool(self.rings) and not self.branches)
        if not self.kinds[current].aromatic or self._stays_open(current):
            return grammar.atoms_for(order, free, False)
        if self._covered([current], {current: order}):
            return grammar.atoms_for(order, free, False)
        if self.bond in _MAYBE_DOUBLE and self._covered([current], {current: order}, spared=current):
            return grammar.atoms_for(order, free, True)
        return np.zeros(len(grammar.tokens) + 1, bool)

    def _bond_can_come(self, symbol: str) -> bool:
        """A bond comes where its order fits, and where something can come behind it."""
        current = self.current
        if self.orders[current] + ORDERS[symbol] > self.kinds[current].most:
            return False
        if symbol == "<-" and not self.kinds[current].accepts:
            return False
        if not self.kinds[current].aromatic or self._stays_open(current):
            return True
        self.bond = symbol
        found = bool(self._atoms().any()) or any(self._ring_can_close(number) for number in self.rings)
        self.bond = ""
        return found

    def _ring_can_open(self) -> bool:
        """A ring bond opens at an atom with bonds to spare: for it, and to go on to where it closes."""
        if self.opened or self._nothing_accepts():
            return False
        current = self.current
        return self.orders[current] + _order(self.bond) + (not self.branches) <= self.kinds[current].most

    def _nothing_accepts(self) -> bool:
        """Whether a dative bond is written where no atom could be at its other end."""
        return self.bond in _DATIVE and not any(kind.accepts for kind in self.kinds)

    def _ring_can_close(self, number: int) -> bool:
        """A ring bond closes at another atom than it began at, and that is not joined to it."""
        current = self.current
        other, opened = self.rings[number]
        if self.opened or self._nothing_accepts():
            return False
        if other == current or other in self.joined[current]:
            return False
        symbol = self.bond or opened
        order = _order(symbol)
        more = {current: order, other: order - _order(opened)}
        if any(self.orders[atom] + extra > self.kinds[atom].most for atom, extra in more.items()):
            return False
        last_open = len(self.rings) > 1 and not self.branches
        if last_open and self.orders[current] + order >= self.kinds[current].most:
            return False
        pair = (current, other) if self._double_possible(current, other, symbol) else None
        settled = [] if self._stays_open(other, closing=True) else [other]
        return self._covered(settled, more, pair=pair)

    def _close(self, found: np.ndarray) -> None:
        """Mark branches, dots and the end."""
        current, classes = self.current, self.grammar.classes
        if "(" in classes:
            found[classes["("]] = self.orders[current] < self.kinds[current].most
        settled = [] if self._stays_open(current) else [current]
        if self.branches:
            if ")" in classes:
                goes_on = self.orders[self.branches[-1]] < self.kinds[self.branches[-1]].most
                needed = bool(self.rings) and len(self.branches) == 1
                found[classes[")"]] = (goes_on or not needed) and self._covered(settled, {})
        elif not self.rings and self._covered(settled, {}):
            found[-1] = True
            if "." in classes:
                found[classes["."]] = True
        # A ring bond that is open when a model wants to end was forgotten, and where it belongs cannot be told.
        found[-1] |= bool(self.rings)

    # --- double bonds -----------------------------------------------------------------------------

    def _stays_open(self, atom: int, closing: bool = False) -> bool:
        """Whether an atom can still get a bond once another one is the current one, or a ring bond of it closed."""
        return atom in self.branches or self.waiting[atom] > int(closing) or (closing and atom == self.current)

    def _double_possible(self, one: int, other: int, symbol: str) -> bool:
        return symbol in _MAYBE_DOUBLE and self.kinds[one].aromatic and self.kinds[other].aromatic

    def _covered(
        self,
        settled: Sequence[int],
        more: Mapping[int, int],
        pair: tuple[int, int] | None = None,
        spared: int | None = None,
    ) -> bool:
        """Whether the aromatic atoms around some that are about to get no further bond can all have what they need.

        Args:
            settled: atoms that get no further bond.
            more: orders that some atoms get first.
            pair: two atoms that are about to be joined by a bond that may be double.
            spared: an atom that has its double bond with one that is to come.
        """
        key = tuple(settled), tuple(more.items()), pair, spared
        if key not in self._answers:
            self._answers[key] = self._can_cover(settled, more, pair, spared)
        return self._answers[key]

    def _can_cover(
        self, settled: Sequence[int], more: Mapping[int, int], pair: tuple[int, int] | None, spared: int | None
    ) -> bool:
        around = [atom for atom in {*settled, *more} if self.kinds[atom].aromatic]
        around += [neighbour for atom in around for neighbour in self.doubles[atom]]
        edges = {pair[0]: pair[1], pair[1]: pair[0]} if pair else {}
        wanting: dict[int, set[int]] = {}
        while around:
            atom = around.pop()
            if atom in wanting or not self.kinds[atom].wants_double(self.orders[atom] + more.get(atom, 0)):
                continue
            wanting[atom] = self.doubles[atom] | ({edges[atom]} if atom in edges else set())
            around.extend(wanting[atom])
        fixed = {atom for atom in wanting if atom in settled or self._is_settled(atom)} - {spared}
        open_to = {atom: {other for other in wanting[atom] if other in wanting and other != spared} for atom in fixed}
        return can_cover(fixed, open_to)

    def _is_settled(self, atom: int) -> bool:
        return atom != self.current and not self._stays_open(atom)

    # --- reading ----------------------------------------------------------------------------------

    def read(self, choice: int) -> None:
        """Go on by one token; after one that cannot come, everything can."""
        self.possible()
        assert self._found is not None
        if not self._found[choice]:
            self._found[:] = False
            return
        self._found = None
        self._answers.clear()
        token = self.grammar.tokens[choice]
        if choice in self.grammar.atoms:
            self._read_atom(self.grammar.atoms[choice])
        elif choice in self.grammar.bonds:
            self.bond = self.grammar.bonds[choice]
            self.opened = False
        elif choice in self.grammar.ring_numbers:
            self._read_ring(choice)
        elif token == "(":
            self.branches.append(self.current)
            self.opened = True
        elif token == ")":
            self.current = self.branches.pop()
        else:
            self.current = NOWHERE

    def _read_atom(self, kind: Atom) -> None:
        number, before = len(self.kinds), self.current
        self.kinds.append(kind)
        self.orders.append(0)
        self.joined.append(set())
        self.doubles.append(set())
        self.waiting.append(0)
        if before != NOWHERE:
            self._join(before, number, self.bond)
        self.current, self.bond, self.opened = number, "", False

    def _join(self, one: int, other: int, symbol: str) -> None:
        for atom, neighbour in ((one, other), (other, one)):
            self.orders[atom] += _order(symbol)
            self.joined[atom].add(neighbour)
            if self._double_possible(one, other, symbol):
                self.doubles[atom].add(neighbour)

    def _read_ring(self, number: int) -> None:
        current = self.current
        if number in self.rings:
            other, opened = self.rings.pop(number)
            self.orders[other] -= _order(opened)
            self.waiting[other] -= 1
            self._join(current, other, self.bond or opened)
        else:
            self.rings[number] = (current, self.bond)
            self.orders[current] += _order(self.bond)
            self.waiting[current] += 1
        self.bond = ""
