"""The first vectors of the tokens of a sample, see `elements`.

Letters in shapes: B batch, E places of one group, T tokens, K classes, D width.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import prod

import torch
from torch import Tensor, nn

from molgen.batch import Batch, Partial
from molgen.errors import UnsupportedSpace
from molgen.kinds import primitive
from molgen.layers.aligned_condition import AlignedCondition, Alignment
from molgen.layers.named import NamedModules
from molgen.layers.numbers import NumbersEmbedding, numbers_of
from molgen.layers.tokens import Arrangement, Group, Lengths, group_name, ordered_directions
from molgen.space import Categorical, Field, Real, Space


@primitive
def element_embedding(field: Field, width: int) -> nn.Module:
    """A module from elements of one field, (B, E, ...), to vectors, (B, E, D); by default from its `numbers_of`.

    Raises:
        UnsupportedSpace: nothing says how a network reads the kind of field.
    """
    if (numbers := numbers_of(field)) is None:
        raise UnsupportedSpace(f"a transformer reads no field of kind {type(field).__name__}")
    return NumbersEmbedding(numbers, nn.Linear(numbers.count, width))


@element_embedding.register
def _(field: Categorical, width: int) -> nn.Module:
    return ClassEmbedding(field.classes, width)


@element_embedding.register
def _(field: Real, width: int) -> nn.Module:
    if field.rotates:
        raise UnsupportedSpace("a transformer is not equivariant, so it reads no field that rotates")
    return NumberEmbedding(len(field.channels), prod(field.channels), width)


class ClassEmbedding(nn.Embedding):
    """A vector for each class; floats of shape (..., K) are weights of the classes."""

    def forward(self, values: Tensor) -> Tensor:
        """Ids (B, E) or floats (B, E, K) to vectors (B, E, D)."""
        return values.to(self.weight) @ self.weight if values.is_floating_point() else super().forward(values)


class NumberEmbedding(nn.Linear):
    """The channels of an element as one vector."""

    def __init__(self, channels: int, numbers: int, width: int) -> None:
        super().__init__(numbers, width)
        self.channels = channels

    def forward(self, values: Tensor) -> Tensor:
        """(B, E, *channels) to (B, E, D)."""
        flat = values.reshape(*values.shape[: values.ndim - self.channels], self.in_features)
        return super().forward(flat.to(self.weight))


class ElementEmbedding(nn.Module):
    """What is at a place, what kind of place it is, and where it is in ordered directions, in one sum.

    A condition over axes of the sample is read at the places that it belongs to. The token of the whole sample knows
    the sizes.

    Args:
        inputs: the fields that every batch has.
        condition: conditions over axes of the groups.
        groups: all places that have a token.
        width: D.
    """

    def __init__(
        self, inputs: Space, condition: Mapping[str, Alignment], groups: tuple[Group, ...], width: int
    ) -> None:
        super().__init__()
        self.inputs, self.groups = dict(inputs), groups
        self.conditions = {name: alignment.placed for name, alignment in condition.items()}
        self.value = NamedModules({name: element_embedding(field, width) for name, field in inputs.items()})
        self.given = NamedModules({name: AlignedCondition(name, own, width) for name, own in condition.items()})
        self.kind = nn.Embedding(1 + len(groups), width)
        self.directions = ordered_directions(groups)
        self.position = nn.ModuleList(nn.Embedding(axis.maximum, width) for axis, _ in self.directions)
        variable = {axis.name: axis for group in groups for axis in group.axes if axis.variable}
        self.size = NamedModules({name: nn.Embedding(axis.maximum + 1, width) for name, axis in variable.items()})

    def forward(self, batch: Batch, condition: Partial | None, arrangement: Arrangement, lengths: Lengths) -> Tensor:
        """The vectors of all tokens, (B, T, D)."""
        parts = [self._whole(batch)[:, None]]
        for number, group in enumerate(self.groups):
            content = self.kind.weight[1 + number] + self._where(group, arrangement.indices[number])
            for name in self._of(group, self.inputs):
                content = content + self._element(group, name, batch, lengths)
            for name in self._of(group, self.conditions):
                content = content + group.select(self.given[name](condition, len(batch), group.shape(lengths)))
            parts.append(content.expand(len(batch), -1, -1))
        return torch.cat(parts, dim=1)

    def _whole(self, batch: Batch) -> Tensor:
        sizes = [embedding(batch.sizes[name]) for name, embedding in self.size.items()]
        return sum(sizes, self.kind.weight[0].expand(len(batch), -1))

    def _where(self, group: Group, indices: Tensor) -> Tensor:
        """The vector of each place in ordered directions, (E, D)."""
        found = self.kind.weight.new_zeros(len(indices), self.kind.embedding_dim)
        for place, direction in enumerate(group.directions):
            if direction in self.directions:
                embedding = self.position[self.directions.index(direction)]
                found = found + embedding(indices[:, place].to(found.device))
        return found

    def _of(self, group: Group, space: Space) -> list[str]:
        return [name for name, field in space.items() if group_name(name, field.axes) == group.name]

    def _element(self, group: Group, name: str, batch: Batch, lengths: Lengths) -> Tensor:
        vectors = self.value[name](group.select(batch.fields[name]))
        exists = group.exists(self.inputs[name], batch.sizes, lengths, len(batch))
        return torch.where(exists.to(vectors.device)[..., None], vectors, 0.0)
