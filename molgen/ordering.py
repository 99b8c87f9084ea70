"""The generation order of a space, and batches as tokens in it: one token per slice, in the order of `space.order`.

A token is a class of the slice's field, or a level of a quantised one, or END, numbered as one class more: the axis
has as many elements as were decided before. The channels of an element are slices of their own, one after the other.

Letters in shapes: B batch, T slices, S slices of one field, K classes or levels, C channels.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from typing import Any

import torch
from torch import Tensor

from molgen.batch import Batch, Partial, field_mask, lengths, levels_to_values, values_to_levels
from molgen.batch import mask as place_mask
from molgen.errors import UnsupportedSpace
from molgen.kinds import primitive
from molgen.space import (
    Axis,
    Categorical,
    Field,
    Real,
    Slice,
    Space,
    axes,
    is_pairwise,
    is_symmetric,
    order,
    variable_axes,
)


@dataclass(frozen=True)
class Ordering:
    """The slices of a space up to some lengths, with index tensors for each field."""

    slices: tuple[Slice, ...]
    #: per field, which of the T slices are its own, (S,).
    steps: Mapping[str, Tensor]
    #: per field, the index of each of its slices along each of its axes and channel dimensions, (S,) each.
    indices: Mapping[str, tuple[Tensor, ...]]
    #: per field, in which of its slices END is possible, (S,).
    may_end: Mapping[str, Tensor]

    def __len__(self) -> int:
        return len(self.slices)


@dataclass(frozen=True)
class TokenBatch:
    """The token at every slice, (B, T), and which slices each row takes part in, (B, T)."""

    ordering: Ordering
    ids: Tensor
    mask: Tensor


@primitive
def vocabulary_size(field: Field) -> int:
    """How many tokens there are at one slice of a field, END aside; teach a kind of field of your own.

    Raises:
        UnsupportedSpace: the elements of the field are not of finitely many kinds.
    """
    raise UnsupportedSpace(f"tokens are classes or levels; a {type(field).__name__} field has neither")


@vocabulary_size.register
def _(field: Categorical) -> int:
    return field.classes


@vocabulary_size.register
def _(field: Real) -> int:
    if field.levels is None:
        raise UnsupportedSpace("tokens are classes or levels; a Real field without levels has neither")
    return field.levels


@primitive
def to_tokens(field: Field, tensor: Tensor) -> Tensor:
    """The tensor of a field as tokens, numbers below its `vocabulary_size`; teach a kind of field of your own."""
    raise UnsupportedSpace(f"a {type(field).__name__} field cannot be read as tokens")


@to_tokens.register
def _(field: Categorical, tensor: Tensor) -> Tensor:
    return tensor


@to_tokens.register
def _(field: Real, tensor: Tensor) -> Tensor:
    return values_to_levels(field, tensor)


@primitive
def from_tokens(field: Field, numbers: Tensor) -> Tensor:
    """The inverse of `to_tokens`; teach a kind of field of your own."""
    raise UnsupportedSpace(f"a {type(field).__name__} field cannot be made from tokens")


@from_tokens.register
def _(field: Categorical, numbers: Tensor) -> Tensor:
    return numbers


@from_tokens.register
def _(field: Real, numbers: Tensor) -> Tensor:
    return levels_to_values(field, numbers)


def ending_fields(space: Space) -> set[str]:
    """The fields among whose tokens END is."""
    # Two indices: a symmetric field has no element at the first.
    return {
        step.field
        for step in order(space, {name: min(2, axis.maximum) for name, axis in axes(space).items()})
        if step.ends
    }


def ordering_of(space: Space, batch: Batch) -> Ordering:
    """The generation order of a batch, with the END of its longest row."""
    found = axes(space)
    return make_ordering(
        space,
        {
            name: min(n + 1, found[name].maximum) if found[name].variable else n
            for name, n in lengths(space, batch).items()
        },
    )


def full_ordering(space: Space) -> Ordering:
    """The generation order of the largest sample of a space."""
    return make_ordering(space, {name: axis.maximum for name, axis in axes(space).items()})


def make_ordering(space: Space, lengths: Mapping[str, int]) -> Ordering:
    """The generation order up to the given lengths.

    Raises:
        ValueError: see `space.order`; or a variable axis leads before another group of fields.
    """
    return _cut_ordering(tuple(space.items()), tuple(lengths.items()))


@lru_cache(maxsize=512)
def _cut_ordering(space_items: tuple[tuple[str, Field], ...], length_items: tuple[tuple[str, int], ...]) -> Ordering:
    """The generation order as the beginning of a longer one, which orderings of many lengths share.

    Slices at an index of the last leading axis are the same whatever its length.
    """
    leading = list(dict.fromkeys(field.axes[0].name for _, field in space_items if field.axes))
    last = leading[-1] if leading else None
    rounded = tuple((name, 1 << (n - 1).bit_length() if name == last and n else n) for name, n in length_items)
    whole = _make_ordering(space_items, rounded)
    if last is None or rounded == length_items:
        return whole
    leads = {name for name, field in space_items if field.axes and field.axes[0].name == last}
    length = dict(length_items)[last]
    count = bisect_left(whole.slices, length, key=lambda step: step.index[0] if step.field in leads else -1)
    own = {name: int((steps < count).sum()) for name, steps in whole.steps.items()}
    return Ordering(
        slices=whole.slices[:count],
        steps={name: steps[: own[name]] for name, steps in whole.steps.items()},
        indices={name: tuple(one[: own[name]] for one in indices) for name, indices in whole.indices.items()},
        may_end={name: ends[: own[name]] for name, ends in whole.may_end.items()},
    )


@lru_cache(maxsize=64)
def _make_ordering(space_items: tuple[tuple[str, Field], ...], length_items: tuple[tuple[str, int], ...]) -> Ordering:
    space = dict(space_items)
    _require_one_ending(space)
    slices = tuple(each for step in order(space, dict(length_items)) for each in _channels(step, space[step.field]))
    to_tokens = {name: [(t, s) for t, s in enumerate(slices) if s.field == name] for name in space}
    return Ordering(
        slices=slices,
        steps={name: torch.tensor([t for t, _ in own], dtype=torch.long) for name, own in to_tokens.items()},
        indices={
            name: tuple(
                torch.tensor([s.index[k] for _, s in own], dtype=torch.long) for k in range(_dimensions(space[name]))
            )
            for name, own in to_tokens.items()
        },
        may_end={
            name: torch.tensor([_may_end(s, space[name]) for _, s in own], dtype=torch.bool)
            for name, own in to_tokens.items()
        },
    )


def _channels(step: Slice, field: Field) -> list[Slice]:
    """The slices of one element; the axis may end at the first of them only."""
    places = [(*step.index, *channel) for channel in product(*map(range, field.channels_shape))]
    return [Slice(step.field, place, step.ends if place is places[0] else None) for place in places]


def _dimensions(field: Field) -> int:
    return len(field.axes) + len(field.channels_shape)


def _require_one_ending(space: Space) -> None:
    leading = list(dict.fromkeys(field.axes[0] for field in space.values() if field.axes))
    if any(axis.variable for axis in leading[:-1]):
        raise ValueError(
            f"the variable axis {leading[0].name!r} must lead the last group of fields: "
            "declare the fields of fixed axes first, and give the space one variable leading axis"
        )


def _may_end(step: Slice, field: Field) -> bool:
    return step.ends is not None and step.index[0] >= field.axes[0].minimum


def batch_to_tokens(space: Space, batch: Batch) -> TokenBatch:
    """A batch as tokens in its generation order.

    Raises:
        UnsupportedSpace: a field has neither classes nor levels.
    """
    ordering = ordering_of(space, batch)
    rows = len(batch)
    device = next(iter(batch.fields.values())).device
    ids = torch.zeros(rows, len(ordering), dtype=torch.long, device=device)
    mask = torch.zeros(rows, len(ordering), dtype=torch.bool, device=device)
    for name, field in space.items():
        ids[:, ordering.steps[name]], mask[:, ordering.steps[name]] = _field_tokens(field, batch, ordering, name)
    return TokenBatch(ordering, ids, mask)


def _field_tokens(field: Field, batch: Batch, ordering: Ordering, name: str) -> tuple[Tensor, Tensor]:
    """The ids (B, S) and mask (B, S) of one field."""
    indices = ordering.indices[name]
    ids = _in_order(to_tokens(field, batch.fields[name]), indices)
    alive = torch.ones_like(ids, dtype=torch.bool)
    if not field.axes or not field.axes[0].variable:
        return ids, alive
    sizes = batch.sizes[field.axes[0].name][:, None]
    leading = indices[0].to(ids.device)
    ends = (leading == sizes) & _ends(ordering, name).to(ids.device)
    if is_pairwise(field):
        alive = indices[1].to(ids.device) < sizes
    return torch.where(ends, vocabulary_size(field), ids), (alive & (leading < sizes)) | ends


def _ends(ordering: Ordering, name: str) -> Tensor:
    """In which slices of a field an END has its place, allowed or not: bool, (S,)."""
    return torch.tensor([ordering.slices[t].ends is not None for t in ordering.steps[name].tolist()], dtype=torch.bool)


def _in_order(tensor: Tensor, indices: tuple[Tensor, ...]) -> Tensor:
    """What (B, *axes, *channels) holds at each slice, (B, S); zero behind its end."""
    return _pad_to(tensor, indices)[_in_every_row(indices)].reshape(len(tensor), -1)


def _in_every_row(indices: tuple[Tensor, ...]) -> Any:
    """An index of (B, *axes, *channels) at these places of every row."""
    return (slice(None), *indices)


def _pad_to(tensor: Tensor, indices: tuple[Tensor, ...]) -> Tensor:
    """The tensor with zeros behind it, so that every index of the generation order has a place."""
    pad: list[int] = []
    for position in reversed(range(len(indices))):
        wanted = int(indices[position].max()) + 1 if len(indices[position]) else 0
        pad += [0, max(0, wanted - tensor.shape[1 + position])]
    return torch.nn.functional.pad(tensor, pad) if any(pad) else tensor


def batch_from_tokens(space: Space, ordering: Ordering, ids: Tensor) -> Batch:
    """The batch with these tokens, (B, T) with anything behind a row's END: the inverse of `batch_to_tokens`."""
    sizes = {axis.name: _sizes(space, ordering, axis, ids) for axis in axes(space).values() if axis.variable}
    longest = {
        axis.name: int(sizes[axis.name].max()) if axis.variable else axis.maximum for axis in axes(space).values()
    }
    return Batch(
        {name: _field_from(field, ordering, name, ids, sizes, longest) for name, field in space.items()}, sizes
    )


