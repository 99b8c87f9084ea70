"""One embedding of conditions for every backbone.

Letters in shapes: B batch, D width of the embedding, C channels.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from typing import cast

import torch
from torch import Tensor, nn

from molgen.batch import Batch, Partial, mask
from molgen.errors import UnsupportedSpace
from molgen.kinds import primitive
from molgen.layers.named import NamedModules, NamedParameters
from molgen.layers.numbers import NumbersEmbedding, numbers_of
from molgen.space import Categorical, Field, Real, Space


class ConditionEmbedding(nn.Module):
    """Conditions with gaps as one vector per row, (B, D); what is not given has a learned vector of its own."""

    def __init__(self, space: Space, width: int) -> None:
        super().__init__()
        self.space = dict(space)
        self.embeddings = NamedModules({name: condition_embedding(field, width) for name, field in space.items()})
        self.absent = NamedParameters({name: nn.Parameter(torch.zeros(width)) for name in space})
        self.mix = nn.Sequential(nn.SiLU(), nn.Linear(width, width))

    def forward(self, condition: Partial | None, rows: int) -> Tensor:
        """The vectors of `rows` rows; without a condition nothing is given."""
        return self.mix(sum(self._field(name, condition, rows) for name in self.space))

    def begin_at_zero(self, new: Collection[nn.Parameter]) -> None:
        """Have new parameters add nothing to the vectors until they are trained: their last layers are zero."""
        mix = cast(nn.Linear, self.mix[1])
        layers: list[nn.Module] = [mix] if mix.weight in new else []
        for embedding in (self.embeddings[name] for name in self.space) if not layers else ():
            own = [layer for layer in embedding.modules() if isinstance(layer, nn.Linear | nn.Embedding)]
            layers += [own[-1]] if own and own[-1].weight in new else []
        for parameter in (parameter for layer in layers for parameter in layer.parameters()):
            nn.init.zeros_(parameter)

    def _field(self, name: str, condition: Partial | None, rows: int) -> Tensor:
        absent = self.absent[name].expand(rows, -1)
        if condition is None or name not in condition.given:
            return absent
        given = given_places(self.space[name], name, condition)
        values = self.embeddings[name](condition.batch.fields[name])
        values = torch.where(given[..., None], values, 0.0).flatten(1, -2) if given.ndim > 1 else values
        count = given.flatten(1).sum(1) if given.ndim > 1 else given.long()
        total = values.sum(1) if given.ndim > 1 else values
        return torch.where(count[:, None] > 0, total / count.clamp(min=1)[:, None], absent)


def with_rows(batch: Batch, condition: Partial | None) -> Batch:
    """The batch; of a space without fields and variable axes, one that has the rows of the condition.

    Raises:
        ValueError: nothing says how many rows there are.
    """
    if batch.fields or batch.sizes:
        return batch
    if condition is None:
        raise ValueError("a batch without fields and sizes has as many rows as its condition, and there is none")
    given = next(iter(condition.given.values()))
    return Batch({}, {"": torch.zeros(len(given), dtype=torch.long, device=given.device)})


def given_places(field: Field, name: str, condition: Partial) -> Tensor:
    """Where a condition is given and exists, (B, *axes); an axis whose sizes it does not say is taken to be full."""
    given, sizes = condition.given[name], condition.batch.sizes
    known = tuple(axis if axis.name in sizes else replace(axis, variable=False) for axis in field.axes)
    own = {axis.name: sizes[axis.name].to(given.device) for axis in known if axis.variable}
    return given & mask(replace(field, axes=known), own, given.shape[1:], len(given)).to(given.device)


@primitive
def condition_embedding(field: Field, width: int) -> nn.Module:
    """A module from the values of one field to vectors of `width`; by default from its `numbers_of`.

    Raises:
        UnsupportedSpace: nothing says how a network reads the kind of field.
    """
    if (numbers := numbers_of(field)) is None:
        raise UnsupportedSpace(f"molgen cannot condition on a field of kind {type(field).__name__}")
    return NumbersEmbedding(numbers, _small_network(numbers.count, width))


@condition_embedding.register
def _(field: Categorical, width: int) -> nn.Module:
    return nn.Embedding(field.classes, width)


@condition_embedding.register
def _(field: Real, width: int) -> nn.Module:
    return _RealEmbedding(field, width)


def _small_network(numbers: int, width: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(numbers, width), nn.SiLU(), nn.Linear(width, width))


class _RealEmbedding(nn.Module):
    """Standardised numbers through a small network, so that a property may act non-linearly."""

    def __init__(self, field: Real, width: int) -> None:
        super().__init__()
        self.channels = len(field.channels)
        size = 1
        for channel in field.channels:
            size *= channel
        self.network = _small_network(size, width)

    def forward(self, values: Tensor) -> Tensor:
        flat = values.flatten(values.ndim - self.channels) if self.channels else values[..., None]
        return self.network(flat.to(next(self.network.parameters()).dtype))
