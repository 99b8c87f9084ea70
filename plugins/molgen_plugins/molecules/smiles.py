"""SMILES strings as sequences of tokens. This module imports no torch, and RDKit for Kekulé forms only."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from molgen.domain import Encoder, Invalid, Item, Sample
from molgen.space import Axis, Categorical, Space
from molgen_plugins.molecules.vocabulary import SPARE_ROWS, TOKENS

#: A bracket atom is one token; its length is bounded so that a stray "[" costs no more than this.
_LONGEST_TOKEN = 40
_BRACKET = rf"\[[^\[\]\s]{{1,{_LONGEST_TOKEN - 2}}}\]"
_RING_CLOSURE = r"%\d\d|%\(\d{1,5}\)"
_tokens = re.compile(rf"{_BRACKET}|Br|Cl|{_RING_CLOSURE}|->|<-|.", re.DOTALL).findall

#: Only these get a spare row: anything else that is unknown is a mistake, not a part of the language.
_learnable = re.compile(rf"{_BRACKET}|{_RING_CLOSURE}").findall


def tokenise(smiles: str) -> list[str]:
    """The tokens of a string in their order; joined, they are the string again."""
    return _tokens(smiles)


@dataclass(frozen=True)
class SmilesConfig:
    """Settings of the SMILES encoder.

    Attributes:
        max_length: the largest number of tokens in a string.
        kekule: write aromatic rings with alternating single and double bonds, see `kekule.py`.
    """

    max_length: int = 120
    kekule: bool = False

    def __post_init__(self) -> None:
        if self.max_length < 1:
            raise ValueError(f"max_length must be at least 1, not {self.max_length}")


class Smiles(Encoder):
    """SMILES strings as one field `tokens`, class ids of shape (N,), 1 <= N <= max_length.

    The vocabulary is general and fixed; spare rows take the tokens that a training set adds to it. The
    end of a string is the size of its axis, so the vocabulary has no tokens for start, end or padding.
    Encoding checks the alphabet, not the chemistry. With `kekule` a string is encoded in its Kekulé form.
    """

    Config: ClassVar[type] = SmilesConfig

    def __init__(self, config: SmilesConfig | None = None) -> None:
        self.config = config or SmilesConfig()
        self._use([*TOKENS, *[None] * SPARE_ROWS])

    def _use(self, tokens: list[str | None]) -> None:
        self._tokens = tokens
        self._ids = {token: number for number, token in enumerate(tokens) if token is not None}
        length = Axis("length", self.config.max_length, minimum=1)
        self._space = {"tokens": Categorical((length,), classes=len(tokens))}

    @property
    def space(self) -> Space:
        """One field, `tokens`, along the axis `length`."""
        return self._space

    def encode(self, item: Item) -> Sample | Invalid:
        """The class ids of the tokens of a SMILES string, int64 of shape (N,), or why it has none."""
        if not isinstance(item, str):
            return Invalid(f"a molecule is written as a SMILES string, not as {type(item).__name__}")
        if not item:
            return Invalid("the string is empty")
        longest = self.config.max_length
        tokens = self._written(item) if len(item) <= longest * _LONGEST_TOKEN else item
        if isinstance(tokens, Invalid):
            return tokens
        if len(tokens) > longest:
            return Invalid(f"the string is longer than the {longest} tokens that this model can write")
        try:
            return {"tokens": np.array([self._ids[token] for token in tokens], np.int64)}
        except KeyError:
            return self._unknown(tokens)

    def _written(self, item: str) -> list[str] | Invalid:
        """The tokens of a string as this encoder writes it."""
        tokens: list[str] = _tokens(item)
        if not self.config.kekule:
            return tokens
        from molgen_plugins.molecules import kekule

        return kekule.rewritten(tokens)

    def _unknown(self, tokens: Iterable[str]) -> Invalid:
        """Name the first unknown token and its place, counted in characters from 1."""
        position = 1
        for token in tokens:
            if token not in self._ids:
                return Invalid(f"token {token!r} at position {position} is not in the vocabulary of this model")
            position += len(token)
        raise AssertionError("every token is known")

    def decode(self, sample: Sample) -> Item | Invalid:
        """The SMILES string of a sample, or why it is none: a class that stands for no token yet."""
        ids = sample["tokens"].tolist()
        try:
            return "".join([self._tokens[number] for number in ids])
        except TypeError:
            number = next(number for number in ids if self._tokens[number] is None)
            return Invalid(f"class {number} is a spare row of the vocabulary, to which no token belongs")

    def prepare(self, items: Iterable[Item]) -> None:
        """Give the free spare rows to the unknown tokens of the training strings, most frequent first."""
        counts = Counter(token for item in items if isinstance(item, str) for token in _learnable(item))
        if self.config.kekule:
            counts = _without_aromatic_atoms(counts)
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
            raise ValueError("the vocabulary of SMILES tokens must be a list of strings and nulls")
        known = [token for token in tokens if token is not None]
        if not known or len(set(known)) < len(known):
            raise ValueError("the vocabulary of SMILES tokens must name each token once")
        self._use(list(tokens))


def _without_aromatic_atoms(counts: Mapping[str, int]) -> Counter[str]:
    from molgen_plugins.molecules import kekule

    result: Counter[str] = Counter()
    for token, count in counts.items():
        result[kekule.atom(token)] += count
    return result
