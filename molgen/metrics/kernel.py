"""The kernel distance between two sets in a space of features.

Letters in shapes: D features of an item, N items of a sample, M of the reference's, G groups.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np

from molgen.errors import MolgenError
from molgen.evaluation.intervals import jackknife_error, normal_interval
from molgen.metric import GROUPS, Against, Better, Estimate, Summary, undefined
from molgen.metrics.distances import BLOCK
from molgen.metrics.sample import SampledMetric, Subsample


class KernelDistance(SampledMetric):
    """The unbiased squared maximum mean discrepancy of a feature between the items and the reference: KID.

    The kernel is that of Bińkowski et al., ICLR 2018: (x.y / D + 1)^3. They average the discrepancy over
    random subsets of 1,000 items, to save time; every subset has the same expectation, and with more and
    more subsets their average tends to the discrepancy of all pairs of the samples, which this is. As it is
    unbiased it does not depend on the number of items, and may be a little below 0 where the sets are alike.
    """

    against: ClassVar[Against] = Against.REFERENCE
    reference: ClassVar[type[Summary] | None] = Subsample
    better: ClassVar[Better] = Better.LOWER

    def __init__(self, config: Any = None, reference: Any = None, training: Any = None) -> None:
        super().__init__(config, reference, training)
        self._reference: Subsample = reference

    def estimate(self, rng: np.random.Generator) -> Estimate:
        """The discrepancy; undefined where either side has fewer than 2 items.

        Raises:
            MolgenError: the feature is not as wide as that of the reference.
        """
        items, known = self.sample.vectors.astype(np.float64), self._reference.vectors.astype(np.float64)
        if min(len(items), len(known)) < 2:
            side = "valid items" if len(items) < 2 else "items in the reference"
            return undefined(f"fewer than 2 {side}", len(items))
        if items.shape[1] != known.shape[1]:
            raise MolgenError(f"{items.shape[1]} features against {known.shape[1]} of the reference")
        sums = _Sums(items, known, self.sample.groups)
        error = jackknife_error(sums.discrepancy, np.flatnonzero(sums.counts).tolist())
        return normal_interval(sums.discrepancy(), error, len(items), note=self.sample.note(len(items)))


class _Sums:
    """Sums of the kernel over pairs by the groups of the items, so that any group can be left out.

    Args:
        items: float64 (N, D).
        known: those of the reference, float64 (M, D).
        groups: of the items, int64 (N,).

    Attributes:
        counts: the items of each group, int64 (G,).
    """

    def __init__(self, items: np.ndarray, known: np.ndarray, groups: np.ndarray) -> None:
        self.counts = np.bincount(groups, minlength=GROUPS)
        self._size = len(known)
        self._known = sum(kernel(block, known).sum() - kernel_of_selves(block).sum() for block in _blocks(known))
        self._pairs, self._cross = np.zeros((GROUPS, GROUPS)), np.zeros(GROUPS)
        for group in np.flatnonzero(self.counts):
            for block in _blocks(items[groups == group]):
                self._pairs[group] += np.bincount(groups, kernel(block, items).sum(0), GROUPS)
                self._pairs[group, group] -= kernel_of_selves(block).sum()
                self._cross[group] += kernel(block, known).sum()

    def discrepancy(self, without: int | None = None) -> float:
        """The unbiased squared discrepancy of the items, or of all but a group; NaN for fewer than 2 items."""
        kept = np.arange(GROUPS) != without
        count = int(self.counts[kept].sum())
        if count < 2:
            return math.nan
        within = self._pairs[np.ix_(kept, kept)].sum() / (count * (count - 1))
        known = self._known / (self._size * (self._size - 1))
        return float(within + known - 2 * self._cross[kept].sum() / (count * self._size))


def kernel(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """The kernel between vectors (N, D) and (M, D), float64 (N, M)."""
    values = first @ second.T
    values /= first.shape[1]
    values += 1
    return values * values * values


def kernel_of_selves(vectors: np.ndarray) -> np.ndarray:
    """The kernel of each vector (N, D) with itself, float64 (N,)."""
    return (np.einsum("nd,nd->n", vectors, vectors) / vectors.shape[1] + 1) ** 3


def _blocks(vectors: np.ndarray) -> Iterator[np.ndarray]:
    return (vectors[start : start + BLOCK] for start in range(0, len(vectors), BLOCK))
