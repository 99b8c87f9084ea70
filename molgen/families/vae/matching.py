"""A one-shot decoder of samples whose elements have no order.

The decoder predicts what stands at each of its places, and the elements of a sample go to the places where they are
likely, as GraphVAE matches graphs (Simonovsky & Komodakis, arXiv 1802.03480).

Letters in shapes: B batch, N elements and as many places along an axis, E packed elements, P parameters, K classes.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from molgen.backbone import Build
from molgen.batch import Batch, field_mask, lengths, pack_field, unpack_field
from molgen.errors import UnsupportedSpace
from molgen.families.parts.likelihood import Likelihood
from molgen.families.vae.assignment import Table, likely_order
from molgen.families.vae.config import VAEConfig
from molgen.families.vae.decoders import OneShot
from molgen.space import Axis, Categorical, Field, Real, Space, axes, is_pairwise


class Matched(OneShot):
    """p(x | z) of a sample without the order of its unordered axes: at least that of the likeliest order found.

    What has no order is drawn in any of its distinct orders, so its probability is the sum of what a one-shot decoder
    gives to them all. One of them bounds the sum from below; the one that is found is at least as likely as the order
    in which the sample comes, which is what `OneShot` scores. So the order of the encoder, which may change as a whole
    where a sample changes little, need not be learned.

    Raises:
        UnsupportedSpace: a field over an unordered axis whose elements do not belong to single places or to
            unordered pairs of them.
    """

    def __init__(self, space: Space, latents: Space, build: Build, config: VAEConfig, condition: Space) -> None:
        super().__init__(space, latents, build, config, condition)
        if self.frames.names:
            raise UnsupportedSpace(
                f"a matched decoder finds its own order, and the coordinates of {self.frames.names[0]!r} follow from "
                "the first three points of one; decoder=one_shot and decoder=autoregressive take them"
            )
        self.free = [axis for axis in axes(space).values() if not axis.ordered]
        for axis in self.free:
            for name, field in space.items():
                _require_places(name, field, axis)
        self.search_after = config.search_after
        #: whether this step of training searches.
        self.searches = True

    def begin_step(self, step: int, steps: int) -> None:
        """Search from a share of training on; see `VAEConfig.search_after`."""
        self.searches = step >= self.search_after * steps

    def placed(self, batch: Batch, parameters: Mapping[str, Tensor]) -> Batch:
        """The sample with its elements at the places where they are likely."""
        if self.training and not self.searches:
            return batch
        with torch.no_grad():
            for axis in self.free:
                fields = {name: field for name, field in self.space.items() if axis in field.axes}
                table = self._table(fields, axis, batch, parameters)
                batch = reordered(fields, batch, axis, likely_order(table))
        return batch

    def _table(self, fields: Space, axis: Axis, batch: Batch, parameters: Mapping[str, Tensor]) -> Table:
        """What each element and each class of a pair would be worth at each place."""
        exists = _exists(fields, axis, batch)
        alone = torch.zeros(*exists.shape, exists.shape[1]).to(next(iter(parameters.values())))
        pairs, classes = [], []
        for name, field in fields.items():
            there = field_mask(self.space, batch, name)
            if isinstance(field, Categorical) and is_pairwise(field):
                pairs.append(of_pairs(self.likelihood(name), field, parameters[name], there))
                classes.append(one_hot(batch.fields[name], field.classes).to(pairs[-1]))
            else:
                place = 1 + field.axes.index(axis)
                values = batch.fields[name]
                alone = alone + of_elements(self.likelihood(name), parameters[name], values, there, place)
        return Table(exists, alone, pairs, classes)


def of_elements(likelihood: Likelihood, parameters: Tensor, values: Tensor, exists: Tensor, place: int) -> Tensor:
    """log p of element j at place i along one axis of a field, (B, N, N), the other axes and channels summed up.

    Args:
        likelihood: of the field.
        parameters: of its packed elements, (B, E, P).
        values: the field's tensor.
        exists: its places, (B, *axes).
        place: the dimension of the axis.
    """
    count = values.shape[place]
    found = []
    for shift in range(count):
        # Place i holds element i + shift.
        moved, there = values.roll(-shift, place), exists & exists.roll(-shift, place)
        nats = likelihood.log_density(parameters, pack_field(likelihood.field, moved, torch.ones_like(exists)).values)
        nats = torch.where(there[..., None], nats.view(*exists.shape, -1), 0.0)
        found.append(nats.movedim(place, 1).flatten(2).sum(2))
    places = torch.arange(count, device=values.device)
    shifts = (places[None, :] - places[:, None]) % count
    return torch.stack(found, 2).gather(2, shifts.expand(len(values), -1, -1))


def of_pairs(likelihood: Likelihood, field: Categorical, parameters: Tensor, exists: Tensor) -> Tensor:
    """log p of each class at two places, (B, N, N, K), zero where there is no pair."""
    rows = parameters.shape[:2]
    each = [
        likelihood.log_density(parameters, torch.full(rows, k, device=parameters.device)) for k in range(field.classes)
    ]
    return unpack_field(field, torch.stack(each, -1), exists)


def reordered(fields: Space, batch: Batch, axis: Axis, order: Tensor) -> Batch:
    """The batch in whose fields the elements along an axis stand in another order, (B, N)."""
    found = dict(batch.fields)
    for name, field in fields.items():
        for dimension, own in enumerate(field.axes, start=1):
            if own == axis:
                index = order.view(len(order), *(-1 if k == dimension else 1 for k in range(1, found[name].ndim)))
                found[name] = found[name].gather(dimension, index.expand_as(found[name]))
    return batch.with_fields(found)


def _exists(fields: Space, axis: Axis, batch: Batch) -> Tensor:
    """The elements along an axis that each row has, (B, N)."""
    count = lengths(fields, batch)[axis.name]
    tensor = next(iter(batch.fields[name] for name in fields))
    size = batch.sizes[axis.name] if axis.variable else torch.full((len(batch),), count)
    return torch.arange(count, device=tensor.device) < size.to(tensor.device)[:, None]


def _require_places(name: str, field: Field, axis: Axis) -> None:
    times = field.axes.count(axis)
    if times > 1 and not (isinstance(field, Categorical) and field.symmetric):
        raise UnsupportedSpace(f"decoder=matched exchanges elements; {name!r} has a direction between two of them")
    if times and isinstance(field, Real) and field.centred:
        raise UnsupportedSpace(f"decoder=matched exchanges elements; those of {name!r} have a common centre")
