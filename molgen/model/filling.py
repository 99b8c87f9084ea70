"""A part of an item is drawn anew and the rest is kept: gaps, what goes on behind, what lies above or beside.

Letters in shapes: N places along an axis.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import inf

import numpy as np

from molgen.domain import Encoder, Extent, Invalid, Item, KnownPart
from molgen.errors import UsageError
from molgen.space import Field, variable_axes

#: From where to where, the end left out; None is no limit.
Range = tuple[float | None, float | None]
#: What is drawn anew: the ranges along each direction; with several directions, where all of them hold.
Fill = Mapping[str, Sequence[Range]]


def around(encoder: Encoder, item: Item, fill: Fill) -> KnownPart:
    """What is known of samples that are an item but for a part.

    A place is drawn anew if any of it lies in the part. Samples are as large as the item, or as the part reaches where
    that is further; along an axis where the part has no end, the model says how large they are.

    Args:
        encoder: says how the item is encoded, and where its places lie (`Encoder.extents`).
        item: the item.
        fill: the part.

    Raises:
        UsageError: there is no item, or no such direction, a range is empty, the encoder does not take the item, or
            nothing of it would be kept, or nothing drawn.
    """
    if item is None:
        raise UsageError("what is filled in is a part of an item: name the item as well")
    extents = encoder.extents()
    _require_ranges(fill, extents)
    sample = encoder.encode(item)
    if isinstance(sample, Invalid):
        raise UsageError(f"this model cannot keep a part of the item: {sample.reason}")
    given = {
        name: ~_inside(field, sample[name].shape[: len(field.axes)], extents, fill)
        for name, field in encoder.space.items()
    }
    sizes, free = _sizes(encoder, {n: mask.shape for n, mask in given.items()}, extents, fill)
    if not any(mask.any() for mask in given.values()):
        raise UsageError("nothing of the item would be kept")
    if not free and all(mask.all() for mask in given.values()):
        raise UsageError("nothing would be drawn: the item has nothing there")
    return KnownPart(sample, given=given, sizes=sizes)


def _require_ranges(fill: Fill, extents: Mapping[str, Extent]) -> None:
    for name, ranges in fill.items():
        if name not in extents:
            listed = ", ".join(f"{known} ({extent.unit})" for known, extent in extents.items()) or "none"
            raise UsageError(f"items of this model have no direction {name!r} to fill in along; known: {listed}")
        for start, stop in ranges:
            if start is not None and stop is not None and stop <= start:
                raise UsageError(f"nothing lies between {name} {start:g} and {stop:g}")


def _inside(field: Field, shape: Sequence[int], extents: Mapping[str, Extent], fill: Fill) -> np.ndarray:
    """Which places of a field are drawn anew, bool over its axes: none where it lacks one of the directions."""
    inside = np.ones(shape, bool)
    for name, ranges in fill.items():
        along = np.zeros(shape, bool)
        for place, axis in enumerate(field.axes):
            if axis.name == extents[name].axis:
                own = _within(extents[name], ranges)[: shape[place]]
                along |= own.reshape(-1, *(1 for _ in shape[place + 1 :]))
        inside &= along
    return inside


def _within(extent: Extent, ranges: Sequence[Range]) -> np.ndarray:
    """Which places reach into one of the ranges, (N,)."""
    limits = [(-inf if start is None else start, inf if stop is None else stop) for start, stop in ranges]
    return np.logical_or.reduce([(extent.starts < stop) & (extent.ends > start) for start, stop in limits])


def _sizes(
    encoder: Encoder, shapes: Mapping[str, Sequence[int]], extents: Mapping[str, Extent], fill: Fill
) -> tuple[dict[str, int], bool]:
    """The size of every sample along each variable axis that has an end, and whether samples may be larger."""
    space, sizes, larger = encoder.space, {}, False
    for name, axis in variable_axes(space).items():
        own = next(shapes[n][f.axes.index(axis)] for n, f in space.items() if axis in f.axes)
        stops = [(extents[n], stop) for n, ranges in fill.items() if extents[n].axis == name for _, stop in ranges]
        reach = max((int((e.starts < stop).sum()) for e, stop in stops if stop is not None), default=0)
        if any(stop is None for _, stop in stops):
            larger = True
        else:
            sizes[name] = max(own, reach)
            larger |= reach > own
    return sizes, larger
