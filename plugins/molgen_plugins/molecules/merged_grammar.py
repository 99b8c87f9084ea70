"""What can come next in a row of merged tokens: what their own tokens allow, and what byte-pair encoding makes.

A class can come behind a state if its tokens can, one after the other, and if byte-pair encoding leaves it beside the
class before, see `merges.py`. So every string has one row of classes with a probability.

Letters in shapes: K classes.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Protocol

import numpy as np

from molgen.space import Grammar, GrammarState
from molgen_plugins.molecules.merges import Merges

#: At most so many states of the notation have their row of classes remembered.
REMEMBERED = 50_000


class Walk(Protocol):
    """Says of one token after the other whether it can come."""

    def allows(self, token: int) -> bool:
        """Whether a token can come."""
        ...

    def after(self, token: int) -> Walk:
        """The walk behind a token that can come."""
        ...

    def only(self) -> int | None:
        """The one token that can come now, where that is known without a search."""
        ...


class TokenState(GrammarState):
    """A state of a grammar of tokens, of which several are looked at in a row."""

    __slots__ = ()

    def allows(self, token: int) -> bool:
        """Whether a token can come."""
        return bool(self.possible()[token])

    @abstractmethod
    def after(self, choice: int) -> TokenState:
        """The state with one more token, be it possible or not."""

    def only(self) -> int | None:
        """The one token that can come now, where that is known without a search."""
        return None

    def views(self, reaches: Sequence[Hashable]) -> Iterable[View]:
        """What rows of tokens of each reach see of this state, together for those that see the same."""
        yield View(self, self, tuple(reaches))


@dataclass(frozen=True)
class View:
    """What some rows of tokens see of a state.

    Attributes:
        key: behind states of which these rows see the same, the same of them can come.
        walk: along tokens from here.
        reaches: of the rows.
    """

    key: Hashable
    walk: Walk
    reaches: tuple[Hashable, ...]


class TokenGrammar(Grammar):
    """A grammar of the tokens that merged ones stand for."""

    @abstractmethod
    def start(self) -> TokenState:
        """The state of an empty row."""

    def reach(self, tokens: Sequence[int]) -> Hashable:
        """What of a state decides whether a row of tokens can come, see `TokenState.views`."""
        return None

    def alone(self) -> Sequence[int]:
        """The tokens that `Walk.only` may name."""
        return ()


@dataclass(frozen=True)
class MergedGrammar(Grammar):
    """The grammar of rows of merged tokens.

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
                self._found.clear()
            found = self._states[key] = MergedState(self, tokens, last)
        return found

    @cached_property
    def _states(self) -> dict[tuple[TokenState | None, int | None], MergedState]:
        return {}

    @cached_property
    def _rows(self) -> dict[TokenState | None, np.ndarray]:
        return {}

    @cached_property
    def _found(self) -> dict[tuple[Hashable, tuple[Hashable, ...]], np.ndarray]:
        """The classes of each reach that can come behind a state that is told apart no further than that."""
        return {}

    @cached_property
    def follows(self) -> np.ndarray:
        """Which classes, and the end as the last, may stand behind each class, bool (K, K + 1)."""
        count = len(self.merges.parts)
        found = np.zeros((self.classes, self.classes + 1), bool)
        found[:count, :count] = self.merges.follows
        found[:, -1] = True
        return found

    def row(self, tokens: TokenState | None) -> np.ndarray:
        """What can come behind a state of the tokens, bool (K + 1,)."""
        found = self._rows.get(tokens)
        if found is None:
            found = self._rows[tokens] = self._worked_out(tokens)
            found.setflags(write=False)
        return found

    def toward_end(self, tokens: TokenState | None) -> np.ndarray:
        """The classes whose first token closes what is open, bool (K + 1,)."""
        own = np.zeros(self.classes + 1, bool)
        if tokens is not None and (toward := tokens.toward_end()).any():
            own[: len(self._first)] = toward[self._first]
        return own

    @cached_property
    def _first(self) -> np.ndarray:
        """The first token of each class, (K,)."""
        return np.array([parts[0] for parts in self.merges.parts], np.intp)

    def _worked_out(self, tokens: TokenState | None) -> np.ndarray:
        base, count = self.merges.base, len(self.merges.parts)
        found = np.zeros(self.classes + 1, bool)
        if tokens is None:
            found[:count] = found[-1] = True
            return found
        possible = tokens.possible()
        found[:base], found[-1] = possible[:-1], possible[-1]
        found[self._risky[self._risky < base]] = False
        for view in tokens.views(self._reaches):
            key = view.key, view.reaches
            if key not in self._found:
                self._found[key] = np.array(self._marked(view.walk, self._tree(view.reaches), []), np.intp)
            found[self._found[key]] = True
        return found

    @cached_property
    def _reaches(self) -> tuple[Hashable, ...]:
        """The reaches that there are."""
        return tuple(dict.fromkeys(self._reach_of.values()))

    @cached_property
    def _reach_of(self) -> Mapping[int, Hashable]:
        """The reach of each class that a look at the next token alone does not decide."""
        assert self.tokens is not None
        merged = range(self.merges.base, len(self.merges.parts))
        risky = [number for number in self._risky.tolist() if number < self.merges.base]
        return {number: self.tokens.reach(self.merges.parts[number]) for number in [*risky, *merged]}

    @cached_property
    def _risky(self) -> np.ndarray:
        """The classes behind which no class begins with a token that may be the only one that can come.

        Where it is the only one, such a class cannot come: nothing could come behind it.
        """
        assert self.tokens is not None
        count, risky = len(self.merges.parts), set()
        for token in self.tokens.alone():
            behind = self.follows[:count, :count][:, self._first == token]
            risky |= set(np.flatnonzero(~behind.any(1)).tolist())
        return np.array(sorted(risky), np.intp)

    def _is_stuck(self, number: int, walk: Walk) -> bool:
        """Whether nothing can come behind a class after which the walk is here."""
        token = walk.only()
        return token is not None and not self.follows[number, : len(self._first)][self._first == token].any()

    def _marked(self, walk: Walk, tree: Tree, found: list[int]) -> list[int]:
        """The classes of a tree whose tokens can all come, one after the other, behind those in `found`."""
        for token, branch in tree.items():
            if not walk.allows(token):
                continue
            risky = branch.number in self._risky_set
            behind = walk.after(token) if risky or branch.branches else walk
            if branch.number is not None and not (risky and self._is_stuck(branch.number, behind)):
                found.append(branch.number)
            if branch.branches:
                self._marked(behind, branch.branches, found)
        return found

    @cached_property
    def _risky_set(self) -> frozenset[int]:
        return frozenset(self._risky.tolist())

    def _tree(self, reaches: tuple[Hashable, ...]) -> Tree:
        """The tokens of the merged classes of some reaches."""
        if reaches not in self._trees:
            root: Tree = {}
            for number, reach in self._reach_of.items():
                if reach in reaches:
                    _grow(root, self.merges.parts[number], number)
            self._trees[reaches] = root
        return self._trees[reaches]

    @cached_property
    def _trees(self) -> dict[tuple[Hashable, ...], Tree]:
        return {}


