"""How sure a number about a set of items is. This module imports no torch.

The groups of a metric are drawn again with replacement (Efron, Ann. Statist. 7(1), 1979, over blocks of
items), or left out one by one: the jackknife. Shares have Wilson's intervals.

Letters in shapes: V items, G groups.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from statistics import NormalDist

import numpy as np

from molgen.metric import GROUPS, Estimate, undefined

#: Draws behind an interval.
RESAMPLES = 200
#: Standard errors on each side of a value: 95 % of a normal distribution.
_SIDE = NormalDist().inv_cdf(0.975)
#: A smaller spread of a share is none.
_ROUNDING = 1e-12


def resampled(rng: np.random.Generator, groups: int = GROUPS, resamples: int = RESAMPLES) -> np.ndarray:
    """How often each group is drawn in each resample, int64 (resamples, groups)."""
    return rng.multinomial(groups, np.full(groups, 1 / groups), size=resamples)


def spread(statistic: Callable[[np.ndarray], float], rng: np.random.Generator, resamples: int = RESAMPLES) -> float:
    """The standard deviation of a statistic over the resamples in which it is defined, or NaN."""
    values = np.array([statistic(weights) for weights in resampled(rng, resamples=resamples)])
    values = values[np.isfinite(values)]
    return float(values.std(ddof=1)) if len(values) > 1 else math.nan


def with_interval(
    value: float,
    statistic: Callable[[np.ndarray], float],
    rng: np.random.Generator,
    count: int,
    resamples: int = RESAMPLES,
    bounds: tuple[float, float] = (-math.inf, math.inf),
    note: str = "",
) -> Estimate:
    """A value with the interval that its resamples give: 1.96 of their standard deviations on each side.

    Their deviation is used and not their quantiles, because a resample repeats items, which shifts
    distances between distributions; it changes their spread little.

    Args:
        value: of the set itself.
        statistic: the value where group g counts weights[g] times; NaN where it is not defined.
        rng: draws the resamples.
        count: the items behind the value.
        resamples: how many.
        bounds: values that the metric cannot leave.
        note: passed on.
    """
    return normal_interval(value, spread(statistic, rng, resamples), count, bounds, note)


def wilson(share: float, count: float) -> tuple[float, float]:
    """The ends of a 95 % interval of a share of independent trials, which is not empty at 0 and 1.

    Source: Wilson, J. Am. Stat. Assoc. 22(158), 1927.
    """
    squared = _SIDE**2 / count
    centre = (share + squared / 2) / (1 + squared)
    side = math.sqrt(squared * (share * (1 - share) + squared / 4)) / (1 + squared)
    # The first and the last are exact where the share is 0 or 1, which rounding would miss.
    return min(share, max(0.0, centre - side)), max(share, min(1.0, centre + side))


class GroupedMean:
    """The mean of one number per item, with its interval.

    A mean of numbers from 0 to 1, such as a share, has Wilson's interval, for as many independent trials as
    would spread as the resamples do. So a share of exactly 0 or 1 has an interval too.

    Args:
        bounds: the smallest and the largest number that an item can have.
    """

    def __init__(self, bounds: tuple[float, float] = (-math.inf, math.inf)) -> None:
        self._sums, self._counts = np.zeros(GROUPS), np.zeros(GROUPS, np.int64)
        self._bounds = bounds

    @property
    def count(self) -> int:
        """The numbers so far."""
        return int(self._counts.sum())

    @property
    def value(self) -> float:
        """Their mean, or NaN."""
        return float(self._sums.sum() / self.count) if self.count else math.nan

    def add(self, groups: np.ndarray, numbers: np.ndarray) -> None:
        """Take in numbers (V,) and the groups of their items (V,)."""
        self._sums += np.bincount(groups, np.asarray(numbers, float), GROUPS)
        self._counts += np.bincount(groups, minlength=GROUPS)

    def estimate(self, rng: np.random.Generator, nothing: str = "no valid item", note: str = "") -> Estimate:
        """The mean with its interval; `nothing` says why where there were no numbers."""
        if not self.count:
            return undefined(nothing)
        value = min(max(self.value, self._bounds[0]), self._bounds[1])  # rounding may lead out
        if self._bounds != (0.0, 1.0) or not math.isfinite(value):
            return with_interval(value, self._mean, rng, self.count, bounds=self._bounds, note=note)
        deviation = spread(self._mean, rng)
        trials = value * (1 - value) / deviation**2 if deviation > _ROUNDING else self.count
        return Estimate(value, *wilson(value, trials or self.count), self.count, note)

    def _mean(self, weights: np.ndarray) -> float:
        counted = float(weights @ self._counts)
        return float(weights @ self._sums) / counted if counted else math.nan


def jackknife_error(without: Callable[[int], float], groups: Iterable[int]) -> float:
    """The standard error of a value by the jackknife over groups (Miller, Biometrika 61(1), 1974), or NaN.

    Groups drawn with replacement would repeat items, and what falls with the number of distinct items, as
    distances between distributions do, would spread two to five times too much.

    Args:
        without: the value of the set without one group; NaN where it is not defined.
        groups: those with items in them.
    """
    values = np.array([without(group) for group in groups])
    values = values[np.isfinite(values)]
    return math.sqrt((len(values) - 1) * values.var()) if len(values) > 1 else math.nan


def normal_interval(
    value: float, error: float, count: int, bounds: tuple[float, float] = (-math.inf, math.inf), note: str = ""
) -> Estimate:
    """A value with an interval of 1.96 standard errors on each side.

    Args:
        value: of the whole set.
        error: its standard error; NaN means no interval.
        count: the items behind the value.
        bounds: values that the metric cannot leave.
        note: passed on.
    """
    side = _SIDE * error
    if not math.isfinite(side) or not math.isfinite(value):
        return Estimate(value, count=count, note=note)
    return Estimate(value, max(bounds[0], value - side), min(bounds[1], value + side), count, note)
