"""What can come next in a SMILES string: branches, ring bonds, valences and Kekulé structures, token by token.

A beginning is ruled out where no canonical SMILES of a molecule goes on from it. Not everything that remains can be
finished, but nothing that RDKit writes is ruled out: an atom takes no bond beyond its largest valence, a branch or ring
bond closes what was opened, and aromatic atoms that can get no further bond must have a double bond each among
themselves or with atoms that still can. Valences and the rule which aromatic atoms need a double bond are RDKit's.

A string may end while a ring bond is open, and is none of a molecule then. A model that wants to end there has
forgotten the ring: made to go on, it closed the ring anywhere, and its molecules were less like its data.

Sets of classes are integers with a bit for each. Letters in shapes: K classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from molgen.space import Grammar, GrammarState
from molgen_plugins.molecules.smiles.atom_tokens import DATIVE, MAYBE_DOUBLE, ORDERS, Atom, atom_of, order_of
from molgen_plugins.molecules.smiles.double_bonds import as_set
from molgen_plugins.molecules.smiles.prefix_state import NOWHERE, PrefixBuilder, PrefixState

#: At most so many beginnings are remembered, of about one kilobyte each.
REMEMBERED = 50_000


@dataclass(frozen=True)
class SmilesGrammar(Grammar):
    """The grammar of strings over the given tokens, of which None stands for nothing."""

    tokens: tuple[str | None, ...]

    def __reduce__(self) -> tuple[type[SmilesGrammar], tuple[tuple[str | None, ...]]]:
        return SmilesGrammar, (self.tokens,)  # without what is remembered

    def start(self) -> GrammarState:
        """The reading of an empty string."""
        return self.reading(PrefixState())

    def reading(self, prefix: PrefixState) -> SmilesState:
        """The reading of a beginning, the same one as long as it is remembered."""
        found = self._readings.get(prefix)
        if found is None:
            if len(self._readings) >= REMEMBERED:
                self._readings.clear()
                self._rows.clear()
            found = self._readings[prefix] = SmilesState(self, prefix)
        return found

    @cached_property
    def lost(self) -> SmilesState:
        """The reading of anything impossible, which stays so."""
        return SmilesState(self, None)

    @cached_property
    def _readings(self) -> dict[PrefixState, SmilesState]:
        return {}

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
    def like_bonds(self) -> Sequence[tuple[str, int]]:
        """The symbols of bonds that come at the same places: one of them, and the classes of all."""
        groups: dict[tuple[int, bool, str], list[tuple[int, str]]] = {}
        for number, symbol in self.bonds.items():
            key = ORDERS[symbol], symbol in MAYBE_DOUBLE, symbol if symbol in DATIVE else ""
            groups.setdefault(key, []).append((number, symbol))
        return [(group[0][1], as_set([number for number, _ in group])) for group in groups.values()]

    @cached_property
    def ring_numbers(self) -> int:
        """The classes that are numbers of ring bonds."""
        return as_set([n for n, token in enumerate(self.tokens) if token and (token.isdigit() or token[0] == "%")])

    @cached_property
    def symbols(self) -> Mapping[str, int]:
        """The class, as a set, of each other symbol; of one that there is not, the empty set."""
        return {symbol: as_set([n for n, token in enumerate(self.tokens) if token == symbol]) for symbol in "()."}

    @property
    def end(self) -> int:
        """The end of a string, as a set."""
        return 1 << len(self.tokens)

    @cached_property
    def acceptors(self) -> int:
        """The classes that are atoms that accept a dative bond."""
        return as_set([number for number, atom in self.atoms.items() if atom.accepts])

    def atoms_for(self, order: int, free: int, double: bool) -> int:
        """Which classes are atoms that can be joined.

        Args:
            order: of the bond.
            free: what must be left of their largest valence.
            double: only those with which an aromatic atom can share its double bond.
        """
        key = order, free, double
        if key not in self._joined:
            fitting = [number for number, atom in self.atoms.items() if atom.most >= order + free]
            wanted = [number for number in fitting if not double or self.atoms[number].wants_double(order)]
            self._joined[key] = as_set(wanted)
        return self._joined[key]

    @cached_property
    def _joined(self) -> dict[tuple[int, int, bool], int]:
        return {}

    def row(self, classes: int) -> np.ndarray:
        """A set of classes and the end, bool (K + 1,)."""
        if classes not in self._rows:
            width = len(self.tokens) + 1
            packed = np.frombuffer(classes.to_bytes(width // 8 + 1, "little"), np.uint8)
            self._rows[classes] = np.unpackbits(packed, bitorder="little")[:width].astype(bool)
            self._rows[classes].setflags(write=False)
        return self._rows[classes]

    @cached_property
    def _rows(self) -> dict[int, np.ndarray]:
        return {}


class SmilesState(GrammarState):
    """What can come behind a beginning; it is worked out once, and so is where each token leads."""

    __slots__ = ("_closing", "_next", "_possible", "classes", "grammar", "prefix")

    def __init__(self, grammar: SmilesGrammar, prefix: PrefixState | None) -> None:
        """Work out what can come behind a beginning; behind None, which stands for anything impossible, nothing can."""
        self.grammar = grammar
        self.prefix = prefix or PrefixState()
        self.classes = self._can_come() if prefix else 0
        self._possible = grammar.row(self.classes or grammar.end | (grammar.end - 1))
        self._closing = grammar.row(self.classes & grammar.symbols[")"])
        self._next: dict[int, SmilesState] = {}

    def possible(self) -> np.ndarray:
        """Which classes, and the end as the last, can come next, bool (K + 1,); all of them where nothing can."""
        return self._possible

    def toward_end(self) -> np.ndarray:
        """Whether a branch can be closed, bool (K + 1,)."""
        return self._closing

    def after(self, choice: int) -> SmilesState:
        """The reading with one more token; after one that cannot come, everything can."""
        found = self._next.get(choice)
        if found is None:
            found = self._next[choice] = self._read(choice)
        return found

    def _read(self, choice: int) -> SmilesState:
        if not self.classes >> choice & 1:
            return self.grammar.lost
        return self.grammar.reading(_gone_on(self.prefix, self.grammar, choice))

    # --- what can come ----------------------------------------------------------------------------

    def _can_come(self) -> int:
        prefix = self.prefix
        found = self._atoms(prefix.bond)
        if prefix.current == NOWHERE:
            return found
        if not prefix.bond:
            for symbol, numbers in self.grammar.like_bonds:
                if self._bond_can_come(symbol):
                    found |= numbers
        if self._ring_can_open():
            found |= self.grammar.ring_numbers
        for number, other, opened in prefix.rings:
            can_close = self._ring_can_close(prefix.bond, other, opened)
            found = found | 1 << number if can_close else found & ~(1 << number)
        if not prefix.bond and not prefix.opened:
            found |= self._closed()
        return found

    def _atoms(self, bond: str) -> int:
        grammar, prefix, current = self.grammar, self.prefix, self.prefix.current
        if current == NOWHERE:
            return grammar.atoms_for(0, 0, False)
        if bond == "->":
            return grammar.acceptors
        order = order_of(bond)
        if prefix.free[current] < order:
            return 0
        # Where a ring bond waits and no branch ends, the next atom must be able to go on.
        free = int(bool(prefix.rings) and not prefix.branches)
        if not prefix.kinds[current].aromatic or prefix.stays_open(current):
            return grammar.atoms_for(order, free, False)
        settled, more = 1 << current, {current: order}
        if prefix.covered(settled, more):
            return grammar.atoms_for(order, free, False)
        if bond in MAYBE_DOUBLE and prefix.covered(settled, more, spared=settled):
            return grammar.atoms_for(order, free, True)
        return 0

    def _bond_can_come(self, symbol: str) -> bool:
        """A bond comes where its order fits, and where something can come behind it."""
        prefix, current = self.prefix, self.prefix.current
        kind = prefix.kinds[current]
        if prefix.free[current] < ORDERS[symbol] or (symbol == "<-" and not kind.accepts):
            return False
        if not kind.aromatic or prefix.stays_open(current):
            return True
        closing = (self._ring_can_close(symbol, other, opened) for _, other, opened in prefix.rings)
        return bool(self._atoms(symbol)) or any(closing)

    def _ring_can_open(self) -> bool:
        """A ring bond opens at an atom with bonds to spare: for it, and to go on to where it closes."""
        prefix = self.prefix
        if prefix.opened or self._nothing_accepts(prefix.bond):
            return False
        return order_of(prefix.bond) + (not prefix.branches) <= prefix.free[prefix.current]

    def _nothing_accepts(self, bond: str) -> bool:
        """Whether a dative bond is written where no atom could be at its other end."""
        return bond in DATIVE and not self.prefix.accepted

    def _ring_can_close(self, bond: str, other: int, opened: str) -> bool:
        """A ring bond closes at another atom than it began at, and that is not joined to it."""
        prefix, current = self.prefix, self.prefix.current
        if prefix.opened or self._nothing_accepts(bond):
            return False
        if other == current or prefix.joined[current] >> other & 1:
            return False
        symbol = bond or opened
        order = order_of(symbol)
        more = {current: order, other: order - order_of(opened)}
        if any(prefix.free[atom] < extra for atom, extra in more.items()):
            return False
        last_open = len(prefix.rings) > 1 and not prefix.branches
        if last_open and prefix.free[current] <= order:
            return False
        double = symbol in MAYBE_DOUBLE and prefix.kinds[current].aromatic and prefix.kinds[other].aromatic
        settled = 0 if prefix.stays_open(other, closing=True) else 1 << other
        return prefix.covered(settled, more, pair=1 << current | 1 << other if double else 0)

    def _closed(self) -> int:
        """Branches, dots and the end."""
        prefix, current, symbols = self.prefix, self.prefix.current, self.grammar.symbols
        found = symbols["("] if prefix.free[current] else 0
        settled = 0 if prefix.stays_open(current) else 1 << current
        if prefix.branches:
            goes_on = prefix.free[prefix.branches[-1]] > 0
            needed = bool(prefix.rings) and len(prefix.branches) == 1
            if (goes_on or not needed) and prefix.covered(settled):
                found |= symbols[")"]
        elif not prefix.rings and prefix.covered(settled):
            found |= symbols["."] | self.grammar.end
        # A ring bond that is open when a model wants to end was forgotten, and where it belongs cannot be told.
        return found | (self.grammar.end if prefix.rings else 0)


def _gone_on(prefix: PrefixState, grammar: SmilesGrammar, choice: int) -> PrefixState:
    """The beginning with one more token, which can come."""
    if choice in grammar.bonds:
        return prefix.before(grammar.bonds[choice])
    if grammar.symbols["("] >> choice & 1:
        return prefix.branched()
    if grammar.ring_numbers >> choice & 1 and all(choice != number for number, _, _ in prefix.rings):
        return prefix.ring_opened(choice)
    builder = PrefixBuilder(prefix)
    if choice in grammar.atoms:
        builder.atom(grammar.atoms[choice])
    elif grammar.ring_numbers >> choice & 1:
        builder.ring_closed(choice)
    elif grammar.symbols[")"] >> choice & 1:
        builder.back()
    else:
        builder.apart()
    return builder.prefix()
