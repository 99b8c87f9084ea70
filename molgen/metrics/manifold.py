"""How much of the items lies where the reference lies, and the other way round, in a space of features.

Around each item of a side there is a ball that reaches to its k-th nearest other item of that side; the
balls together are where the side lies. Precision and recall are those of Kynkäänniemi et al., NeurIPS 2019;
density and coverage those of Naeem et al., ICML 2020. Both sides are samples of the same size, because
balls shrink where there are more items. An item on the surface of a ball is inside.

Letters in shapes: N items of each sample, D features of an item, G groups.
"""

from __future__ import annotations

import functools
import hashlib
from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from molgen.evaluation.intervals import GroupedMean, jackknife_error, wilson
from molgen.metric import GROUPS, Against, Better, Estimate, Summary, undefined
from molgen.metrics.distances import BLOCK, nearest, rounding, squared_distances
from molgen.metrics.sample import SampleConfig, SampledMetric, Subsample

#: Neighbours that are found together: as many as any metric here asks for unless its settings say otherwise.
USUAL = 5


@dataclass(frozen=True)
class PrecisionConfig(SampleConfig):
    """Settings of `Precision` and `Recall`.

    Attributes:
        neighbours: which neighbour k a ball reaches to.
    """

    neighbours: int = 3

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.neighbours < 1:
            raise ValueError(f"neighbours must be 1 or more, not {self.neighbours}")


@dataclass(frozen=True)
class DensityConfig(PrecisionConfig):
    """Settings of `Density` and `Coverage`.

    Attributes:
        neighbours: which neighbour k a ball reaches to.
    """

    neighbours: int = 5


# --- balls ----------------------------------------------------------------------------------------


class Cloud:
    """A sample that equals others of the same content, so that what is found of it is found once.

    Args:
        vectors: (N, D).
        groups: of its items, int64 (N,).
    """

    def __init__(self, vectors: np.ndarray, groups: np.ndarray) -> None:
        self.vectors, self.groups = vectors, groups
        content = hashlib.blake2b(np.ascontiguousarray(vectors).data)
        content.update(np.ascontiguousarray(groups).data)
        self._digest = content.digest()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Cloud) and self._digest == other._digest

    def __hash__(self) -> int:
        return hash(self._digest)

    def by_group(self) -> Iterator[tuple[int, np.ndarray]]:
        """Its groups and the places of their items, in blocks."""
        for group in np.unique(self.groups):
            places = np.flatnonzero(self.groups == group)
            for start in range(0, len(places), BLOCK):
                yield int(group), places[start : start + BLOCK]


@dataclass(frozen=True)
class Overlap:
    """Which items of two samples are in which balls of the other.

    Attributes:
        holding: for each item, the balls of the reference that hold it, int64 (N,).
        covered: whether the ball of a reference item holds an item of a group, bool (N, G).
        recalled: whether a reference item is in the ball of an item of a group, bool (N, G).
    """

    holding: np.ndarray
    covered: np.ndarray
    recalled: np.ndarray


@functools.lru_cache(maxsize=4)
def _neighbours(cloud: Cloud, most: int) -> np.ndarray:
    """The squared distances from each item of a sample to its nearest others, ascending, float64 (N, most)."""
    return nearest(cloud.vectors, cloud.vectors, most, same=True)


def _reach(cloud: Cloud, neighbours: int) -> np.ndarray:
    """The squared radius of each ball of a sample, float64 (N,)."""
    most = min(max(neighbours, USUAL), len(cloud.vectors) - 1)
    return _neighbours(cloud, most)[:, neighbours - 1]


