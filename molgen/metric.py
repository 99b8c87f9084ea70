"""What a metric is: a number about a set of items, with an interval. This module imports no torch.

A set comes in portions, so that a million items need no more memory than a thousand. Every item belongs
to one of `GROUPS` groups by its row number, and what a metric adds up, it adds up for each group: the
interval comes from drawing the groups again with replacement (Efron, Ann. Statist. 7(1), 1979, over
blocks of items), whatever the metric computes in the end.

Letters in shapes: R rows of a portion, V valid ones among them, G groups.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, ClassVar

import numpy as np

from molgen.domain import API_VERSION, Config, Item

#: Blocks of items that are drawn again for an interval.
GROUPS = 64
#: Draws behind an interval.
RESAMPLES = 200
#: Standard errors on each side of a value: 95 % of a normal distribution.
_SIDE = 1.959964
#: A smaller spread of a share is none.
_ROUNDING = 1e-12


class Better(Enum):
    """Which values are good."""

    HIGHER = "higher"
    LOWER = "lower"
    NEITHER = "neither"


class Against(Enum):
    """What a metric compares the items with."""

    NOTHING = "nothing"
    #: a set that they should be like: the test items, or any file of the user's.
    REFERENCE = "reference"
    #: the items that the model learned from, which they should not repeat.
    TRAINING = "training"
    #: both: what is nearer to the training items than to the reference.
    BOTH = "both"


@dataclass(frozen=True)
class Portion:
    """Consecutive rows of a set, and what is known of the valid ones.

    Attributes:
        first: the number of the first row.
        valid: whether each row is an item, bool (R,).
        items: the canonical items of the valid rows, V of them.
        keys: their keys, by which the domain tells equal items.
        features: by name, one value for each valid row: an array (V, ...) or a list. Its shape and type are the same
            where no row is valid.
        raw: what the valid rows held before they were brought into canonical form.
    """

    first: int
    valid: np.ndarray
    items: Sequence[Item]
    keys: Sequence[str]
    features: Mapping[str, Any] = field(default_factory=dict)
    raw: Sequence[Item] = ()

    @property
    def rows(self) -> np.ndarray:
        """The row numbers of the valid rows, int64 (V,)."""
        return self.first + np.flatnonzero(self.valid)

    @property
    def groups(self) -> np.ndarray:
        """The group of each valid row, int64 (V,)."""
        return groups_of(self.rows)

    def take(self, places: Sequence[int]) -> Portion:
        """The portion of some of the valid rows alone, by their places among them in ascending order.

        The others count as invalid.
        """
        valid = np.zeros_like(self.valid)
        valid[np.flatnonzero(self.valid)[list(places)]] = True
        return Portion(
            self.first,
            valid,
            [self.items[place] for place in places],
            [self.keys[place] for place in places],
            {name: _taken(values, places) for name, values in self.features.items()},
            [self.raw[place] for place in places] if self.raw else (),
        )


def _taken(values: Any, places: Sequence[int]) -> Any:
    return values[list(places)] if isinstance(values, np.ndarray) else [values[place] for place in places]


def groups_of(rows: np.ndarray) -> np.ndarray:
    """The groups of row numbers, int64 of the same shape: spread evenly, so that a sorted file does no harm."""
    # The fractions of multiples of the golden ratio (Knuth, The Art of Computer Programming 3, 6.4).
    mixed = (np.asarray(rows).astype(np.uint64) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
    return ((mixed >> np.uint64(32)) * np.uint64(GROUPS) >> np.uint64(32)).astype(np.int64)


@dataclass(frozen=True)
class Estimate:
    """A value and how sure it is.

    Attributes:
        value: the number, or NaN where it is not defined.
        low, high: the ends of a 95 % interval, or NaN where there is none.
        count: the items that it rests on.
        note: why there is no value, or what to know of it; one line.
    """

    value: float
    low: float = math.nan
    high: float = math.nan
    count: int = 0
    note: str = ""


def undefined(reason: str, count: int = 0) -> Estimate:
    """No value, and why: never zero instead."""
    return Estimate(math.nan, count=count, note=reason)


class Metric(ABC):
    """A number about a set of items: takes them in portions and gives the number with its interval at the end.

    One object serves one set. Only `add` and `estimate` have no default. A metric that fails raises;
    whoever runs it reports that and goes on with the others.

    Args:
        config: the metric's own settings.
        reference: the summary of the reference set, of the class that `reference` names.
        training: the summary of the training set, of the class that `training` names.
    """

    molgen_api: ClassVar[int] = API_VERSION
    Config: ClassVar[type] = Config
    #: names of the features of the domain that it reads from the portions.
    needs: ClassVar[tuple[str, ...]] = ()
    against: ClassVar[Against] = Against.NOTHING
    #: how the reference set, and the training set, are summarised for it.
    reference: ClassVar[type[Summary] | None] = None
    training: ClassVar[type[Summary] | None] = None
    better: ClassVar[Better] = Better.NEITHER
    #: rows that the published protocol asks for; fewer give a warning. A setting of this name comes before it.
    enough: ClassVar[int] = 0

    def __init__(self, config: Any = None, reference: Any = None, training: Any = None) -> None:
        self.config = config if config is not None else self.Config()

    @abstractmethod
    def add(self, portion: Portion) -> None:
        """Take in some rows, which follow those of the portion before."""

    @abstractmethod
    def estimate(self, rng: np.random.Generator) -> Estimate:
        """The number for all rows so far; `rng` draws for the interval. Undefined values say why, they are no error."""

    @classmethod
    def needed(cls, config: Any) -> tuple[str, ...]:
        """The features that it reads under these settings; those of the class by default."""
        return cls.needs


class Summary(ABC):
    """What a metric keeps of a set that it compares with: made once, kept in the cache as arrays.

    Metrics that name the same class, with the same settings, share one summary.

    Args:
        config: the settings of the metric.
    """

    def __init__(self, config: Any = None) -> None:
        self.config = config

    @classmethod
    def name(cls, config: Any) -> str:
        """Tells summaries apart in the cache; settings on which the summary depends are part of it."""
        return cls.__name__

    @classmethod
    def needed(cls, config: Any) -> tuple[str, ...]:
        """The features of the domain that it reads."""
        return ()

    @abstractmethod
    def add(self, portion: Portion) -> None:
        """Take in some rows of the set."""

    @abstractmethod
    def arrays(self) -> dict[str, np.ndarray]:
        """All that it holds, as arrays of numbers; strings as UTF-8 bytes, see `pack_strings`."""

    @abstractmethod
    def load(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Take back what `arrays` gave."""


def pack_strings(strings: Sequence[str]) -> np.ndarray:
    """Strings without line breaks as one array of bytes."""
    return np.frombuffer("".join(f"{string}\n" for string in strings).encode(), np.uint8)


def unpack_strings(array: np.ndarray) -> list[str]:
    """The strings that `pack_strings` took."""
    return array.tobytes().decode().split("\n")[:-1]


# --- intervals ------------------------------------------------------------------------------------


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
    side = _SIDE * spread(statistic, rng, resamples)
    if not math.isfinite(side) or not math.isfinite(value):
        return Estimate(value, count=count, note=note)
    return Estimate(value, max(bounds[0], value - side), min(bounds[1], value + side), count, note)


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
