"""Batches of samples as tensors, their masks, and their packed form of free elements only.

Letters in shapes: B batch, N and M lengths of padded axes, E packed elements, K classes, C channels.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from molgen.domain import Sample
from molgen.kinds import primitive
from molgen.space import Axis, Categorical, Field, Real, Space, is_symmetric, variable_axes


@dataclass(frozen=True)
class Batch:
    """Field tensors of shape (B, *axes, *channels), zero in the padding, and a size (B,) per variable axis."""

    fields: Mapping[str, Tensor]
    sizes: Mapping[str, Tensor]

    def __len__(self) -> int:
        return len(next(iter({**self.sizes, **self.fields}.values())))

    def take(self, rows: Tensor | slice) -> Batch:
        """The given rows, in the given order."""
        return self._map(lambda tensor: tensor[rows])

    def to(self, device: torch.device | str) -> Batch:
        """The same batch on a device."""
        return self._map(lambda tensor: tensor.to(device))

    def with_fields(self, fields: Mapping[str, Tensor]) -> Batch:
        """The same sizes with other field tensors."""
        return replace(self, fields=dict(fields))

    def _map(self, function: Callable[[Tensor], Tensor]) -> Batch:
        return Batch(
            {name: function(tensor) for name, tensor in self.fields.items()},
            {name: function(tensor) for name, tensor in self.sizes.items()},
        )


@dataclass(frozen=True)
class Partial:
    """A batch of which only some elements are given: conditions with gaps, or the known part of a sample.

    `given` holds a bool tensor of shape (B, *axes) per field; a field that it lacks is not given at all. `closed` holds
    for a symmetric field which indices (B, N) have class 0 with every index behind the size of the batch: where nothing
    may be joined to a part of a graph.
    """

    batch: Batch
    given: Mapping[str, Tensor]
    closed: Mapping[str, Tensor] = dataclasses.field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.batch)

    def take(self, rows: Tensor | slice) -> Partial:
        """The given rows, in the given order."""
        return Partial(self.batch.take(rows), *({n: mask[rows] for n, mask in part.items()} for part in self._masks()))

    def to(self, device: torch.device | str) -> Partial:
        """The same on a device."""
        return Partial(
            self.batch.to(device), *({n: mask.to(device) for n, mask in part.items()} for part in self._masks())
        )

    def _masks(self) -> tuple[Mapping[str, Tensor], Mapping[str, Tensor]]:
        return self.given, self.closed

    def closed_pairs(self, name: str, field: Field, length: int) -> Tensor:
        """The pairs of a field that `closed` makes class 0 among so many indices: bool, (B, length, length)."""
        closed = torch.nn.functional.pad(self.closed[name], (0, length))[:, :length]
        size = self.batch.sizes[field.axes[0].name][:, None]
        behind = torch.arange(length, device=size.device) >= size
        pairs = behind[:, :, None] & closed[:, None, :]
        return pairs | pairs.transpose(1, 2)


class Packed(NamedTuple):
    """The free elements of one field, (B, E) or (B, E, K), and which of them exist, (B, E)."""

    values: Tensor
    mask: Tensor


def lengths(space: Space, batch: Batch) -> dict[str, int]:
    """The padded length of every axis in a batch."""
    return {
        axis.name: batch.fields[name].shape[1 + position]
        for name, field in space.items()
        for position, axis in enumerate(field.axes)
    }


def mask(field: Field, sizes: Mapping[str, Tensor], shape: Sequence[int], rows: int) -> Tensor:
    """Which places of a field exist: bool, (B, *shape); the only place where masks are made from sizes.

    Args:
        field: its axes say which sizes matter; the diagonal of a symmetric field does not exist.
        sizes: (B,) per variable axis.
        shape: the padded length of each axis of the field.
        rows: B.
    """
    device = next(iter(sizes.values())).device if sizes else torch.device("cpu")
    exists = torch.ones((rows, *shape), dtype=torch.bool, device=device)
    for position, axis in enumerate(field.axes):
        if axis.variable:
            inside = torch.arange(shape[position], device=device) < sizes[axis.name][:, None]
            exists &= inside.view(rows, *(shape[position] if k == position else 1 for k in range(len(shape))))
    if is_symmetric(field):
        exists &= ~torch.eye(shape[0], dtype=torch.bool, device=device)
    return exists


def field_mask(space: Space, batch: Batch, name: str) -> Tensor:
    """The mask of one field of a batch: bool, (B, *axes)."""
    field, tensor = space[name], batch.fields[name]
    return mask(field, batch.sizes, tensor.shape[1 : 1 + len(field.axes)], len(batch)).to(tensor.device)


def trimmed(space: Space, batch: Batch) -> Batch:
    """The same samples without padding that none of them needs."""
    longest = {name: int(sizes.max()) for name, sizes in batch.sizes.items()}

    def inside(field: Field) -> tuple[slice, ...]:
        return (slice(None), *(slice(longest[axis.name] if axis.variable else None) for axis in field.axes))

    return batch.with_fields({name: batch.fields[name][inside(field)] for name, field in space.items()})


def pack(space: Space, batch: Batch) -> dict[str, Packed]:
    """The free elements of every field, (B, E[, K]), with their masks; padding is zero.

    A symmetric field keeps i > j without the diagonal, a centred field its coordinates in an
    orthonormal basis of the (n - 1)-dimensional space of centred configurations.
    """
    return {
        name: pack_field(field, batch.fields[name], field_mask(space, batch, name)) for name, field in space.items()
    }


def unpack(
    space: Space, packed: Mapping[str, Tensor], sizes: Mapping[str, Tensor], lengths: Mapping[str, int]
) -> Batch:
    """The batch whose `pack` has these values: the inverse of `pack`, with zeros in the padding."""
    fields = {}
    for name, field in space.items():
        shape = [lengths[axis.name] for axis in field.axes]
        exists = mask(field, sizes, shape, len(packed[name])).to(packed[name].device)
        fields[name] = unpack_field(field, packed[name], exists)
    return Batch(fields, dict(sizes))


@primitive
def pack_field(field: Field, tensor: Tensor, exists: Tensor) -> Packed:
    """The free elements of one field; teach one for a kind whose places are not all free."""
    channels, tail = field.channels_shape, tensor.shape[exists.ndim + len(field.channels_shape) :]
    exists = exists[..., None].expand(*exists.shape, int(np.prod(channels))).reshape(len(exists), -1)
    return _masked(tensor.reshape(*exists.shape, *tail), exists)


@primitive
def unpack_field(field: Field, values: Tensor, exists: Tensor) -> Tensor:
    """The inverse of `pack_field` at the places that exist, zero elsewhere."""
    return _zero_outside(values.reshape(*exists.shape, *field.channels_shape, *values.shape[2:]), exists)


@pack_field.register
def _(field: Categorical, tensor: Tensor, exists: Tensor) -> Packed:
    tail = tensor.shape[exists.ndim :]
    if field.symmetric:
        row, column = _lower_triangle(exists.shape[1])
        return _masked(tensor[:, row, column], exists[:, row, column])
    return _masked(tensor.reshape(len(tensor), -1, *tail), exists.reshape(len(exists), -1))


@unpack_field.register
def _(field: Categorical, values: Tensor, exists: Tensor) -> Tensor:
    tail = values.shape[2:]
    if field.symmetric:
        return _zero_outside(_over_pairs(values, exists.shape[1]), exists)
    return _zero_outside(values.reshape(*exists.shape, *tail), exists)


@pack_field.register
def _(field: Real, tensor: Tensor, exists: Tensor) -> Packed:
    rows, channels = len(tensor), int(np.prod(field.channels))
    if field.centred:
        # Row k of the basis touches atoms 0..k+1 only, so one basis serves every size.
        tensor = torch.einsum("mn,bn...->bm...", helmert(tensor.shape[1]).to(tensor), tensor)
        exists = exists[:, 1:]
    if field.symmetric:
        row, column = _lower_triangle(exists.shape[1])
        tensor, exists = tensor[:, row, column], exists[:, row, column]
    exists = exists[..., None].expand(*exists.shape, channels).reshape(rows, -1)
    return _masked(tensor.reshape(rows, -1), exists)


@unpack_field.register
def _(field: Real, values: Tensor, exists: Tensor) -> Tensor:
    if field.symmetric:
        return _zero_outside(_over_pairs(values.unflatten(1, (-1, *field.channels)), exists.shape[1]), exists)
    places = (max(0, exists.shape[1] - 1),) if field.centred else exists.shape[1:]
    full = values.reshape(len(values), *places, *field.channels)
    if field.centred:
        full = _zero_outside(full, exists[:, 1:])
        full = torch.einsum("mn,bm...->bn...", helmert(exists.shape[1]).to(full), full)
    return _zero_outside(full, exists)


def _over_pairs(values: Tensor, n: int) -> Tensor:
    """What belongs to the pairs i > j of n indices, (B, E, ...), at both of their places, (B, n, n, ...)."""
    row, column = _lower_triangle(n)
    full = values.new_zeros(len(values), n, n, *values.shape[2:])
    full[:, row, column] = values
    full[:, column, row] = values
    return full


def helmert(n: int) -> Tensor:
    """An orthonormal basis, (n-1, n) in float64, of the vectors of length n that sum to zero."""
    return _helmert(n)


@lru_cache(maxsize=256)
def _helmert(n: int) -> Tensor:
    k = torch.arange(1, max(n, 1), dtype=torch.float64)[:, None]
    j = torch.arange(n, dtype=torch.float64)[None]
    return torch.where(j < k, 1.0, torch.where(j == k, -k, 0.0)) / torch.sqrt(k * (k + 1))


@lru_cache(maxsize=256)
def _lower_triangle(n: int) -> tuple[Tensor, Tensor]:
    # Ordered by the larger index, so that an element keeps its place when padding grows.
    row, column = torch.tril_indices(n, n, -1)
    return row, column


def _masked(values: Tensor, exists: Tensor) -> Packed:
    return Packed(_zero_outside(values, exists), exists)


def _zero_outside(tensor: Tensor, exists: Tensor) -> Tensor:
    exists = exists.reshape(*exists.shape, *(1 for _ in range(tensor.ndim - exists.ndim)))
    return torch.where(exists, tensor, torch.zeros((), dtype=tensor.dtype, device=tensor.device))


def levels_to_values(field: Real, levels: Tensor) -> Tensor:
    """Level numbers 0..L-1 as the values (2k+1)/L - 1 that networks see."""
    return (2 * levels.to(torch.get_default_dtype()) + 1) / _levels(field) - 1


def values_to_levels(field: Real, values: Tensor) -> Tensor:
    """The level number of the cell in which each value lies."""
    count = _levels(field)
    return ((values + 1) * count / 2).floor().long().clamp(0, count - 1)


def _levels(field: Real) -> int:
    if field.levels is None:
        raise ValueError("the field is not quantised, so it has no levels")
    return field.levels


def collate(space: Space, samples: Sequence[Sample]) -> Batch:
    """Samples without a batch dimension as one batch, padded with zeros to the largest of each axis."""
    sizes = {
        name: torch.tensor([size_of(space, s, axis) for s in samples]) for name, axis in variable_axes(space).items()
    }
    fields = {name: _stack([to_tensor_values(field, s[name]) for s in samples]) for name, field in space.items()}
    return Batch(fields, sizes)


def separate(space: Space, batch: Batch) -> list[Sample]:
    """The samples of a batch as arrays without padding: the inverse of `collate`."""
    fields = {name: _to_sample_values(field, batch.fields[name]) for name, field in space.items()}
    sizes = {name: tensor.tolist() for name, tensor in batch.sizes.items()}

    def inside(field: Field, row: int) -> tuple[slice, ...]:
        return tuple(slice(sizes[axis.name][row] if axis.variable else None) for axis in field.axes)

    return [{name: fields[name][row][inside(field, row)] for name, field in space.items()} for row in range(len(batch))]


def to_tensor_values(field: Field, array: np.ndarray) -> np.ndarray:
    """The numbers of a sample as a batch holds them: ids as int64, else float32, levels as their values."""
    if isinstance(field, Categorical):
        return np.asarray(array, dtype=np.int64)
    if isinstance(field, Real) and field.levels is not None:
        array = _without_diagonal(field, (2 * np.asarray(array, dtype=np.float64) + 1) / field.levels - 1)
    return np.asarray(array, dtype=np.float32)


def _without_diagonal(field: Field, array: np.ndarray) -> np.ndarray:
    """The numbers of pairs with 0 where an index meets itself, which no level but the middle one stands for."""
    if is_symmetric(field):
        places = np.arange(array.shape[-1 - len(field.channels_shape)])
        inside: tuple[Any, ...] = (..., places, places, *(slice(None) for _ in field.channels_shape))
        array[inside] = 0
    return array


def _to_sample_values(field: Field, tensor: Tensor) -> np.ndarray:
    """The inverse of `to_tensor_values`."""
    if isinstance(field, Real) and field.levels is not None:
        return _without_diagonal(field, values_to_levels(field, tensor).cpu().numpy())
    return tensor.cpu().numpy()


def size_of(space: Space, sample: Sample, axis: Axis) -> int:
    """How many elements a sample has along an axis."""
    for name, field in space.items():
        if axis in field.axes:
            return sample[name].shape[field.axes.index(axis)]
    raise ValueError(f"no field has the axis {axis.name!r}")


def _stack(arrays: Sequence[np.ndarray]) -> Tensor:
    shape = np.max([array.shape for array in arrays], axis=0).astype(int) if arrays[0].ndim else ()
    full = np.zeros((len(arrays), *shape), dtype=arrays[0].dtype)
    for row, array in enumerate(arrays):
        inside: tuple[Any, ...] = (row, *(slice(n) for n in array.shape))
        full[inside] = array
    return torch.from_numpy(full)
