"""Fields as planes of numbers at every place, which convolutions read.

Letters in shapes: B batch, H and W places along the two directions, K classes, P planes, D width.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import prod

import torch
from torch import Tensor, nn
from torch.nn.functional import one_hot

from molgen.backbones.unet.blocks import Convolution, Spread
from molgen.backbones.unet.resolutions import Frame, Grid, Span, fitted
from molgen.batch import Batch, Partial, mask
from molgen.errors import UnsupportedSpace
from molgen.kinds import primitive
from molgen.layers.aligned_condition import Alignment
from molgen.layers.condition_embedding import given_places
from molgen.layers.numbers import Numbers, numbers_of
from molgen.space import Categorical, Field, Real, Space


@primitive
def plane_count(field: Field) -> int:
    """How many numbers a field has at every place; by default those of its `numbers_of`."""
    return _numbers(field).count


@plane_count.register
def _(field: Categorical) -> int:
    return field.classes


@plane_count.register
def _(field: Real) -> int:
    if field.rotates:
        raise UnsupportedSpace("a U-Net is not equivariant, so it reads no field that rotates")
    return prod(field.channels)


@primitive
def planes(field: Field, tensor: Tensor) -> Tensor:
    """The tensor of a field, (B, *axes, ...), as numbers, (B, *axes, P)."""
    return _numbers(field).of(tensor)


@planes.register
def _(field: Categorical, tensor: Tensor) -> Tensor:
    return tensor if tensor.is_floating_point() else one_hot(tensor, field.classes)


@planes.register
def _(field: Real, tensor: Tensor) -> Tensor:
    return tensor.reshape(*tensor.shape[: tensor.ndim - len(field.channels)], prod(field.channels))


def _numbers(field: Field) -> Numbers:
    if (numbers := numbers_of(field)) is None:
        raise UnsupportedSpace(f"a U-Net reads no field of kind {type(field).__name__}")
    return numbers


class InputStem(nn.Module):
    """All fields over one grid, and conditions with gaps over it, as vectors at the places of its resolution.

    One more plane says where the samples have places at all, and one for each condition where it is given.

    Args:
        fields: of the inputs.
        conditions: over some of the same axes.
        grid: where the axes lie.
        width: D.
        kernel: of the convolution, along each direction.
    """

    def __init__(
        self, fields: Space, conditions: Mapping[str, Alignment], grid: Grid, width: int, kernel: tuple[int, int]
    ) -> None:
        super().__init__()
        self.fields, self.conditions, self.grid = dict(fields), dict(conditions), grid
        count = (
            1 + sum(map(plane_count, fields.values())) + sum(1 + plane_count(one.field) for one in conditions.values())
        )
        whole = grid.patch == (1, 1)
        self.network = Convolution(count, width, kernel) if whole else Spread(count, width, grid.patch)

    def forward(self, batch: Batch, condition: Partial | None, frame: Frame) -> Tensor:
        """(B, H, W, D)."""
        like, shape = self.network.weight, frame.shape(self.grid.stride)
        exists = self._exists(batch, shape).to(like)
        parts = [exists]
        for name, field in self.fields.items():
            parts.append(self._planes(field, batch.fields[name], shape).to(like) * exists)
        for name, alignment in self.conditions.items():
            parts += self._given(name, alignment, condition, exists)
        x = self.network(torch.cat(parts, dim=-1))
        return fitted(x, frame.shape(frame.pyramid.step(self.grid.level)))

    def _exists(self, batch: Batch, shape: tuple[int, int]) -> Tensor:
        # Other grids may reach beyond this one.
        own = shape[2 - len(self.grid.axes) :]
        lengths = [min(axis.maximum, length) for axis, length in zip(self.grid.axes, own, strict=True)]
        exists = mask(Field(self.grid.axes), batch.sizes, lengths, len(batch))
        return fitted(self.grid.spread(exists), shape)[..., None]

    def _planes(self, field: Field, tensor: Tensor, shape: tuple[int, int]) -> Tensor:
        return planes(field, fitted(self.grid.spread(tensor), shape))

    def _given(self, name: str, alignment: Alignment, condition: Partial | None, exists: Tensor) -> list[Tensor]:
        """The planes of a condition, zero where it is not given, and where it is."""
        field = alignment.field
        if condition is None or name not in condition.given:
            return [exists.new_zeros(*exists.shape[:3], 1 + plane_count(field))]
        values = planes(field, condition.batch.fields[name]).to(exists)
        values, given = alignment.mean(values, given_places(field, name, condition))
        found = self._over_grid(alignment.axes, torch.cat([given[..., None].to(exists), values], dim=-1), exists)
        return [found * exists]

    def _over_grid(self, own: Span, tensor: Tensor, exists: Tensor) -> Tensor:
        """What lies over some axes of the grid, (B, *axes, P), at all of its places, (B, H, W, P)."""
        shape = exists.shape[3 - len(self.grid.axes) : 3]
        names, lengths = [axis.name for axis in own], [*shape]
        order = [1 + names.index(axis.name) for axis in self.grid.axes if axis.name in names]
        tensor = tensor.permute(0, *order, tensor.ndim - 1)
        for place, axis in enumerate(self.grid.axes):
            if axis.name not in names:
                tensor = tensor.unsqueeze(1 + place)
            else:
                lengths[place] = tensor.shape[1 + place]
        tensor = tensor.expand(-1, *lengths, -1)
        return fitted(self.grid.spread(tensor), exists.shape[1:3])
