"""What the kinds of networks over points share: the state of a sample between blocks, and what blocks know of it.

Letters in shapes: B batch, T tokens, D width, V vectors of a token, P pair width, R radial features, C given vectors.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from molgen.backbones.equivariant.config import EquivariantConfig

#: Shift, scale and gate of a block.
MODULATIONS = 3
#: Added to squared lengths, so that a root has a slope at 0.
SOFT = 1e-4
#: Distances are read up to here, in units of the scale of the data.
REACH = 5.0


@dataclass(frozen=True)
class State:
    """What is known of all tokens.

    Attributes:
        scalars: (B, T, D).
        vectors: that turn with space, (B, T, V, 3).
        pairs: of each ordered pair of tokens, (B, T, T, P); None where nothing is over pairs.
    """

    scalars: Tensor
    vectors: Tensor
    pairs: Tensor | None


@dataclass(frozen=True)
class Geometry:
    """What stays the same in all blocks, and is computed once.

    Attributes:
        exists: which tokens do, (B, T).
        others: which ordered pairs exchange messages: of two tokens that exist, (B, T, T, 1) of 0 and 1.
        radial: waves of the distances between positions, (B, T, T, R).
        positions: where tokens are; those that are nowhere are at the centre, (B, T, 3).
    """

    exists: Tensor
    others: Tensor
    radial: Tensor
    positions: Tensor

    @property
    def neighbours(self) -> Tensor:
        """The root of the number of tokens that each hears of, (B, 1, 1), which keeps sums at unit scale."""
        return (self.exists.sum(1) - 1).clamp(min=1).to(self.positions)[:, None, None].sqrt()


def geometry(exists: Tensor, points: Sequence[Tensor], waves: int) -> Geometry:
    """The geometry of some positions, (B, T, 3) each, of which the first are those of the tokens."""
    position = points[0]
    both = exists[:, :, None] & exists[:, None, :]
    both = both & ~torch.eye(exists.shape[1], dtype=torch.bool, device=exists.device)
    radial = torch.cat([radial_waves(distances(own[:, :, None])[..., 0], waves) for own in points], -1)
    return Geometry(exists, both[..., None].to(position), radial, position)


def distances(vectors: Tensor) -> Tensor:
    """How far the vectors of two tokens are apart, (B, T, V, 3) to (B, T, T, V), with a slope at 0."""
    columns = vectors.transpose(1, 2)
    products = columns @ columns.transpose(2, 3)
    squares = products.diagonal(dim1=2, dim2=3)
    apart = (squares[..., :, None] + squares[..., None, :] - 2 * products).clamp(min=0)
    return (apart + SOFT).sqrt().permute(0, 2, 3, 1)


def radial_waves(distance: Tensor, count: int) -> Tensor:
    """Bumps along exp(-distance), which lie closer where that is short (PhysNet, arXiv 1902.08408, equation 7)."""
    lowest = torch.exp(torch.tensor(-REACH)).item()
    centres = torch.linspace(lowest, 1, count, dtype=distance.dtype, device=distance.device)
    sharpness = (count / (2 * (1 - lowest))) ** 2
    return (-sharpness * ((-distance).exp()[..., None] - centres) ** 2).exp()


def norms(vectors: Tensor) -> Tensor:
    """Lengths with a slope at 0, (..., 3) to (...)."""
    return (vectors.square().sum(-1) + SOFT).sqrt()


class Core(nn.Module, ABC):
    """forward(state, geometry, about) -> state: all blocks, one after the other.

    Args:
        config: the settings.
        radial: R.
        pairs: whether there are vectors of pairs.
        reads_pairs: whether they are read after the last block.
    """

    @abstractmethod
    def __init__(self, config: EquivariantConfig, radial: int, pairs: bool, reads_pairs: bool) -> None:
        super().__init__()

    @abstractmethod
    def forward(self, state: State, geometry: Geometry, about: Tensor) -> State:
        """The state after all blocks; `about`, (B, D), is what the time and the condition say."""


def written(config: EquivariantConfig, reads_pairs: bool) -> list[bool]:
    """Which blocks write to pairs: all, but the last only where somebody reads what it writes."""
    return [True] * (config.layers - 1) + [reads_pairs]


class Modulation(nn.Module):
    """Normalised scalars, shifted and scaled by what is said about the sample, and a gate for what they cause."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.RMSNorm(width, elementwise_affine=False)
        self.read = nn.Linear(width, MODULATIONS * width)
        nn.init.zeros_(self.read.weight)
        nn.init.zeros_(self.read.bias)

    def forward(self, scalars: Tensor, about: Tensor) -> tuple[Tensor, Tensor]:
        """The scalars, (B, T, D), and the gate, (B, 1, D), which is 1 at the start."""
        shift, scale, gate = self.read(about)[:, None].chunk(MODULATIONS, -1)
        return self.norm(scalars) * (1 + scale) + shift, 1 + gate


class Messages(nn.Module):
    """What two tokens say to each other: a layer over pairs, split into terms of each token, and of the pair.

    A layer over (scalars of i, scalars of j, pair) costs as much for each pair as for each token where it is a sum.
    """

    def __init__(self, width: int, invariants: int, pair_width: int) -> None:
        super().__init__()
        self.receiver = nn.Linear(width, width)
        self.sender = nn.Linear(width, width, bias=False)
        self.between = nn.Linear(invariants, width, bias=False)
        self.pair = nn.Linear(pair_width, width, bias=False) if pair_width else None

    def forward(self, scalars: Tensor, invariants: Tensor, pairs: Tensor | None) -> Tensor:
        """(B, T, T, D) before its activation."""
        found: Tensor = self.between(invariants)
        # Into what a product left, which no gradient needs: pairs are many, and each buffer of them costs.
        if self.pair is not None:
            found.add_(self.pair(pairs))
        return found.add_(self.receiver(scalars)[:, :, None]).add_(self.sender(scalars)[:, None])
