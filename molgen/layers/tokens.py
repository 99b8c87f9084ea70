"""Any sample as a row of tokens: which places of its axes have one, where they are, and which of them exist.

Fields over the same axes share the tokens of their places; a field without axes has a token of its own, and one
more token stands for the whole sample. So a graph has a token for each node and one for each pair of nodes.

Letters in shapes: B batch, E places of one group, T tokens, P kinds of position, A indices of one axis.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from math import prod

import torch
from torch import Tensor

from molgen.batch import Batch, mask
from molgen.space import Axis, Field, Space, is_pairwise, is_symmetric

Lengths = Mapping[str, int]
#: An axis, and how many times the same group has it before.
Direction = tuple[Axis, int]


@dataclass(frozen=True)
class Group:
    """The places of some axes, a token each. A symmetric group has one for both orders of a pair, none for (i, i)."""

    name: str
    axes: tuple[Axis, ...] = ()
    symmetric: bool = False

    @property
    def most(self) -> int:
        """The number of tokens of the largest sample."""
        count = prod(axis.maximum for axis in self.axes)
        return (count - self.axes[0].maximum) // 2 if self.symmetric else count

    @property
    def directions(self) -> list[Direction]:
        """The axes; a second one of the same name is a direction of its own."""
        return [(axis, self.axes[:place].count(axis)) for place, axis in enumerate(self.axes)]

    def indices(self, lengths: Lengths) -> Tensor:
        """The index of each place along each axis, (E, axes); of a symmetric pair the larger one first."""
        shape = self.shape(lengths)
        if self.symmetric:
            return _pairs(shape[0]).T
        return torch.ones(shape, dtype=torch.bool).nonzero()

    def shape(self, lengths: Lengths) -> list[int]:
        """The length of each axis."""
        return [lengths[axis.name] for axis in self.axes]

    def select(self, tensor: Tensor) -> Tensor:
        """What a tensor (B, *axes, ...) holds at each place, (B, E, ...)."""
        if self.symmetric:
            row, column = _pairs(tensor.shape[1]).to(tensor.device)
            return tensor[:, row, column]
        return tensor.flatten(1, len(self.axes)) if self.axes else tensor[:, None]

    def spread(self, values: Tensor, exists: Tensor, lengths: Lengths) -> Tensor:
        """The inverse of `select`, zero where no place exists: (B, E, ...) to (B, *axes, ...)."""
        values = torch.where(exists[..., None], values, 0.0)
        shape = self.shape(lengths)
        if not self.symmetric:
            return values.unflatten(1, shape)
        row, column = _pairs(shape[0]).to(values.device)
        full = values.new_zeros(len(values), *shape, *values.shape[2:])
        full[:, row, column] = values
        full[:, column, row] = values
        return full

    def exists(self, field: Field, sizes: Mapping[str, Tensor], lengths: Lengths, rows: int) -> Tensor:
        """At which places a field over the axes of the group has an element, (B, E)."""
        return self.select(mask(field, sizes, self.shape(lengths), rows))


def _pairs(length: int) -> Tensor:
    """The indices of unordered pairs, (2, E), the larger one first."""
    return torch.tril_indices(length, length, -1)


def groups_of(inputs: Space, others: Iterable[Field], heads: Iterable[tuple[Axis, ...]]) -> tuple[Group, ...]:
    """The groups of all places that something is read from or written to.

    A pair of indices stands for both orders, unless a field is not symmetric: then (i, j) and (j, i) differ.

    Args:
        inputs: the fields of a sample.
        others: further fields over axes.
        heads: the axes of each output.
    """
    fields = [*inputs.values(), *others]
    spanned = dict.fromkeys(axes for axes in (*(field.axes for field in fields), *heads) if axes)
    directed = {field.axes for field in fields if is_pairwise(field) and not is_symmetric(field)}
    return (
        *(Group(_alone(name)) for name, field in inputs.items() if not field.axes),
        *(_spanned(axes, is_pairwise(Field(axes)) and axes not in directed) for axes in spanned),
    )


def group_name(name: str, axes: Sequence[Axis]) -> str:
    """The name of the group that a field or a head belongs to."""
    return " by ".join(axis.name for axis in axes) if axes else _alone(name)


def _alone(name: str) -> str:
    return f"only {name}"


def _spanned(axes: tuple[Axis, ...], symmetric: bool) -> Group:
    return Group(group_name("", axes), axes, symmetric)


def ordered_directions(groups: Iterable[Group]) -> list[Direction]:
    """The directions in which positions carry meaning."""
    found = dict.fromkeys(direction for group in groups for direction in group.directions)
    return [direction for direction in found if direction[0].ordered]


def shared_axes(groups: Iterable[Group]) -> list[Axis]:
    """The axes whose indices tokens have in common without a position that says so, or twice in one token."""
    wide = [group for group in groups if len(group.axes) > 1]
    found = dict.fromkeys(axis for group in wide for axis in group.axes)
    return [axis for axis in found if not axis.ordered or any(group.axes.count(axis) > 1 for group in wide)]


@dataclass(frozen=True)
class Arrangement:
    """The tokens of some lengths: after that of the whole sample, group after group.

    Attributes:
        spans: of each group, which of the T tokens are its own.
        indices: of each group, the index of each place along each axis, (E, axes).
        positions: in each ordered direction from 1, and 0 where a token has none, (T, P).
    """

    spans: tuple[slice, ...]
    indices: tuple[Tensor, ...]
    positions: Tensor


@lru_cache(maxsize=64)
def arrange(groups: tuple[Group, ...], length_items: tuple[tuple[str, int], ...]) -> Arrangement:
    """The tokens of groups over axes of the given lengths, on the CPU."""
    indices = tuple(group.indices(dict(length_items)) for group in groups)
    ends = torch.tensor([1, *map(len, indices)]).cumsum(0).tolist()
    spans = tuple(slice(start, end) for start, end in pairwise(ends))
    directions = ordered_directions(groups)
    positions = torch.zeros(ends[-1], len(directions), dtype=torch.long)
    for group, span, index in zip(groups, spans, indices, strict=True):
        for place, direction in enumerate(group.directions):
            if direction in directions:
                positions[span, directions.index(direction)] = index[:, place] + 1
    return Arrangement(spans, indices, positions)


def lengths_of(groups: Iterable[Group], inputs: Space, batch: Batch) -> dict[str, int]:
    """How far the tensors of a batch reach along each axis; an axis that no input has, to its largest size.

    Raises:
        ValueError: a variable axis of no input, whose sizes the batch does not say.
    """
    known = {
        axis.name: batch.fields[name].shape[1 + place]
        for name, field in inputs.items()
        for place, axis in enumerate(field.axes)
    }
    for axis in dict.fromkeys(axis for group in groups for axis in group.axes):
        if axis.variable and axis.name not in batch.sizes:
            raise ValueError(f"the batch does not say the sizes of the axis {axis.name!r}")
        if axis.name not in known:
            known[axis.name] = int(batch.sizes[axis.name].max()) if axis.variable else axis.maximum
    return known
