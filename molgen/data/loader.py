"""What a training step learns from: the rows of a store, split, in batches of like size, at unit scale."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from molgen.batch import Batch, Partial
from molgen.data.conditions import Conditions
from molgen.data.standardise import standardise
from molgen.data.statistics import Statistics
from molgen.data.store import Store
from molgen.errors import UsageError


class BatchPlan:
    """Which items make up each training step: shuffled anew in every epoch, in buckets of like size where asked.

    Args:
        sizes: of the items, (items,).
        batch_size: items in each step; the last one of an epoch may have fewer.
        seed: of the order.
        pool: batches whose items are sorted by size together before they are cut apart. Above 1 there is less padding;
            but the items of a step are alike, and steps pull apart what a model thinks of sizes.
    """

    def __init__(self, sizes: np.ndarray, batch_size: int, seed: int, pool: int = 1) -> None:
        self.sizes, self.batch_size, self.seed, self.pool = sizes, batch_size, seed, pool
        self.per_epoch = max(1, math.ceil(len(sizes) / batch_size))
        self._epoch = -1
        self._batches: list[np.ndarray] = []

    def rows(self, step: int) -> np.ndarray:
        """The item numbers of one step."""
        epoch, number = divmod(step, self.per_epoch)
        if epoch != self._epoch:
            self._epoch, self._batches = epoch, list(self._shuffled(epoch))
        return self._batches[number]

    def _shuffled(self, epoch: int) -> Iterator[np.ndarray]:
        random = np.random.Generator(np.random.Philox(key=[self.seed, epoch]))
        order = random.permutation(len(self.sizes))
        pool = self.batch_size * self.pool
        batches = []
        for start in range(0, len(order), pool):
            members = order[start : start + pool]
            ranked = members[np.argsort(self.sizes[members], kind="stable")]
            batches += [ranked[k : k + self.batch_size] for k in range(0, len(ranked), self.batch_size)]
        yield from (batches[k] for k in random.permutation(len(batches)))


@dataclass
class Data:
    """The store, which of its rows are trained on and which are held out, and how to bring them to unit scale."""

    store: Store
    conditions: Conditions
    train: np.ndarray
    held_out: np.ndarray
    statistics: Statistics = field(default_factory=Statistics)

    @classmethod
    def split(
        cls,
        store: Store,
        conditions: Conditions,
        held_out: float,
        *,
        limit: int,
        seed: int,
        statistics: Statistics | None = None,
    ) -> Data:
        """Hold out rows at random.

        Args:
            store: all rows.
            conditions: what goes with them.
            held_out: the share of the rows that are held out.
            limit: the most of them.
            seed: of the choice.
            statistics: of all rows.

        Raises:
            UsageError: nothing is left to train on.
        """
        order = np.random.Generator(np.random.Philox(key=[seed, 1 << 63])).permutation(len(store))
        count = min(int(len(store) * held_out), limit)
        if len(store) - count < 1:
            raise UsageError("there is no item to train on")
        return cls(store, conditions, np.sort(order[count:]), np.sort(order[:count]), statistics or Statistics())

    def some(self, count: int, seed: int, *, held_out: bool = False) -> np.ndarray:
        """At most so many training rows, chosen at random, in their order; or held-out ones, where there are any."""
        rows = self.held_out if held_out and len(self.held_out) else self.train
        random = np.random.Generator(np.random.Philox(key=[seed, (1 << 63) + 1]))
        return np.sort(random.choice(rows, min(count, len(rows)), replace=False))

    def batch(self, rows: np.ndarray) -> tuple[Batch, Partial | None]:
        """Samples at unit scale and conditions of some rows of the store."""
        columns = {name: self.store.columns[name][rows] for name in self.conditions.names}
        batch = standardise(self.store.space, self.statistics, self.store.batch(rows))
        return batch, self.conditions.encode(columns, len(rows))

    def sizes(self, rows: np.ndarray) -> np.ndarray:
        """A number per row that grows with the cost of the sample."""
        total = np.ones(len(rows), dtype=np.int64)
        for sizes in self.store.sizes.values():
            total += sizes[rows]
        return total
