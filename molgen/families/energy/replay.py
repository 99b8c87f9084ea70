"""Chains that training goes on with, each with its own size and condition (persistent contrastive divergence).

Letters in shapes: B batch, N chains.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from molgen.batch import Batch, Partial, trimmed
from molgen.families.parts.elements import fitted
from molgen.seeding import Rng
from molgen.space import Categorical, Field, Space, variable_axes

#: Under which names tensors are kept: of samples, their sizes, their conditions, whether those are given, their sizes.
SAMPLE, SIZE, ASKED, GIVEN, ASKED_SIZE = "x.", "size.", "asked.", "given.", "asked size."
#: The age of a place without a chain.
EMPTY = -1


class Replay:
    """A memory of N chains (Tieleman, ICML 2008; Du & Mordatch, arXiv 1903.08689).

    Args:
        space: of the samples.
        condition: what they are conditioned on.
        count: N.
    """

    def __init__(self, space: Space, condition: Space, count: int) -> None:
        self.space, self.condition, self.count = dict(space), dict(condition), count
        #: updates of each chain since it started, (N,).
        self.ages = torch.full((count,), EMPTY, dtype=torch.long)
        self._kept: dict[str, Tensor] = {}

    def choose(self, rows: int, rng: Rng) -> Tensor:
        """The places of the chains that go on in this step, (rows,), each at most once; a small memory grows."""
        if rows > self.count:
            more = rows - self.count
            self.ages = torch.cat([self.ages, self.ages.new_full((more,), EMPTY)])
            self._kept = {name: _longer(kept, rows) for name, kept in self._kept.items()}
            self.count = rows
        # The same numbers whatever items the step has.
        return Rng(rng.seed, [0]).uniform("places", (self.count,))[0].argsort()[:rows]

    def take(self, places: Tensor) -> tuple[Batch, Partial | None]:
        """The chains of some places, all of which have one, and their conditions."""
        own = {name: kept[places] for name, kept in self._kept.items()}
        fields = {name: _as_read(field, own[SAMPLE + name]) for name, field in self.space.items()}
        batch = Batch(fields, {name: own[SIZE + name].long() for name in variable_axes(self.space)})
        if not self.condition:
            return trimmed(self.space, batch), None
        asked = {name: _as_read(field, own[ASKED + name]) for name, field in self.condition.items()}
        sizes = {name: own[ASKED_SIZE + name].long() for name in variable_axes(self.condition)}
        given = {name: own[GIVEN + name] for name in self.condition}
        return trimmed(self.space, batch), Partial(Batch(asked, sizes), given)

    def put(self, places: Tensor, batch: Batch, condition: Partial | None) -> None:
        """Keep samples and their conditions at some places."""
        for name, tensor in self._tensors(batch, condition).items():
            if name not in self._kept:
                self._kept[name] = tensor.new_zeros(self.count, *tensor.shape[1:])
            self._kept[name][places] = tensor

    def _tensors(self, batch: Batch, condition: Partial | None) -> dict[str, Tensor]:
        """Samples and conditions as tensors of the largest shape that they can have."""
        found = {SAMPLE + name: _as_kept(field, batch.fields[name]) for name, field in self.space.items()}
        found |= {SIZE + name: size.cpu().to(torch.int32) for name, size in batch.sizes.items()}
        for name, field in self.condition.items():
            shape = (len(batch), *(axis.maximum for axis in field.axes))
            if condition is None or name not in condition.given:
                found[ASKED + name] = _as_kept(field, torch.zeros(*shape, *field.channels_shape))
                found[GIVEN + name] = torch.zeros(shape, dtype=torch.bool)
            else:
                found[ASKED + name] = _as_kept(field, condition.batch.fields[name])
                found[GIVEN + name] = fitted(condition.given[name].cpu(), shape[1:])
        for name, axis in variable_axes(self.condition).items():
            given = condition.batch.sizes.get(name) if condition is not None else None
            size = given.cpu() if given is not None else torch.full((len(batch),), axis.maximum)
            found[ASKED_SIZE + name] = size.to(torch.int32)
        return found

    def state(self) -> dict[str, Tensor]:
        """All of it as tensors; nothing before the first step."""
        return {"ages": self.ages.clone(), **{name: t.clone() for name, t in self._kept.items()}} if self._kept else {}

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Take back what `state` gave."""
        if state:
            self.ages = state["ages"].cpu().clone()
            self.count = len(self.ages)
            self._kept = {name: tensor.cpu().clone() for name, tensor in state.items() if name != "ages"}


def _as_kept(field: Field, tensor: Tensor) -> Tensor:
    """A tensor of a field as it is kept: on the CPU, of the largest shape, whole numbers in 32 bits."""
    full = fitted(tensor.detach().cpu(), [axis.maximum for axis in field.axes])
    return full.to(torch.int32) if isinstance(field, Categorical) else full.float()


def _as_read(field: Field, tensor: Tensor) -> Tensor:
    return tensor.long() if isinstance(field, Categorical) else tensor


def _longer(tensor: Tensor, rows: int) -> Tensor:
    return torch.cat([tensor, tensor.new_zeros(rows - len(tensor), *tensor.shape[1:])])
