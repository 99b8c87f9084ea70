"""What encoders of line notations have in common: a vocabulary with spare rows. This module imports no RDKit.

Letters in shapes: N tokens of one string.
"""

from __future__ import annotations

import random
from abc import abstractmethod
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from molgen.domain import Encoder, Invalid, Item, KnownPart, Sample
from molgen.space import Axis, Categorical, Space
from molgen_plugins.molecules.geometry.plain import plain
from molgen_plugins.molecules.merged_grammar import MergedGrammar, TokenGrammar
from molgen_plugins.molecules.merges import Merges

#: No token has more characters, so a longer string is not even cut into tokens.
LONGEST_TOKEN = 40
#: The most tokens of a string: RDKit is given no more characters.
LONGEST = 10_000
#: How many of the training items merges are learned from; more hardly change them.
LEARNED_FROM = 50_000


def require_length(length: int) -> None:
    """See that strings may be so many tokens long.

    Raises:
        ValueError: RDKit is given no string of so many characters.
    """
    if not 1 <= length <= LONGEST:
        raise ValueError(f"max_length must be from 1 to {LONGEST:,}, not {length}")


class StringEncoder(Encoder):
    """Strings as one field `tokens`, class ids of shape (N,), 1 <= N <= max_length.

    The vocabulary is general and fixed; spare rows take the tokens that a training set adds to it. The end of a
    string is the size of its axis, so the vocabulary has no tokens for start, end or padding. With `merges` further
    classes stand for several tokens each, see `merges.py`; they are learned once, from the first training set.

    A notation says how an item is cut into tokens (`_tokens_of`), what tokens stand for (`_item_of`) and which
    tokens of the training items it may learn (`_learnable`); its settings have a `max_length` and a number of `merges`.
    """

    #: what the tokens are called in messages, as in "SMILES tokens".
    called: ClassVar[str]
    #: the tokens that every model knows; the id of a token is its place.
    known: ClassVar[tuple[str, ...]]
    spare_rows: ClassVar[int]
    molgen_tiny: ClassVar[Mapping[str, Any]] = {"max_length": 24}

    def __init__(self, config: Any = None) -> None:
        super().__init__(config)
        tokens = [*self.known, *[None] * self.spare_rows]
        self._use(tokens, Merges(len(tokens)))

    def _use(self, tokens: list[str | None], merges: Merges) -> None:
        self._tokens, self._merges = tokens, merges
        self._ids = {token: number for number, token in enumerate(tokens) if token is not None}
        length = Axis("length", self.config.max_length, minimum=1)
        own, classes = self._grammar_of(tokens), len(tokens) + self.config.merges
        grammar = MergedGrammar(own, merges, classes) if self.config.merges else own
        self._space = {"tokens": Categorical((length,), classes, grammar=grammar)}

    def _grammar_of(self, tokens: Sequence[str | None]) -> TokenGrammar | None:
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
        if "\n" in item:
            item = plain(item)
            if isinstance(item, Invalid):
                return item
        if not item:
            return Invalid("the string is empty")
        longest = self.config.max_length
        too_long = Invalid(f"the string is longer than the {longest} tokens that this model can write")
        if len(item) > longest * LONGEST_TOKEN * self._merges.longest:
            return too_long
        tokens = self._tokens_of(item)
        if isinstance(tokens, Invalid):
            return tokens
        try:
            ids = [self._ids[token] for token in tokens]
        except KeyError:
            return self._unknown(tokens) if len(tokens) <= longest else too_long
        merged = self._merges.merged(ids)
        return _sample(merged) if len(merged) <= longest else too_long

    def known_part(self, item: Item) -> KnownPart | Invalid:
        """What strings begin with that begin with the tokens of an item, however their last one goes on."""
        sample = self.encode(item)
        if isinstance(sample, Invalid) or not self.config.merges:
            return sample if isinstance(sample, Invalid) else KnownPart(sample)
        tokens = [token for number in sample["tokens"].tolist() for token in self._merges.parts_of(number)]
        ways = [_sample(way) for way in self._merges.covers(tokens) if len(way) <= self.config.max_length]
        return KnownPart(ways[0], ways=ways)

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
        spare: int | None = None
        tokens: list[str] = []
        for number in sample["tokens"].tolist():
            parts = [self._tokens[part] for part in self._merges.parts_of(number)]
            if spare is None and (not parts or None in parts):
                spare = number
            tokens += ["*" if part is None else part for part in parts or [None]]
        if spare is None:
            return self._item_of(tokens)
        reason = f"class {spare} is a spare row of the vocabulary, to which no token belongs"
        return Invalid(reason, raw="".join(tokens))

    def prepare(self, items: Iterable[Item]) -> None:
        """Give the free spare rows to the unknown tokens of the training items, most frequent first; learn merges."""
        sample: list[str] = []
        learns = self.config.merges > len(self._merges) == 0
        counts = self._learnable(_kept(items, sample) if learns else items)
        unknown = sorted((-count, token) for token, count in counts.items() if token not in self._ids)
        tokens = list(self._tokens)
        free = [number for number, token in enumerate(tokens) if token is None]
        for number, (_, token) in zip(free, unknown, strict=False):
            tokens[number] = token
        self._use(tokens, self._merges)
        if learns:
            self._use(tokens, Merges.learned(len(tokens), self._rows(sample), self.config.merges))

    def _rows(self, items: Iterable[str]) -> Iterator[list[int]]:
        """The tokens, as classes, of the items that can be encoded."""
        for item in items:
            tokens = self._tokens_of(item) if len(item) <= self.config.max_length * LONGEST_TOKEN else []
            if not isinstance(tokens, Invalid) and all(token in self._ids for token in tokens):
                yield [self._ids[token] for token in tokens]

    def state(self) -> dict[str, Any]:
        """The whole vocabulary in the order of its ids, with null for a free spare row, and the pairs of merges."""
        merges = {"merges": [list(pair) for pair in self._merges.pairs]} if self.config.merges else {}
        return {"tokens": list(self._tokens), **merges}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Take over a vocabulary.

        Raises:
            ValueError: the vocabulary is no list of distinct tokens and nulls, or the merges are not pairs of classes.
        """
        tokens = state.get("tokens")
        if not isinstance(tokens, list) or not all(token is None or isinstance(token, str) for token in tokens):
            raise ValueError(f"the vocabulary of {self.called} tokens must be a list of strings and nulls")
        known = [token for token in tokens if token is not None]
        if not known or len(set(known)) < len(known):
            raise ValueError(f"the vocabulary of {self.called} tokens must name each token once")
        self._use(list(tokens), self._merges_in(state, len(tokens)))

    def _merges_in(self, state: Mapping[str, Any], base: int) -> Merges:
        pairs = state.get("merges", []) if self.config.merges else []
        if not isinstance(pairs, list) or len(pairs) > self.config.merges or not all(map(_is_pair, pairs)):
            raise ValueError(
                f"the merges of {self.called} tokens must be at most {self.config.merges} pairs of classes"
            )
        return Merges(base, [(left, right) for left, right in pairs])


def _sample(ids: Sequence[int]) -> Sample:
    return {"tokens": np.array(ids, np.int64)}


def _is_pair(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(type(number) is int for number in value)


def _kept(items: Iterable[Item], sample: list[str]) -> Iterator[Item]:
    """The items, of which a random sample of at most `LEARNED_FROM` strings is left in `sample`."""
    chance, seen = random.Random(0), 0
    for item in items:
        if isinstance(item, str):
            seen += 1
            place = len(sample) if len(sample) < LEARNED_FROM else chance.randrange(seen)
            sample[place : place + 1] = [item] if place < LEARNED_FROM else sample[place : place + 1]
        yield item