def _sizes(space: Space, ordering: Ordering, axis: Axis, ids: Tensor) -> Tensor:
    """The index at which each row ended the axis, its maximum where it never did."""
    steps, indices, end = _ends_of(space, ordering, axis.name)
    ended = ids[:, steps] == end
    first = indices.to(ids.device)[ended.int().argmax(1)] if len(steps) else torch.zeros_like(ids[:, 0])
    return torch.where(ended.any(1), first, axis.maximum)


def _ends_of(space: Space, ordering: Ordering, axis: str) -> tuple[Tensor, Tensor, int]:
    """The slices at which an axis may end, (S,), their indices along it, (S,), and the number of END there."""
    own = [(t, step) for t, step in enumerate(ordering.slices) if step.ends == axis]
    end = vocabulary_size(space[own[0][1].field]) if own else 0
    steps, indices = [t for t, _ in own], [step.index[0] for _, step in own]
    return torch.tensor(steps, dtype=torch.long), torch.tensor(indices, dtype=torch.long), end


def _field_from(
    field: Field, ordering: Ordering, name: str, ids: Tensor, sizes: Mapping[str, Tensor], longest: Mapping[str, int]
) -> Tensor:
    lengths = [longest[axis.name] for axis in field.axes]
    shape = [*lengths, *field.channels_shape]
    indices, steps = ordering.indices[name], ordering.steps[name]
    inside = torch.ones(len(steps), dtype=torch.bool)
    for index, length in zip(indices, shape, strict=True):
        inside &= index < length
    places = tuple(index[inside] for index in indices)
    full = ids.new_zeros(len(ids), *shape)
    full[_in_every_row(places)] = ids[:, steps[inside]].reshape(full[_in_every_row(places)].shape)
    if is_symmetric(field):
        other = (places[1], places[0], *places[2:])
        full[_in_every_row(other)] = full[_in_every_row(places)]
    exists = _over_channels(field, place_mask(field, sizes, lengths, len(ids))).to(full.device)
    values = from_tokens(field, full)
    return torch.where(exists, values, torch.zeros((), dtype=values.dtype, device=values.device))


