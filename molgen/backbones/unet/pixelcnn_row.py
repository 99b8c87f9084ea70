"""What one row of a grid holds, in the order of generation.

Letters in shapes: B batch, R rows, C columns, K choices at one place, L = C K slices of one row.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from molgen.errors import UnsupportedSpace
from molgen.layers.choice_ids import put_levels_on_a_line
from molgen.ordering import make_ordering, vocabulary_size
from molgen.space import Field, Slice, Space, is_pairwise


class Line:
    """The slices of one row in the order of generation, and the place of each: a column, and which choice there.

    A *kind* of choice is a field with a channel. Every choice of every kind has a number of its own.

    Args:
        space: the fields; those without axes are left out.

    Raises:
        UnsupportedSpace: the fields with axes have not the same two, ordered.
    """

    def __init__(self, space: Space) -> None:
        fields = {name: field for name, field in space.items() if field.axes}
        _require_one_grid(fields)
        rows, columns = next(iter(fields.values())).axes
        slices = make_ordering(fields, {rows.name: 1, columns.name: columns.maximum}).slices
        kinds = list(dict.fromkeys((step.field, step.index[2:]) for step in slices))
        kind = torch.tensor([kinds.index((step.field, step.index[2:])) for step in slices])
        counts = torch.tensor([vocabulary_size(fields[name]) + 1 for name, _ in kinds])
        self.rows, self.columns = rows.maximum, columns.maximum
        self.kinds, self.numbers = len(kinds), int(counts.sum())
        starts = counts.cumsum(0) - counts
        #: the first number of the kind of each slice, (L,).
        self.first = starts[kind]
        self._fields = [(fields[name], start) for (name, _), start in zip(kinds, starts.tolist(), strict=True)]
        self._slots = {(step.field, step.index[1:]): number for number, step in enumerate(slices)}
        column = torch.tensor([step.index[1] for step in slices])
        self._place = column * len(kinds) + kind
        self._slot = torch.argsort(self._place).view(self.columns, len(kinds))
        self._in_order = bool((self._place == torch.arange(len(slices))).all())
        #: which slices of the same place come before each, (L, L).
        self.earlier = (column[:, None] == column).tril(-1)

    def __len__(self) -> int:
        return len(self.first)

    def slot(self, step: Slice) -> int:
        """The number of a slice in its row."""
        return self._slots[step.field, step.index[1:]]

    def in_order(self, tensor: Tensor) -> Tensor:
        """What each kind has at each place, (B, R, C, K, ...), as slices in order, (B, R, L, ...)."""
        flat = tensor.flatten(2, 3)
        return flat if self._in_order else flat[:, :, self._place.to(flat.device)]

    def at_places(self, tensor: Tensor) -> Tensor:
        """The inverse of `in_order`."""
        return tensor[:, :, self._slot.to(tensor.device)]

    def put_levels_on_lines(self, vectors: nn.Embedding) -> None:
        """See `put_levels_on_a_line`; there is a vector for each number."""
        for field, start in self._fields:
            put_levels_on_a_line(vectors, start, field)


def _require_one_grid(fields: dict[str, Field]) -> None:
    grids: list[Any] = list(dict.fromkeys(field.axes for field in fields.values()))
    if len(grids) > 1 or len(grids[0]) != 2 or any(map(is_pairwise, fields.values())):
        raise UnsupportedSpace(
            "causal convolutions read fields without axes and fields over the same two axes; here are some over "
            + ", some over ".join(" and ".join(axis.name for axis in grid) for grid in grids)
        )
    if unordered := [axis.name for axis in grids[0] if not axis.ordered]:
        raise UnsupportedSpace(f"convolutions look at positions, so they read no unordered axis, here {unordered[0]!r}")
