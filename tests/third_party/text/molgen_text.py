"""Short texts, a line each: names, words, sentences. Characters or words are the classes of one sequence."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from molgen import Axis, Categorical, Descriptors, Domain, Encoder, Invalid
from molgen.data.kmers import kmers


@dataclass(frozen=True)
class TextConfig:
    """`length`: the most characters, or words and what is between them; `words`: whether a word is one class."""

    length: int = 100
    words: bool = False


class Text(Domain, Encoder):
    """A line of text; the characters or words of the training data are the vocabulary."""

    molgen_api: ClassVar[int] = 1
    Config: ClassVar[type] = TextConfig
    column: ClassVar[str] = "text"
    repeats: ClassVar[bool] = True
    distance_feature: ClassVar[str | None] = "kmers"
    bits_feature: ClassVar[str | None] = "kmers"
    molgen_tiny: ClassVar[Mapping[str, Any]] = {"length": 16}

    def __init__(self, config: TextConfig | None = None) -> None:
        super().__init__(config)
        self.prepare(self.examples())

    def examples(self) -> list[str]:
        """A few names."""
        return ["Ada Lovelace", "Alan Turing", "Grace Hopper", "O'Neil"]

    def canonical(self, item: str) -> str | Invalid:
        """The text with single spaces between words and none at its ends."""
        return " ".join(item.split()) or Invalid("there is no text")

    def key(self, item: str) -> str:
        """The text itself."""
        return item

    def descriptors(self) -> Descriptors:
        """The runs of characters that texts share."""
        return Descriptors(features={"kmers": kmers})

    def canary(self, rng: np.random.Generator, items: Sequence[str]) -> str:
        """A text of words that come from others, one each."""
        texts = [items[int(rng.integers(len(items)))].split() for _ in range(int(rng.integers(3, 8)))]
        return " ".join(words[int(rng.integers(len(words)))] for words in texts)

    def prepare(self, items: Iterable[str]) -> None:
        """Take what the texts are made of as the vocabulary, in alphabetical order."""
        self.vocabulary = sorted({token for item in items for token in self._tokens(item)})

    def state(self) -> dict[str, Any]:
        """The vocabulary."""
        return {"vocabulary": self.vocabulary}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Take back the vocabulary."""
        self.vocabulary = list(state["vocabulary"])

    @classmethod
    def settings_for(cls, items: Iterable[str]) -> Mapping[str, Any]:
        """As many places as the longest text has characters."""
        return {"length": max(map(len, items), default=1)}

    @property
    def space(self) -> Mapping[str, Categorical]:
        """One class for each character or word."""
        return {"tokens": Categorical((Axis("place", self.config.length),), classes=len(self.vocabulary))}

    def encode(self, item: str) -> Mapping[str, np.ndarray] | Invalid:
        """The numbers of the tokens in the vocabulary."""
        tokens, known = self._tokens(item), {token: number for number, token in enumerate(self.vocabulary)}
        if not 1 <= len(tokens) <= self.config.length:
            return Invalid(f"the text has {len(tokens)} tokens, not 1 to {self.config.length}")
        if unknown := [token for token in tokens if token not in known]:
            return Invalid(f"{unknown[0]!r} is not in the vocabulary")
        return {"tokens": np.array([known[token] for token in tokens])}

    def decode(self, sample: Mapping[str, np.ndarray]) -> str | Invalid:
        """The tokens side by side."""
        return "".join(self.vocabulary[number] for number in sample["tokens"])

    def _tokens(self, item: str) -> list[str]:
        return re.findall(r"\w+|\W", item) if self.config.words else list(item)
