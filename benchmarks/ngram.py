"""The simplest model of strings: each token by the frequencies of what followed the last few tokens."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Iterable

from molgen_plugins.molecules.smiles.encoder import tokenise

_END = ""


class NGram:
    """Counts of the next token after each context of `order - 1` tokens."""

    def __init__(self, order: int) -> None:
        self.order = order
        self.counts: defaultdict[tuple[str, ...], Counter[str]] = defaultdict(Counter)

    def fit(self, strings: Iterable[str]) -> NGram:
        """Count the tokens of strings."""
        for string in strings:
            context = (_END,) * (self.order - 1)
            for token in [*tokenise(string), _END]:
                self.counts[context][token] += 1
                context = (*context[1:], token)
        return self

    def sample(self, count: int, seed: int) -> list[str]:
        """Draw strings."""
        source = random.Random(seed)
        return [self._one(source) for _ in range(count)]

    def _one(self, source: random.Random) -> str:
        tokens: list[str] = []
        context = (_END,) * (self.order - 1)
        while True:
            following = self.counts[context]
            token = source.choices(list(following), list(following.values()))[0]
            if token == _END:
                return "".join(tokens)
            tokens.append(token)
            context = (*context[1:], token)
