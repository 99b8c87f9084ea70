"""What the training data look like, counted once; it lies in the checkpoint.

Letters in shapes: B batch, E packed elements, K classes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from math import prod
from typing import Any

import numpy as np
import torch

from molgen.batch import Batch, Packed, pack
from molgen.data.quantiles import Quantiles, ValueSample
from molgen.data.store import Store
from molgen.kinds import primitive
from molgen.space import Categorical, Field, Real, Space, variable_axes

#: A standard deviation below this share of the size of the numbers is what rounding in float64 leaves of equal ones.
ROUNDING = 1e-13


@dataclass(frozen=True)
class Moments:
    """Mean and spread of real values, channel by channel, in float64.

    Sums of squares would lose the spread of numbers that lie far from zero; these are added up as squared deviations
    from the mean instead (Chan, Golub & LeVeque, The American Statistician 37, 1983, equation 2.1).

    Attributes:
        count: values of each channel.
        means: of each channel.
        deviations: the sum of the squared deviations from its mean, of each channel.
    """

    count: float = 0.0
    means: tuple[float, ...] = (0.0,)
    deviations: tuple[float, ...] = (0.0,)

    @classmethod
    def of(cls, values: np.ndarray) -> Moments:
        """Those of some values, (N, C) for C channels."""
        if not len(values):
            return cls(0.0, (0.0,) * values.shape[1], (0.0,) * values.shape[1])
        values = values.astype(np.float64)
        means = values.mean(0)
        return cls(float(len(values)), _floats(means), _floats(((values - means) ** 2).sum(0)))

    @classmethod
    def from_sums(cls, count: float, total: float, squares: float) -> Moments:
        """Those of one channel from the sum and the sum of squares, as earlier checkpoints hold them."""
        if not count:
            return cls()
        mean, square = total / count, squares / count
        variance = square - mean**2
        # What rounding leaves of equal values, which differences of sums cannot tell from a spread.
        return cls(count, (mean,), (count * variance if variance > 1e-12 * square else 0.0,))

    def merge(self, other: Moments) -> Moments:
        """Those of the values of both."""
        if not self.count or not other.count:
            return self if self.count else other
        count = self.count + other.count
        gap = np.subtract(other.means, self.means)
        means = self.means + gap * (other.count / count)
        deviations = np.add(self.deviations, other.deviations) + gap**2 * (self.count * other.count / count)
        return Moments(count, _floats(means), _floats(deviations))

    @property
    def scales(self) -> tuple[float, ...]:
        """The standard deviation of each channel, 1 where it would be 0."""
        pairs = zip(self.means, self.deviations, strict=True)
        return tuple(_deviation(mean, squares / max(self.count, 1)) for mean, squares in pairs)

    @property
    def mean(self) -> float:
        """The mean over all channels, 0 before any value."""
        return float(np.mean(self.means))

    @property
    def total(self) -> float:
        """The sum over all channels."""
        return self.count * float(np.sum(self.means))

    @property
    def scale(self) -> float:
        """The standard deviation over all channels, 1 where it would be 0."""
        return _deviation(self.mean, self._variance)

    @property
    def root_mean_square(self) -> float:
        """The distance from zero over all channels, 1 where it would be 0."""
        return float((self._variance + self.mean**2) ** 0.5) or 1.0

    @property
    def _variance(self) -> float:
        return float(np.mean(self.deviations) / max(self.count, 1) + np.var(self.means))

    def to_json(self) -> dict[str, Any]:
        """The same as JSON values."""
        return {"count": self.count, "means": list(self.means), "deviations": list(self.deviations)}

    @classmethod
    def from_json(cls, data: Any) -> Moments:
        """What `to_json` gave, or the three sums of an earlier checkpoint."""
        if isinstance(data, list):
            return cls.from_sums(*data)
        return cls(data["count"], tuple(data["means"]), tuple(data["deviations"]))


def _floats(values: np.ndarray) -> tuple[float, ...]:
    return tuple(values.tolist())


def _deviation(mean: float, variance: float) -> float:
    return float(variance**0.5) if variance > (ROUNDING * mean) ** 2 else 1.0


@dataclass
class Statistics:
    """Sample count, joint histogram of sizes, class counts of categorical and moments and quantiles of real fields.

    The classes are counted over packed elements, so that a bond counts once. Fields whose channels have no scale of
    their own have no quantiles.
    """

    count: int = 0
    sizes: Counter[tuple[int, ...]] = field(default_factory=Counter)
    marginals: dict[str, list[int]] = field(default_factory=dict)
    moments: dict[str, Moments] = field(default_factory=dict)
    quantiles: dict[str, Quantiles] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """The same as JSON values."""
        return {
            "count": self.count,
            "sizes": [[*size, count] for size, count in sorted(self.sizes.items())],
            "marginals": self.marginals,
            "moments": {name: moments.to_json() for name, moments in self.moments.items()},
            "quantiles": {name: quantiles.to_json() for name, quantiles in self.quantiles.items()},
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Statistics:
        """What `to_json` gave."""
        return cls(
            count=data["count"],
            sizes=Counter({tuple(row[:-1]): row[-1] for row in data["sizes"]}),
            marginals=dict(data["marginals"]),
            moments={name: Moments.from_json(values) for name, values in data["moments"].items()},
            # Earlier checkpoints have none.
            quantiles={name: Quantiles.from_json(values) for name, values in data.get("quantiles", {}).items()},
        )


def measure(space: Space, batches: Iterable[Batch]) -> Statistics:
    """The statistics of batches of one space."""
    statistics = Statistics()
    names = list(variable_axes(space))
    samples: dict[str, ValueSample] = {}
    for batch in batches:
        statistics.count += len(batch)
        if names:
            statistics.sizes.update(zip(*(batch.sizes[name].tolist() for name in names), strict=True))
        for name, packed in pack(space, batch).items():
            count_field(space[name], name, packed, statistics)
            own = space[name]
            if isinstance(own, Real) and has_own_channels(own):
                samples.setdefault(name, ValueSample(prod(own.channels))).add(_by_channel(own, packed))
    statistics.quantiles = {name: sample.quantiles() for name, sample in samples.items() if sample.count}
    return statistics


@primitive
def count_field(field: Field, name: str, packed: Packed, statistics: Statistics) -> None:
    """Add the elements of one field to the statistics; nothing is counted of a kind that is not registered here."""


@count_field.register
def _(field: Categorical, name: str, packed: Packed, statistics: Statistics) -> None:
    counts = torch.bincount(packed.values[packed.mask], minlength=field.classes).tolist()
    before = statistics.marginals.get(name, [0] * field.classes)
    statistics.marginals[name] = [a + b for a, b in zip(before, counts, strict=True)]


@count_field.register
def _(field: Real, name: str, packed: Packed, statistics: Statistics) -> None:
    found = Moments.of(_by_channel(field, packed))
    statistics.moments[name] = statistics.moments[name].merge(found) if name in statistics.moments else found


def _by_channel(field: Real, packed: Packed) -> np.ndarray:
    """The values of each channel, (N, C), or of all together, (N, 1), where they have no scale of their own."""
    # Elements are packed place by place, so the channels of one come together.
    channels = prod(field.channels) if has_own_channels(field) else 1
    found: np.ndarray = packed.values[packed.mask].reshape(-1, channels).numpy(force=True)
    return found


def has_own_channels(field: Real) -> bool:
    """Whether each channel has a mean and a scale of its own.

    Turning mixes the channels of a vector, centring fixes their means, and levels are all of one range.
    """
    return field.levels is None and not field.centred and not field.rotates


#: Rows of the store that are counted at a time, and numbers of a field.
COUNTED, COUNTED_NUMBERS = 8192, 1 << 22


def count(store: Store) -> Statistics:
    """The statistics of a whole store."""
    if all(isinstance(field, Categorical) for field in store.space.values()):
        return _count_classes(store)
    rows = np.arange(len(store))
    return measure(store.space, (store.batch(rows[k : k + COUNTED]) for k in range(0, len(rows), COUNTED)))


def _count_classes(store: Store) -> Statistics:
    """The same for classes alone: the store holds them packed, so they need not become batches first."""
    statistics = Statistics(len(store))
    if store.sizes:
        sizes, counts = np.unique(np.stack(list(store.sizes.values()), 1), axis=0, return_counts=True)
        statistics.sizes = Counter(dict(zip(map(tuple, sizes.tolist()), counts.tolist(), strict=True)))
    for name, kind in store.space.items():
        assert isinstance(kind, Categorical)
        flat, total = store.fields[name], np.zeros(kind.classes, dtype=np.int64)
        for start in range(0, len(flat), COUNTED_NUMBERS):
            total += np.bincount(flat[start : start + COUNTED_NUMBERS], minlength=kind.classes)
        statistics.marginals[name] = total.tolist()
    return statistics
