"""How alike two sequences are, whatever they are made of: the short runs of tokens that they share."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from zlib import crc32

import numpy as np


def kmers(tokens: Sequence[str], sizes: Sequence[int] = (1, 2, 3), width: int = 2048) -> np.ndarray:
    """The runs of a sequence's tokens (k-mers, n-grams) as bits, each under a hash of what it is and how often it came.

    The Tanimoto similarity of two such vectors is the share of runs that both sequences have, repeats counted, but for
    runs whose hashes meet. A domain gives it as a feature and names that as its `distance_feature` and `bits_feature`.

    Source: Broder, On the resemblance and containment of documents, 1997, whose shingles are runs of words.

    Example:
        >>> first, second = kmers("GIGKFLHSAKK"), kmers("GIGKFLHSARR")
        >>> round(float(np.bitwise_count(first & second).sum() / np.bitwise_count(first | second).sum()), 2)
        0.65

    Args:
        tokens: letters of a text or a protein, words, names of states.
        sizes: the lengths of the runs.
        width: bits, a multiple of 8; more of them for sequences of more than some hundred tokens.

    Returns:
        uint8 (width / 8,).

    Raises:
        ValueError: the width is no multiple of 8, or a size is below 1.
    """
    if width < 8 or width % 8 or min(sizes, default=0) < 1:
        raise ValueError(f"width must be a multiple of 8 and sizes at least 1, not {width} and {list(sizes)}")
    bits = np.zeros(width, bool)
    for size in sizes:
        runs = Counter("\0".join(tokens[start : start + size]) for start in range(len(tokens) - size + 1))
        for run, count in runs.items():
            bits[[crc32(f"{number}\0{run}".encode()) % width for number in range(count)]] = True
    return np.packbits(bits)
