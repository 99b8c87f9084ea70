"""Samples of any space: drawn at random, or all of them where they are few.

Letters in shapes: B batch, E packed elements, V values of one element.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import product
from math import prod
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from molgen.batch import Batch, levels_to_values, mask, pack_field, unpack
from molgen.domain import Sample
from molgen.kinds import primitive
from molgen.space import Axis, Categorical, Field, Real, Space, axes, is_symmetric, variable_axes
from molgen.testing.checks import Skipped

#: A space with more samples is not enumerated.
MOST_SAMPLES = 512
#: Numbers are integrated over this range, in steps of this width.
REACH, STEP = 6.0, 0.5


def draw_samples(space: Space, count: int, seed: int, largest: Mapping[str, int] | None = None) -> list[Sample]:
    """Random samples of a space, the first of the smallest and the second of the largest sizes.

    Args:
        space: the fields.
        count: how many.
        seed: of the draws.
        largest: sizes of variable axes to stay below; by default their maxima.
    """
    generator = np.random.Generator(np.random.Philox(seed))
    most = {name: min(axis.maximum, (largest or {}).get(name, axis.maximum)) for name, axis in axes(space).items()}
    return [_draw(space, _sizes(space, row, most, generator), generator) for row in range(count)]


def _sizes(space: Space, row: int, most: Mapping[str, int], generator: np.random.Generator) -> dict[str, int]:
    def size(axis: Axis) -> int:
        if not axis.variable:
            return axis.maximum
        largest = max(axis.minimum, most[axis.name])
        return (axis.minimum, largest)[row] if row < 2 else int(generator.integers(axis.minimum, largest + 1))

    return {name: size(axis) for name, axis in axes(space).items()}


def _draw(space: Space, sizes: Mapping[str, int], generator: np.random.Generator) -> Sample:
    return {
        name: draw_field(field, [sizes[axis.name] for axis in field.axes], generator) for name, field in space.items()
    }


@primitive
def draw_field(field: Field, shape: list[int], generator: np.random.Generator) -> np.ndarray:
    """A random array of one field, (*shape, *channels); teach one for a kind of your own.

    Raises:
        Skipped: there is no function for the kind of field.
    """
    raise Skipped(
        f"nothing draws a field of kind {type(field).__name__}; teach(KIND, draw_field=...) of molgen.kinds says how"
    )


@draw_field.register
def _(field: Categorical, shape: list[int], generator: np.random.Generator) -> np.ndarray:
    ids = generator.integers(0, field.classes, shape)
    return _both_orders(field, np.asarray(ids, dtype=np.int64))


@draw_field.register
def _(field: Real, shape: list[int], generator: np.random.Generator) -> np.ndarray:
    full = [*shape, *field.channels]
    if field.levels is not None:
        return _both_orders(field, np.asarray(generator.integers(0, field.levels, full), dtype=np.int64))
    numbers = np.asarray(generator.standard_normal(full))
    if field.centred and numbers.size:
        numbers = numbers - numbers.mean(0)
    return _both_orders(field, numbers).astype(np.float32)


def _both_orders(field: Field, array: np.ndarray) -> np.ndarray:
    """An array in which a symmetric field has one value for both orders of a pair, and 0 on the diagonal."""
    if not is_symmetric(field):
        return array
    lower = np.where(np.tri(len(array), k=-1, dtype=bool).reshape(*array.shape[:2], *[1] * (array.ndim - 2)), array, 0)
    return lower + lower.swapaxes(0, 1)


class Values(NamedTuple):
    """All values that one packed element can have, (V,), and the measure of each, (V,): 1 for a class."""

    points: Tensor
    weights: Tensor


@primitive
def element_values(field: Field) -> Values:
    """The values of one packed element of a field; teach one for a kind of your own.

    Raises:
        Skipped: there is no function for the kind of field.
    """
    raise Skipped(
        f"the values of a field of kind {type(field).__name__} cannot be listed; "
        "teach(KIND, element_values=...) of molgen.kinds says how"
    )


@element_values.register
def _(field: Categorical) -> Values:
    return Values(torch.arange(field.classes), torch.ones(field.classes, dtype=torch.float64))


@element_values.register
def _(field: Real) -> Values:
    if field.levels is not None:
        return Values(levels_to_values(field, torch.arange(field.levels)), torch.ones(field.levels).double())
    # By the trapezoidal rule, whose ends do not matter: no density reaches them.
    points = torch.arange(-REACH, REACH + STEP / 2, STEP)
    return Values(points, torch.full((len(points),), STEP, dtype=torch.float64))


def enumerate_space(space: Space) -> list[tuple[Batch, Tensor]]:
    """All samples of a space, a batch for each size, with the measure of each sample, (B,).

    An element that is a number without levels is listed on a grid, so that sums over samples are integrals.

    Raises:
        Skipped: there are too many.
    """
    values = {name: element_values(field) for name, field in space.items()}
    found = []
    count = 0
    for sizes in _every_size(space):
        free = {name: _free_elements(field, sizes) for name, field in space.items()}
        count += prod(len(values[name].points) ** number for name, number in free.items())
        if count > MOST_SAMPLES:
            raise Skipped(f"the space has more samples than the {MOST_SAMPLES} that are enumerated")
        found.append(_enumerate(space, sizes, free, values))
    return found


def _every_size(space: Space) -> Iterator[dict[str, int]]:
    own = variable_axes(space)
    fixed = {name: axis.maximum for name, axis in axes(space).items() if not axis.variable}
    for sizes in product(*(range(axis.minimum, axis.maximum + 1) for axis in own.values())):
        yield fixed | dict(zip(own, sizes, strict=True))


def _free_elements(field: Field, sizes: Mapping[str, int]) -> int:
    shape = [sizes[axis.name] for axis in field.axes]
    exists = mask(field, {name: torch.tensor([size]) for name, size in sizes.items()}, shape, 1)
    return int(pack_field(field, torch.zeros(1, *shape, *field.channels_shape), exists).mask.sum())


def _enumerate(
    space: Space, sizes: Mapping[str, int], free: Mapping[str, int], values: Mapping[str, Values]
) -> tuple[Batch, Tensor]:
    """All samples of one size."""
    own = [values[name] for name, number in free.items() for _ in range(number)]
    places = torch.tensor(list(product(*(range(len(v.points)) for v in own))), dtype=torch.long)
    # Without any free element there is one sample.
    rows = len(places)
    columns = [v.points[places[:, k]] for k, v in enumerate(own)]
    weights = torch.ones(rows, dtype=torch.float64)
    for k, v in enumerate(own):
        weights = weights * v.weights[places[:, k]]
    packed = {}
    for name, number in free.items():
        taken, columns = columns[:number], columns[number:]
        empty = values[name].points.new_zeros(rows, 0)
        packed[name] = torch.stack(taken, dim=1) if taken else empty
    tensors = {name: torch.full((rows,), sizes[name]) for name in variable_axes(space)}
    return unpack(space, packed, tensors, sizes), weights