def _over_channels(field: Field, places: Tensor) -> Tensor:
    """A mask (B, *axes) as one of all channels there, (B, *axes, *channels)."""
    channels = field.channels_shape
    return places.reshape(*places.shape, *(1 for _ in channels)).expand(*places.shape, *channels)


#: Codes of `known_tokens` beside a forced token.
FREE, NOT_END = -1, -2


def known_tokens(
    space: Space, ordering: Ordering, known: Partial | None, sizes: Mapping[str, Tensor] | None, rows: int
) -> Tensor:
    """What sampling may decide at each slice, (B, T): a forced token, `FREE`, or `NOT_END` (any other).

    What is closed is forced behind the prefix too: samples follow the other conditionals of the model there, not the
    model given all that is known.

    Raises:
        ValueError: the known part does not begin the generation order or exceeds the sizes, so it cannot be kept; or a
            size is none of the space.
    """
    forced = torch.full((rows, len(ordering)), FREE, dtype=torch.long)
    for axis, size in (sizes or {}).items():
        _require_size(space, axis, size)
        _force_size(space, ordering, axis, size.cpu(), forced)
    if known is not None:
        _force_known(space, ordering, known, forced)
    return forced


def _require_size(space: Space, name: str, size: Tensor) -> None:
    axis = variable_axes(space).get(name)
    if axis is None:
        raise ValueError(f"no axis {name!r} has a size of its own; known: {', '.join(variable_axes(space)) or 'none'}")
    if bool(((size < axis.minimum) | (size > axis.maximum)).any()):
        raise ValueError(f"the sizes of the axis {name!r} must lie between {axis.minimum} and {axis.maximum}")


