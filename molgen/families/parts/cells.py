"""Numbers as tokens: cells of equal mass, with an exact density.

A cell has the probability that a network gives to its token, and inside a cell a number is uniform:
log p(x) = log P(cell) - log(width of the cell). The two outermost cells reach to infinity: beyond the smallest and the
largest value of the training data they fall off exponentially, so that no number is impossible.

Letters in shapes: B batch, E packed elements, C channels, K cells, M numbers of one channel.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import prod

import numpy as np
import torch
from torch import Tensor, nn

from molgen.batch import levels_to_values, values_to_levels
from molgen.data.quantiles import Quantiles
from molgen.errors import UnsupportedSpace
from molgen.space import Real

#: The outermost of the cells of equal mass are halved so often: there density changes most inside a cell.
HALVINGS = 3
#: The narrowest cell, in parts of the number or of 1: some steps of float32.
NARROWEST = 1e-6
#: Fewer values of a channel say nothing of where others are, where differences have a smallest size.
FEWEST = 32
#: The largest share of an outermost cell that lies beyond the data.
MOST_BEYOND = 0.25


class Cells(nn.Module):
    """The cells of one field, channel by channel; they are cut once, from the quantiles of the training data.

    A value that many items share, such as 0 in a column that is mostly 0, has a cell of its own, as wide as the values
    are recorded finely. A channel with few distinct values uses fewer cells.

    Args:
        name: of the field.
        field: real, without levels.
        bins: the most cells of a channel.

    Raises:
        UnsupportedSpace: the field rotates or is centred, so its numbers are not free one by one.
    """

    bits: Tensor
    counts: Tensor
    beyond: Tensor

    def __init__(self, name: str, field: Real, bins: int) -> None:
        super().__init__()
        if field.centred or field.rotates:
            raise UnsupportedSpace(
                f"the numbers of {name!r} rotate or have a common centre, so they cannot be decided one after the "
                "other; a diffusion takes them"
            )
        self.name, self.field, self.bins = name, field, bins
        self.channels = prod(field.channels)
        self.register_buffer("bits", torch.zeros(self.channels, bins + 1, dtype=torch.int32))
        self.register_buffer("counts", torch.ones(self.channels, dtype=torch.long))
        self.register_buffer("beyond", torch.full((self.channels, 2), MOST_BEYOND))
        self.cut(Quantiles(0, ((-2.0, 2.0),) * self.channels, (0.0,) * self.channels))

    @property
    def tokens(self) -> Real:
        """The field of the numbers of cells, as levels: neighbouring ones are alike."""
        return replace(self.field, levels=self.bins)

    @property
    def edges(self) -> Tensor:
        """Where cells begin and end, (C, K + 1) in float64; those behind the last cell in use are equal."""
        return self.bits.view(torch.float32).double()

    @property
    def used(self) -> Tensor:
        """Which cells each channel has, bool (C, K)."""
        return torch.arange(self.bins, device=self.counts.device) < self.counts[:, None]

    def cut(self, quantiles: Quantiles) -> None:
        """Take the cells from quantiles of standardised values."""
        for channel, (cuts, gap) in enumerate(zip(quantiles.cuts, quantiles.gaps, strict=True)):
            edges = torch.from_numpy(cell_edges(np.array(cuts), gap, self.bins).astype(np.float32))
            full = edges[-1].repeat(self.bins + 1)
            full[: len(edges)] = edges
            # As whole numbers, since weights may be stored with fewer digits than edges need.
            self.bits[channel] = full.view(torch.int32)
            self.counts[channel] = len(edges) - 1
            self.beyond[channel] = torch.tensor(_shares_beyond(np.array(cuts), edges.double().numpy(), quantiles.count))

    def to_tokens(self, values: Tensor) -> Tensor:
        """Packed numbers as values of the levels of `tokens`, (B, E)."""
        return levels_to_values(self.tokens, self.number(values)).to(values)

    def number(self, values: Tensor) -> Tensor:
        """The cell in which each packed number lies, (B, E)."""
        inner = self.edges[:, 1:-1].contiguous()
        found = torch.searchsorted(inner, self._by_channel(values).double(), right=True)
        return self._packed(torch.minimum(found, self.counts[:, None] - 1), values)

    def log_density(self, values: Tensor) -> Tensor:
        """log of the density inside the cell in which each packed number lies, (B, E) in float64."""
        x = self._by_channel(values).double()
        cell = self._by_channel(self.number(values))
        left, right, low, high = self._cell(cell)
        below, above = left - x, x - right
        inside = (1 - low - high).log() - (right - left).log()
        scale = self._tail_scale(right - left)
        tails = torch.maximum(below, above).clamp(min=0) / scale + scale.log()
        found = torch.where(below > 0, low.log() - tails, torch.where(above > 0, high.log() - tails, inside))
        return self._packed(found, values)

    def from_tokens(self, tokens: Tensor, uniform: Tensor) -> Tensor:
        """A packed number from inside each cell, (B, E) in float32, from a uniform number in (0, 1) each."""
        cell = self._by_channel(values_to_levels(self.tokens, tokens))
        u = self._by_channel(uniform)
        left, right, low, high = self._cell(cell)
        scale = self._tail_scale(right - left)
        inside = left + (right - left) * ((u - low) / (1 - low - high)).clamp(0, 1)
        # Rounding must not lead out of the cell.
        inside = inside.float().clamp(min=left.float()).minimum(_next(right, -torch.inf))
        below = (left + scale * (u / low).log()).float().minimum(_next(left, -torch.inf))
        above = (right - scale * ((1 - u) / high).log()).float().maximum(_next(right, torch.inf))
        return self._packed(torch.where(u < low, below, torch.where(1 - u < high, above, inside)), tokens)

    def _cell(self, cell: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Where cells (C, M) begin and end, and the share of each that lies below or above that."""
        edges = self.edges
        low = torch.where(cell == 0, self.beyond[:, :1].double(), 0.0)
        high = torch.where(cell == self.counts[:, None] - 1, self.beyond[:, 1:].double(), 0.0)
        return edges.gather(1, cell), edges.gather(1, cell + 1), low, high

    def _tail_scale(self, width: Tensor) -> Tensor:
        # Values are standardised; what lies beyond all data is about as far as they lie apart.
        return width.clamp(min=1.0)

    def _by_channel(self, values: Tensor) -> Tensor:
        """Packed elements, (B, E), of which those of one place come together, as (C, M)."""
        return values.reshape(-1, self.channels).T.contiguous()

    def _packed(self, values: Tensor, like: Tensor) -> Tensor:
        return values.T.reshape(like.shape)


