"""Real fields at unit scale: what families are given, and what a density of theirs is worth in the user's units.

Each channel has a mean and a scale. A rotating or centred field has one scale and no mean, so that turning and
centring it stay what they are; quantised fields keep their levels.

Letters in shapes: B batch, E packed elements.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from molgen.batch import Batch, field_mask, pack
from molgen.data.quantiles import Quantiles
from molgen.data.statistics import Moments, Statistics, has_own_channels
from molgen.kinds import primitive
from molgen.space import Field, Real, Space


@primitive
def mean_and_scale(field: Field, moments: Moments | None) -> tuple[Tensor, Tensor]:
    """The mean and the scale that standardise a field, of shape () or one for each channel, in float64.

    (0, 1) leaves a field as it is; teach one for a kind of field of your own.
    """
    return _constant(0.0), _constant(1.0)


@mean_and_scale.register
def _(field: Real, moments: Moments | None) -> tuple[Tensor, Tensor]:
    if field.levels is not None or moments is None:
        return _constant(0.0), _constant(1.0)
    if not has_own_channels(field):
        return _constant(0.0), _constant(moments.root_mean_square)
    # Moments without channels are those of an earlier checkpoint, whose networks know one scale for all.
    shape = field.channels if len(moments.means) > 1 else ()
    return _constant(moments.means).reshape(shape), _constant(moments.scales).reshape(shape)


def standardise(space: Space, statistics: Statistics, batch: Batch) -> Batch:
    """(x - mean) / scale for every field, zero in the padding."""
    return _map(space, statistics, batch, lambda x, mean, scale: (x - mean) / scale)


def restore(space: Space, statistics: Statistics, batch: Batch) -> Batch:
    """The inverse of `standardise`."""
    return _map(space, statistics, batch, lambda x, mean, scale: x * scale + mean)


def log_abs_det(space: Space, statistics: Statistics, batch: Batch) -> Tensor:
    """log |det dx/du| of x = u scale + mean, (B,): the sum of log scale over free elements.

    To be subtracted from the log-density of standardised values u.
    """
    total = torch.zeros(len(batch), dtype=torch.float64, device=next(iter(batch.fields.values())).device)
    scales = {name: mean_and_scale(space[name], statistics.moments.get(name))[1] for name in space}
    changed = {name: scale for name, scale in scales.items() if bool((scale != 1).any())}
    for name, packed in pack({name: space[name] for name in changed}, batch).items():
        logs = changed[name].log().flatten().to(total)
        total += (packed.mask * logs.repeat(packed.mask.shape[1] // len(logs))).sum(1)
    return total


def standardised_quantiles(field: Field, name: str, statistics: Statistics) -> Quantiles:
    """The quantiles of a field in units of its standardised values."""
    own = statistics.quantiles[name]
    found = (part.flatten().expand(len(own.cuts)) for part in mean_and_scale(field, statistics.moments.get(name)))
    units = list(zip(*(part.tolist() for part in found), strict=True))
    cuts = tuple(tuple((cut - mean) / scale for cut in row) for row, (mean, scale) in zip(own.cuts, units, strict=True))
    return Quantiles(own.count, cuts, tuple(gap / scale for gap, (_, scale) in zip(own.gaps, units, strict=True)))


def _constant(value: float | tuple[float, ...]) -> Tensor:
    return torch.tensor(value, dtype=torch.float64)


def _map(
    space: Space, statistics: Statistics, batch: Batch, function: Callable[[Tensor, Tensor, Tensor], Tensor]
) -> Batch:
    fields = dict(batch.fields)
    for name in space:
        mean, scale = mean_and_scale(space[name], statistics.moments.get(name))
        if bool((mean == 0).all() and (scale == 1).all()):
            continue
        values, exists = fields[name], field_mask(space, batch, name)
        exists = exists.reshape(*exists.shape, *(1 for _ in range(values.ndim - exists.ndim)))
        # In float64: a mean far from zero would lose digits of what is left of the values.
        changed = function(values.double(), mean.to(values.device), scale.to(values.device))
        fields[name] = torch.where(exists, changed, 0.0).to(values.dtype)
    return batch.with_fields(fields)
