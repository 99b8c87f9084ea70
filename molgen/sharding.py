"""Gradients of the parts of a batch at the same time, one CPU thread each.

Small networks leave a core waiting at every small operation that two cores share; a part of the
batch per core shares nothing until the gradients are added. A part has consecutive rows: of rows that
come in the order of their sizes, a part with the smaller ones has more of them and less padding.

Letters in shapes: B batch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from molgen.batch import Batch, Partial, trimmed
from molgen.errors import UsageError
from molgen.family import Family, Loss
from molgen.seeding import Rng
from molgen.space import Space


@dataclass(frozen=True)
class Weighted:
    """Samples of which each loss counts by its own weight, (B,)."""

    batch: Batch
    condition: Partial | None
    rng: Rng
    weights: Tensor

    @classmethod
    def evenly(cls, batch: Batch, condition: Partial | None, rng: Rng) -> Weighted:
        """Weights that make the mean."""
        count = len(batch)
        return cls(
            batch, condition, rng, torch.full((count,), 1 / count, device=next(iter(batch.fields.values())).device)
        )

    def __len__(self) -> int:
        return len(self.batch)

    def parts(self, space: Space, count: int) -> list[Weighted]:
        """At most so many parts of consecutive rows with like numbers of elements."""
        sizes = sum(self.batch.sizes.values(), torch.zeros(len(self)))
        sizes = torch.ones(len(self)) if not sizes.any() else sizes
        middle = sizes.cumsum(0) - sizes / 2
        number = (middle * count / sizes.sum()).long()
        return [self._take((number == k).nonzero()[:, 0], space) for k in number.unique().tolist()]

    def _take(self, rows: Tensor, space: Space) -> Weighted:
        condition = self.condition.take(rows) if self.condition is not None else None
        batch = trimmed(space, self.batch.take(rows))
        return Weighted(batch, condition, self.rng.take(rows), self.weights[rows])

    def loss(self, family: Callable[..., Loss], phase: str) -> Tensor:
        """The weighted sum of the losses."""
        return (family(self.batch, self.condition, self.rng, phase=phase).total * self.weights).sum()


class Shards:
    """Splits batches into `count` parts and adds their gradients in a fixed order.

    While gradients are computed, torch gives each operation one thread.

    Raises:
        UsageError: the parts would not be independent: the family couples the items of a batch, or
            draws from torch's one global generator, whose order threads cannot keep.
    """

    def __init__(self, count: int, family: Family) -> None:
        if family.capability.coupled:
            raise UsageError("training.shards must be 1: the loss of this family couples the items of a batch")
        if any(_drops(module) for module in family.modules()):
            raise UsageError("training.shards must be 1 with dropout, whose random numbers threads would share")
        self.count = count
        self._pool = ThreadPoolExecutor(count)

    def backward(self, family: Family, phase: str, terms: Sequence[Weighted]) -> list[float]:
        """Set the gradients of the sum of weighted losses, as `backward` would, and return each of them."""
        parameters = [p for p in family.phases[phase].parameters() if p.requires_grad]

        def slope(part: Weighted) -> tuple[float, tuple[Tensor | None, ...]]:
            total = part.loss(family.loss, phase)
            return float(total.detach()), torch.autograd.grad(total, parameters, allow_unused=True)

        parts = [(n, part) for n, term in enumerate(terms) for part in term.parts(family.space, self.count)]
        with _one_thread_each():
            results = list(self._pool.map(slope, [part for _, part in parts]))
        for parameter, *gradients in zip(parameters, *(gradients for _, gradients in results), strict=True):
            known = [gradient for gradient in gradients if gradient is not None]
            parameter.grad = torch.stack(known).sum(0) if known else None
        values = [0.0] * len(terms)
        for (number, _), (value, _) in zip(parts, results, strict=True):
            values[number] += value
        return values


@contextmanager
def _one_thread_each() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _drops(module: nn.Module) -> bool:
    """Whether a module drops at random: it keeps the share as `p`, as torch's own do, or as a number `dropout`."""
    shares = (getattr(module, name, 0) for name in ("p", "dropout"))
    return any(isinstance(share, int | float) and share != 0 for share in shares)
