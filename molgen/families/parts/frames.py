"""Points in space by what turning and moving leaves of them, exactly, so that families of single numbers take them.

The first three points of a sample span a frame: the origin is the first, the first direction leads to the second, the
third lies on the positive side of the plane of the first two directions. In it every point has coordinates that no
rotation and no common translation changes, and that a mirror does: left and right are told apart. The second point is
told by its distance r, the third by its first coordinate and by the second, b. These two are above 0; any numbers stand
for them, u = 3 log(exp(r) - 1) and v = 2 log(exp(b) - 1), so that a density with tails like exp(-|u|) is bounded where
points meet. What the frame fixes is no element. So n points with a common centre, 3 (n - 1) free numbers, are 3 n - 6
free numbers and a rotation, which is uniform, and with the elements x of `batch.pack_field`

    log p(x) = log p(coordinates) + (3/2) log n - log(4 pi r^2 dr/du) - log(2 pi b db/dv),

where the last term is there from three points on, the one before from two. (The differences from the first point have
the determinant n^(1/2) in each direction.) A density of coordinates is one of points that does not
depend on their orientation; it does depend on which points are the first three, and so on an order.

Letters in shapes: B batch, N points, E packed elements.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import log, pi

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid, one_hot, softplus

from molgen.batch import Batch, Packed, Partial, field_mask, pack_field, unpack_field
from molgen.errors import UnsupportedSpace
from molgen.families.parts.elements import of_own_place
from molgen.seeding import Rng
from molgen.space import Field, Real, Space

#: Lengths below this are taken for it: a frame of points at one place is as good as any other.
SHORTEST = 1e-6
#: Differences between coordinates that say nothing: a density must not rest on how exactly a molecule is flat.
FINEST = 1e-2
#: Which coordinates of the first points a frame leaves open.
FREE = ((False, False, False), (True, False, False), (True, True, False))


@dataclass(frozen=True)
class FrameCoordinates(Real):
    """The coordinates of points in the frame of the first three, (B, N, 3): numbers of which six are no elements."""


def is_free(point: int, direction: int) -> bool:
    """Whether a coordinate is an element."""
    return point >= len(FREE) or FREE[point][direction]


def _free(field: FrameCoordinates, exists: Tensor) -> Tensor:
    """Which numbers are elements, bool (B, N, *channels)."""
    points = exists.shape[1]
    free = torch.ones(points, 3, dtype=torch.bool, device=exists.device)
    free[: len(FREE)] = torch.tensor(FREE, device=exists.device)[:points]
    wide = (exists[..., None] & free).view(*exists.shape, 3, *(1 for _ in field.channels[1:]))
    return wide.expand(*exists.shape, *field.channels)


@pack_field.register
def _(field: FrameCoordinates, tensor: Tensor, exists: Tensor) -> Packed:
    free = _free(field, exists).flatten(1)
    return Packed(torch.where(free, tensor.reshape(free.shape), torch.zeros((), dtype=tensor.dtype)), free)


@unpack_field.register
def _(field: FrameCoordinates, values: Tensor, exists: Tensor) -> Tensor:
    free = _free(field, exists)
    return torch.where(free, values.reshape(free.shape), torch.zeros((), dtype=values.dtype))


@of_own_place.register
def _(field: FrameCoordinates, values: Tensor) -> Tensor:
    return of_own_place(Real(field.axes, field.channels), values)


class Frames:
    """From samples with points to samples with coordinates, and back; other samples stay as they are.

    Args:
        space: of the samples.

    Raises:
        UnsupportedSpace: numbers that rotate or have a common centre, and are not one field of points that do both.
    """

    def __init__(self, space: Space) -> None:
        self.space = dict(space)
        bound = {name: f for name, f in space.items() if isinstance(f, Real) and (f.centred or f.rotates)}
        for name, field in bound.items():
            if not (field.centred and field.rotates and field.channels == (3,)):
                raise UnsupportedSpace(
                    f"the numbers of {name!r} rotate or have a common centre, and are not points in space, which do "
                    "both, so they have no coordinates of their own; a diffusion takes them"
                )
        if len(bound) > 1:
            raise UnsupportedSpace(
                f"{' and '.join(map(repr, bound))} rotate together, and only one field of points has coordinates of "
                "its own; a diffusion takes them"
            )
        self.names = tuple(bound)
        #: with the coordinates of points in their place.
        self.coordinates: dict[str, Field] = {
            name: FrameCoordinates(field.axes, (3,)) if name in bound else field for name, field in space.items()
        }

    def to_coordinates(self, batch: Batch) -> Batch:
        """Samples with coordinates."""
        return self._mapped(batch, {name: self._coordinates(batch.fields[name]) for name in self.names})

    def known(self, known: Partial) -> Partial:
        """A known beginning with coordinates."""
        if not any(name in known.given for name in self.names):
            return known
        return replace(known, batch=self.to_coordinates(known.batch))

    def log_volume(self, batch: Batch) -> Tensor:
        """What the logarithm of a density of points has beyond that of their coordinates, (B,) in float64.

        Args:
            batch: samples with coordinates.
        """
        device = next(iter(batch.fields.values())).device if batch.fields else None
        total = torch.zeros(len(batch), dtype=torch.float64, device=device)
        for name in self.names:
            c = batch.fields[name].double()
            size = field_mask(self.coordinates, batch, name).sum(1)
            total = total + 1.5 * size.clamp(min=1).double().log()
            if c.shape[1] > 1:
                sphere = log(4 * pi) + 2 * _length(c[:, 1, 0], 3).log() + _log_slope(c[:, 1, 0], 3)
                total = total - torch.where(size > 1, sphere, 0.0)
            if c.shape[1] > 2:
                circle = log(2 * pi) + _length(c[:, 2, 1], 2).log() + _log_slope(c[:, 2, 1], 2)
                total = total - torch.where(size > 2, circle, 0.0)
        return total

    def to_points(self, batch: Batch, rng: Rng | None = None, known: Partial | None = None) -> Batch:
        """Samples with points about their centre.

        Args:
            batch: samples with coordinates.
            rng: for how samples are turned, uniform; without it all are as their frames.
            known: points whose orientation samples take over.
        """
        return self._mapped(batch, {name: self._points(batch, name, rng, known) for name in self.names})

    def _mapped(self, batch: Batch, fields: Mapping[str, Tensor]) -> Batch:
        return batch.with_fields({**batch.fields, **fields}) if fields else batch

    def _coordinates(self, points: Tensor) -> Tensor:
        apart = (points - points[:, :1]).double()
        found = apart @ frame(_point(apart, 1), _point(apart, 2)).transpose(1, 2)
        told = found.clone()
        told[:, : len(FREE)] = 0.0
        # Each as long as the rest of its vector, which the frame may have missed by rounding.
        if found.shape[1] > 1:
            told[:, 1, 0] = _number(found[:, 1].norm(dim=-1), 3)
        if found.shape[1] > 2:
            told[:, 2, 0] = found[:, 2, 0]
            told[:, 2, 1] = _number(found[:, 2, 1:].norm(dim=-1), 2)
        return told.to(points)

    def _points(self, batch: Batch, name: str, rng: Rng | None, known: Partial | None) -> Tensor:
        told = batch.fields[name].double()
        found = told.clone()
        if found.shape[1] > 1:
            found[:, 1, 0] = _length(told[:, 1, 0], 3)
        if found.shape[1] > 2:
            found[:, 2, 1] = _length(told[:, 2, 1], 2)
        if rng is not None:
            found = found @ self._orientation(name, rng, known).to(found)
        exists = field_mask(self.coordinates, batch, name)[..., None]
        mean = torch.where(exists, found, 0.0).sum(1, keepdim=True) / exists.sum(1, keepdim=True).clamp(min=1)
        return torch.where(exists, found - mean, 0.0).to(batch.fields[name])

    def _orientation(self, name: str, rng: Rng, known: Partial | None) -> Tensor:
        """A frame for each row, (B, 3, 3): random, or that of known points as far as they say it."""
        drawn = rng.normal(f"orientation of {name}", (2, 3))
        first, second = drawn[:, 0], drawn[:, 1]
        if known is not None and name in known.given:
            given = known.given[name].to(drawn.device)
            points = known.batch.fields[name].to(drawn)
            apart = points - points[:, :1]
            first = torch.where(_given(given, 2), _point(apart, 1), first)
            second = torch.where(_given(given, 3), _point(apart, 2), second)
        return frame(first, second)


def _number(length: Tensor, power: int) -> Tensor:
    """The number that stands for a length r: power log(exp(r) - 1)."""
    length = length.clamp(min=SHORTEST)
    return power * (length + (-torch.expm1(-length)).log())


def _length(number: Tensor, power: int) -> Tensor:
    """The length that a number stands for."""
    return softplus(number / power)


def _log_slope(number: Tensor, power: int) -> Tensor:
    """log of the derivative of the length, which is (1 - exp(-r)) / power."""
    return logsigmoid(number / power) - log(power)


def _point(points: Tensor, number: int) -> Tensor:
    """One of the points, (B, 3), zero where there are fewer."""
    return points[:, number] if points.shape[1] > number else torch.zeros_like(points[:, 0])


def _given(given: Tensor, count: int) -> Tensor:
    """Whether so many points are known from the first on, (B, 1)."""
    if given.shape[1] < count:
        return torch.zeros(len(given), 1, dtype=torch.bool, device=given.device)
    return given[:, :count].all(1, keepdim=True)


def frame(first: Tensor, second: Tensor) -> Tensor:
    """Three directions, the rows of (B, 3, 3), without a mirror: along the first vector, beside it, and across both."""
    x = torch.tensor([1.0, 0.0, 0.0], dtype=first.dtype, device=first.device)
    along = _unit(first, x.expand_as(first))
    # Of the axes one is far from any direction.
    axis = one_hot(along.abs().argmin(-1), 3).to(along)
    beside = _unit(_across(second, along), _across(axis, along))
    beside = _unit(_across(beside, along), beside)
    return torch.stack([along, beside, torch.linalg.cross(along, beside)], 1)


def _across(vector: Tensor, direction: Tensor) -> Tensor:
    return vector - (vector * direction).sum(-1, keepdim=True) * direction


def _unit(vector: Tensor, otherwise: Tensor) -> Tensor:
    """A vector of length 1; another one instead of one that is too short to have a direction."""
    length = vector.norm(dim=-1, keepdim=True)
    chosen = torch.where(length > SHORTEST, vector, otherwise)
    return chosen / chosen.norm(dim=-1, keepdim=True)
