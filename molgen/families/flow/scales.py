"""Grids at several scales: squares of places become channels of one place, and half of these are finished early.

The multi-scale architecture of RealNVP (Dinh et al., arXiv 1605.08803, section 3.6): what is factored out at a fine
scale holds details, and the layers of the coarser scales work on fewer numbers with wider sight.

Letters in shapes: B batch, E packed numbers of one field, P places, C channels.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from math import prod

import torch
from torch import Tensor

from molgen.batch import Partial
from molgen.errors import UnsupportedSpace
from molgen.families.flow.layers import Layer, Moved, States, zeros
from molgen.families.parts.elements import PackedElements
from molgen.space import Axis, Field, Real, is_pairwise

Reals = Mapping[str, Real]


def at_scales(space: Reals, scales: int, layers: Callable[[Reals], list[Layer]]) -> list[Layer]:
    """Layers at the scale of a space, and at coarser ones; behind each but the first and the last, half is finished.

    Args:
        space: the fields of numbers.
        scales: how many there are; 1 is that of the space alone.
        layers: makes those of one scale.

    Raises:
        UnsupportedSpace: no field can be divided so often.
    """
    found = layers(space)
    for number in range(1, scales):
        squeeze = Squeeze(space, 2)
        found += [squeeze, *layers(squeeze.space)]
        space = squeeze.space
        if number < scales - 1:
            split = Split(space, squeeze.squeezed, f"finished at scale {number}")
            found.append(split)
            space = split.kept
    return found


class Squeeze(Layer):
    """Squares of places of a grid, or what they are along any number of ordered axes, become one place each.

    Args:
        space: the fields; those over axes of fixed length that can be divided are squeezed.
        factor: places along each axis that become one.

    Raises:
        UnsupportedSpace: there is no such field.
    """

    def __init__(self, space: Reals, factor: int) -> None:
        super().__init__()
        self.squeezed = [name for name, field in space.items() if _divides(field, factor)]
        if not self.squeezed:
            lengths = {axis.name: axis.maximum for field in space.values() for axis in field.axes}
            raise UnsupportedSpace(
                f"several scales need ordered axes of fixed lengths that {factor} divides, and there are "
                f"{', '.join(f'{name} of {length}' for name, length in lengths.items()) or 'no axes'} to divide; "
                "ask for fewer of them"
            )
        self.space = {
            name: _coarser(field, factor) if name in self.squeezed else field for name, field in space.items()
        }
        for number, name in enumerate(self.squeezed):
            self.register_buffer(f"order_{number}", _order(space[name], factor), persistent=False)

    def map(self, states: States, elements: PackedElements, condition: Partial | None) -> Moved:
        """The same numbers in the order of the coarse places."""
        return {**states, **{name: states[name][:, self._of(name)] for name in self.squeezed}}, zeros(elements)

    def unmap(self, states: States, elements: PackedElements, condition: Partial | None) -> Moved:
        """The same numbers in the order of the fine places."""
        return {**states, **{name: states[name][:, self._of(name).argsort()] for name in self.squeezed}}, zeros(
            elements
        )

    def _of(self, name: str) -> Tensor:
        return self.get_buffer(f"order_{self.squeezed.index(name)}")

    def after(self, elements: PackedElements) -> PackedElements:
        """The elements over coarse places; fields that other layers made stay."""
        return elements.over({**elements.space, **self.space})


def _divides(field: Field, factor: int) -> bool:
    return (
        bool(field.axes)
        and not is_pairwise(field)
        and all(axis.ordered and not axis.variable and axis.maximum % factor == 0 for axis in field.axes)
    )


def _coarser(field: Real, factor: int) -> Real:
    coarse = (Axis(f"coarse {axis.name}", axis.maximum // factor, variable=False) for axis in field.axes)
    return replace(field, axes=tuple(coarse), channels=(prod(field.channels) * factor ** len(field.axes),))


def _order(field: Real, factor: int) -> Tensor:
    """Which packed number of the fine places stands at each one of the coarse places, (E,)."""
    fine = [length for axis in field.axes for length in (axis.maximum // factor, factor)]
    number = torch.arange(prod(fine) * prod(field.channels)).view(*fine, -1)
    outer, inner = range(0, len(fine), 2), range(1, len(fine), 2)
    return number.permute(*outer, *inner, len(fine)).flatten()


class Split(Layer):
    """The second half of the channels of some fields become fields of their own, which no later layer changes.

    Args:
        space: the fields.
        names: which of them are split.
        suffix: of the names of the finished halves.
    """

    def __init__(self, space: Reals, names: list[str], suffix: str) -> None:
        super().__init__()
        self.halves = {name: (prod(space[name].channels) + 1) // 2 for name in names}
        self.finished = {name: f"{name}, {suffix}" for name in names}
        self.kept = {
            name: replace(field, channels=(self.halves[name],)) if name in self.halves else field
            for name, field in space.items()
        }
        rest = {name: prod(space[name].channels) - count for name, count in self.halves.items()}
        self.space = {
            **self.kept,
            **{self.finished[name]: replace(space[name], channels=(count,)) for name, count in rest.items()},
        }

    def map(self, states: States, elements: PackedElements, condition: Partial | None) -> Moved:
        """Both halves by their names."""
        found = dict(states)
        for name, count in self.halves.items():
            places = elements.places[name][0].numel()
            numbers = states[name].unflatten(1, (places, -1))
            found[name], found[self.finished[name]] = numbers[..., :count].flatten(1), numbers[..., count:].flatten(1)
        return found, zeros(elements)

    def unmap(self, states: States, elements: PackedElements, condition: Partial | None) -> Moved:
        """Both halves side by side again."""
        found = dict(states)
        for name in self.halves:
            places = elements.places[name][0].numel()
            both = (found[name], found.pop(self.finished[name]))
            found[name] = torch.cat([half.unflatten(1, (places, -1)) for half in both], -1).flatten(1)
        return found, zeros(elements)

    def after(self, elements: PackedElements) -> PackedElements:
        """The elements of both halves."""
        return elements.over({**elements.space, **self.space})
