"""Whether a sample or a batch lies in its space; a message says where it does not.

Letters in shapes: B batch.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch

from molgen.batch import Batch, field_mask, levels_to_values, separate, values_to_levels
from molgen.domain import Sample
from molgen.kinds import primitive
from molgen.space import Categorical, Field, Grammar, Real, Space, is_symmetric, variable_axes
from molgen.testing.checks import require

#: How far from zero the mean of a centred field may lie, in units of its largest number.
CENTRE = 1e-4


def require_sample(space: Space, sample: Sample) -> None:
    """A sample has the fields of its space: shapes, sizes, kinds and ranges of numbers, symmetry, centre.

    Raises:
        CheckFailed: it has not.
    """
    require(isinstance(sample, Mapping), f"a sample is a mapping from fields to arrays, not a {type(sample).__name__}")
    require(
        set(sample) == set(space), f"the sample has the fields {', '.join(sample)}, and the space {', '.join(space)}"
    )
    sizes: dict[str, int] = {}
    for name, field in space.items():
        array = sample[name]
        require(
            isinstance(array, np.ndarray | np.generic),
            f"{name} is a {type(array).__name__}, where numpy arrays belong",
        )
        _require_shape(name, field, array.shape, sizes)
        problem = field_problem(field, np.asarray(array))
        require(not problem, f"{name} {problem}")


def require_encoded(space: Space, sample: Sample) -> None:
    """A sample that stands for an item lies in its space, and no grammar rules it out.

    Raises:
        CheckFailed: it does not, or one does.
    """
    require_sample(space, sample)
    for name, field in space.items():
        if isinstance(field, Categorical) and field.grammar is not None:
            _require_possible(name, field.grammar, [*np.asarray(sample[name]).tolist(), field.classes])


def _require_possible(name: str, grammar: Grammar, choices: list[int]) -> None:
    """The grammar rules out none of these choices, the last of which is END."""
    reading, end = grammar.start(), choices[-1]
    for number, choice in enumerate(choices):
        what = "the end" if choice == end else f"class {choice}"
        require(bool(reading.possible()[choice]), f"the grammar of {name} rules out {what} at place {number}")
        if choice != end:
            reading = reading.after(choice)


def _require_shape(name: str, field: Field, shape: tuple[int, ...], sizes: dict[str, int]) -> None:
    count = len(field.axes)
    require(
        len(shape) == count + len(field.channels_shape) and shape[count:] == field.channels_shape,
        f"{name} has the shape {shape}; it has {count} axes and the channels {field.channels_shape}",
    )
    for axis, size in zip(field.axes, shape[:count], strict=True):
        least = axis.minimum if axis.variable else axis.maximum
        require(
            least <= size <= axis.maximum,
            f"{name} has {size} elements along {axis.name!r}, which has {least} to {axis.maximum}",
        )
        require(
            sizes.setdefault(axis.name, size) == size,
            f"{name} has {size} elements along {axis.name!r}, and another place of the sample {sizes[axis.name]}",
        )


@primitive
def field_problem(field: Field, array: np.ndarray) -> str:
    """What is wrong with the numbers of one field of a sample, or nothing; teach a kind of your own."""
    return ""


@field_problem.register
def _(field: Categorical, array: np.ndarray) -> str:
    if array.dtype.kind not in "iu":
        return f"holds class numbers as {array.dtype}, where whole numbers belong"
    if array.size and not (array.min() >= 0 and array.max() < field.classes):
        return f"holds the classes {array.min()} to {array.max()}, and has 0 to {field.classes - 1}"
    return _symmetry_problem(field, array)


def _symmetry_problem(field: Field, array: np.ndarray) -> str:
    if not is_symmetric(field):
        return ""
    if not np.array_equal(array, array.swapaxes(0, 1)):
        return "is declared symmetric and is not"
    return "is symmetric, and its diagonal is not zero" if array.diagonal().any() else ""


@field_problem.register
def _(field: Real, array: np.ndarray) -> str:
    if field.levels is not None:
        if array.dtype.kind not in "iu":
            return f"holds level numbers as {array.dtype}, where whole numbers belong"
        if array.size and not (array.min() >= 0 and array.max() < field.levels):
            return f"holds the levels {array.min()} to {array.max()}, and has 0 to {field.levels - 1}"
        return _symmetry_problem(field, array)
    if array.dtype.kind != "f":
        return f"holds numbers as {array.dtype}, where floating-point numbers belong"
    if not np.isfinite(array).all():
        return "holds a number that is not finite"
    if field.centred and array.size:
        centre, scale = np.abs(array.mean(0, dtype=np.float64)).max(), max(1.0, float(np.abs(array).max()))
        if centre > CENTRE * scale:
            return f"is declared centred, and its mean is {centre:.2g}"
    return _symmetry_problem(field, array)


def require_batch(space: Space, batch: Batch) -> None:
    """Every sample of a batch lies in the space, values of levels at their cells, zero in the padding.

    Raises:
        CheckFailed: as `require_sample`, or the batch itself is not as it should be.
    """
    require(
        set(batch.fields) == set(space), f"the batch has the fields {', '.join(batch.fields)}, not {', '.join(space)}"
    )
    _require_sizes(space, batch)
    for name, field in space.items():
        tensor = batch.fields[name]
        require(
            tensor.ndim == 1 + len(field.axes) + len(field.channels_shape),
            f"{name} has the shape {tuple(tensor.shape)}, where (rows, *axes, *channels) belongs",
        )
        outside = tensor[~field_mask(space, batch, name)]
        require(not bool(outside.any()), f"{name} is not zero in the padding")
        _require_cells(space, batch, name)
    for sample in separate(space, batch):
        require_sample(space, sample)


def _require_sizes(space: Space, batch: Batch) -> None:
    own = variable_axes(space)
    require(
        set(batch.sizes) == set(own),
        f"the batch says the sizes of {', '.join(batch.sizes) or 'no axis'}, not of {', '.join(own) or 'no axis'}",
    )
    for name, size in batch.sizes.items():
        axis = own[name]
        require(
            size.shape == (len(batch),) and not size.is_floating_point(),
            f"the sizes of {name!r} are {size.dtype} of shape {tuple(size.shape)}, not a whole number per row",
        )
        require(
            bool(((size >= axis.minimum) & (size <= axis.maximum)).all()),
            f"the sizes of {name!r} lie between {int(size.min())} and {int(size.max())}, "
            f"and those of the space between {axis.minimum} and {axis.maximum}",
        )


def _require_cells(space: Space, batch: Batch, name: str) -> None:
    field = space[name]
    if isinstance(field, Real) and field.levels is not None:
        values = batch.fields[name][field_mask(space, batch, name)]
        centres = levels_to_values(field, values_to_levels(field, values)).to(values)
        require(
            bool(torch.isclose(values, centres, rtol=0, atol=1e-4).all()),
            f"{name} holds values that are not those of its {field.levels} levels, such as {_first(values - centres)}",
        )


def _first(differences: torch.Tensor) -> str:
    worst = float(differences.abs().max())
    return f"one {worst:.3g} beside the middle of its cell"
