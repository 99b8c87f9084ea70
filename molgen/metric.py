"""What a metric is: a number about a set of items, with an interval. This module imports no torch.

A set comes in chunks, so that a million items need no more memory than a thousand. Every item belongs
to one of `GROUPS` groups by its row number, and what a metric adds up, it adds up for each group: from
that `molgen.evaluation.intervals` makes the interval, whatever the metric computes in the end.

Letters in shapes: R rows of a chunk, V valid ones among them, G groups.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, ClassVar

import numpy as np

from molgen.domain import API_VERSION, Config, Item

#: Blocks of items that are drawn again for an interval.
GROUPS = 64


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
class Chunk:
    """Consecutive rows of a set, and what is known of the valid ones.

    Attributes:
        first: the number of the first row.
        valid: whether each row is an item, bool (R,).
        items: the canonical items of the valid rows, V of them.
        keys: their keys, by which the domain tells equal items.
        features: by name, one value for each valid row: an array (V, ...) or a list. Its shape and type are the same
            where no row is valid.
        raw: what the valid rows held before they were brought into canonical form.
        every: by name, the features of `Domain.row_features` of each row (R), None where a row has none.
    """

    first: int
    valid: np.ndarray
    items: Sequence[Item]
    keys: Sequence[str]
    features: Mapping[str, Any] = field(default_factory=dict)
    raw: Sequence[Item] = ()
    every: Mapping[str, Sequence[Any]] = field(default_factory=dict)

    @property
    def rows(self) -> np.ndarray:
        """The row numbers of the valid rows, int64 (V,)."""
        return self.first + np.flatnonzero(self.valid)

    @property
    def groups(self) -> np.ndarray:
        """The group of each valid row, int64 (V,)."""
        return groups_of(self.rows)

    def take(self, places: Sequence[int]) -> Chunk:
        """The chunk of some of the valid rows alone, by their places among them in ascending order.

        The others count as invalid, and nothing is known of them.
        """
        valid = np.zeros_like(self.valid)
        valid[np.flatnonzero(self.valid)[list(places)]] = True
        every = {
            name: [value if taken else None for value, taken in zip(values, valid, strict=True)]
            for name, values in self.every.items()
        }
        return Chunk(
            self.first,
            valid,
            [self.items[place] for place in places],
            [self.keys[place] for place in places],
            {name: _taken(values, places) for name, values in self.features.items()},
            [self.raw[place] for place in places] if self.raw else (),
            every,
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


@dataclass(frozen=True)
class PublishedStatistics:
    """What whoever made a set found about it, by the names of features, so that it need not be found again.

    Attributes:
        rows: items of the set, of which all are valid.
        values: of each item, (rows, ...).
        counts: how often each string of a feature of strings occurs.
        moments: the mean (D,) and the unbiased covariance (D, D) of a feature.
        keys: gives the domain's keys of all items.
    """

    rows: int
    values: Mapping[str, np.ndarray] = field(default_factory=dict)
    counts: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    moments: Mapping[str, tuple[np.ndarray, np.ndarray]] = field(default_factory=dict)
    keys: Callable[[], Iterable[str]] | None = None


class Metric(ABC):
    """A number about a set of items: takes them in chunks and gives the number with its interval at the end.

    One object serves one set. Only `add` and `estimate` have no default. A metric that fails raises;
    whoever runs it reports that and goes on with the others.

    Args:
        config: the metric's own settings.
        reference: the summary of the reference set, of the class that `reference` names.
        training: the summary of the training set, of the class that `training` names.
    """

    molgen_api: ClassVar[int] = API_VERSION
    Config: ClassVar[type] = Config
    #: names of the features of the domain that it reads from the chunks.
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
    def add(self, chunk: Chunk) -> None:
        """Take in some rows, which follow those of the chunk before."""

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

    #: whether it reads items or their keys. Where it reads features alone, the items of a data set that is used as
    #: stored are not brought into canonical form for it.
    reads_items: ClassVar[bool] = True

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
    def add(self, chunk: Chunk) -> None:
        """Take in some rows of the set."""

    @abstractmethod
    def arrays(self) -> dict[str, np.ndarray]:
        """All that it holds, as arrays of numbers; strings as UTF-8 bytes, see `pack_strings`."""

    @abstractmethod
    def load(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Take back what `arrays` gave."""

    def include_published(self, published: PublishedStatistics) -> bool:
        """Take in the whole set as it was described elsewhere; false where that does not say enough."""
        return False


def pack_strings(strings: Sequence[str]) -> np.ndarray:
    """Strings without line breaks as one array of bytes."""
    return np.frombuffer("".join(f"{string}\n" for string in strings).encode(), np.uint8)


def unpack_strings(array: np.ndarray) -> list[str]:
    """The strings that `pack_strings` took."""
    return array.tobytes().decode().split("\n")[:-1]
