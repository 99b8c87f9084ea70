"""What encoders of line notations have in common: a vocabulary with spare rows. This module imports no RDKit.

Letters in shapes: N tokens of one string.
"""

from __future__ import annotations

from abc import abstractmethod
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from molgen.domain import Encoder, Invalid, Item, Sample
from molgen.space import Axis, Categorical, Grammar, Space

#: No token has more characters, so a longer string is not even cut into tokens.
LONGEST_TOKEN = 40


class StringEncoder(Encoder):
    """Strings as one field `tokens`, class ids of shape (N,), 1 <= N <= max_length.

    The vocabulary is general and fixed; spare rows take the tokens that a training set adds to it. The end of a
    string is the size of its axis, so the vocabulary has no tokens for start, end or padding.

    A notation says how an item is cut into tokens (`_tokens_of`), what tokens stand for (`_item_of`) and which
    tokens of the training items it may learn (`_learnable`); its settings have a `max_length`.
    """

    #: what the tokens are called in messages, as in "SMILES tokens".
    called: ClassVar[str]
    #: the tokens that every model knows; the id of a token is its place.
    known: ClassVar[tuple[str, ...]]
    spare_rows: ClassVar[int]
    molgen_tiny: ClassVar[Mapping[str, Any]] = {"max_length": 24}

    def __init__(self, config: Any = None) -> None:
        super().__init__(config)
        self._use([*self.known, *[None] * self.spare_rows])

    def _use(self, tokens: list[str | None]) -> None:
        self._tokens = tokens
        self._ids = {token: number for number, token in enumerate(tokens) if token is not None}
        length = Axis("length", self.config.max_length, minimum=1)
        self._space = {"tokens": Categorical((length,), len(tokens), grammar=self._grammar_of(tokens))}

    def _grammar_of(self, tokens: Sequence[str | None]) -> Grammar | None:
        """What rules out strings over the tokens, by class; nothing does by default."""
        return None

    @abstractmethod
    def _tokens_of(self, item: str) -> Sequence[str] | Invalid:
        """The tokens of an item, or why it has none."""

    @abstractmethod
    def _item_of(self, tokens: Sequence[str]) -> Item | Invalid:
        """The item that tokens stand for, or why there is none."""

    @abstractmethod
    def _learnable(self, items: Iterable[Item]) -> Counter[str]:
        """How often the training items have each token that could get a spare row; known tokens may be missing."""

    @property
    def space(self) -> Space:
        """One field, `tokens`, along the axis `length`."""
        return self._space

    def encode(self, item: Item) -> Sample | Invalid:
        """The class ids of the tokens of an item, int64 of shape (N,), or why it has none."""
        if not isinstance(item, str):
            return Invalid(f"a molecule is written as a SMILES string, not as {type(item).__name__}")
        if not item:
            return Invalid("the string is empty")
        longest = self.config.max_length
        tokens = self._tokens_of(item) if len(item) <= longest * LONGEST_TOKEN else item
        if isinstance(tokens, Invalid):
            return tokens
        if len(tokens) > longest:
            return Invalid(f"the string is longer than the {longest} tokens that this model can write")
        try:
            return {"tokens": np.array([self._ids[token] for token in tokens], np.int64)}
        except KeyError:
            return self._unknown(tokens)

    def _unknown(self, tokens: Iterable[str]) -> Invalid:
        """Name the first unknown token and its place, counted in characters from 1."""
        position = 1
        for token in tokens:
            if token not in self._ids:
                return Invalid(f"token {token!r} at position {position} is not in the vocabulary of this model")
            position += len(token)
        raise AssertionError("every token is known")

    def decode(self, sample: Sample) -> Item | Invalid:
        """The item of a sample, or why it is none, such as a class that stands for no token yet."""
        tokens = []
        for number in sample["tokens"].tolist():
            token = self._tokens[number]
            if token is None:
                return Invalid(f"class {number} is a spare row of the vocabulary, to which no token belongs")
            tokens.append(token)
        return self._item_of(tokens)

    def prepare(self, items: Iterable[Item]) -> None:
        """Give the free spare rows to the unknown tokens of the training items, most frequent first."""
        counts = self._learnable(items)
        unknown = sorted((-count, token) for token, count in counts.items() if token not in self._ids)
        tokens = list(self._tokens)
        free = [number for number, token in enumerate(tokens) if token is None]
        for number, (_, token) in zip(free, unknown, strict=False):
            tokens[number] = token
        self._use(tokens)

    def state(self) -> dict[str, Any]:
        """The whole vocabulary in the order of its ids, with null for a free spare row."""
        return {"tokens": list(self._tokens)}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Take over a vocabulary.

        Raises:
            ValueError: the vocabulary is not a list of distinct tokens and nulls.
        """
        tokens = state.get("tokens")
        if not isinstance(tokens, list) or not all(token is None or isinstance(token, str) for token in tokens):
            raise ValueError(f"the vocabulary of {self.called} tokens must be a list of strings and nulls")
        known = [token for token in tokens if token is not None]
        if not known or len(set(known)) < len(known):
            raise ValueError(f"the vocabulary of {self.called} tokens must name each token once")
        self._use(list(tokens))
