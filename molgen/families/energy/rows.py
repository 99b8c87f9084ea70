"""Rows of batches: repeated, chosen among several batches, told apart by what is asked of them.

Letters in shapes: B batch, N draws for each row.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from molgen.batch import Batch, Partial
from molgen.families.parts.elements import fitted
from molgen.seeding import Rng
from molgen.space import Space


def repeated(rng: Rng, count: int, first: int = 0) -> Rng:
    """Random numbers for `count` draws of each row, from number `first` on: rows side by side, (B x count)."""
    numbers = np.arange(first, first + count, dtype=np.uint64)
    # An odd factor, so that no two draws of nearby rows share a number.
    mixed = rng.items[:, None] * np.uint64(0x9E3779B97F4A7C15) + numbers
    return Rng(rng.seed, mixed.ravel())


def together(space: Space, batches: Sequence[Batch]) -> Batch:
    """The rows of all batches, one batch after the other, with padding for the largest."""
    fields = {}
    for name, field in space.items():
        parts = [batch.fields[name] for batch in batches]
        shape = [max(part.shape[1 + place] for part in parts) for place in range(len(field.axes))]
        fields[name] = torch.cat([fitted(part, shape) for part in parts])
    return Batch(fields, {name: torch.cat([batch.sizes[name] for batch in batches]) for name in batches[0].sizes})


def alike(asked: Sequence[Tensor], rows: int) -> tuple[Tensor, Tensor]:
    """The first row of each kind, (G,), and the kind of every row, (B,), by the numbers asked of them, (B, ...)."""
    if not asked:
        return torch.zeros(1, dtype=torch.long), torch.zeros(rows, dtype=torch.long)
    table = torch.cat([numbers.reshape(rows, -1).double().cpu() for numbers in asked], dim=1)
    _, number = table.unique(dim=0, return_inverse=True)
    first = torch.full((int(number.max()) + 1,), rows).scatter_reduce(0, number, torch.arange(rows), "amin")
    return first, number


def numbers_of(condition: Partial | None, sizes: Mapping[str, Tensor] | None = None) -> list[Tensor]:
    """What is asked of rows as numbers, with zeros where nothing is given."""
    found = [size for _, size in sorted((sizes or {}).items())]
    for name, given in sorted(condition.given.items()) if condition is not None else ():
        values = condition.batch.fields[name] if condition is not None else given
        wide = given.reshape(*given.shape, *(1 for _ in range(values.ndim - given.ndim)))
        found += [given, torch.where(wide, values, 0)]
    return found
