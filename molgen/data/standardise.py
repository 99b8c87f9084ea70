"""Real fields at unit scale: what families are given, and what a density of theirs is worth in the user's units.

Quantised fields keep their levels. A rotating or centred field has one scale and no mean, so that turning and
centring it stay what they are.

Letters in shapes: B batch, E packed elements.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import singledispatch
from math import log

import torch
from torch import Tensor

from molgen.batch import Batch, field_mask, pack
from molgen.data.statistics import Moments, Statistics
from molgen.space import Field, Real, Space


@singledispatch
def unit(field: Field, moments: Moments | None) -> tuple[float, float]:
    """The mean and the scale that standardise a field: (0, 1) leaves it; register a kind of field of your own."""
    return 0.0, 1.0


@unit.register
def _(field: Real, moments: Moments | None) -> tuple[float, float]:
    if field.levels is not None or moments is None:
        return 0.0, 1.0
    if field.centred or field.rotates:
        return 0.0, Moments(moments.count, 0.0, moments.squares).scale
    return moments.mean, moments.scale


def standardise(space: Space, statistics: Statistics, batch: Batch) -> Batch:
    """(x - mean) / scale for every field, zero in the padding."""
    return _map(space, statistics, batch, lambda x, mean, scale: (x - mean) / scale)


def restore(space: Space, statistics: Statistics, batch: Batch) -> Batch:
    """The inverse of `standardise`."""
    return _map(space, statistics, batch, lambda x, mean, scale: x * scale + mean)


def log_abs_det(space: Space, statistics: Statistics, batch: Batch) -> Tensor:
    """What to subtract from a log-density of standardised values, (B,): the sum of log scale over free elements."""
    total = torch.zeros(len(batch), dtype=torch.float64, device=next(iter(batch.fields.values())).device)
    changed = {name: scale for name in space if (scale := _unit(space, statistics, name)[1]) != 1}
    for name, packed in pack({name: space[name] for name in changed}, batch).items():
        total += packed.mask.sum(1) * log(changed[name])
    return total


def _unit(space: Space, statistics: Statistics, name: str) -> tuple[float, float]:
    return unit(space[name], statistics.moments.get(name))


def _map(
    space: Space, statistics: Statistics, batch: Batch, function: Callable[[Tensor, float, float], Tensor]
) -> Batch:
    fields = dict(batch.fields)
    for name in space:
        mean, scale = _unit(space, statistics, name)
        if (mean, scale) == (0.0, 1.0):
            continue
        values, exists = fields[name], field_mask(space, batch, name)
        exists = exists.reshape(*exists.shape, *(1 for _ in range(values.ndim - exists.ndim)))
        fields[name] = torch.where(exists, function(values, mean, scale), 0.0).to(values.dtype)
    return batch.with_fields(fields)