def _next(edges: Tensor, towards: float) -> Tensor:
    edges = edges.float()
    return torch.nextafter(edges, torch.full_like(edges, towards))


def cell_edges(cuts: np.ndarray, gap: float, bins: int) -> np.ndarray:
    """The edges of at most so many cells of about equal mass, none of them without width, in float64.

    Args:
        cuts: values in order that cut the data into parts of equal mass; equal ones are ties.
        gap: how finely values are recorded.
        bins: the most cells.
    """
    spread, ties = _without_ties(_merged(cuts), gap)
    for count in range(bins, 0, -1):
        edges = np.interp(_shares(count), np.linspace(0, 1, len(spread)), spread)
        found = _apart(edges, ties)
        if len(found) - 1 <= bins:
            return found
    return np.array([spread[0], spread[-1]])


def _shares(count: int) -> np.ndarray:
    """The share of the data before each edge of so many cells."""
    halvings = HALVINGS if count > 4 * HALVINGS else 0
    inner = np.linspace(0, 1, count - 2 * halvings + 1)
    outer = inner[1] * 0.5 ** np.arange(halvings, 0, -1)
    return np.concatenate([inner[:1], outer, inner[1:-1], 1 - outer[::-1], inner[-1:]])


def _narrowest(values: np.ndarray) -> np.ndarray:
    """How wide a cell at some values must be, so that numbers of float32 lie inside it."""
    return NARROWEST * np.maximum(1.0, np.abs(values))


