"""Tensor products of irreducible representations of rotations, by e3nn (Geiger & Smidt, arXiv 2207.09453).

What a point says to another is its features times the spherical harmonics of the direction between them, channel by
channel (`uvu`), with weights that depend on both and on their distance, as in NequIP (Batzner et al., arXiv
2101.03164); channels are mixed point by point, which costs little. A product that connected all channels of each pair
would have a set of weights for each pair.

All representations have even parity: they turn with space, and nothing is said of mirrors. So the product of two
vectors that is a vector, their cross product, is among the paths, and the network tells left from right.

Letters in shapes: B batch, T tokens, D width, V vectors of a token, F numbers of all features of a token, P pair width.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from e3nn import o3
from e3nn.nn import Gate
from torch import Tensor, nn
from torch.nn.functional import silu

from molgen.backbones.equivariant.config import EquivariantConfig
from molgen.backbones.equivariant.core import SOFT, Core, Geometry, Messages, Modulation, State, norms, written


class Irreps(Core):
    """Blocks of depthwise tensor products over all pairs, dense; spherical harmonics are computed once."""

    def __init__(self, config: EquivariantConfig, radial: int, pairs: bool, reads_pairs: bool) -> None:
        super().__init__(config, radial, pairs, reads_pairs)
        self.degrees = list(range(config.lmax + 1))
        self.features = _features(config, config.width)
        self.blocks = nn.ModuleList(Block(config, radial, pairs, writes) for writes in written(config, reads_pairs))

    def forward(self, state: State, geometry: Geometry, about: Tensor) -> State:
        """See `Core`; of the features of the last block scalars and vectors are kept."""
        harmonics = self._harmonics(geometry)
        rows, tokens, width = state.scalars.shape
        flat = state.vectors.flatten(2)
        higher = flat.new_zeros(rows, tokens, self.features.dim - width - flat.shape[-1])
        features, pairs = torch.cat([state.scalars, flat, higher], -1), state.pairs
        for block in self.blocks:
            features, pairs = block(features, pairs, geometry, harmonics, about)
        vectors = features[..., width : width + flat.shape[-1]].unflatten(-1, (-1, 3))
        return State(features[..., :width], vectors, pairs)

    def _harmonics(self, geometry: Geometry) -> Tensor:
        """Of the direction from each token to each other, (B T T, sum of 2l + 1); shorter ones have smaller values."""
        apart = geometry.positions[:, None] - geometry.positions[:, :, None]
        # Polynomials of a vector that is a little shorter than 1: smooth where two tokens are at one place.
        direction = apart / (apart.square().sum(-1, keepdim=True) + SOFT).sqrt()
        return o3.spherical_harmonics(self.degrees, direction, False, "component").flatten(0, 2)


def _features(config: EquivariantConfig, scalars: int) -> o3.Irreps:
    return o3.Irreps([(config.vectors if degree else scalars, (degree, 1)) for degree in range(config.lmax + 1)])


class Block(nn.Module):
    """Messages of all pairs to the features of tokens."""

    def __init__(self, config: EquivariantConfig, radial: int, pairs: bool, writes: bool) -> None:
        super().__init__()
        own = _features(config, config.width)
        self.width, self.vectors = config.width, config.vectors
        self.modulation = Modulation(config.width)
        self.messages = Messages(config.width, radial, config.pair_width if pairs else 0)
        self.before = o3.Linear(own, own)
        self.product = Depthwise(own, config.lmax)
        self.weights = nn.Linear(config.width, self.product.weights)
        self.gate = _gate(config)
        self.after = o3.Linear(self.product.irreps, self.gate.irreps_in)
        self.own = o3.Linear(own, self.gate.irreps_in)
        self.write = o3.Linear(own, own)
        self.pairs = nn.Linear(config.width, config.pair_width) if pairs and writes else None

    def forward(
        self, features: Tensor, pairs: Tensor | None, geometry: Geometry, harmonics: Tensor, about: Tensor
    ) -> tuple[Tensor, Tensor | None]:
        """Features, (B, T, F), and vectors of pairs after the block."""
        scalars, gate = self.modulation(features[..., : self.width], about)
        normal = torch.cat([scalars, self._normal(features[..., self.width :])], -1)
        message = silu(self.messages(scalars, geometry.radial, pairs))
        weights = self.weights(message) * geometry.others
        sent = self.before(normal)[:, None].expand(-1, normal.shape[1], -1, -1)
        heard = self.product(sent.flatten(0, 2), harmonics, weights.flatten(0, 2)).unflatten(0, message.shape[:3])
        hidden = self.gate(self.after(heard.sum(2) / geometry.neighbours) + self.own(normal))
        found = self.write(hidden)
        found = torch.cat([gate * found[..., : self.width], found[..., self.width :]], -1)
        return features + found, pairs if self.pairs is None else pairs + self.pairs(message)

    def _normal(self, tensors: Tensor) -> Tensor:
        """Vectors and tensors of higher degree, of each token in parts of their length and 1."""
        size = norms(tensors[..., : 3 * self.vectors]) / (3 * self.vectors) ** 0.5
        return tensors / (1 + size)[..., None]


def _gate(config: EquivariantConfig) -> Gate:
    """SiLU of scalars, and a number between 0 and 1 for each vector."""
    tensors = _features(config, 0)[1:]
    gates = o3.Irreps([(tensors.num_irreps, (0, 1))])
    return Gate(o3.Irreps([(config.width, (0, 1))]), [silu], gates, [torch.sigmoid], tensors)


class Depthwise(nn.Module):
    """The tensor product of features with spherical harmonics, channel by channel."""

    def __init__(self, features: o3.Irreps, lmax: int) -> None:
        super().__init__()
        harmonics = o3.Irreps([(1, (degree, 1)) for degree in range(lmax + 1)])
        found: list[tuple[int, o3.Irrep]] = []
        paths: list[tuple[int, int, int, str, bool]] = []
        for first, (channels, one) in enumerate(features):
            for second, (_, other) in enumerate(harmonics):
                for irrep in one * other:
                    if irrep.l <= lmax:
                        paths.append((first, second, len(found), "uvu", True))
                        found.append((channels, irrep))
        self.irreps = o3.Irreps(found)
        self.product = o3.TensorProduct(
            features, harmonics, self.irreps, paths, shared_weights=False, internal_weights=False
        )
        self.weights = self.product.weight_numel

    def forward(self, features: Tensor, harmonics: Tensor, weights: Tensor) -> Tensor:
        """(E, F), (E, sum of 2l + 1) and (E, weights) to (E, numbers of `irreps`)."""
        return self.product(features, harmonics, weights)

    def _apply(self, fn: Callable[..., Any], recurse: bool = True) -> Depthwise:
        """Conversions keep constants exact: rounded to 32 bits and back, the product would not turn as space."""
        super()._apply(fn, recurse)
        for name, buffer in self.product.named_buffers():
            key = name.rpartition("_w3j_")[2]
            if key != name:
                degrees = [int(degree) for degree in key.split("_")]
                buffer.copy_(o3.wigner_3j(*degrees, dtype=torch.float64))
        return self
