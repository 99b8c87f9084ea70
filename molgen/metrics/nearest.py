"""Random samples of features, distances between them, and how near items come to the training items.

Letters in shapes: V valid rows of a portion, D features of an item, N and M items of samples.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from molgen.errors import MolgenError
from molgen.metric import (
    Against,
    Better,
    Estimate,
    GroupedMean,
    Metric,
    Portion,
    Summary,
    groups_of,
    undefined,
    with_interval,
)
from molgen.metrics.frechet import FeatureConfig, feature_vectors

#: Items whose distances to all of a sample are in memory together.
BLOCK = 512
#: Squared distances that differ by less than this share of the squared lengths are equal but for rounding.
ROUNDING = 1e-12


@dataclass(frozen=True)
class SampleConfig(FeatureConfig):
    """Settings of a metric of a sample.

    Attributes:
        most: items of each side that are drawn at random where there are more. Distances between all pairs
            cost its square.
    """

    most: int = 10_000

    def __post_init__(self) -> None:
        if self.most < 2:
            raise ValueError(f"most must be 2 or more, not {self.most}")


# --- samples --------------------------------------------------------------------------------------


class Subsample(Summary):
    """At most `most` feature vectors of a set, drawn without replacement, in random order.

    Every row number has a rank that is as good as random, and the lowest ranks stay. So portions do not
    matter, no count is needed beforehand, and the first n of a sample are a sample of n.

    Attributes:
        count: the items that it was drawn from.
    """

    def __init__(self, config: Any = None) -> None:
        super().__init__(config if config is not None else SampleConfig())
        self.count = 0
        self._rows, self._vectors = np.zeros(0, np.int64), np.zeros((0, 0), np.float32)
        self._waiting: list[tuple[np.ndarray, np.ndarray]] = []

    @classmethod
    def name(cls, config: Any) -> str:
        """One for each feature and size."""
        return f"sample-{config.feature}-{config.most}"

    @classmethod
    def needed(cls, config: Any) -> tuple[str, ...]:
        """The feature."""
        return (config.feature,)

    def add(self, portion: Portion) -> None:
        """Take in some rows.

        Raises:
            MolgenError: a feature is not finite.
        """
        rows, found = portion.rows, feature_vectors(portion, self.config.feature, np.float32)
        self.count += len(rows)
        if len(self._rows) == self.config.most:
            likely = _ranks(rows) < _ranks(self._rows[-1:])
            rows, found = rows[likely], found[likely]
        if len(rows):
            self._waiting.append((rows, found))
        if sum(len(rows) for rows, _ in self._waiting) >= self.config.most:
            self._settle()

    def _settle(self) -> None:
        """Keep the lowest ranks of what is there, in their order."""
        if not self._waiting:
            return
        kept = [(self._rows, self._vectors)] if len(self._rows) else []
        rows, found = (np.concatenate(parts) for parts in zip(*kept, *self._waiting, strict=True))
        lowest = np.argsort(_ranks(rows))[: self.config.most]
        self._rows, self._vectors, self._waiting = rows[lowest], found[lowest], []

    @property
    def vectors(self) -> np.ndarray:
        """The sample, float32 (N, D); (0, 0) of an empty set."""
        self._settle()
        return self._vectors

    @property
    def groups(self) -> np.ndarray:
        """The group of each of its items, int64 (N,)."""
        self._settle()
        return groups_of(self._rows)

    def note(self, size: int) -> str:
        """What to say of a value that rests on `size` items of it."""
        return f"a sample of {size:,} of {self.count:,} items" if size < self.count else ""

    def arrays(self) -> dict[str, np.ndarray]:
        """The sample, its row numbers, and the count of the set."""
        return {"vectors": self.vectors, "rows": self._rows, "count": np.array([self.count])}

    def load(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Take back what `arrays` gave."""
        self._vectors, self._rows, self.count = arrays["vectors"], arrays["rows"], int(arrays["count"][0])


def _ranks(rows: np.ndarray) -> np.ndarray:
    """Numbers as good as random for row numbers, different ones for different rows; uint64 of the same shape.

    Source: the finaliser of SplitMix64 (Steele, Lea & Flood, OOPSLA 2014).
    """
    mixed = (rows.astype(np.uint64) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ mixed >> np.uint64(30)) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ mixed >> np.uint64(27)) * np.uint64(0x94D049BB133111EB)
    return mixed ^ mixed >> np.uint64(31)


class SampledMetric(Metric):
    """A metric of a sample of the items' features."""

    Config: ClassVar[type] = SampleConfig

    def __init__(self, config: Any = None, reference: Any = None, training: Any = None) -> None:
        super().__init__(config, reference, training)
        self.sample = Subsample(self.config)

    @classmethod
    def needed(cls, config: Any) -> tuple[str, ...]:
        """The feature."""
        return (config.feature,)

    def add(self, portion: Portion) -> None:
        """Take in some rows.

        Raises:
            MolgenError: a feature is not finite.
        """
        self.sample.add(portion)


