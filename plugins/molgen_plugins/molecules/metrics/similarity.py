"""Metrics of the Tanimoto similarity of fingerprints: to the nearest item of a set, and among the items.

Source of both: Polykovskiy et al., Frontiers in Pharmacology 11:565644, 2020 (MOSES), with Morgan
fingerprints of radius 2 and 1,024 bits.

Letters in shapes: V valid rows of a portion, N fingerprints, B bytes of each, G groups.
"""

from __future__ import annotations

import functools
import hashlib
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from molgen.evaluation.intervals import GroupedMean, with_interval
from molgen.metric import (
    GROUPS,
    Against,
    Better,
    Chunk,
    Estimate,
    Metric,
    PublishedStatistics,
    Summary,
    groups_of,
    undefined,
)
from molgen.seeding import Rng
from molgen_plugins.molecules.fingerprints.nearest import PASS, Neighbours
from molgen_plugins.molecules.fingerprints.tanimoto import power_sums


class Fingerprints(Summary):
    """All fingerprints of a set, packed: uint8 (N, B)."""

    feature: ClassVar[str] = "fingerprint"
    reads_items: ClassVar[bool] = False

    def __init__(self, config: Any = None) -> None:
        super().__init__(config)
        self._parts: list[np.ndarray] = []

    @classmethod
    def name(cls, config: Any) -> str:
        """One for each feature, whatever the settings."""
        return f"{cls.feature}s"

    @classmethod
    def needed(cls, config: Any) -> tuple[str, ...]:
        """The fingerprint."""
        return (cls.feature,)

    def add(self, chunk: Chunk) -> None:
        """Take in some rows."""
        if len(chunk.items):
            self._parts.append(np.asarray(chunk.features[self.feature]))

    def include_published(self, published: PublishedStatistics) -> bool:
        """Take in the fingerprints."""
        if self.feature not in published.values:
            return False
        self._parts.append(published.values[self.feature])
        return True

    @property
    def fingerprints(self) -> np.ndarray:
        """The fingerprints of all rows, uint8 (N, B); (0, 0) of an empty set."""
        if len(self._parts) != 1:
            self._parts = [np.concatenate(self._parts) if self._parts else np.zeros((0, 0), np.uint8)]
        return self._parts[0]

    def arrays(self) -> dict[str, np.ndarray]:
        """The fingerprints."""
        return {"fingerprints": self.fingerprints}

    def load(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Take back what `arrays` gave."""
        self._parts = [arrays["fingerprints"]]


class FingerprintMean(Metric):
    """The mean of a number that the fingerprint of an item tells, found for many items at a time."""

    feature: ClassVar[str] = "fingerprint"
    #: why there can be no number for any item.
    missing: str = ""

    def __init__(self, config: Any = None, reference: Any = None, training: Any = None) -> None:
        super().__init__(config, reference, training)
        self._mean = GroupedMean((0.0, 1.0))
        self._waiting: list[tuple[np.ndarray, np.ndarray]] = []

    @classmethod
    def needed(cls, config: Any) -> tuple[str, ...]:
        """The fingerprint."""
        return (cls.feature,)

    @abstractmethod
    def numbers(self, fingerprints: np.ndarray) -> np.ndarray:
        """The number of each item, from 0 to 1, float64 (V,), from their fingerprints, uint8 (V, B)."""

    def add(self, chunk: Chunk) -> None:
        """Take in some rows."""
        if not len(chunk.items) or self.missing:
            return
        self._waiting.append((chunk.features[self.feature], chunk.groups))
        if sum(len(groups) for _, groups in self._waiting) >= PASS:
            self._settle()

    def _settle(self) -> None:
        if self._waiting:
            fingerprints, groups = (np.concatenate(parts) for parts in zip(*self._waiting, strict=True))
            self._mean.add(groups, self.numbers(fingerprints))
            self._waiting = []

    def estimate(self, rng: np.random.Generator) -> Estimate:
        """The mean; undefined where there is no item on one side."""
        self._settle()
        return self._mean.estimate(rng, self.missing or "no valid item", self.note())

    def note(self) -> str:
        """What to know of the value."""
        return ""


class NearestSimilarity(FingerprintMean):
    """SNN: the mean similarity of the valid items to the nearest item of the reference, each.

    Repeated items count as often as they occur.
    """

    against: ClassVar[Against] = Against.REFERENCE
    reference: ClassVar[type[Summary] | None] = Fingerprints
    better: ClassVar[Better] = Better.HIGHER
    enough: ClassVar[int] = 30_000

    def __init__(self, config: Any = None, reference: Any = None, training: Any = None) -> None:
        super().__init__(config, reference, training)
        known: np.ndarray = reference.fingerprints
        self.missing = "" if len(known) else "no valid reference item"
        self._neighbours = Neighbours(known) if len(known) else None

    def numbers(self, fingerprints: np.ndarray) -> np.ndarray:
        """The largest similarity of each item to a reference item."""
        assert self._neighbours is not None
        return self._neighbours.search(fingerprints)[0]


# --- diversity ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class DiversityConfig:
    """Settings of `InternalDiversity`.

    Attributes:
        power: p.
        most: items that are drawn at random where there are more. Similarities of all pairs cost its square.
        pooled: take the root of the mean over all pairs, as the publication writes, and not of the mean over
            the pairs of each item, as the code does that made its figures. They are the same for a power of 1.
    """

    power: int = 1
    most: int = 100_000
    pooled: bool = False

    def __post_init__(self) -> None:
        if self.power < 1:
            raise ValueError(f"power must be 1 or more, not {self.power}")
        if self.most < 1:
            raise ValueError(f"most must be 1 or more, not {self.most}")


class InternalDiversity(Metric):
    """IntDiv_p: 1 - the mean over the items of (the mean of T^p over all items, itself too)^(1/p), T the similarity."""

    Config: ClassVar[type] = DiversityConfig
    needs: ClassVar[tuple[str, ...]] = ("fingerprint",)
    better: ClassVar[Better] = Better.HIGHER
    enough: ClassVar[int] = 30_000

    def __init__(self, config: Any = None, reference: Any = None, training: Any = None) -> None:
        super().__init__(config, reference, training)
        self._count = 0
        self._parts: list[tuple[np.ndarray, np.ndarray]] = []

    def add(self, chunk: Chunk) -> None:
        """Take in some rows."""
        if not len(chunk.items):
            return
        self._count += len(chunk.items)
        self._parts.append((chunk.rows, chunk.features["fingerprint"]))
        if sum(len(rows) for rows, _ in self._parts) > 2 * self.config.most:
            self._settle()

    def _settle(self) -> tuple[np.ndarray, np.ndarray]:
        """The rows of the sample, int64 (N,), and their fingerprints; nothing else is kept."""
        rows, fingerprints = (np.concatenate(parts) for parts in zip(*self._parts, strict=True))
        if len(rows) > self.config.most:
            chosen = sampled(rows, self.config.most)
            rows, fingerprints = rows[chosen], fingerprints[chosen]
        self._parts = [(rows, fingerprints)]
        return self._parts[0]

    def estimate(self, rng: np.random.Generator) -> Estimate:
        """The diversity; undefined where there is no item."""
        if not self._count:
            return undefined("no valid item")
        rows, fingerprints = self._settle()
        sample = Sample(fingerprints, groups_of(rows))
        # Both powers of the benchmark cost hardly more than one: who asks for one mostly asks for the other.
        powers = (1, 2) if self.config.power in (1, 2) else (self.config.power,)
        sums = _power_sums(sample, powers)[powers.index(self.config.power)]
        value = functools.partial(self._diversity, sums, sample.groups)
        note = f"a sample of {len(rows):,} of {self._count:,} items" if len(rows) < self._count else ""
        return with_interval(value(np.ones(GROUPS)), value, rng, len(rows), bounds=(0.0, 1.0), note=note)

    def _diversity(self, sums: np.ndarray, groups: np.ndarray, weights: np.ndarray) -> float:
        """The value where items of group g count weights[g] times; from sums of powers (N, G), groups (N,)."""
        counts = weights[groups]
        if not counts.any():
            return np.nan
        # An item counts as similar to itself once, however often it is drawn: copies would raise the spread.
        copies = counts - 1
        sums = (sums @ weights.astype(np.float32)).astype(float) - copies
        pairs = counts.sum() - copies
        root = 1 / self.config.power
        if self.config.pooled:
            return float(1 - (counts @ sums / (counts @ pairs)) ** root)
        return float(1 - counts @ (sums / pairs) ** root / counts.sum())


class Sample:
    """Fingerprints and groups that equal others of the same content, so that their similarities are found once.

    Args:
        fingerprints: packed, uint8 (N, B).
        groups: of each, int64 (N,).
    """

    def __init__(self, fingerprints: np.ndarray, groups: np.ndarray) -> None:
        self.fingerprints, self.groups = fingerprints, groups
        content = hashlib.blake2b(np.ascontiguousarray(fingerprints).data)
        content.update(np.ascontiguousarray(groups).data)
        self._digest = content.digest()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sample) and self._digest == other._digest

    def __hash__(self) -> int:
        return hash(self._digest)


@functools.lru_cache(maxsize=1)
def _power_sums(sample: Sample, powers: tuple[int, ...]) -> np.ndarray:
    """The sums of a sample, (powers, N, G); they are kept for the other metric of the same one."""
    return power_sums(sample.fingerprints, sample.groups, GROUPS, powers)


def sampled(rows: np.ndarray, count: int) -> np.ndarray:
    """The places of `count` rows that are drawn at random by their numbers, whatever their order; int64 (count,).

    A sample of a sample is the sample of the whole.
    """
    ranks = Rng(0, rows).uniform("sample").numpy()
    return np.sort(np.argsort(ranks, kind="stable")[:count])
