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

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import count, zip_longest

import numpy as np

from molgen_plugins.molecules.bit_sets import as_set, bits
from molgen_plugins.molecules.merged_grammar import TokenGrammar, TokenState, Walk
from molgen_plugins.molecules.smiles.atom_tokens import DATIVE, MAYBE_DOUBLE, ORDERS, Atom, atom_of
from molgen_plugins.molecules.smiles.prefix_state import Beginning, PrefixBuilder, PrefixState
from molgen_plugins.molecules.smiles.prefix_view import prefix_view
from molgen_plugins.molecules.smiles.rules import Rules

#: At most so many beginnings are remembered, of about one kilobyte each.
REMEMBERED = 50_000
#: At most so many views of them, of about half a kilobyte each.
REMEMBERED_VIEWS = 100_000


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

    def number_of(self, view: Hashable) -> int:
        """A number for what looks the same, another one if it was forgotten meanwhile."""
        if len(self._views) >= REMEMBERED_VIEWS and view not in self._views:
            self._views.clear()
        return self._views.setdefault(view, next(self._new_number))

    @cached_property
    def _views(self) -> dict[Hashable, int]:
        return {}

    @cached_property
    def _new_number(self) -> Iterator[int]:
        return count()

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
    def others(self) -> int:
        """Branches, dots and the end."""
        return self.symbols["("] | self.symbols[")"] | self.symbols["."] | self.end

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

    def read(self, prefix: Beginning, tokens: Sequence[int]) -> PrefixBuilder:
        """A beginning with some more tokens, which can come one after the other."""
        builder, readers = PrefixBuilder(prefix), self._readers
        for token in tokens:
            readers[token](builder)
        return builder

    @cached_property
    def _readers(self) -> Mapping[int, Callable[[PrefixBuilder], None]]:
        """What each token does to a beginning."""
        found: dict[int, Callable[[PrefixBuilder], None]] = {}
        found |= {number: partial(PrefixBuilder.atom, kind=atom) for number, atom in self.atoms.items()}
        found |= {number: partial(PrefixBuilder.bond_written, symbol=bond) for number, bond in self.bonds.items()}
        found |= {number: partial(PrefixBuilder.ring, number=number) for number in bits(self.ring_numbers)}
        for symbol, read in (("(", PrefixBuilder.branched), (")", PrefixBuilder.back), (".", PrefixBuilder.apart)):
            found |= dict.fromkeys(bits(self.symbols[symbol]), read)
        return found

    def reaches(self, tokens: Sequence[int]) -> Sequence[tuple[int, int]]:
        """What tokens can close that was open before: how many branches, and which ring bonds.

        Whether a bond can be written depends on every ring bond that it might close, if no atom comes behind it.
        """
        found, depth, back, rings = [], 0, 0, 0
        for token, behind in zip_longest(tokens, tokens[1:]):
            depth += (self.symbols[")"] >> token & 1) - (self.symbols["("] >> token & 1)
            back, rings = max(back, depth), rings | 1 << token & self.ring_numbers
            if token in self.bonds and (behind is None or self.ring_numbers >> behind & 1):
                rings = self.ring_numbers
            found.append((back, rings))
        return found

    def toward_end(self) -> Sequence[int]:
        """The token that closes a branch."""
        return bits(self.symbols[")"])

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

    __slots__ = ("_classes", "_next", "grammar", "lost", "prefix")

    def __init__(self, grammar: SmilesGrammar, prefix: PrefixState | None) -> None:
        """The state behind a beginning; behind None, which stands for anything impossible, nothing can come."""
        self.grammar = grammar
        self.prefix, self.lost = prefix or PrefixState(), prefix is None
        self._classes: int | None = 0 if self.lost else None
        self._next: dict[tuple[int, ...], SmilesState] = {}

    @property
    def classes(self) -> int:
        """What can come, as a set."""
        if self._classes is None:
            self._classes = Rules(self.grammar, self.prefix).can_come()
        return self._classes

    def possible(self) -> np.ndarray:
        """Which classes, and the end as the last, can come next, bool (K + 1,); all of them where nothing can."""
        return self.grammar.row(self.classes or self.grammar.end | (self.grammar.end - 1))

    def toward_end(self) -> np.ndarray:
        """Whether a branch can be closed, bool (K + 1,)."""
        return self.grammar.row(self.classes & self.grammar.symbols[")"])

    def after(self, choice: int) -> SmilesState:
        """The reading with one more token; after one that cannot come, everything can."""
        found = self._next.get((choice,))
        if found is None:
            found = self.along((choice,)) if self.classes >> choice & 1 else self.grammar.lost
            self._next[choice,] = found
        return found

    def along(self, tokens: tuple[int, ...]) -> SmilesState:
        """The reading with some more tokens that can come, one after the other."""
        if self.lost:
            return self
        found = self._next.get(tokens)
        if found is None:
            found = self._next[tokens] = self.grammar.reading(self.grammar.read(self.prefix, tokens).prefix())
        return found

    def views(self) -> Callable[[tuple[int, int]], Hashable]:
        """What tokens see of the beginning, by their reach."""
        if self.lost:
            return super().views()
        prefix, found = self.prefix, dict[tuple[int, int], int]()
        depth, open_rings = len(prefix.branches), as_set([number for number, _, _ in prefix.rings])

        def view(reach: tuple[int, int]) -> int:
            back, rings = reach
            own = back if back < depth else depth, rings & open_rings
            if own not in found:
                found[own] = self.grammar.number_of(prefix_view(prefix, *own))
            return found[own]

        return view

    def walk(self) -> Walk:
        """The rules along tokens from here."""
        return self if self.lost else Rules(self.grammar, self.prefix)