@functools.lru_cache(maxsize=4)
def overlap(items: Cloud, reference: Cloud, neighbours: int) -> Overlap:
    """The overlap of two samples; it is kept for the other metrics of the same two."""
    slack = rounding(items.vectors, reference.vectors)
    reach, reference_reach = _reach(items, neighbours) + slack, _reach(reference, neighbours) + slack
    known = reference.vectors.astype(np.float64)
    holding = np.zeros(len(items.vectors), np.int64)
    covered, recalled = np.zeros((2, len(known), GROUPS), bool)
    for group, places in items.by_group():
        distances = squared_distances(items.vectors[places], known)
        inside = distances <= reference_reach
        holding[places] = inside.sum(1)
        covered[:, group] |= inside.any(0)
        recalled[:, group] |= (distances <= reach[places, None]).any(0)
    return Overlap(holding, covered, recalled)


# --- metrics --------------------------------------------------------------------------------------


class OverlapMetric(SampledMetric):
    """A metric of the overlap of a sample with one of the reference."""

    Config: ClassVar[type] = PrecisionConfig
    against: ClassVar[Against] = Against.REFERENCE
    reference: ClassVar[type[Summary] | None] = Subsample
    better: ClassVar[Better] = Better.HIGHER

    def __init__(self, config: Any = None, reference: Any = None, training: Any = None) -> None:
        super().__init__(config, reference, training)
        self._reference: Subsample = reference

    def estimate(self, rng: np.random.Generator) -> Estimate:
        """The number; undefined where a side has no more than `neighbours` items.

        Raises:
            MolgenError: the feature is not as wide as that of the reference.
        """
        size, neighbours = min(len(self.sample.vectors), len(self._reference.vectors)), self.config.neighbours
        if size <= neighbours:
            return undefined(f"{size} items on a side, and balls reach to neighbour {neighbours}", size)
        items, reference = (Cloud(s.vectors[:size], s.groups[:size]) for s in (self.sample, self._reference))
        note = self.sample.note(size)
        return self._of(overlap(items, reference, neighbours), items.groups, rng, note)

    @abstractmethod
    def _of(self, found: Overlap, groups: np.ndarray, rng: np.random.Generator, note: str) -> Estimate:
        """The number, for items of these groups (N,)."""


class Precision(OverlapMetric):
    """The share of items that lie where the reference lies."""

    def _of(self, found: Overlap, groups: np.ndarray, rng: np.random.Generator, note: str) -> Estimate:
        share = GroupedMean((0.0, 1.0))
        share.add(groups, found.holding > 0)
        return share.estimate(rng, note=note)


class Recall(OverlapMetric):
    """The share of the reference that lies where the items lie."""

    def _of(self, found: Overlap, groups: np.ndarray, rng: np.random.Generator, note: str) -> Estimate:
        return _reached(found.recalled, groups, note)


class Density(OverlapMetric):
    """The mean number of balls of the reference that hold an item, over k; 1 is expected of equal distributions."""

    Config: ClassVar[type] = DensityConfig

    def _of(self, found: Overlap, groups: np.ndarray, rng: np.random.Generator, note: str) -> Estimate:
        mean = GroupedMean((0.0, float("inf")))
        mean.add(groups, found.holding / self.config.neighbours)
        return mean.estimate(rng, note=note)


class Coverage(OverlapMetric):
    """The share of the balls of the reference that hold an item."""

    Config: ClassVar[type] = DensityConfig

    def _of(self, found: Overlap, groups: np.ndarray, rng: np.random.Generator, note: str) -> Estimate:
        return _reached(found.covered, groups, note)


def _reached(by_group: np.ndarray, groups: np.ndarray, note: str) -> Estimate:
    """The share of reference items that any group of items reaches, (N, G) by group.

    Its interval is Wilson's, for as many independent trials as would have the standard error of the jackknife.
    """
    times = by_group.sum(1)

    def share(without: int) -> float:
        return float((times > by_group[:, without]).mean())

    value, error = float((times > 0).mean()), jackknife_error(share, np.unique(groups).tolist())
    trials = value * (1 - value) / error**2 if error > 0 else 0
    return Estimate(value, *wilson(value, trials or len(times)), len(groups), note)
