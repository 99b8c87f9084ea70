"""Byte-pair merges over the tokens of a line notation (Sennrich et al., arXiv 1508.07909). No RDKit, no torch.

A class below `base` is a token of the notation; class `base + n` stands for the n-th merge, that is for two classes
before it side by side. Learning and applying merges is the work of the library `tokenizers`, which sees each token as
one character of a private-use area.

A row of tokens has many segmentations, of which byte-pair encoding makes one. It is the one in which every two
neighbours are what byte-pair encoding makes of the two alone (Vieira et al., arXiv 2506.07956), so a table of which
class may follow which rules out all the others.

Letters in shapes: N tokens of one row, K classes.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from tokenizers import Tokenizer

Pair = tuple[int, int]

#: The first character of the private-use area.
_FIRST = 0xE000
#: How many tokens a notation may have there.
MOST_TOKENS = 6400
MOST_MERGES = 4096


class Merges:
    """Merges in the order in which they were learned.

    Args:
        base: the number of tokens of the notation.
        pairs: the two classes of each merge.

    Raises:
        ValueError: a pair of no two classes before it, two merges that stand for the same tokens, or a merge that
            byte-pair encoding never makes, because an earlier one always takes one of its tokens.
    """

    def __init__(self, base: int, pairs: Iterable[Pair] = ()) -> None:
        self.base = base
        self.pairs = tuple((left, right) for left, right in pairs)
        self.parts = list(self._parts())
        if len(set(self.parts)) < len(self.parts):
            raise ValueError("two merges of tokens stand for the same tokens")
        self.follows = self._follows()

    def __len__(self) -> int:
        return len(self.pairs)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Merges) and (self.base, self.pairs) == (other.base, other.pairs)

    def __hash__(self) -> int:
        return hash((self.base, self.pairs))

    def __reduce__(self) -> tuple[type[Merges], tuple[int, tuple[Pair, ...]]]:
        return Merges, (self.base, self.pairs)

    @property
    def longest(self) -> int:
        """The most tokens that a class stands for."""
        return max(map(len, self.parts), default=1)

    def parts_of(self, number: int) -> tuple[int, ...]:
        """The tokens that a class stands for; of one that no merge was learned for, none."""
        return self.parts[number] if number < len(self.parts) else ()

    def _parts(self) -> Iterator[tuple[int, ...]]:
        """The tokens of each class."""
        found: list[tuple[int, ...]] = [(token,) for token in range(self.base)]
        for left, right in self.pairs:
            if not (0 <= left < len(found) and 0 <= right < len(found)):
                raise ValueError(f"the merge {len(found) - self.base} of tokens is not of two classes before it")
            found.append(found[left] + found[right])
        yield from found

    # --- learning and applying --------------------------------------------------------------------

    @classmethod
    def learned(cls, base: int, rows: Iterable[Sequence[int]], count: int) -> Merges:
        """At most so many merges of the pairs that are most frequent in rows of tokens."""
        from tokenizers import Tokenizer, models, trainers

        tokenizer = Tokenizer(models.BPE())
        alphabet = [chr(_FIRST + token) for token in range(base)]
        trainer = trainers.BpeTrainer(
            vocab_size=base + count, initial_alphabet=alphabet, min_frequency=2, show_progress=False, special_tokens=[]
        )
        tokenizer.train_from_iterator(map(_as_text, rows), trainer)
        classes = {character: token for token, character in enumerate(alphabet)}
        pairs: list[Pair] = []
        for left, right in json.loads(tokenizer.to_str())["model"]["merges"]:
            if left + right not in classes:
                classes[left + right] = base + len(pairs)
                pairs.append((classes[left], classes[right]))
        return cls(base, pairs)

    def merged(self, tokens: Sequence[int]) -> list[int]:
        """The classes that byte-pair encoding makes of a row of tokens."""
        return self._tokenizer.encode(_as_text(tokens)).ids if self.pairs else list(tokens)

    def covers(self, tokens: Sequence[int]) -> list[list[int]]:
        """All rows of classes that begin with these tokens and would not without their last class.

        Each string that begins with the tokens begins with one of these rows: its classes up to the first one that
        reaches the end of the tokens. The first row is that of the tokens alone.
        """
        found = [self.merged(tokens)]
        for start in range(max(0, len(tokens) - self.longest + 1), len(tokens)):
            before, rest = self.merged(tokens[:start]), tuple(tokens[start:])
            for number, parts in enumerate(self.parts):
                if parts[: len(rest)] == rest and (not before or self.follows[before[-1], number]):
                    found.append([*before, number])
        return [row for place, row in enumerate(found) if place == 0 or row != found[0]]

    @cached_property
    def _tokenizer(self) -> Tokenizer:
        from tokenizers import Tokenizer, models

        texts = [_as_text(parts) for parts in self.parts]
        vocabulary = {text: number for number, text in enumerate(texts)}
        merges = [(texts[left], texts[right]) for left, right in self.pairs]
        return Tokenizer(models.BPE(vocab=vocabulary, merges=merges, cache_capacity=0))

    # --- what may follow what ---------------------------------------------------------------------

    def _follows(self) -> np.ndarray:
        """Whether class k may follow class j, bool (K, K).

        While byte-pair encoding works on two classes side by side, what stands on either side of the border are the
        nodes of their trees along it, each from its own merge until that of its parent. A merge joins two such nodes
        across the border if its turn comes while both are there; of two places for one merge the left one is first.
        """
        count = len(self.parts)
        follows = np.ones((count, count), bool)
        last, first = self._borders(1), self._borders(0)
        for rank, (left, right) in enumerate(self.pairs):
            if not follows[left, right]:
                raise ValueError(f"the merge {rank} of tokens is one that byte-pair encoding never makes")
            before = [number for number, until in last[left] if rank < until]
            behind = [number for number, until in first[right] if rank <= until]
            follows[np.ix_(before, behind)] = False
        return follows

    def _borders(self, side: int) -> list[list[Pair]]:
        """Of each class, the classes whose tree has it along the first (0) or last (1) border, and until which rank."""
        found: list[list[Pair]] = [[] for _ in self.parts]
        for number in range(len(self.parts)):
            node, until = number, len(self.pairs)
            while True:
                found[node].append((number, until))
                if node < self.base:
                    break
                until = node - self.base
                node = self.pairs[until][side]
        return found


def _as_text(tokens: Iterable[int]) -> str:
    return "".join([chr(_FIRST + token) for token in tokens])
