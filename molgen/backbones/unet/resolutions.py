"""Grids that lie over each other: to which resolution of a network each belongs, and which places exist there.

Everything has two directions; a row of elements is a grid of height 1.

Letters in shapes: B batch, H and W places along the two directions.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from molgen.batch import Batch
from molgen.errors import UnsupportedSpace
from molgen.space import Axis

Span = tuple[Axis, ...]
Pair = tuple[int, int]


@dataclass(frozen=True)
class Grid:
    """Where the places of some axes lie.

    Attributes:
        axes: one for a row, two for a grid.
        level: the resolution that they are read from and written to, the finest being number 0.
        stride: how many places of the finest resolution one of theirs covers along each direction.
        patch: how many places of their own resolution.
    """

    axes: Span
    level: int
    stride: Pair
    patch: Pair

    def spread(self, tensor: Tensor) -> Tensor:
        """A tensor (B, *axes, ...) in two directions, (B, H, W, ...)."""
        return tensor if len(self.axes) == 2 else tensor[:, None]

    def gather(self, tensor: Tensor) -> Tensor:
        """The inverse of `spread`."""
        return tensor if len(self.axes) == 2 else tensor[:, 0]


class Pyramid:
    """Grids over the same picture, each in steps of its own, and the resolutions of a network.

    The finest grid has the largest axes; the others have steps of several of its places along each direction, such as a
    latent over (7, 7) under pixels over (28, 28). Where sizes do not divide each other, the last steps reach beyond the
    finest places. A network halves its resolution a few times. A grid belongs to the coarsest resolution from which its
    own can still be reached by whole steps; what then remains, such as 3 of a third, is one patch of places.

    Args:
        spans: the axes of everything that is read or written; those without axes are left out.
        levels: how many resolutions there are.

    Raises:
        UnsupportedSpace: no axes, other than one or two, unordered ones, or a pair of the same.
    """

    def __init__(self, spans: Iterable[Span], levels: int) -> None:
        found = [span for span in dict.fromkeys(spans) if span]
        _require_alike(found)
        self.levels = levels
        extents = {span: _extent(span) for span in found}
        finest: Pair = (max(e[0] for e in extents.values()), max(e[1] for e in extents.values()))
        #: along which directions there is more than one place.
        self.wide = (finest[0] > 1, finest[1] > 1)
        self.grids = {span: self._grid(span, extent, finest) for span, extent in extents.items()}
        reach = [
            [own * step for own, step in zip(extents[span], g.stride, strict=True)] for span, g in self.grids.items()
        ]
        #: how many places of the finest resolution cover all grids.
        self.extent: Pair = (max(rows for rows, _ in reach), max(columns for _, columns in reach))

    def _grid(self, span: Span, extent: Pair, finest: Pair) -> Grid:
        coarsest = 2 ** (self.levels - 1)
        stride = (_stride(finest[0], extent[0], coarsest), _stride(finest[1], extent[1], coarsest))
        level = max(k for k in range(self.levels) if all(s % t == 0 for s, t in zip(stride, self.step(k), strict=True)))
        step = self.step(level)
        return Grid(span, level, stride, (stride[0] // step[0], stride[1] // step[1]))

    def step(self, level: int) -> Pair:
        """How many places of the finest resolution one of a coarser covers along each direction."""
        rows, columns = (2**level if wide else 1 for wide in self.wide)
        return rows, columns

    def frame(self, batch: Batch) -> Frame:
        """The places of the samples of a batch.

        Raises:
            ValueError: the batch does not say the sizes of a variable axis.
        """
        if not any(axis.variable for span in self.grids for axis in span):
            return Frame(self, self.extent, None)
        sizes = torch.stack([self._sizes(batch, direction) for direction in (0, 1)], dim=1)
        rows, columns = (max(1, int(size)) for size in sizes.amax(0))
        return Frame(self, (rows, columns), sizes)

    def _sizes(self, batch: Batch, direction: int) -> Tensor:
        """How many places of the finest resolution each sample has along a direction, (B,)."""
        found = []
        for grid in self.grids.values():
            axis = (None, *grid.axes)[-2:][direction]
            found.append(_size(axis, batch) * grid.stride[direction])
        return torch.stack(found).amax(0)


def _stride(finest: int, own: int, coarsest: int) -> int:
    """How many of the finest places one of a grid covers; rounded up so that halving the finest comes near to it."""
    if finest % own == 0:
        return finest // own
    least = -(-finest // own)
    unit = min(coarsest, 2 ** (least.bit_length() - 1))
    return -(-least // unit) * unit


def _size(axis: Axis | None, batch: Batch) -> Tensor:
    """How many places each sample has along an axis, (B,); a direction without one has 1."""
    if axis is not None and axis.variable:
        if axis.name not in batch.sizes:
            raise ValueError(f"the batch does not say the sizes of the axis {axis.name!r}")
        return batch.sizes[axis.name]
    device = next(iter(batch.sizes.values())).device if batch.sizes else None
    return torch.full((len(batch),), 1 if axis is None else axis.maximum, device=device)


@dataclass(frozen=True)
class Frame:
    """The places of some samples: `lengths` of the finest resolution, and `sizes`, (B, 2), unless all exist."""

    pyramid: Pyramid
    lengths: Pair
    sizes: Tensor | None

    def shape(self, step: Sequence[int]) -> Pair:
        """How many places cover everything, each as large as `step` of the finest resolution."""
        rows, columns = (-(-length // own) for length, own in zip(self.lengths, step, strict=True))
        return rows, columns

    def exists(self, level: int) -> Tensor | None:
        """Which places of a resolution cover something, bool (B, H, W, 1); None where all do."""
        if self.sizes is None:
            return None
        step = self.pyramid.step(level)
        rows, columns = (
            torch.arange(length, device=self.sizes.device) * own < self.sizes[:, direction, None]
            for direction, (length, own) in enumerate(zip(self.shape(step), step, strict=True))
        )
        return (rows[:, :, None] & columns[:, None, :])[..., None]


def fitted(tensor: Tensor, shape: Sequence[int]) -> Tensor:
    """A tensor (B, H, W, ...) cut, or filled up with zeros, to a height and a width."""
    tensor = tensor[:, : shape[0], : shape[1]]
    missing = [length - own for length, own in zip(shape, tensor.shape[1:3], strict=True)]
    if not any(missing):
        return tensor
    pad = [0] * 2 * (tensor.ndim - 3) + [0, missing[1], 0, missing[0]]
    return torch.nn.functional.pad(tensor, pad)


def head_shape(axes: Span, known: Mapping[str, int], sizes: Mapping[str, Tensor]) -> list[int]:
    """How far an output reaches along each axis: as far as an input, else as the largest sample of the batch."""
    return [known.get(axis.name, int(sizes[axis.name].max()) if axis.variable else axis.maximum) for axis in axes]


def _extent(span: Span) -> Pair:
    rows, columns = (1, *(axis.maximum for axis in span))[-2:]
    return rows, columns


def _require_alike(spans: Sequence[Span]) -> None:
    if not spans:
        raise UnsupportedSpace("a U-Net needs a field or an output over ordered axes")
    for span in spans:
        names = ", ".join(repr(axis.name) for axis in span)
        if len(span) > 2 or len(span) != len(spans[0]):
            raise UnsupportedSpace(
                f"a U-Net reads rows, or grids of two axes, all of its fields alike; one has the axes {names}, "
                f"another {', '.join(repr(axis.name) for axis in spans[0])}"
            )
        if len(set(span)) != len(span):
            raise UnsupportedSpace(f"a U-Net reads no pairs of elements of one axis, here {names}")
        if not all(axis.ordered for axis in span):
            raise UnsupportedSpace(f"a U-Net looks at positions, so it reads no unordered axis, here {names}")
