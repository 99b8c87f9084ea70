"""Gradients of the parts of a batch at the same time, one CPU thread each.

Small networks leave a core waiting at every small operation that two cores share; a part of the
batch per core shares nothing until the gradients are added. A part has consecutive rows: of rows that
come in the order of their sizes, a part with the smaller ones has more of them and less padding.

Letters in shapes: B batch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
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
class Share:
    """Samples of a training step: all of them, or a part; `whole` is how many the step has."""

    batch: Batch
    condition: Partial | None
    rng: Rng
    whole: int

    def parts(self, space: Space, count: int) -> list[Share]:
        """At most so many parts of consecutive rows with like numbers of elements."""
        rows = len(self.batch)
        sizes = sum(self.batch.sizes.values(), torch.zeros(rows))
        sizes = torch.ones(rows) if not sizes.any() else sizes
        middle = sizes.cumsum(0) - sizes / 2
        number = (middle * count / sizes.sum()).long()
        return [self._take((number == k).nonzero()[:, 0], space) for k in number.unique().tolist()]

    def _take(self, rows: Tensor, space: Space) -> Share:
        condition = self.condition.take(rows) if self.condition is not None else None
        return Share(trimmed(space, self.batch.take(rows)), condition, self.rng.take(rows), self.whole)

    def loss(self, family: Callable[..., Loss], phase: str) -> Tensor:
        """What these samples give to the mean loss of the step."""
        return family(self.batch, self.condition, self.rng, phase=phase).total.sum() / self.whole


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

    def backward(self, family: Family, phase: str, step: Share) -> float:
        """Set the gradients of the mean loss of a step, as `backward` would, and return it."""
        parameters = [p for p in family.phases[phase].parameters() if p.requires_grad]

        def slope(part: Share) -> tuple[float, tuple[Tensor | None, ...]]:
            loss = part.loss(family.loss, phase)
            return float(loss.detach()), torch.autograd.grad(loss, parameters, allow_unused=True)

        with _one_thread_each():
            results = list(self._pool.map(slope, step.parts(family.space, self.count)))
        for parameter, *gradients in zip(parameters, *(gradients for _, gradients in results), strict=True):
            known = [gradient for gradient in gradients if gradient is not None]
            parameter.grad = torch.stack(known).sum(0) if known else None
        return sum(loss for loss, _ in results)


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
