"""The numbers by which causal networks look up what was chosen and what is asked now.

Letters in shapes: B batch, T slices, L levels, D width.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import prod

import torch
from torch import Tensor, nn

from molgen.batch import levels_to_values
from molgen.ordering import Ordering, TokenBatch, vocabulary_size
from molgen.space import Field, Real, Slice, Space, is_symmetric

#: How far the vectors of two neighbouring levels may differ beside the line that all lie on.
OFF_THE_LINE = 0.1


class ChoiceIds:
    """Consecutive numbers for the choices of a space, for its questions and for leading indices.

    A *choice* is a class or a level of a field or its END; 0 says that nothing was chosen yet. A *question* is a
    field with the channel and the place along all its axes but the leading one. A *place* is an index of a leading
    axis; 0 stands for none.

    Raises:
        UnsupportedSpace: a field has neither classes nor levels.
    """

    def __init__(self, space: Space) -> None:
        self.space = dict(space)
        leading = {field.axes[0].name: field.axes[0].maximum for field in space.values() if field.axes}
        self._choice, self.choices = _offsets(
            {name: vocabulary_size(field) + 1 for name, field in space.items()}, start=1
        )
        self._question, self.questions = _offsets({name: prod(_extents(field)) for name, field in space.items()})
        self._place, self.places = _offsets(leading, start=1)

    def choice(self, previous: tuple[Slice, Tensor] | None, rows: int, device: torch.device) -> Tensor:
        """The number of the choice before a slice, (B,)."""
        if previous is None:
            return torch.zeros(rows, dtype=torch.long, device=device)
        return self._choice[previous[0].field] + previous[1]

    def choices_of(self, made: TokenBatch) -> Tensor:
        """The number of the choice at each slice, (B, T)."""
        return made.ids + torch.tensor(
            [self._choice[step.field] for step in made.ordering.slices], device=made.ids.device
        )

    def choices_before(self, made: TokenBatch) -> Tensor:
        """The number of the choice before each slice, (B, T)."""
        return torch.nn.functional.pad(self.choices_of(made)[:, :-1], (1, 0))

    def question(self, step: Slice) -> int:
        """The number of what is asked at a slice."""
        field, flat = self.space[step.field], 0
        for extent, index in zip(_extents(field), step.index[len(field.axes[:1]) :], strict=True):
            flat = flat * extent + index
        return self._question[step.field] + flat

    def questions_of(self, ordering: Ordering) -> Tensor:
        """The number of what is asked at each slice, (T,)."""
        return torch.tensor([self.question(step) for step in ordering.slices])

    def place(self, step: Slice) -> int:
        """The number of the leading index of a slice."""
        leading = self.space[step.field].axes[:1]
        return self._place[leading[0].name] + step.index[0] if leading else 0

    def places_of(self, ordering: Ordering) -> Tensor:
        """The number of the leading index of each slice, (T,)."""
        return torch.tensor([self.place(step) for step in ordering.slices])

    def put_levels_on_lines(self, choice: nn.Embedding) -> None:
        """See the function of this name; `choice` has a vector for each choice."""
        for name, field in self.space.items():
            put_levels_on_a_line(choice, self._choice[name], field)


@torch.no_grad()
def put_levels_on_a_line(vectors: nn.Embedding, first: int, field: Field) -> None:
    """Make the first vectors of neighbouring levels alike: they lie on a line, but for a little.

    Args:
        vectors: of choices; those of a field that has no levels stay as they are.
        first: the number of the lowest level.
        field: what the levels are of.
    """
    if isinstance(field, Real):
        own = vectors.weight[first : first + vocabulary_size(field)]
        values = levels_to_values(field, torch.arange(len(own), device=own.device)).to(own)
        along = own.std() * torch.randn_like(own[0])
        own.mul_(OFF_THE_LINE).addcmul_(values[:, None], along)


def largest_count(space: Space) -> int:
    """How many choices the largest sample has."""
    return sum(most_elements(field) for field in space.values())


def most_elements(field: Field) -> int:
    """How many numbers a field has in the largest sample; a symmetric one has those of its pairs."""
    if is_symmetric(field):
        return field.axes[0].maximum * (field.axes[0].maximum - 1) // 2 * prod(field.channels_shape)
    return prod(axis.maximum for axis in field.axes) * prod(field.channels_shape)


def _extents(field: Field) -> list[int]:
    """How far a field reaches beside its leading axis: along its other axes and its channels."""
    return [*(axis.maximum for axis in field.axes[1:]), *field.channels_shape]


def _offsets(counts: Mapping[str, int], start: int = 0) -> tuple[dict[str, int], int]:
    """The first number of each name, and the number behind the last."""
    offsets = {}
    for name, count in counts.items():
        offsets[name] = start
        start += count
    return offsets, start
