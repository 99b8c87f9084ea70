"""What can come next in a row of merged tokens: what their own tokens allow, and what byte-pair encoding makes.

A class can come behind a state if its tokens can, one after the other, and if byte-pair encoding leaves it beside the
class before, see `merges.py`. So every string has one row of classes with a probability.

Letters in shapes: K classes.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, reduce
from typing import Any, Protocol

import numpy as np

from molgen.space import Grammar, GrammarState
from molgen_plugins.molecules.bit_sets import as_set
from molgen_plugins.molecules.continuations import Continuations
from molgen_plugins.molecules.merges import Merges

#: At most so many states have their row of classes remembered.
REMEMBERED = 50_000


class Walk(Protocol):
    """Says of one token after the other whether it can come."""

    def allows(self, token: int) -> bool:
        """Whether a token can come, or the end."""
        ...

    def along(self, tokens: tuple[int, ...]) -> Walk:
        """The walk behind some tokens that can come, one after the other."""
        ...

    def only(self) -> int | None:
        """The one token that can come now, where that is known without a search."""
        ...


class TokenState(GrammarState):
    """A state of a grammar of tokens, of which several are looked at in a row."""

    __slots__ = ()

    def allows(self, token: int) -> bool:
        """Whether a token can come, or the end."""
        return bool(self.possible()[token])

    @abstractmethod
    def after(self, choice: int) -> TokenState:
        """The state with one more token, be it possible or not."""

    def along(self, tokens: tuple[int, ...]) -> TokenState:
        """The state with some more tokens that can come, one after the other."""
        return reduce(lambda state, token: state.after(token), tokens, self)

    def only(self) -> int | None:
        """The one token that can come now, where that is known without a search."""
        return None

    def views(self) -> Callable[[Any], Hashable]:
        """What rows of tokens see of this state, by reach: behind states that look the same, the same can come."""
        return lambda reach: self

    def walk(self) -> Walk:
        """The walk along tokens from here."""
        return self


class TokenGrammar(Grammar):
    """A grammar of the tokens that merged ones stand for."""

    @abstractmethod
    def start(self) -> TokenState:
        """The state of an empty row."""

    def reaches(self, tokens: Sequence[int]) -> Sequence[Any]:
        """What of a state decides whether the first, the first two, ... of a row of tokens can come, or all of them.

        See `TokenState.views`. What more tokens reach is no less, so in an order of their own it stands no earlier. A
        token that can come wherever the next one can need not reach what decides of it alone.
        """
        return [0] * len(tokens)

    def toward_end(self) -> Sequence[int]:
        """The tokens that bring an end nearer."""
        return ()

    def alone(self) -> Sequence[int]:
        """The tokens that `Walk.only` may name."""
        return ()


@dataclass(frozen=True)
class MergedGrammar(Grammar):
    """The grammar of rows of merged tokens.

    Sets of classes are integers with a bit for each, and one for the end behind all of them.

    Attributes:
        tokens: the grammar of the tokens that the classes stand for; None rules nothing out.
        merges: what the classes stand for.
        classes: how many there are, of which the last may stand for nothing.
    """

    tokens: TokenGrammar | None
    merges: Merges
    classes: int

    def __reduce__(self) -> tuple[type[MergedGrammar], tuple[TokenGrammar | None, Merges, int]]:
        return MergedGrammar, (self.tokens, self.merges, self.classes)  # without what is remembered

    def start(self) -> GrammarState:
        """The state of an empty row."""
        return self.state(self.tokens.start() if self.tokens else None, None)

    def state(self, tokens: TokenState | None, last: int | None) -> MergedState:
        """The state after a class, the same one as long as it is remembered."""
        key = tokens, last
        found = self._states.get(key)
        if found is None:
            if len(self._states) >= REMEMBERED:
                self._states.clear()
                self._rows.clear()
            found = self._states[key] = MergedState(self, tokens, last)
        return found

    @cached_property
    def _states(self) -> dict[tuple[TokenState | None, int | None], MergedState]:
        return {}

    @cached_property
    def _rows(self) -> dict[TokenState | None, int]:
        return {}

    @cached_property
    def end(self) -> int:
        """The end of a row, as a set."""
        return 1 << self.classes

    @cached_property
    def follows(self) -> Sequence[int]:
        """Which classes, and the end, may stand behind each class."""
        rows = [as_set(np.flatnonzero(row).tolist()) | self.end for row in self.merges.follows]
        return [*rows, *[self.end] * (self.classes - len(rows))]

    def row(self, tokens: TokenState | None) -> int:
        """What can come behind a state of the tokens, whatever class stands before."""
        found = self._rows.get(tokens)
        if found is None:
            every = as_set(range(len(self.merges.parts))) | self.end
            found = self._rows[tokens] = every if tokens is None else self._continuations.behind(tokens)
        return found

    @cached_property
    def toward_end(self) -> int:
        """The classes whose first token brings an end nearer."""
        tokens = self.tokens.toward_end() if self.tokens else ()
        return as_set([number for number, parts in enumerate(self.merges.parts) if parts[0] in tokens])

    def as_row(self, classes: int) -> np.ndarray:
        """A set of classes, bool (K + 1,)."""
        packed = np.frombuffer(classes.to_bytes(self.classes // 8 + 1, "little"), np.uint8)
        row = np.unpackbits(packed, count=self.classes + 1, bitorder="little").view(bool)
        row.setflags(write=False)
        return row

    @cached_property
    def _continuations(self) -> Continuations:
        assert self.tokens is not None
        rows = {**dict(enumerate(self.merges.parts)), self.classes: (self.merges.base,)}
        return Continuations(self.tokens, rows, self._dead_ends())

    def _dead_ends(self) -> Mapping[int, int]:
        """Of each class, the tokens of which one may be the only one that can come, but no class begins so behind it.

        Where it is the only one, such a class cannot come: nothing could come behind it.
        """
        assert self.tokens is not None
        found: dict[int, int] = {}
        for token in self.tokens.alone():
            begin = as_set([number for number, parts in enumerate(self.merges.parts) if parts[0] == token])
            for number in range(len(self.merges.parts)):
                if not self.follows[number] & begin:
                    found[number] = found.get(number, 0) | 1 << token
        return found


class MergedState(GrammarState):
    """What can come behind a class: what its tokens allow, and what byte-pair encoding puts beside it."""

    __slots__ = ("_classes", "_next", "_rows", "grammar", "tokens")

    def __init__(self, grammar: MergedGrammar, tokens: TokenState | None, last: int | None) -> None:
        self.grammar, self.tokens = grammar, tokens
        self._next: dict[int, MergedState] = {}
        self._classes = grammar.row(tokens)
        if last is not None:
            # The end alone where there is nothing, so that even then no other segmentation of a string comes about.
            self._classes = self._classes & grammar.follows[last] or grammar.end
        self._rows: tuple[np.ndarray, np.ndarray] | None = None

    def possible(self) -> np.ndarray:
        """Which classes, and the end as the last, can come next, bool (K + 1,)."""
        return self._both()[0]

    def toward_end(self) -> np.ndarray:
        """Which of these close what is open by the first of their tokens, bool (K + 1,)."""
        return self._both()[1]

    def _both(self) -> tuple[np.ndarray, np.ndarray]:
        if self._rows is None:
            grammar = self.grammar
            self._rows = grammar.as_row(self._classes), grammar.as_row(self._classes & grammar.toward_end)
        return self._rows

    def after(self, choice: int) -> MergedState:
        """The state behind one more class."""
        found = self._next.get(choice)
        if found is None:
            found = self._next[choice] = self.grammar.state(self._tokens_after(choice), choice)
        return found

    def _tokens_after(self, choice: int) -> TokenState | None:
        if self.tokens is None:
            return None
        parts = self.grammar.merges.parts_of(choice)
        if self._classes >> choice & 1:
            return self.tokens.along(parts)
        return reduce(lambda state, token: state.after(token), parts, self.tokens)
