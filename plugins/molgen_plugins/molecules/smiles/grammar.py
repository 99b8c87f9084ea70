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

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, pairwise

import numpy as np

from molgen_plugins.molecules.merged_grammar import TokenGrammar, TokenState, View
from molgen_plugins.molecules.smiles.atom_tokens import DATIVE, MAYBE_DOUBLE, ORDERS, Atom, atom_of
from molgen_plugins.molecules.smiles.double_bonds import as_set, bits
from molgen_plugins.molecules.smiles.prefix_state import PrefixBuilder, PrefixState
from molgen_plugins.molecules.smiles.prefix_view import prefix_view
from molgen_plugins.molecules.smiles.rules import Rules

#: At most so many beginnings are remembered, of about one kilobyte each.
REMEMBERED = 50_000


@dataclass(frozen=True)
class SmilesGrammar(TokenGrammar):
    """The grammar of strings over tokens.

    Attributes:
        tokens: of which None stands for nothing.
        radicals: which bracket atoms may have unpaired electrons; None for all.
    """

    tokens: tuple[str | None, ...]
    radicals: frozenset[str] | None = None

    def __reduce__(self) -> tuple[type[SmilesGrammar], tuple[tuple[str | None, ...], frozenset[str] | None]]:
        return SmilesGrammar, (self.tokens, self.radicals)  # without what is remembered

    def start(self) -> SmilesState:
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
        found = {
            number: atom_of(token, self.radicals is None or token in self.radicals)
            for number, token in enumerate(self.tokens)
            if token is not None
        }
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
            fitting = [n for n, atom in self.atoms.items() if atom.most - order >= max(free, atom.least_left)]
            wanted = [number for number in fitting if not double or self.atoms[number].wants_double(order)]
            self._joined[key] = as_set(wanted)
        return self._joined[key]

    @cached_property
    def _joined(self) -> dict[tuple[int, int, bool], int]:
        return {}

    def read(self, builder: PrefixBuilder, choice: int) -> None:
        """Go on with a beginning by one token, which can come."""
        if choice in self.atoms:
            builder.atom(self.atoms[choice])
        elif choice in self.bonds:
            builder.bond_written(self.bonds[choice])
        elif self.ring_numbers >> choice & 1:
            builder.ring(choice)
        elif self.symbols["("] >> choice & 1:
            builder.branched()
        elif self.symbols[")"] >> choice & 1:
            builder.back()
        else:
            builder.apart()

    def reach(self, tokens: Sequence[int]) -> tuple[int, int]:
        """What a row of tokens can close that was open before: how many branches, and which ring bonds."""
        depth = [(self.symbols["("] >> token & 1) - (self.symbols[")"] >> token & 1) for token in tokens]
        rings = as_set(tokens) & self.ring_numbers
        if any(one in self.bonds and self.ring_numbers >> other & 1 for one, other in pairwise(tokens)):
            # Whether a bond can be written at all depends on every ring bond that it might close.
            rings = self.ring_numbers
        return -min(accumulate(depth, initial=0)), rings

    def alone(self) -> Sequence[int]:
        """The token that closes a branch: behind an atom that gets no further bond nothing else can come."""
        return bits(self.symbols[")"])

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


class SmilesState(TokenState):
    """What can come behind a beginning; it is worked out once, and so is where each token leads."""

    __slots__ = ("_closing", "_next", "_possible", "classes", "grammar", "prefix")

    def __init__(self, grammar: SmilesGrammar, prefix: PrefixState | None) -> None:
        """Work out what can come behind a beginning; behind None, which stands for anything impossible, nothing can."""
        self.grammar = grammar
        self.prefix = prefix or PrefixState()
        self.classes = Rules(grammar, prefix).can_come() if prefix else 0
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
        builder = PrefixBuilder(self.prefix)
        self.grammar.read(builder, choice)
        return self.grammar.reading(builder.prefix())

    def views(self, reaches: Sequence[Hashable]) -> Iterable[View]:
        """What tokens of each reach see of the beginning, together for those that see the same."""
        if not self.classes:
            yield View(self, self, tuple(reaches))
            return
        open_rings = as_set([number for number, _, _ in self.prefix.rings])
        groups: dict[tuple[int, int], list[Hashable]] = {}
        for reach in reaches:
            assert isinstance(reach, tuple)
            groups.setdefault((min(reach[0], len(self.prefix.branches)), reach[1] & open_rings), []).append(reach)
        for (back, rings), own in groups.items():
            yield View(
                prefix_view(self.prefix, back, rings), Rules(self.grammar, self.prefix, self.classes), tuple(own)
            )
