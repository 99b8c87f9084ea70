"""Sets of small numbers as integers with a bit for each."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache


@lru_cache(1 << 14)
def bits(numbers: int) -> tuple[int, ...]:
    """The numbers of a set, in order."""
    return tuple(number for number in range(numbers.bit_length()) if numbers >> number & 1)


def as_set(numbers: Iterable[int]) -> int:
    """The set of these numbers."""
    found = 0
    for number in numbers:
        found |= 1 << number
    return found
