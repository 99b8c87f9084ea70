"""Scalars and vectors of points in space, in the manner of EGNN (Satorras et al., arXiv 2102.09844), with several
vectors for each point as in SemlaFlow (Irwin et al., arXiv 2406.07266).

Messages depend on scalars and on how far the vectors of two points are apart; they move the vectors along their
differences. Products of three vectors are numbers that change their sign in a mirror, and the cross product of two is
added to vectors, so that the network tells left from right; a network of distances alone cannot.

Letters in shapes: B batch, T tokens, D width, V vectors of a token, P pair width.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import linear, silu

from molgen.backbones.equivariant.config import EquivariantConfig
from molgen.backbones.equivariant.core import Core, Geometry, Messages, Modulation, State, distances, norms, written


class EGNN(Core):
    """Blocks of messages between all pairs, dense."""

    def __init__(self, config: EquivariantConfig, radial: int, pairs: bool, reads_pairs: bool) -> None:
        super().__init__(config, radial, pairs, reads_pairs)
        self.blocks = nn.ModuleList(Block(config, radial, pairs, writes) for writes in written(config, reads_pairs))

    def forward(self, state: State, geometry: Geometry, about: Tensor) -> State:
        """See `Core`."""
        for block in self.blocks:
            state = block(state, geometry, about)
        return state


class Block(nn.Module):
    """Messages of all pairs to scalars and vectors."""

    def __init__(self, config: EquivariantConfig, radial: int, pairs: bool, writes: bool) -> None:
        super().__init__()
        width, vectors = config.width, config.vectors
        self.modulation = Modulation(width)
        self.messages = Messages(width, radial + vectors, config.pair_width if pairs else 0)
        self.second = nn.Linear(width, width)
        self.weigh = nn.Linear(width, 1)
        self.along = nn.Linear(width, vectors)
        self.products = Products(vectors)
        self.update = nn.Sequential(nn.Linear(2 * width + self.products.count, width), nn.SiLU())
        self.scalars = nn.Linear(width, width)
        self.across = nn.Linear(width, vectors)
        self.mix = nn.Linear(vectors, vectors, bias=False)
        self.pairs = nn.Linear(width, config.pair_width) if pairs and writes else None

    def forward(self, state: State, geometry: Geometry, about: Tensor) -> State:
        """The state after the block."""
        scalars, gate = self.modulation(state.scalars, about)
        apart = distances(state.vectors)
        message = self.messages(scalars, torch.cat([apart, geometry.radial], -1), state.pairs)
        message = silu(self.second(silu(message)))
        weight, share, told = self._read(message)
        # The sum of weighted messages, as a product that makes no buffer of pairs.
        heard = ((geometry.others * torch.sigmoid(weight)).transpose(2, 3) @ message).squeeze(2)
        moves = self._moves(share, apart, state.vectors, geometry)
        crossed, invariants = self.products(moves)
        hidden = self.update(torch.cat([scalars, heard / geometry.neighbours, invariants], -1))
        mixed = self.mix(moves.transpose(2, 3)).transpose(2, 3)
        vectors = state.vectors + mixed + self.across(hidden)[..., None] * crossed
        pairs = state.pairs if state.pairs is None or self.pairs is None else state.pairs + told
        return State(state.scalars + gate * self.scalars(hidden), vectors, pairs)

    def _read(self, message: Tensor) -> Sequence[Tensor]:
        """What messages weigh, (B, T, T, 1), where they move vectors, (B, T, T, V), and what they tell pairs.

        All layers over messages at once: each pass over pairs takes as long as a layer.
        """
        layers = [layer for layer in (self.weigh, self.along, self.pairs) if layer is not None]
        weights = torch.cat([layer.weight for layer in layers])
        biases = torch.cat([layer.bias for layer in layers])
        sizes = [self.weigh.out_features, self.along.out_features]
        return linear(message, weights, biases).tensor_split([sizes[0], sum(sizes)], -1)

    def _moves(self, share: Tensor, apart: Tensor, vectors: Tensor, geometry: Geometry) -> Tensor:
        """Each vector's sum of its differences from those of the others, (B, T, V, 3)."""
        share = share * geometry.others / (1 + apart)
        toward = share.permute(0, 3, 1, 2) @ vectors.transpose(1, 2)
        own = share.sum(2)[..., None] * vectors
        return (own - toward.transpose(1, 2)) / geometry.neighbours[..., None]


class Products(nn.Module):
    """Cross products of vectors, (B, T, V, 3), and numbers that turning leaves: lengths, and products of three."""

    def __init__(self, vectors: int) -> None:
        super().__init__()
        self.factors = nn.Linear(vectors, 3 * vectors, bias=False)
        self.count = 3 * vectors

    def forward(self, vectors: Tensor) -> tuple[Tensor, Tensor]:
        """Cross products, (B, T, V, 3), and invariants, (B, T, count)."""
        first, second, third = self.factors(vectors.transpose(2, 3)).transpose(2, 3).chunk(3, 2)
        # Divided by lengths, so that products of three grow no faster than one vector.
        crossed = torch.linalg.cross(first, second) / norms(second)[..., None]
        volume = (crossed * third).sum(-1) / norms(third)
        dots = (first * third).sum(-1) / norms(third)
        return crossed, torch.cat([norms(first), dots, volume], -1)
