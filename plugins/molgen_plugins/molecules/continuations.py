"""Which of many rows of tokens can come behind a state of a grammar, worked out once for all states that look alike.

The rows stand in a tree, which is cut where more of a state begins to matter: most rows need little of it, and those
that need more come only where their beginnings can. So of most states little is looked at, and little is told apart.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from molgen_plugins.molecules.merged_grammar import TokenGrammar, TokenState, Walk

#: At most so many results are remembered, of a few hundred bytes each with what they belong to.
REMEMBERED = 100_000

Tokens = tuple[int, ...]


@dataclass
class Branch:
    """One token behind others.

    Attributes:
        number: of the row that ends with it, if one does.
        branches: what can follow it in others.
        further: the pieces that go on from here, of rows that reach further.
    """

    number: int | None = None
    branches: dict[int, Branch] = field(default_factory=dict)
    further: list[int] = field(default_factory=list)


@dataclass
class Piece:
    """A part of the tree of which one reach decides.

    Attributes:
        reach: what of a state decides.
        path: the tokens before it.
        branches: the tokens that it begins with.
    """

    reach: Any
    path: Tokens
    branches: dict[int, Branch] = field(default_factory=dict)


#: Rows that can come, as a set, and the pieces that are to be looked at then, by reach.
Found = tuple[int, tuple[tuple[Any, Tokens], ...]]


class Continuations:
    """The rows that can come behind states of a grammar.

    Args:
        grammar: of the tokens.
        rows: the rows of tokens, by number; the end alone may be one.
        dead_ends: of a row by number, a set of tokens: where one of these is the only one that can come behind the row,
            the row does not come.
    """

    def __init__(self, grammar: TokenGrammar, rows: Mapping[int, Tokens], dead_ends: Mapping[int, int]) -> None:
        self._grammar, self._dead_ends = grammar, dead_ends
        self._pieces: list[Piece] = []
        self._numbers: dict[tuple[Any, Tokens], int] = {}
        for number, tokens in rows.items():
            self._plant(number, tokens)
        self._reaches = sorted({piece.reach for piece in self._pieces})
        self._first = dict(self._by_reach(n for n, piece in enumerate(self._pieces) if not piece.path))
        self._found: dict[tuple[Hashable, Tokens], Found] = {}
        self._same: dict[Any, Any] = {}

    def _plant(self, number: int, tokens: Tokens) -> None:
        branch: Branch | None = None
        before: Any = None
        for place, (token, reach) in enumerate(zip(tokens, self._grammar.reaches(tokens), strict=True)):
            if branch is None or reach != before:
                piece = self._piece(reach, tokens[:place])
                if branch is not None and piece not in branch.further:
                    branch.further.append(piece)
                branches = self._pieces[piece].branches
            else:
                branches = branch.branches
            branch, before = branches.setdefault(token, Branch()), reach
        assert branch is not None
        branch.number = number

    def _piece(self, reach: Any, path: Tokens) -> int:
        key = reach, path
        if key not in self._numbers:
            self._numbers[key] = len(self._pieces)
            self._pieces.append(Piece(reach, path))
        return self._numbers[key]

    def _by_reach(self, pieces: Iterable[int]) -> tuple[tuple[Any, Tokens], ...]:
        found: dict[Any, Tokens] = {}
        for piece in pieces:
            reach = self._pieces[piece].reach
            found[reach] = (*found.get(reach, ()), piece)
        return tuple(found.items())

    def behind(self, state: TokenState) -> int:
        """The numbers of the rows that can come behind a state, as a set."""
        rows, waiting, view, known = 0, dict(self._first), state.views(), self._found.get
        for reach in self._reaches:
            if reach in waiting:
                key = view(reach), waiting[reach]
                own, further = known(key) or self._remembered(*key, state)
                rows |= own
                for reach_further, more in further:
                    waiting[reach_further] = waiting.get(reach_further, ()) + more
        return rows

    def _remembered(self, view: Hashable, pieces: Tokens, state: TokenState) -> Found:
        if len(self._found) >= REMEMBERED:
            self._found.clear()
            self._same.clear()
        found = self._worked_out(state.walk(), pieces)
        # Few different ones come again and again.
        found, pieces = self._same.setdefault(found, found), self._same.setdefault(pieces, pieces)
        self._found[view, pieces] = found
        return found

    def _worked_out(self, walk: Walk, pieces: Tokens) -> Found:
        rows: list[int] = []
        further: list[int] = []
        for piece in [self._pieces[number] for number in pieces]:
            self._collect(walk.along(piece.path) if piece.path else walk, piece.branches, rows, further)
        return sum(1 << number for number in rows), self._by_reach(further)

    def _collect(self, walk: Walk, branches: Mapping[int, Branch], rows: list[int], further: list[int]) -> None:
        """Add the rows, and the pieces further on, that can come in a part of the tree."""
        for token, branch in branches.items():
            if not walk.allows(token):
                continue
            number = branch.number
            dead_end = 0 if number is None else self._dead_ends.get(number, 0)
            behind = walk.along((token,)) if dead_end or branch.branches else walk
            if number is not None and not (dead_end and _only_one_of(dead_end, behind)):
                rows.append(number)
            further += branch.further
            if branch.branches:
                self._collect(behind, branch.branches, rows, further)


def _only_one_of(tokens: int, walk: Walk) -> bool:
    """Whether only one token can come, and it is one of a set."""
    only = walk.only()
    return only is not None and bool(tokens >> only & 1)
