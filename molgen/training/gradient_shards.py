"""Gradients of the parts of a batch at the same time, one CPU thread each.

Small networks leave a core waiting at every small operation that two cores share; a part of the
batch, a shard, per core shares nothing until the gradients are added. A shard has consecutive rows: of rows that
come in the order of their sizes, a shard with the smaller ones has more of them and less padding.

Letters in shapes: B batch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor, nn

from molgen.batch import Batch, Partial, trimmed
from molgen.errors import UsageError
from molgen.family import Family, Loss, phases_of
from molgen.seeding import Rng
from molgen.space import Space

Result = TypeVar("Result")


@dataclass(frozen=True)
class Shard:
    """Samples of an optimiser step: all of them, or a part; `whole` is how many the step has."""

    batch: Batch
    condition: Partial | None
    rng: Rng
    whole: int

    def split(self, space: Space, count: int) -> list[Shard]:
        """At most so many shards of consecutive rows with like numbers of elements."""
        like = next(iter(self.batch.fields.values()))
        sizes = sum(self.batch.sizes.values(), like.new_zeros(len(like), dtype=torch.float32))
        sizes = sizes if sizes.any() else torch.ones_like(sizes)
        middle = sizes.cumsum(0) - sizes / 2
        number = (middle * count / sizes.sum()).long()
        return [self._take((number == k).nonzero()[:, 0], space) for k in number.unique().tolist()]

    def _take(self, rows: Tensor, space: Space) -> Shard:
        condition = self.condition.take(rows) if self.condition is not None else None
        return Shard(trimmed(space, self.batch.take(rows)), condition, self.rng.take(rows), self.whole)

    def loss(self, family: Callable[..., Loss], phase: str) -> dict[str, Tensor]:
        """What these samples give to the mean `loss` of the step, and to the means of its parts without gradients."""
        found = family(self.batch, self.condition, self.rng, phase=phase)
        parts = {name: part.detach().sum() / self.whole for name, part in found.parts.items()}
        return parts | {"loss": found.total.sum() / self.whole}

    def gradients(
        self, family: Callable[..., Loss], phase: str, parameters: Sequence[nn.Parameter]
    ) -> tuple[dict[str, Tensor], tuple[Tensor | None, ...]]:
        """The means that `loss` gives, without gradients, and the gradient of that of the loss by each parameter."""
        means = self.loss(family, phase)
        gradients = torch.autograd.grad(means["loss"], parameters, allow_unused=True)
        return {name: mean.detach() for name, mean in means.items()}, gradients


class GradientShards:
    """Splits batches into `count` shards and adds their gradients in a fixed order.

    While gradients are computed, torch gives each operation one thread.

    Raises:
        UsageError: the shards would not be independent: the family couples the items of a batch, or
            uses torch's one global generator, whose order threads cannot keep.
    """

    def __init__(self, count: int, family: Family) -> None:
        if family.capability.coupled:
            raise UsageError("training.gradient_shards must be 1: the loss of this family couples the items of a batch")
        if any(_drops(module) for module in family.modules()):
            raise UsageError(
                "training.gradient_shards must be 1 with dropout, whose random numbers threads would share"
            )
        self.count = count
        self._pool = ThreadPoolExecutor(count)

    def backward(self, family: Family, phase: str, step: Shard) -> dict[str, Tensor]:
        """Set the gradients of the mean loss of a step, as `backward` would; the means as `Shard.loss` names them."""
        parameters = phases_of(family)[phase].parameters()
        shards = step.split(family.space, self.count)
        results = list(self.map(lambda shard: shard.gradients(family.loss, phase, parameters), shards))
        for parameter, *gradients in zip(parameters, *(gradients for _, gradients in results), strict=True):
            known = [gradient for gradient in gradients if gradient is not None]
            parameter.grad = torch.stack(known).sum(0) if known else None
        return {name: torch.stack([means[name] for means, _ in results]).sum() for name in results[0][0]}

    def map(self, function: Callable[[Shard], Result], shards: Iterable[Shard]) -> Iterator[Result]:
        """What a function finds of shards, at the same time, in their order."""
        with _one_thread_each():
            yield from self._pool.map(function, shards)


@contextmanager
def _one_thread_each() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _drops(module: nn.Module) -> bool:
    """Whether a module drops at random: it has a probability `p`, as torch's own do, or a number `dropout`."""
    probabilities = (getattr(module, name, 0) for name in ("p", "dropout"))
    return any(isinstance(p, int | float) and p != 0 for p in probabilities)
