"""Gradients of the parts of a batch at the same time, one CPU thread each.

Small networks leave a core waiting at every small operation that two cores share; a part of the
batch per core shares nothing until the gradients are added.

Letters in shapes: B batch.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from molgen.batch import Batch, Partial
from molgen.errors import UsageError
from molgen.family import Family
from molgen.seeding import Rng


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

    def backward(self, family: Family, phase: str, batch: Batch, condition: Partial | None, rng: Rng) -> float:
        """Set the gradients of the mean loss of a batch, as `backward` would, and return that loss."""
        parameters = [p for p in family.phases[phase].parameters() if p.requires_grad]

        def part(rows: Tensor) -> tuple[float, tuple[Tensor | None, ...]]:
            some = condition.take(rows) if condition is not None else None
            total = family.loss(batch.take(rows), some, rng.take(rows), phase=phase).total.sum() / len(batch)
            return float(total.detach()), torch.autograd.grad(total, parameters, allow_unused=True)

        with _one_thread_each():
            results = list(self._pool.map(part, torch.arange(len(batch)).chunk(self.count)))
        for parameter, *gradients in zip(parameters, *(gradients for _, gradients in results), strict=True):
            known = [gradient for gradient in gradients if gradient is not None]
            parameter.grad = torch.stack(known).sum(0) if known else None
        return sum(value for value, _ in results)


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
