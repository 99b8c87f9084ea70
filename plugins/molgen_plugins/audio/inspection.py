"""What there is to say of one sound, as plain data; made to run in a worker that may be killed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from molgen.domain import Invalid, Item
from molgen_plugins.audio.properties import FEATURES, PROPERTIES
from molgen_plugins.audio.sound import Sound, canonical


@dataclass(frozen=True)
class Inspection:
    """One sound inspected.

    Attributes:
        audio: the canonical sound, or None where the item is none.
        error: why it is none, or None.
        properties: the properties asked for by name; empty for no sound.
        passes: whether it passes the filters, of which there are none; None where that was not asked.
        features: the features asked for by name; empty for no sound.
    """

    audio: Sound | None
    error: str | None = None
    properties: Mapping[str, float] = field(default_factory=dict)
    passes: bool | None = None
    features: Mapping[str, Any] = field(default_factory=dict)


def inspector(
    properties: Sequence[str] = (), filters: bool = False, features: Sequence[str] = ()
) -> Callable[[Item], Inspection]:
    """A function that inspects one sound; it never raises on bad data.

    Args:
        properties: names of the properties to compute.
        filters: whether to apply the filters.
        features: names of the features to compute.

    Raises:
        ValueError: a property or a feature is not known.
    """
    for name, known in [*((name, PROPERTIES) for name in properties), *((name, FEATURES) for name in features)]:
        if name not in known:
            raise ValueError(f"sounds have no {name!r}: there are {', '.join(known)}")

    def inspect(item: Item) -> Inspection:
        sound = canonical(item)
        if isinstance(sound, Invalid):
            return Inspection(None, error=sound.reason)
        return Inspection(
            sound,
            properties={name: PROPERTIES[name](sound) for name in properties},
            passes=True if filters else None,
            features={name: FEATURES[name](sound) for name in features},
        )

    return inspect
