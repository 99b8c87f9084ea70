"""Which split an item belongs to: a function of the item and the seed, so that no other item and no order matters.

Letters in shapes: N items, C centres, B bytes of the bits of an item, W words of 8 bytes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import pyarrow as pa

from molgen.data.keys import mixed, words
from molgen_datasets.synthetic.draw import BITS, GROUP, KEY
from molgen_datasets.synthetic.recipe import SplitSettings

#: Pairs of an item and a centre that are compared at a time.
_PAIRS = 1 << 20


class Splitter:
    """Gives each candidate its split.

    Args:
        settings: the method, and the shares by the name of the split.
        seed: of the recipe.
        centres: in `cluster`, those that `centres` found, uint64 (C, W).
    """

    def __init__(self, settings: SplitSettings, seed: int, centres: np.ndarray | None = None) -> None:
        self._settings, self._seed, self._centres = settings, seed, centres
        shares = np.cumsum(list(settings.shares.values()))
        self._ends = (shares / shares[-1])[:-1]

    @property
    def columns(self) -> list[str]:
        """The columns of candidates that it reads."""
        grouped = {"random": [], "cluster": [BITS]}.get(self._settings.method, [GROUP])
        return [KEY, *grouped]

    def codes(self, candidates: pa.Table, first: int) -> np.ndarray:
        """The place of the split of each candidate among the shares, uint8 (N,).

        Args:
            candidates: with `columns`.
            first: the number of the first of them, by which one without a key goes to its split.
        """
        if len(self._ends) == 0:
            return np.zeros(len(candidates), np.uint8)
        uniform = mixed(self._numbers(candidates, first), self._seed) / np.float64(2**64)
        return np.searchsorted(self._ends, uniform, side="right").astype(np.uint8)

    def _numbers(self, candidates: pa.Table, first: int) -> np.ndarray:
        """A number for each candidate, equal for those that stay together, uint64 (N,)."""
        numbers = np.arange(first, first + len(candidates), dtype=np.uint64)
        keys = candidates[KEY].combine_chunks()
        there = keys.is_valid().to_numpy(zero_copy_only=False)
        numbers[there] = words(b"".join(keys.drop_null().to_pylist()))[:, 1]
        if GROUP in candidates.column_names:
            groups = candidates[GROUP].combine_chunks()
            grouped = groups.is_valid().to_numpy(zero_copy_only=False)
            numbers[grouped] = np.frombuffer(b"".join(groups.drop_null().to_pylist()), ">u8")
        if BITS in candidates.column_names and self._centres is not None:
            numbers = self._with_clusters(numbers, candidates)
        return numbers

    def _with_clusters(self, numbers: np.ndarray, candidates: pa.Table) -> np.ndarray:
        assert self._centres is not None
        bits = candidates[BITS].combine_chunks()
        there = bits.is_valid().to_numpy(zero_copy_only=False)
        found = bit_words(bits.drop_null().to_pylist())
        if len(found) and len(self._centres):
            nearest, similarity = _nearest(found, self._centres)
            rows = np.flatnonzero(there)[similarity >= self._settings.similarity]
            numbers[rows] = nearest[similarity >= self._settings.similarity].astype(np.uint64)
        return numbers


def bit_words(bits: Sequence[bytes]) -> np.ndarray:
    """The bits of items as words, uint64 (N, W)."""
    if not bits:
        return np.empty((0, 0), np.uint64)
    found = np.frombuffer(b"".join(bits), np.uint8).reshape(len(bits), -1)
    found = np.pad(found, ((0, 0), (0, -found.shape[1] % 8)))
    return np.ascontiguousarray(found).view(np.uint64)


def centres(bits: Iterable[np.ndarray], similarity: float, most: int) -> np.ndarray:
    """Items that are less alike than `similarity`, in their order: sphere exclusion of the first `most` items.

    Hudson et al., "Parameter based methods for compound selection", Quant. Struct.-Act. Relat. 15 (1996).

    Args:
        bits: of items in their order, uint64 (N, W) at a time.
        similarity: the Tanimoto similarity from which on an item belongs to a centre.
        most: items that are looked at.

    Returns:
        Their bits, uint64 (C, W).
    """
    found: list[np.ndarray] = []
    looked_at = 0
    for chunk in bits:
        for row in chunk[: most - looked_at]:
            if not found or _tanimoto(row[None], np.stack(found)).max() < similarity:
                found.append(row)
        looked_at += len(chunk)
        if looked_at >= most:
            break
    return np.stack(found) if found else np.empty((0, 0), np.uint64)


def _nearest(bits: np.ndarray, known: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The nearest centre of each item, the first of several, and the similarity to it, (N,) each."""
    step = max(1, _PAIRS // len(known))
    places, values = [], []
    for start in range(0, len(bits), step):
        similarity = _tanimoto(bits[start : start + step], known)
        places.append(similarity.argmax(1))
        values.append(similarity.max(1))
    return np.concatenate(places), np.concatenate(values)


def _tanimoto(bits: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Bits that both have by bits that either has, 1 where neither has any: (N, W) and (C, W) to (N, C)."""
    shared = np.zeros((len(bits), len(known)), np.uint32)
    for word in range(bits.shape[1]):
        shared += np.bitwise_count(bits[:, word, None] & known[None, :, word])
    own, theirs = (np.bitwise_count(side).sum(1, dtype=np.uint32) for side in (bits, known))
    either = own[:, None] + theirs[None] - shared
    return np.where(either > 0, shared / np.maximum(either, 1), 1.0)