# --- distances ------------------------------------------------------------------------------------


def squared_distances(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """The squared Euclidean distances between vectors (N, D) and (M, D), float64 (N, M).

    Raises:
        MolgenError: the vectors differ in width.
    """
    if first.shape[1] != second.shape[1]:
        raise MolgenError(f"{first.shape[1]} features against {second.shape[1]}")
    first, second = first.astype(np.float64, copy=False), second.astype(np.float64, copy=False)
    products = first @ second.T
    products *= -2
    products += np.einsum("nd,nd->n", first, first)[:, None]
    products += np.einsum("nd,nd->n", second, second)
    return np.maximum(products, 0, out=products)


def nearest(queries: np.ndarray, points: np.ndarray, neighbours: int = 1, same: bool = False) -> np.ndarray:
    """The squared distances from queries (N, D) to their k nearest points among (M, D), ascending, float64 (N, k).

    Args:
        queries: the vectors that neighbours are sought for.
        points: where they are sought; at least k of them, and one more where `same`.
        neighbours: k, from 1.
        same: the queries are the points, and none is its own neighbour.
    """
    points, found = points.astype(np.float64), np.empty((len(queries), neighbours))
    for start in range(0, len(queries), BLOCK):
        distances = squared_distances(queries[start : start + BLOCK], points)
        places = np.arange(len(distances))
        if same:
            distances[places, start + places] = np.inf
        if neighbours == 1:
            found[start + places, 0] = distances.min(1)
        else:
            found[start + places] = np.sort(np.partition(distances, neighbours - 1, 1)[:, :neighbours], 1)
    return found


def rounding(first: np.ndarray, second: np.ndarray) -> float:
    """The difference below which squared distances between vectors (N, D) and (M, D) are the same."""
    return ROUNDING * max(float(np.square(side, dtype=np.float64).sum(1).max()) for side in (first, second))


# --- metrics --------------------------------------------------------------------------------------


class NearestTraining(SampledMetric):
    """The median distance from an item to the nearest training item of a sample, in the space of a feature.

    The note gives the control: the same median between the training items of the sample, which new items
    like them would have. Less means copies; more means items unlike all training items.
    """

    against: ClassVar[Against] = Against.TRAINING
    training: ClassVar[type[Summary] | None] = Subsample

    def __init__(self, config: Any = None, reference: Any = None, training: Any = None) -> None:
        super().__init__(config, reference, training)
        self._training: Subsample = training

    def estimate(self, rng: np.random.Generator) -> Estimate:
        """The median; undefined where there is no item on one side."""
        items, known = self.sample.vectors, self._training.vectors
        if not len(items) or not len(known):
            return undefined("no training item" if len(items) else "no valid item")
        distances = np.sqrt(nearest(items, known)[:, 0])
        order = np.argsort(distances)
        groups = self.sample.groups[order]

        def median(weights: np.ndarray) -> float:
            passed = np.cumsum(weights[groups])
            return float(distances[order[np.searchsorted(passed, passed[-1] / 2)]]) if passed[-1] else np.nan

        value = float(np.median(distances))
        return with_interval(value, median, rng, len(items), bounds=(0.0, np.inf), note=self._note(known))

    def _note(self, known: np.ndarray) -> str:
        between = np.median(np.sqrt(nearest(known, known, same=True))) if len(known) > 1 else np.nan
        sampled = f" ({self._training.note(len(known))})" if len(known) < self._training.count else ""
        return f"control: {between:.4g} between training items{sampled}"


class CloserToTraining(SampledMetric):
    """The share of items that are nearer to the training items than to the reference, and half of the ties.

    Both sides are samples of the same size, so a model of what the two have in common gives 0.5, and more
    means that it repeats its training items.
    """

    against: ClassVar[Against] = Against.BOTH
    reference: ClassVar[type[Summary] | None] = Subsample
    training: ClassVar[type[Summary] | None] = Subsample
    better: ClassVar[Better] = Better.LOWER

    def __init__(self, config: Any = None, reference: Any = None, training: Any = None) -> None:
        super().__init__(config, reference, training)
        self._reference: Subsample = reference
        self._training: Subsample = training

    def estimate(self, rng: np.random.Generator) -> Estimate:
        """The share; undefined where there is no item on one side."""
        items = self.sample.vectors
        size = min(len(self._reference.vectors), len(self._training.vectors))
        if not len(items) or not size:
            return undefined("nothing to compare with" if len(items) else "no valid item")
        reference, training = self._reference.vectors[:size], self._training.vectors[:size]
        excess = (nearest(items, reference) - nearest(items, training))[:, 0]
        excess[np.abs(excess) <= rounding(items, np.concatenate([reference, training]))] = 0
        share = GroupedMean((0.0, 1.0))
        share.add(self.sample.groups, np.heaviside(excess, 0.5))
        return share.estimate(rng, note=f"nearest of {size:,} training and {size:,} reference items")
