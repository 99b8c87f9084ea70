"""Messages between tokens that share an element, where no position may say which those are.

Letters in shapes: B batch, E places of one group, T tokens, A indices of one axis, D width.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import one_hot, silu

from molgen.layers.named import accept_old_names
from molgen.layers.tokens import Arrangement, Group, Lengths, shared_axes
from molgen.space import Axis


class End(NamedTuple):
    """That the tokens of a group have an index of an axis, as the given one of their axes."""

    axis: Axis
    group: int
    place: int


def ends_of(groups: Sequence[Group]) -> list[End]:
    """The ends at all axes that tokens share; the two of a symmetric pair count as one."""
    shared = shared_axes(groups)
    return [
        End(axis, number, place)
        for number, group in enumerate(groups)
        for place, axis in enumerate(group.axes)
        if axis in shared and not (group.symmetric and place)
    ]


def incidence_matrices(groups: Sequence[Group], arrangement: Arrangement, lengths: Lengths) -> list[Tensor]:
    """For each end, which places have which index: 0 or 1, (A, E)."""
    return [_matrix(groups[end.group], end, arrangement, lengths[end.axis.name]) for end in ends_of(groups)]


def _matrix(group: Group, end: End, arrangement: Arrangement, length: int) -> Tensor:
    places = range(2) if group.symmetric else [end.place]
    return torch.stack([one_hot(arrangement.indices[end.group][:, place], length).T for place in places]).sum(0)


class Incidence(nn.Module):
    """Messages from tokens to the indices of an axis and back: a pair gets one from both nodes, a node from its pairs.

    An index collects the mean of the tokens that have it, group by group, and sends it to all tokens that have it.
    What comes out moves with the indices, so that a network of these and of attention without positions is
    equivariant under permutations.
    """

    def __init__(self, groups: Sequence[Group], width: int) -> None:
        super().__init__()
        self.ends = ends_of(groups)
        self.to_indices = nn.ModuleList(nn.Linear(width, width, bias=False) for _ in self.ends)
        self.to_tokens = nn.ModuleList(nn.Linear(width, width, bias=False) for _ in self.ends)
        accept_old_names(self, {"to_indices": "hear", "to_tokens": "tell"})

    def forward(self, x: Tensor, exists: Tensor, spans: Sequence[slice], matrices: Sequence[Tensor]) -> Tensor:
        """The messages to all tokens, (B, T, D).

        Args:
            x: the tokens, (B, T, D).
            exists: from which of them messages come, (B, T).
            spans: the tokens of each group.
            matrices: of each end, (A, E).
        """
        collected: dict[Axis, Tensor] = {}
        for end, projection, matrix in zip(self.ends, self.to_indices, matrices, strict=True):
            span = spans[end.group]
            message = projection(_mean(matrix, x[:, span], exists[:, span]))
            collected[end.axis] = collected[end.axis] + message if end.axis in collected else message
        messages = [torch.zeros_like(x[:, :1]), *(torch.zeros_like(x[:, span]) for span in spans)]
        for end, projection, matrix in zip(self.ends, self.to_tokens, matrices, strict=True):
            messages[1 + end.group] = messages[1 + end.group] + matrix.T @ projection(silu(collected[end.axis]))
        return torch.cat(messages, dim=1)


def _mean(matrix: Tensor, x: Tensor, exists: Tensor) -> Tensor:
    """The mean of the places of each index that exist, (B, A, D); zero where there is none."""
    weight = exists[..., None].to(x)
    return matrix @ (x * weight) / (matrix @ weight).clamp(min=1)
