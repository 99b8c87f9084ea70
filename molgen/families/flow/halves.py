"""Which half of the numbers of a sample a coupling transforms, given the other half.

Halves may not tell unordered elements apart, so that a flow gives every order of them the same density: such fields are
split by channel, all places alike, or go as a whole into one half; along ordered axes places alternate too.

Letters in shapes: C channels.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import prod

import torch
from torch import Tensor

from molgen.errors import UnsupportedSpace
from molgen.space import Real

#: Which numbers of a field are in the first half, bool (*axes, C), from the shape of the axes and C.
Half = Callable[[Sequence[int], int], Tensor]


def of_channels(bit: int) -> Half:
    """The channels whose number has a bit: for each two of them some bit differs."""

    def half(shape: Sequence[int], channels: int) -> Tensor:
        return ((torch.arange(channels) >> bit) & 1 == 1).expand(*shape, channels)

    return half


def of_places(field: Real, bit: int) -> Half:
    """Alternating places along ordered axes, or pairs of places and so on: a checkerboard where there are two axes."""

    def half(shape: Sequence[int], channels: int) -> Tensor:
        number = torch.zeros(tuple(shape), dtype=torch.long)
        for place, axis in enumerate(field.axes):
            if axis.ordered:
                steps = torch.arange(shape[place]) >> bit
                number = number + steps.view(-1, *(1 for _ in shape[place + 1 :]))
        return (number % 2 == 1)[..., None].expand(*shape, channels)

    return half


def whole(first: bool) -> Half:
    """All numbers of the field, or none."""
    return lambda shape, channels: torch.full((*shape, channels), first)


def halves(space: Mapping[str, Real]) -> list[dict[str, Half]]:
    """The ways to split all fields of a space in two, to be taken in turns.

    Raises:
        UnsupportedSpace: a field cannot be split, and there is no other that it could be coupled with.
    """
    ways = {name: _ways(field) for name, field in space.items()}
    undivided = [name for name, own in ways.items() if not own]
    for name in undivided:
        if len(space) == 1 and space[name].axes:
            raise UnsupportedSpace(
                f"the numbers of {name!r} have no order and one channel, so no half of them can stay while the other "
                "is transformed; family.variant=matching takes them"
            )
        ways[name] = [whole(undivided.index(name) % 2 == 0)]
    turns = max(len(own) for own in ways.values())
    return [{name: own[turn % len(own)] for name, own in ways.items()} for turn in range(turns)]


def _ways(field: Real) -> list[Half]:
    longest = max((axis.maximum for axis in field.axes if axis.ordered), default=1)
    places = [of_places(field, bit) for bit in (0, 1) if longest > 1 << bit]
    channels = [of_channels(bit) for bit in range((prod(field.channels) - 1).bit_length())]
    # Taken in turns, so that a few layers see both kinds.
    return [way for pair in zip(places, channels, strict=False) for way in pair] + (
        places[len(channels) :] + channels[len(places) :]
    )
