"""A compact set of the keys of the training items, to tell new items from seen ones offline.

A Bloom filter (Bloom, CACM 13(7), 1970): it never misses a seen key and takes a new one for seen
with a known, small probability, so the count of new items is never too high.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from math import ceil, log

import numpy as np

#: Hash functions beyond which no set of keys gains anything.
MOST_HASHES = 64


class BloomFilter:
    """Keys as bits of a table; `key in keys` is certain when False, and nearly so when True."""

    def __init__(self, bits: np.ndarray, hashes: int, count: int) -> None:
        if not (isinstance(hashes, int) and 1 <= hashes <= MOST_HASHES and bits.ndim == 1 and bits.size):
            raise ValueError(f"a set of keys has bits and 1 to {MOST_HASHES} hash functions, not {hashes!r}")
        self.bits, self.hashes, self.count = bits, hashes, count

    @classmethod
    def of(cls, keys: Iterable[str], expected: int, bits_per_key: float = 14.0) -> BloomFilter:
        """The set of some keys.

        Args:
            keys: the keys, in any order, with or without repeats.
            expected: about how many distinct ones there are.
            bits_per_key: space; 14 bits give about one false positive in a thousand.
        """
        size = max(64, ceil(expected * bits_per_key / 8) * 8)
        found = cls(np.zeros(size // 8, dtype=np.uint8), max(1, round(bits_per_key * log(2))), 0)
        for key in keys:
            found.add(key)
        return found

    def add(self, key: str) -> None:
        """Put one key in."""
        places = self._places(key)
        if key not in self:
            self.count += 1
        for place in places:
            self.bits[place >> 3] |= 1 << (place & 7)

    def __contains__(self, key: str) -> bool:
        return all(self.bits[place >> 3] >> (place & 7) & 1 for place in self._places(key))

    def __len__(self) -> int:
        return self.count

    def same_as(self, other: BloomFilter) -> bool:
        """Whether both were made of the same keys, in tables of one size."""
        return self.hashes == other.hashes and np.array_equal(self.bits, other.bits)

    @property
    def false_positive_rate(self) -> float:
        """The probability that a key which was never added is taken for a member."""
        # From the bits that are set, so that it holds for a set that has outgrown its table too.
        return (float(np.bitwise_count(self.bits).mean()) / 8) ** self.hashes

    def _places(self, key: str) -> list[int]:
        # Two independent halves make all hash functions (Kirsch & Mitzenmacher, ESA 2006).
        digest = hashlib.blake2b(key.encode(), digest_size=16).digest()
        first, second = int.from_bytes(digest[:8], "little"), int.from_bytes(digest[8:], "little") | 1
        size = 8 * len(self.bits)
        return [(first + k * second) % size for k in range(self.hashes)]