def _force_size(space: Space, ordering: Ordering, axis: str, size: Tensor, forced: Tensor) -> None:
    steps, indices, end = _ends_of(space, ordering, axis)
    forced[:, steps] = torch.where(size[:, None] == indices, end, NOT_END)


def _force_known(space: Space, ordering: Ordering, known: Partial, forced: Tensor) -> None:
    given = torch.zeros(forced.shape, dtype=torch.bool)
    for name, mask in known.given.items():
        field, indices, steps = space[name], ordering.indices[name], ordering.steps[name]
        mask = mask.cpu() & field_mask(space, known.batch, name).cpu()
        own = _in_order(_over_channels(field, mask), indices)
        if bool((own & (forced[:, steps] >= 0)).any()):
            raise ValueError("the known part is larger than the size that is asked for")
        values = _in_order(to_tokens(field, known.batch.fields[name].cpu()), indices)
        given[:, steps] = own
        forced[:, steps] = torch.where(own, values, forced[:, steps])
    if bool((given[:, 1:] & ~given[:, :-1]).any()):
        raise ValueError("an autoregressive model keeps what begins its generation order, not parts behind a gap")
    for name in known.closed:
        _force_closed(space, ordering, known, name, forced)


def _force_closed(space: Space, ordering: Ordering, known: Partial, name: str, forced: Tensor) -> None:
    """Class 0 for the pairs that are closed, wherever the generation order gets to them."""
    steps, closed = ordering.steps[name], known.closed_pairs(name, space[name], space[name].axes[0].maximum).cpu()
    forced[:, steps] = torch.where(_in_order(closed, ordering.indices[name]), 0, forced[:, steps])
