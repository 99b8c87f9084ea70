"""The numbers by which networks along a walk look up what was chosen and what is asked now.

Letters in shapes: B batch, T slices.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import prod

import torch
from torch import Tensor

from molgen.family import UnsupportedSpace
from molgen.space import Categorical, Field, Slice, Space, is_pairwise
from molgen.walk import Choices, Walk


class Numbering:
    """Consecutive numbers for the choices of a space of classes, for its questions and for leading indices.

    A *choice* is a class of a field or its END; 0 says that nothing was chosen yet. A *question* is a field with
    the place along all its axes but the leading one. A *place* is an index of a leading axis; 0 stands for none.

    Raises:
        UnsupportedSpace: a field has no classes.
    """

    def __init__(self, space: Space) -> None:
        self.space = dict(space)
        leading = {field.axes[0].name: field.axes[0].maximum for field in space.values() if field.axes}
        self._choice, self.choices = _offsets({name: _choices(field) for name, field in space.items()}, start=1)
        self._question, self.questions = _offsets({name: _questions(field) for name, field in space.items()})
        self._place, self.places = _offsets(leading, start=1)

    def choice(self, previous: tuple[Slice, Tensor] | None, rows: int, device: torch.device) -> Tensor:
        """The number of the choice before a slice, (B,)."""
        if previous is None:
            return torch.zeros(rows, dtype=torch.long, device=device)
        return self._choice[previous[0].field] + previous[1]

    def choices_before(self, made: Choices) -> Tensor:
        """The number of the choice before each slice, (B, T)."""
        offsets = torch.tensor([self._choice[step.field] for step in made.walk.slices], device=made.ids.device)
        return torch.nn.functional.pad((made.ids + offsets)[:, :-1], (1, 0))

    def question(self, step: Slice) -> int:
        """The number of what is asked at a slice."""
        flat = 0
        for axis, index in zip(self.space[step.field].axes[1:], step.index[1:], strict=True):
            flat = flat * axis.maximum + index
        return self._question[step.field] + flat

    def questions_of(self, walk: Walk) -> Tensor:
        """The number of what is asked at each slice, (T,)."""
        return torch.tensor([self.question(step) for step in walk.slices])

    def place(self, step: Slice) -> int:
        """The number of the leading index of a slice."""
        return self._place[self.space[step.field].axes[0].name] + step.index[0] if step.index else 0

    def places_of(self, walk: Walk) -> Tensor:
        """The number of the leading index of each slice, (T,)."""
        return torch.tensor([self.place(step) for step in walk.slices])


def longest_walk(space: Space) -> int:
    """How many slices the walk through the largest sample has."""
    return sum(most_elements(field) for field in space.values())


def most_elements(field: Field) -> int:
    """How many elements a field has in the largest sample; a symmetric one has those of its pairs."""
    if is_pairwise(field) and isinstance(field, Categorical) and field.symmetric:
        return field.axes[0].maximum * (field.axes[0].maximum - 1) // 2
    return prod(axis.maximum for axis in field.axes)


def _choices(field: Field) -> int:
    """The classes of a field and END."""
    if not isinstance(field, Categorical):
        raise UnsupportedSpace(f"a walk is through fields of classes, not through a {type(field).__name__} field")
    return field.classes + 1


def _questions(field: Field) -> int:
    """How many places a field has at one index of its leading axis."""
    return prod(axis.maximum for axis in field.axes[1:])


def _offsets(counts: Mapping[str, int], start: int = 0) -> tuple[dict[str, int], int]:
    """The first number of each name, and the number behind the last."""
    offsets = {}
    for name, count in counts.items():
        offsets[name] = start
        start += count
    return offsets, start
