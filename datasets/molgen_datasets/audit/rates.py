"""How well a number tells members of the training set from others: the area below the ROC curve, and its left end.

Letters in shapes: M members, H others, K different values.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import stats

from molgen.metric import Estimate
from molgen_datasets.audit.findings import SIDE, Finding

#: The share of others that may be taken for members.
RATE = 0.01
#: Draws behind an interval.
RESAMPLES = 400


@dataclass(frozen=True)
class Curve:
    """The values of members and others by rank.

    Attributes:
        ranks: of members, then of others, among the K different values, int64 (M + H,).
        members: how many are members.
    """

    ranks: np.ndarray
    members: int

    @classmethod
    def of(cls, members: np.ndarray, others: np.ndarray) -> Curve:
        """Of values that are higher for what is taken for a member, (M,) and (H,)."""
        return cls(np.unique(np.concatenate([members, others]), return_inverse=True)[1], len(members))

    def counted(self, weights: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
        """How many members and others have each value, float64 (K,) each, where each counts `weights` times."""
        weights = np.ones(len(self.ranks)) if weights is None else weights
        top, cut = int(self.ranks.max()) + 1, self.members
        sides = (self.ranks[:cut], weights[:cut]), (self.ranks[cut:], weights[cut:])
        first, second = (np.bincount(ranks, own, top) for ranks, own in sides)
        return first, second


def area(members: np.ndarray, others: np.ndarray) -> float:
    """The probability that a member has a higher value than another item, ties half, from counts (K,) by value."""
    below = np.cumsum(others) - others / 2
    return float(members @ below / (members.sum() * others.sum()))


def rate_at(members: np.ndarray, others: np.ndarray, rate: float = RATE) -> float:
    """The share of members above the lowest threshold that at most `rate` of the others pass, from counts by value."""
    passed = np.cumsum(others[::-1]) <= rate * others.sum() + 1e-9
    return float(np.cumsum(members[::-1])[passed].max(initial=0.0) / members.sum())


def told_apart(
    label: str, members: np.ndarray, others: np.ndarray, rng: np.random.Generator, note: str = ""
) -> list[Finding]:
    """The area (AUC) and the true positive rate at 1 % false positives, with bootstrap and null intervals.

    Args:
        label: what tells them apart.
        members: numbers of training items, higher for what is taken for one; NaN is left out.
        others: the same of held-out items.
        rng: draws the resamples.
        note: what to know of the figures.
    """
    members, others = members[~np.isnan(members)], others[~np.isnan(others)]
    if not len(members) or not len(others):
        nothing = Estimate(math.nan, note="no item on one side has such a number")
        return [Finding(f"{label}: AUC", nothing), Finding(f"{label}: TPR at 1 % FPR", nothing)]
    curve, count = Curve.of(members, others), len(members) + len(others)
    drawn = [curve.counted(weights) for weights in _resamples(len(members), len(others), rng)]
    found = []
    for name, statistic, null in (
        ("AUC", area, _area_null(len(members), len(others))),
        ("TPR at 1 % FPR", rate_at, _rate_null(len(members), len(others))),
    ):
        estimate = _estimate(statistic, curve, drawn, count, note)
        found.append(Finding(f"{label}: {name}", estimate, null))
    return found


def _resamples(members: int, others: int, rng: np.random.Generator) -> list[np.ndarray]:
    """How often each item is drawn in each resample of both sides, (M + H,) each."""

    def drawn(count: int) -> np.ndarray:
        return np.bincount(rng.integers(count, size=count), minlength=count)

    return [np.concatenate([drawn(members), drawn(others)]).astype(float) for _ in range(RESAMPLES)]


def _estimate(
    statistic: Callable[[np.ndarray, np.ndarray], float],
    curve: Curve,
    drawn: list[tuple[np.ndarray, np.ndarray]],
    count: int,
    note: str,
) -> Estimate:
    low, high = np.quantile([statistic(*counts) for counts in drawn], [0.025, 0.975])
    value = statistic(*curve.counted())
    return Estimate(value, min(float(low), value), max(float(high), value), count, note)


def _area_null(members: int, others: int) -> tuple[float, float]:
    """Of the statistic of Mann and Whitney, Ann. Math. Statist. 18(1), 1947, without ties."""
    side = SIDE * math.sqrt((members + others + 1) / (12 * members * others))
    return max(0.0, 0.5 - side), min(1.0, 0.5 + side)


def _rate_null(members: int, others: int) -> tuple[float, float]:
    """Of members that are drawn as the others are, without ties.

    The threshold lies at the k-th highest of the others, the first that may not pass, so that a member passes it with a
    probability that has the distribution Beta(k, H + 1 - k).
    """
    first = math.floor(RATE * others + 1e-9) + 1
    low, high = stats.betabinom.ppf([0.025, 0.975], members, first, others + 1 - first) / members
    return float(low), float(high)
