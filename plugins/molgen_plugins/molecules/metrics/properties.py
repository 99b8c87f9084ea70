"""How far numbers of molecules are from those of the reference: logP, SA, QED and weight in MOSES.

Letters in shapes: N values of the items, M of the reference, P points of a grid.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from scipy.stats import wasserstein_distance

from molgen.evaluation.intervals import jackknife_error, normal_interval
from molgen.metric import GROUPS, Against, Better, Chunk, Estimate, Metric, PublishedStatistics, Summary, undefined

#: Points at which distribution functions are compared for the interval.
_GRID = 2000


@dataclass(frozen=True)
class PropertyConfig:
    """Settings of `PropertyDistance`.

    Attributes:
        property: the name of a feature that is a number, such as logp, sa, qed or mw.
    """

    property: str = "logp"


class Values(Summary):
    """All values of a property in a set, float64 (M,) in ascending order; those that are not finite are left out."""

    def __init__(self, config: Any = None) -> None:
        super().__init__(config if config is not None else PropertyConfig())
        self._portions: list[np.ndarray] = [np.empty(0)]

    @classmethod
    def name(cls, config: Any) -> str:
        """One for each property."""
        return f"values-{config.property}"

    @classmethod
    def needed(cls, config: Any) -> tuple[str, ...]:
        """The property."""
        return (config.property,)

    @property
    def values(self) -> np.ndarray:
        """The values, float64 (M,), in ascending order."""
        return np.sort(np.concatenate(self._portions))

    def add(self, chunk: Chunk) -> None:
        """Take in some rows."""
        self._portions.append(_finite(chunk, self.config.property)[0])

    def include_published(self, published: PublishedStatistics) -> bool:
        """Take in the values of the property."""
        values = published.values.get(self.config.property)
        if values is None:
            return False
        self._portions.append(values[np.isfinite(values)])
        return True

    def arrays(self) -> dict[str, np.ndarray]:
        """The values."""
        return {"values": self.values}

    def load(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Take back what `arrays` gave."""
        self._portions = [arrays["values"]]


class PropertyDistance(Metric):
    """The Wasserstein-1 distance between the values of a property in the items and in the reference.

    It is the area between the two distribution functions, in units of the property, repeats included
    (Polykovskiy et al., Frontiers in Pharmacology 11:565644, 2020). Molecules of which the property cannot be
    computed do not count; a note says how many they are. 9 bytes are kept of each item.
    """

    Config: ClassVar[type] = PropertyConfig
    against: ClassVar[Against] = Against.REFERENCE
    reference: ClassVar[type[Summary] | None] = Values
    better: ClassVar[Better] = Better.LOWER
    enough: ClassVar[int] = 30_000

    def __init__(self, config: Any = None, reference: Any = None, training: Any = None) -> None:
        super().__init__(config, reference, training)
        self._reference: np.ndarray = reference.values
        self._values, self._groups, self._rows = [np.empty(0)], [np.empty(0, np.int8)], 0

    @classmethod
    def needed(cls, config: Any) -> tuple[str, ...]:
        """The property."""
        return (config.property,)

    def add(self, chunk: Chunk) -> None:
        """Take in some rows."""
        values, groups = _finite(chunk, self.config.property)
        self._values.append(values)
        self._groups.append(groups.astype(np.int8))
        self._rows += len(chunk.items)

    def estimate(self, rng: np.random.Generator) -> Estimate:
        """The distance, of which a jackknife over groups gives the interval; undefined where a side is empty."""
        values, groups = np.concatenate(self._values), np.concatenate(self._groups)
        count, left_out = len(values), self._rows - len(values)
        if not count or not len(self._reference):
            return undefined("no valid item" if not count else "no value in the reference", count)
        error = jackknife_error(*_without(values, groups, self._reference))
        note = f"{left_out:,} valid items without a value are left out" if left_out else ""
        return normal_interval(
            float(wasserstein_distance(self._reference, values)), error, count, (0.0, math.inf), note
        )


def _finite(chunk: Chunk, name: str) -> tuple[np.ndarray, np.ndarray]:
    """The values of a property that are finite, float64, and the groups of their rows."""
    values = np.asarray(chunk.features[name] if len(chunk.items) else [], float)
    kept = np.isfinite(values)
    return values[kept], chunk.groups[kept]


def _without(values: np.ndarray, groups: np.ndarray, reference: np.ndarray) -> tuple[Any, list[int]]:
    """What `jackknife_error` needs: the distance without a group, on a grid of both sets' quantiles, and the groups."""
    both = np.concatenate([values, reference])
    grid = np.unique(np.quantile(both, np.linspace(0, 1, _GRID)))
    steps = np.diff(grid)
    expected = np.searchsorted(reference, grid[:-1], "right") / len(reference)
    below = np.stack([np.searchsorted(np.sort(values[groups == group]), grid[:-1], "right") for group in range(GROUPS)])
    sizes, total = np.bincount(groups, minlength=GROUPS), below.sum(0)

    def without(group: int) -> float:
        rest = len(values) - sizes[group]
        return float(np.abs((total - below[group]) / rest - expected) @ steps) if rest else math.nan

    return without, np.flatnonzero(sizes).tolist()
