"""The pairs of nodes of one axis: packed where both orders are one, and spread out where both are read.

Letters in shapes: B batch, N nodes of one axis, E stored pairs, T tokens, F features, P pair width.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache

import torch
from torch import Tensor
from torch.nn.functional import pad

from molgen.batch import Batch
from molgen.layers.tokens import Group, group_name
from molgen.space import Categorical, Field, Space


@dataclass
class Pairs:
    """Where the pairs of one group lie in one batch.

    Of a symmetric group a pair (i, j) with i > j is stored once, E = N (N - 1) / 2, and no pair (i, i);
    of another group all E = N² are.

    Attributes:
        group: of the pairs.
        span: the tokens of their nodes.
        exists: which of the stored pairs do, (B, E).
        nodes: which of the nodes do, (B, N).
        joined: how far the two nodes of each stored pair are joined, from 0 to 1, (B, E).
        relaxed: whether gradients must flow through `joined`, so that pairs that are not joined count too.
    """

    group: Group
    span: slice
    exists: Tensor
    nodes: Tensor
    joined: Tensor
    relaxed: bool

    @property
    def length(self) -> int:
        """N."""
        return self.nodes.shape[1]

    @cached_property
    def ends(self) -> Tensor:
        """The two nodes of each stored pair, (2, E)."""
        return _ends(self.group, self.length).to(self.exists.device)

    def spread(self, values: Tensor) -> Tensor:
        """Stored values, (B, E, F), at both orders of a pair, (B, N, N, F); zero at (i, i) where none is stored."""
        if not self.group.symmetric:
            return values.unflatten(1, (self.length, self.length))
        first, second = self.ends
        full = values.new_zeros(len(values), self.length, self.length, values.shape[-1])
        full[:, first, second] = values
        full[:, second, first] = values
        return full

    def at(self, nodes: Tensor, end: int) -> Tensor:
        """What stands at one end of each stored pair, (B, N, F) to (B, E, F)."""
        return nodes.index_select(1, self.ends[end])

    def mean(self, values: Tensor) -> Tensor:
        """The mean of the stored pairs that exist, (B, E, F) to (B, F); zero where there is none."""
        weight = self.exists[..., None].to(values)
        return (values * weight).sum(1) / weight.sum(1).clamp(min=1)

    @cached_property
    def adjacency(self) -> Tensor:
        """How far two nodes are joined in either order, (B, N, N), symmetric with zeros at (i, i)."""
        full = self.spread((self.joined * self.exists)[..., None])[..., 0]
        if self.group.symmetric:
            return full
        either = 1 - (1 - full) * (1 - full.transpose(1, 2))
        return either * ~torch.eye(self.length, dtype=torch.bool, device=full.device)

    @cached_property
    def edges(self) -> Edges:
        """The pairs that messages pass along."""
        kept = self.exists if self.relaxed else self.exists & (self.joined > 0)
        row, pair = kept.nonzero(as_tuple=True)
        number = (self.nodes.flatten().cumsum(0) - 1).view_as(self.nodes)
        index = number[row, self.ends[:, pair]]
        if self.group.symmetric:
            row, pair, index = row.repeat(2), pair.repeat(2), torch.cat([index, index.flip(0)], 1)
        return Edges(index, row, pair, self.joined[row, pair])


@dataclass(frozen=True)
class Edges:
    """Pairs in the form of torch-geometric: nodes that exist are numbered row after row.

    Attributes:
        index: the nodes that messages come from and go to, (2, edges).
        row: of the batch, (edges,).
        pair: the stored pair, (edges,).
        weight: how far the nodes are joined, (edges,).
    """

    index: Tensor
    row: Tensor
    pair: Tensor
    weight: Tensor


@lru_cache(maxsize=256)
def _ends(group: Group, length: int) -> Tensor:
    return group.indices({axis.name: length for axis in group.axes}).T.contiguous()


def pairs_of(
    group: Group, inputs: Space, batch: Batch, span: slice, nodes: Tensor, lengths: Mapping[str, int], like: Tensor
) -> Pairs:
    """The pairs of a group in a batch.

    Args:
        group: over one axis, twice.
        inputs: the fields of the batch.
        batch: of samples.
        span: the tokens of the nodes.
        nodes: which of them exist, (B, N).
        lengths: of all axes.
        like: has the number type and the device of the result.
    """
    exists = group.exists(Field(group.axes), batch.sizes, lengths, len(batch)).to(like.device)
    values = [batch.fields[name] for name in joining(group, inputs)]
    # Powers of it need more than 16 bits.
    apart = torch.ones(exists.shape, dtype=torch.promote_types(like.dtype, torch.float32), device=like.device)
    for own in values:
        apart = apart * (1 - group.select(present(own).to(apart)))
    relaxed = any(own.is_floating_point() for own in values)
    return Pairs(group, span, exists, nodes, 1 - apart if values else apart, relaxed)


def joining(group: Group, inputs: Space) -> list[str]:
    """The fields that say which nodes are joined: those of classes over the pairs. Without one, all nodes are."""
    own = {name: field for name, field in inputs.items() if group_name(name, field.axes) == group.name}
    return [name for name, field in own.items() if isinstance(field, Categorical)]


def present(values: Tensor) -> Tensor:
    """How far something is of another class than 0, from ids (...) or weights of classes (..., K)."""
    return values[..., 1:].sum(-1) if values.is_floating_point() else values != 0


def widened(block: Tensor, span: slice, tokens: int) -> Tensor:
    """A block (..., N, N) between the nodes of a span as one between all tokens, (..., T, T), with zeros."""
    before, after = span.start, tokens - span.stop
    return pad(block, (before, after, before, after))
