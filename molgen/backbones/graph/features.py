"""Numbers that say how a graph is joined, which networks of messages and attention cannot count themselves.

All follow from one matrix A of weights from 0 to 1 that says how far two nodes are joined: symmetric, zero at (i, i)
and in the padding. They move with the nodes, and are polynomials of A or smooth, so that gradients flow through them.

Letters in shapes: B batch, N nodes of one axis, E stored pairs, D width, P pair width, S steps, F features.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from math import ceil, log2
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from molgen.backbones.graph.config import GraphConfig
from molgen.backbones.graph.pairs import Pairs
from molgen.layers.tokens import Group

#: How many steps a random walk is followed.
STEPS = 6
#: For how many times, each double the one before, heat is followed from node to node, and the first of them.
TIMES, FIRST_TIME = 5, 0.5
#: How far a weight may lie outside of 0 and 1.
MARGIN = 1e-4


class Structure(NamedTuple):
    """Numbers of nodes, (B, N, F), of pairs of nodes, (B, N, N, F), and of the graph, (B, F)."""

    nodes: Tensor
    pairs: Tensor
    whole: Tensor


class Feature(ABC):
    """(B, N, N) and which nodes exist, (B, N), to a `Structure` of the widths that the class says."""

    #: the numbers F of each node, of each pair, and of the graph.
    widths: ClassVar[tuple[int, int, int]]

    @abstractmethod
    def __init__(self, maximum: int) -> None:
        """For graphs of at most `maximum` nodes."""

    @abstractmethod
    def __call__(self, a: Tensor, exists: Tensor) -> Structure:
        """The numbers."""


class Cycles(Feature):
    """How many cycles of 3, 4 and 5 nodes go through each node, and how many there are."""

    widths = (3, 0, 3)

    def __init__(self, maximum: int) -> None:
        pass

    def __call__(self, a: Tensor, exists: Tensor) -> Structure:
        """Of counts x the numbers are log(x + sqrt(x² + 1)), which grows like log x and is smooth at 0."""
        counts = cycle_counts(a)
        whole = counts.sum(1) / torch.tensor([3, 4, 5]).to(a)
        return Structure(counts.asinh(), a.new_zeros(*a.shape, 0), whole.asinh())


def cycle_counts(a: Tensor) -> Tensor:
    """The sums, over cycles of 3, 4 and 5 nodes through each node, of the products of their weights, (B, N, 3).

    A closed walk is a cycle unless it is at one node twice, and those that are follow by inclusion and exclusion
    (Harary & Manvel 1971, for weights 0 and 1). Where pairs are joined independently with probabilities A, these are
    the expected numbers of cycles.

    Args:
        a: A, (B, N, N).
    """
    square, squares, cubes = a @ a, a * a, a**3
    degree = squares.sum(-1)
    three = (square * a).sum(-1)
    fourth = (square * square).sum(-1)
    to_neighbours = (squares @ degree[..., None])[..., 0]
    four = fourth - degree**2 - to_neighbours + (squares * squares).sum(-1)
    return torch.stack([three, four, _fives(a, square, squares, cubes, degree, three)], dim=-1) / 2


def _fives(a: Tensor, square: Tensor, squares: Tensor, cubes: Tensor, degree: Tensor, three: Tensor) -> Tensor:
    """Twice the number of cycles of 5: walks v0 v1 v2 v3 v4 v0 with no v_k = v_(k+2)."""
    closed = ((square @ a) * square).sum(-1)
    at_start = 2 * degree * three
    at_next = 2 * ((a * square) @ degree[..., None])[..., 0]
    far = (squares @ three[..., None])[..., 0]
    twice = 4 * (cubes * square).sum(-1) + ((a @ cubes) * a).sum(-1)
    return closed - at_start - at_next - far + twice


class RandomWalk(Feature):
    """How likely a walk to random neighbours is back after 2, 3, ... steps, and at another node after 1, 2, ...

    The second is the mean of both directions. A walk from a node with a degree below 1 stops with the rest of
    the probability (Dwivedi et al., arXiv 2110.07875, section 3.1).
    """

    widths = (STEPS - 1, STEPS, 0)

    def __init__(self, maximum: int) -> None:
        pass

    def __call__(self, a: Tensor, exists: Tensor) -> Structure:
        """The probabilities."""
        walks = walk_probabilities(a, STEPS)
        back = walks.diagonal(dim1=1, dim2=2).transpose(1, 2)[..., 1:]
        return Structure(back, (walks + walks.transpose(1, 2)) / 2, a.new_zeros(len(a), 0))


def walk_probabilities(a: Tensor, steps: int) -> Tensor:
    """How likely a walk from i is at j after 1, 2, ... steps, (B, N, N, S)."""
    step = a / a.sum(-1, keepdim=True).clamp(min=1)
    found = [step]
    for _ in range(steps - 1):
        found.append(found[-1] @ step)
    return torch.stack(found, dim=-1)


class Spectral(Feature):
    """exp(-t L) of the Laplacian L = D - A at doubling times t: heat that stays, that passes, and its trace.

    These are functions of eigenvalues and eigenvectors that no sign and no choice among equal eigenvalues can change:
    heat kernel signatures (Sun et al. 2009). At a time so long that all heat is even within each component the trace
    is the number of components.
    """

    widths = (TIMES, TIMES, TIMES + 1)

    def __init__(self, maximum: int) -> None:
        # The least eigenvalue of a connected graph of n nodes that is not 0 is that of a path, about (π / n)². At the
        # time 2 n² the slowest heat has fallen to exp(-2 π²).
        self.doublings = max(TIMES, ceil(log2(2 * maximum**2 / FIRST_TIME)))

    def __call__(self, a: Tensor, exists: Tensor) -> Structure:
        """Traces are in parts of the number of nodes, but for that of components."""
        kernels, last = heat_kernels(a, self.doublings)
        nodes = torch.where(exists[..., None], kernels.diagonal(dim1=1, dim2=2).transpose(1, 2), 0.0)
        count = exists.sum(1, keepdim=True).clamp(min=1).to(a)
        components = torch.where(exists, last.diagonal(dim1=1, dim2=2), 0.0).sum(1, keepdim=True)
        return Structure(nodes, kernels, torch.cat([nodes.sum(1) / count, components.log1p()], dim=-1))


def heat_kernels(a: Tensor, doublings: int) -> tuple[Tensor, Tensor]:
    """exp(-t L) at the first times, (B, N, N, TIMES), and after all doublings, (B, N, N).

    No eigenvectors are computed, whose slopes are infinite where eigenvalues are equal. The last kernel has no slope:
    it counts components, and a weight of 1 / t between two of them would change the count by about 1.
    """
    found = [_first_kernel(a)]
    for _ in range(TIMES - 1):
        found.append(found[-1] @ found[-1])
    with torch.no_grad():
        # In so long a time the least negative weight would let heat grow without end.
        last = _first_kernel(a.clamp(0, 1))
        for _ in range(doublings):
            last = last @ last
    return torch.stack(found, dim=-1), last


def _first_kernel(a: Tensor) -> Tensor:
    return torch.linalg.matrix_exp(-FIRST_TIME * (torch.diag_embed(a.sum(-1)) - a))


#: What can be counted, by the name that a configuration gives.
FEATURES: Mapping[str, type[Feature]] = {"cycles": Cycles, "random_walk": RandomWalk, "spectral": Spectral}


class StructureEmbedding(nn.Module):
    """The features of one group of pairs as vectors of nodes, stored pairs and the whole."""

    def __init__(self, group: Group, config: GraphConfig) -> None:
        super().__init__()
        self.group = group
        self.features = [FEATURES[name](group.axes[0].maximum) for name in config.features]
        nodes, pairs, whole = (sum(feature.widths[k] for feature in self.features) for k in range(3))
        self.nodes = nn.Linear(nodes, config.width, bias=False)
        self.pairs = nn.Linear(pairs, config.pair_width, bias=False) if pairs else None
        self.whole = nn.Linear(whole, config.width, bias=False) if whole else None

    def forward(self, places: Pairs) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """(B, N, D), (B, E, P) and (B, D); None is nothing."""
        # Floats need not be shares of one, but then heat would grow; within the margin slopes are those of the weights.
        joined = places.adjacency.clamp(-MARGIN, 1 + MARGIN)
        found = self._numbers(joined, places.nodes)
        nodes, pairs, whole = (part.to(self.nodes.weight) for part in found)
        return (
            self.nodes(nodes),
            self.pairs(self.group.select(pairs)) if self.pairs is not None else None,
            self.whole(whole) if self.whole is not None else None,
        )

    def _numbers(self, a: Tensor, exists: Tensor) -> Structure:
        # Powers of a matrix need more than 16 bits.
        with torch.autocast(a.device.type, enabled=False):
            found = [feature(a, exists) for feature in self.features]
        return Structure(*(torch.cat(parts, dim=-1) for parts in zip(*found, strict=True)))