def _merged(cuts: np.ndarray) -> np.ndarray:
    """The cuts with those that only rounding tells apart made equal."""
    found = [float(cuts[0])]
    for cut, least in zip(cuts[1:].tolist(), _narrowest(cuts[1:]).tolist(), strict=True):
        found.append(cut if cut - found[-1] >= least else found[-1])
    return np.array(found)


def _without_ties(cuts: np.ndarray, gap: float) -> tuple[np.ndarray, list[tuple[float, float]]]:
    """The cuts with equal ones spread over an interval, and these intervals: as if the values were recorded exactly."""
    distinct, counts = np.unique(cuts, return_counts=True)
    width = np.maximum(gap, _narrowest(distinct))
    if len(cuts) == 1 or len(distinct) == 1:
        interval = (float(distinct[0] - width[0] / 2), float(distinct[0] + width[0] / 2))
        return np.array(interval), [interval]
    between = (distinct[1:] + distinct[:-1]) / 2
    lows = np.maximum(distinct - width / 2, np.concatenate([[-np.inf], between]))
    highs = np.minimum(distinct + width / 2, np.concatenate([between, [np.inf]]))
    tied = counts > 1
    parts = [
        np.linspace(low, high, count) if count > 1 else np.array([value])
        for value, count, low, high in zip(distinct, counts, lows, highs, strict=True)
    ]
    return np.concatenate(parts), list(zip(lows[tied].tolist(), highs[tied].tolist(), strict=True))


def _apart(edges: np.ndarray, ties: Sequence[tuple[float, float]]) -> np.ndarray:
    """Edges in order and not too close; a tie that one of them would cut has one cell, from its end to its end."""
    ends: list[float] = []
    for low, high in ties:
        inside = (edges > low) & (edges < high)
        if inside.any():
            edges = edges[~inside]
            ends += [low, high]
    found: list[float] = []
    for edge, fixed in sorted([*((edge, False) for edge in edges.tolist()), *((end, True) for end in ends)]):
        if not found or edge - found[-1] >= NARROWEST / 2 * max(1.0, abs(edge)):
            found.append(edge)
        elif fixed:
            found[-1] = edge
    return np.array(found)


def _shares_beyond(cuts: np.ndarray, edges: np.ndarray, count: int) -> list[float]:
    """The share of the two outermost cells that lies beyond the data.

    Of N + 1 values of one distribution the last is the smallest with the probability 1 / (N + 1).
    """
    shares = np.linspace(0, 1, len(cuts))
    masses = [np.interp(edges[1], cuts, shares), 1 - np.interp(edges[-2], cuts, shares)]
    return [min(MOST_BEYOND, 1 / (1 + (count + 1) * max(float(mass), 1 / len(cuts) ** 2))) for mass in masses]


def quantiles_by_channel(values: np.ndarray, exists: np.ndarray, finest: float) -> Quantiles:
    """Those of each channel by itself, from the numbers of (B, N, C) that exist: a frame leaves some channels out.

    Differences below `finest` are none, and fewer than `FEWEST` values say nothing of where others are.
    """
    values = np.round(values / finest) * finest if finest else values
    own = [values[..., channel][exists[..., channel]] for channel in range(values.shape[-1])]
    fewest = FEWEST if finest else 1
    parts = [Quantiles.of(one[:, None] if len(one) >= fewest else np.array([[-2.0], [2.0]])) for one in own]
    return Quantiles(
        min(part.count for part in parts),
        tuple(part.cuts[0] for part in parts),
        tuple(max(finest, part.gaps[0]) for part in parts),
    )
