"""Features of items as vectors, and random samples of them.

Letters in shapes: V valid rows of a chunk, D features of an item, N items of a sample.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from molgen.errors import MolgenError
from molgen.metric import Chunk, Metric, Summary, groups_of


@dataclass(frozen=True)
class FeatureConfig:
    """Settings of a metric of features.

    Attributes:
        feature: the name of the domain's feature, an array of a fixed shape for each item.
        enough: rows that the protocol asks for; fewer give a warning.
    """

    feature: str = "embedding"
    enough: int = 0


def feature_vectors(chunk: Chunk, feature: str, dtype: type = np.float64) -> np.ndarray:
    """The feature of the valid rows as vectors (V, D); (0, 0) where no row is valid.

    Raises:
        MolgenError: one is not finite.
    """
    if not len(chunk.items):
        return np.zeros((0, 0), dtype)
    found: np.ndarray = np.asarray(chunk.features[feature], dtype).reshape(len(chunk.items), -1)
    if not np.isfinite(found).all():
        raise MolgenError(f"the feature {feature} of an item is not finite")
    return found


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


class Subsample(Summary):
    """At most `most` feature vectors of a set, drawn without replacement, in random order.

    Every row number has a rank that is as good as random, and the lowest ranks stay. So chunks do not
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

    def add(self, chunk: Chunk) -> None:
        """Take in some rows.

        Raises:
            MolgenError: a feature is not finite.
        """
        rows, found = chunk.rows, feature_vectors(chunk, self.config.feature, np.float32)
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

    def add(self, chunk: Chunk) -> None:
        """Take in some rows.

        Raises:
            MolgenError: a feature is not finite.
        """
        self.sample.add(chunk)
