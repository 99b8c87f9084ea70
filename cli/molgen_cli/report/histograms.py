"""Histograms and quantiles of the values of a property.

Letters in shapes: N values, B bins.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

#: Fewer bins hide the shape, more show the noise.
FEWEST, MOST = 12, 60
#: Share of the values of all sets that the axis leaves out on each side.
_OUTSIDE = 0.002


@dataclass(frozen=True)
class Histogram:
    """Densities over bins.

    Attributes:
        edges: of the bins, (B + 1,).
        heights: share of all values per unit of the property, (B,).
    """

    edges: np.ndarray
    heights: np.ndarray


def finite(values: np.ndarray) -> np.ndarray:
    """The values that could be computed, float64."""
    values = np.asarray(values, np.float64).reshape(-1)
    return values[np.isfinite(values)]


def span(sets: Sequence[np.ndarray]) -> tuple[float, float] | None:
    """The part of the axis where nearly all values of all sets lie, or None where there are none.

    Args:
        sets: values of each set, (N,).
    """
    ends = [np.quantile(values, [_OUTSIDE, 1 - _OUTSIDE]) for values in map(finite, sets) if len(values)]
    if not ends:
        return None
    low, high = float(min(end[0] for end in ends)), float(max(end[1] for end in ends))
    if all(_whole(finite(values)) for values in sets):
        return math.floor(low) - 0.5, math.ceil(high) + 0.5
    if high - low > 1e-9 * max(1.0, abs(low)):
        return low, high
    side = max(abs(low) * 0.1, 0.5)  # one value alone: some room on each side of it
    return low - side, high + side


def bins(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """Edges of equal bins over low..high, as many as these values can fill, (B + 1,).

    Their width is that of Freedman and Diaconis, Z. Wahrscheinlichkeitstheorie 57, 1981; whole numbers have
    a bin each.
    """
    values = finite(values)
    if _whole(values) and high - low <= MOST and (2 * low) % 2 == (2 * high) % 2 == 1:
        return np.arange(low, high + 0.5)
    quarters = np.quantile(values, [0.25, 0.75]) if len(values) else (0, 0)
    width = 2 * float(quarters[1] - quarters[0]) / max(1, len(values)) ** (1 / 3)
    wanted = (high - low) / width if width > 0 else FEWEST
    return np.linspace(low, high, 1 + round(min(MOST, max(FEWEST, wanted))))


def histogram(values: np.ndarray, edges: np.ndarray) -> Histogram:
    """How densely values lie in each bin; those outside all bins count in the total.

    Args:
        values: (N,).
        edges: (B + 1,).
    """
    values = finite(values)
    counts, _ = np.histogram(values, edges)
    return Histogram(edges, counts / (max(1, len(values)) * np.diff(edges)))


@dataclass(frozen=True)
class Summed:
    """The values of a property in a few numbers: how many there are, how many could not be computed, and quantiles."""

    count: int
    missing: int
    mean: float
    deviation: float
    low: float
    median: float
    high: float


def summed(values: np.ndarray) -> Summed:
    """Values in a few numbers; `low` and `high` are the 5th and 95th percentiles, all NaN where there are none."""
    known = finite(values)
    missing = np.asarray(values).size - len(known)
    if not len(known):
        return Summed(0, missing, *[math.nan] * 5)
    low, median, high = map(float, np.quantile(known, [0.05, 0.5, 0.95]))
    return Summed(len(known), missing, float(known.mean()), float(known.std()), low, median, high)


def _whole(values: np.ndarray) -> bool:
    return bool(len(values)) and bool(np.all(values == np.round(values)))
