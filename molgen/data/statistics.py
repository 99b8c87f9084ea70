"""What the training data look like, counted once; it lies in the checkpoint.

Letters in shapes: B batch, E packed elements, K classes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import singledispatch
from typing import Any

import numpy as np
import torch

from molgen.batch import Batch, Packed, pack
from molgen.data.store import Store
from molgen.space import Categorical, Field, Real, Space, variable_axes


@dataclass
class Moments:
    """Count, sum and sum of squares of real values."""

    count: float = 0.0
    total: float = 0.0
    squares: float = 0.0

    @property
    def mean(self) -> float:
        """The mean, 0 before any value."""
        return self.total / self.count if self.count else 0.0

    @property
    def scale(self) -> float:
        """The standard deviation, 1 where it would be 0."""
        if not self.count:
            return 1.0
        square = self.squares / self.count
        variance = square - self.mean**2
        # What rounding leaves of equal values is no scale.
        return variance**0.5 if variance > 1e-12 * square else 1.0


@dataclass
class Statistics:
    """Sample count, joint histogram of sizes, class counts of categorical and moments of real fields.

    The classes are counted over packed elements, so that a bond counts once.
    """

    count: int = 0
    sizes: Counter[tuple[int, ...]] = field(default_factory=Counter)
    marginals: dict[str, list[int]] = field(default_factory=dict)
    moments: dict[str, Moments] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """The same as JSON values."""
        return {
            "count": self.count,
            "sizes": [[*size, count] for size, count in sorted(self.sizes.items())],
            "marginals": self.marginals,
            "moments": {name: [m.count, m.total, m.squares] for name, m in self.moments.items()},
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Statistics:
        """What `to_json` gave."""
        return cls(
            count=data["count"],
            sizes=Counter({tuple(row[:-1]): row[-1] for row in data["sizes"]}),
            marginals=dict(data["marginals"]),
            moments={name: Moments(*values) for name, values in data["moments"].items()},
        )


def measure(space: Space, batches: Iterable[Batch]) -> Statistics:
    """The statistics of batches of one space."""
    statistics = Statistics()
    names = list(variable_axes(space))
    for batch in batches:
        statistics.count += len(batch)
        if names:
            statistics.sizes.update(zip(*(batch.sizes[name].tolist() for name in names), strict=True))
        for name, packed in pack(space, batch).items():
            count_field(space[name], name, packed, statistics)
    return statistics


@singledispatch
def count_field(field: Field, name: str, packed: Packed, statistics: Statistics) -> None:
    """Add the elements of one field to the statistics; register a kind of field of your own."""
    raise TypeError(f"molgen cannot count a field of kind {type(field).__name__}")


@count_field.register
def _(field: Categorical, name: str, packed: Packed, statistics: Statistics) -> None:
    counts = torch.bincount(packed.values[packed.mask], minlength=field.classes).tolist()
    before = statistics.marginals.get(name, [0] * field.classes)
    statistics.marginals[name] = [a + b for a, b in zip(before, counts, strict=True)]


@count_field.register
def _(field: Real, name: str, packed: Packed, statistics: Statistics) -> None:
    values = packed.values[packed.mask].double()
    moments = statistics.moments.setdefault(name, Moments())
    moments.count += len(values)
    moments.total += float(values.sum())
    moments.squares += float((values**2).sum())


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
