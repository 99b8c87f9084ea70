"""Conditions over the axes of a sample: each place of the sample reads what belongs to it.

Letters in shapes: B batch, T slices, S slices of one field, D width, P values of one place.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import permutations
from typing import Any

import torch
from torch import Tensor, nn

from molgen.batch import Partial
from molgen.errors import UnsupportedSpace
from molgen.layers.condition_embedding import condition_embedding, given_places
from molgen.layers.named import NamedModules
from molgen.ordering import Ordering
from molgen.space import Axis, Field, Slice, Space, axes

Axes = tuple[Axis, ...]


@dataclass(frozen=True)
class Alignment:
    """A condition, which of its axes are those of the sample, and these; along the others it is averaged."""

    field: Field
    kept: tuple[int, ...]
    axes: Axes

    @property
    def placed(self) -> Field:
        """What stands at the places of the sample."""
        return replace(self.field, axes=self.axes) if len(self.kept) == len(self.field.axes) else Field(self.axes)

    def narrowed(self, places: Sequence[int]) -> Alignment:
        """The same over some of its axes, given by their places among `axes`."""
        return Alignment(self.field, tuple(self.kept[k] for k in places), tuple(self.axes[k] for k in places))

    def mean(self, values: Tensor, given: Tensor) -> tuple[Tensor, Tensor]:
        """(B, *axes of the field, P) and what of it is given to their mean over what is given, (B, *axes, P)."""
        values = torch.where(given[..., None], values, 0.0)
        others = [1 + k for k in range(len(self.field.axes)) if k not in self.kept]
        if not others:
            return values, given
        count = given.sum(others)
        return values.sum(others) / count.clamp(min=1)[..., None], count > 0


def split_condition(
    condition: Space, known: Mapping[str, Axis], fits: Callable[[Axes], bool] = lambda _: True
) -> tuple[dict[str, Alignment], dict[str, Field]]:
    """The conditions over axes of the sample, which are read place by place, and the others.

    Args:
        condition: the fields of the condition.
        known: the axes of the sample by name.
        fits: whether the network has places over some axes. Of a condition over others it reads the mean at the places
            of the first axis, or, where there are none, everywhere.

    Raises:
        UnsupportedSpace: a condition has an axis of the sample with another length.
    """
    found = {}
    for name, field in condition.items():
        places = [place for place, axis in enumerate(field.axes) if axis.name in known]
        _require_same_axes(name, [field.axes[place] for place in places], known)
        whole = Alignment(field, tuple(places), tuple(known[field.axes[place].name] for place in places))
        for one in (whole, whole.narrowed([0][: len(places)])):
            if one.axes and fits(one.axes):
                found[name] = one
                break
    return found, {name: field for name, field in condition.items() if name not in found}


def _require_same_axes(name: str, own: Sequence[Axis], known: Mapping[str, Axis]) -> None:
    for axis in own:
        other = known[axis.name]
        if (axis.maximum, axis.variable) != (other.maximum, other.variable):
            raise UnsupportedSpace(
                f"the condition {name!r} has the axis {axis.name!r} of the sample, but for at most {axis.maximum} "
                f"elements in the place of {other.maximum}; describe both alike, or give it another name"
            )


class AlignedCondition(nn.Module):
    """A condition as a vector at each place of the sample; where it is not given there is a learned one."""

    def __init__(self, name: str, alignment: Alignment, width: int) -> None:
        super().__init__()
        self.name, self.alignment = name, alignment
        self.embedding = condition_embedding(alignment.field, width)
        self.absent = nn.Parameter(torch.zeros(width))

    def forward(
        self, condition: Partial | None, rows: int, shape: Sequence[int] | None = None, like: Alignment | None = None
    ) -> Tensor:
        """The vectors, (B, *axes, D).

        Args:
            condition: what is given.
            rows: B.
            shape: the length of each axis; by default as far as the condition reaches.
            like: over fewer axes.
        """
        alignment = like or self.alignment
        if condition is None or self.name not in condition.given:
            return self.absent.expand(rows, *(shape or [0] * len(alignment.axes)), -1)
        given = given_places(alignment.field, self.name, condition)
        values, given = alignment.mean(self.embedding(condition.batch.fields[self.name]), given)
        shape = given.shape[1:] if shape is None else shape
        return torch.where(reaching(given, shape)[..., None], reaching(values, shape), self.absent)


def reaching(tensor: Tensor, shape: Sequence[int]) -> Tensor:
    """A tensor (B, *axes, ...) cut, or filled up with zeros, to the lengths of its axes."""
    tensor = tensor[(slice(None), *(slice(length) for length in shape))]
    missing = [length - tensor.shape[1 + place] for place, length in enumerate(shape)]
    pad = [number for length in reversed(missing) for number in (0, length)]
    return nn.functional.pad(tensor, [0] * 2 * (tensor.ndim - 1 - len(shape)) + pad) if any(missing) else tensor


@dataclass(frozen=True)
class Reading:
    """How the slices of a field read a condition: what of it, and by which of their indices, in one or more ways."""

    name: str
    alignment: Alignment
    ways: tuple[tuple[int, ...], ...]


class OrderedCondition(nn.Module):
    """Conditions over axes of the sample as vectors at the steps of its generation, (B, T, D).

    A step at index i of an axis reads what a condition has at i; one of a pair (i, j) what it has at i and at j, or at
    (i, j) and (j, i). What lies at a place that comes later is known to the network only from the mean of all.
    """

    def __init__(self, placed: Mapping[str, Alignment], space: Space, width: int) -> None:
        super().__init__()
        self.width = width
        self.parts = NamedModules({name: AlignedCondition(name, own, width) for name, own in placed.items()})
        self.readings = {field: _readings(placed, own.axes) for field, own in space.items()}
        most = max(len(reading.ways) for own in self.readings.values() for reading in own)
        self.further = nn.ModuleList(nn.Linear(width, width, bias=False) for _ in range(most - 1))

    def forward(self, condition: Partial | None, rows: int) -> StepVectors:
        """What all steps read."""
        found: dict[Reading, Tensor] = {}
        for reading in (reading for own in self.readings.values() for reading in own):
            if reading not in found:
                part = self.parts[reading.name]
                assert isinstance(part, AlignedCondition)
                own = part(condition, rows, like=reading.alignment)
                # One more place along each axis stands for all that the condition does not reach.
                full = part.absent.expand(rows, *(length + 1 for length in own.shape[1:-1]), -1).clone()
                full[tuple(slice(length) for length in own.shape[:-1])] = own
                found[reading] = full
        return StepVectors(self, found, rows)


@dataclass(frozen=True)
class StepVectors:
    """The vectors of conditions at every place, (B, *lengths + 1, D) for each."""

    conditions: OrderedCondition
    vectors: Mapping[Reading, Tensor]
    rows: int

    def take(self, rows: Tensor) -> StepVectors:
        """Those of the given rows."""
        return StepVectors(self.conditions, {key: full[rows] for key, full in self.vectors.items()}, len(rows))

    def at(self, step: Slice) -> Tensor | float:
        """What one step reads, (B, D)."""
        found = self.read(step.field, [torch.tensor([index]) for index in step.index])
        return found if isinstance(found, float) else found[:, 0]

    def along(self, ordering: Ordering) -> Tensor:
        """What all steps read, (B, T, D)."""
        like = next(iter(self.vectors.values()))
        total = like.new_zeros(self.rows, len(ordering), like.shape[-1])
        for field in self.conditions.readings:
            found = self.read(field, ordering.indices[field])
            if not isinstance(found, float):
                total[:, ordering.steps[field].to(like.device)] = found
        return total

    def read(self, field: str, indices: Sequence[Tensor]) -> Tensor | float:
        """What steps at some indices of a field read, (B, S, D), or 0; an index (S,) for each axis of the field."""
        total: Tensor | float = 0.0
        for reading in self.conditions.readings[field]:
            full = self.vectors[reading]
            for number, way in enumerate(reading.ways):
                places: list[Any] = [
                    indices[axis].to(full.device).clamp(max=length - 1)
                    for axis, length in zip(way, full.shape[1:-1], strict=True)
                ]
                found = full[(slice(None), *places)]
                total = total + (self.conditions.further[number - 1](found) if number else found)
        return total


def _readings(placed: Mapping[str, Alignment], span: Axes) -> list[Reading]:
    """How the slices of a field over some axes read conditions."""
    found = []
    for name, alignment in placed.items():
        left = Counter(axis.name for axis in span)
        kept = []
        for place, axis in enumerate(alignment.axes):
            if left[axis.name]:
                left[axis.name] -= 1
                kept.append(place)
        own = alignment.narrowed(kept)
        names = tuple(axis.name for axis in own.axes)
        ways = [way for way in permutations(range(len(span)), len(kept)) if tuple(span[k].name for k in way) == names]
        if kept:
            found.append(Reading(name, own, tuple(ways)))
    return found


def ordered_condition(condition: Space | None, space: Space, width: int) -> OrderedCondition | None:
    """The conditions over axes of a space, to be read step by step; None where there are none."""
    placed, _ = split_condition(condition or {}, axes(space))
    return OrderedCondition(placed, space, width) if placed else None