@dataclass
class Branch:
    """One token behind others: the class that ends with it, if there is one, and what can follow it in others."""

    number: int | None = None
    branches: Tree = field(default_factory=dict)


Tree = dict[int, Branch]


def _grow(tree: Tree, tokens: Sequence[int], number: int) -> None:
    for token in tokens[:-1]:
        tree = tree.setdefault(token, Branch()).branches
    tree.setdefault(tokens[-1], Branch()).number = number


def _or_the_end(possible: np.ndarray) -> np.ndarray:
    """These, or the end alone where there are none, so that even then no other segmentation of a string comes about."""
    if not possible.any():
        possible[-1] = True
    return possible


class MergedState(GrammarState):
    """What can come behind a class: what its tokens allow, and what byte-pair encoding puts beside it."""

    __slots__ = ("_next", "_possible", "_toward_end", "grammar", "tokens")

    def __init__(self, grammar: MergedGrammar, tokens: TokenState | None, last: int | None) -> None:
        self.grammar, self.tokens = grammar, tokens
        self._next: dict[int, MergedState] = {}
        row = grammar.row(tokens)
        self._possible = row if last is None else _or_the_end(row & grammar.follows[last])
        self._toward_end = self._possible & grammar.toward_end(tokens)

    def possible(self) -> np.ndarray:
        """Which classes, and the end as the last, can come next, bool (K + 1,)."""
        return self._possible

    def toward_end(self) -> np.ndarray:
        """Which of these close what is open by the first of their tokens, bool (K + 1,)."""
        return self._toward_end

    def after(self, choice: int) -> MergedState:
        """The state behind one more class."""
        found = self._next.get(choice)
        if found is None:
            tokens = self.tokens
            if tokens is not None:
                for part in self.grammar.merges.parts_of(choice):
                    tokens = tokens.after(part)
            found = self._next[choice] = self.grammar.state(tokens, choice)
        return found
