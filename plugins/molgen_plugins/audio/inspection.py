"""What there is to say of one sound, as plain data; made to run in a worker that may be killed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from molgen.domain import Item
from molgen_plugins.audio.properties import FEATURES, PROPERTIES
from molgen_plugins.audio.sound import Sound, canonical
from molgen_plugins.media.inspection import Inspected, Inspections


@dataclass(frozen=True)
class Inspection(Inspected):
    """One sound inspected.

    Attributes:
        audio: the canonical sound, or None where the item is none.
    """

    audio: Sound | None


def inspector(
    properties: Sequence[str] = (), filters: bool = False, features: Sequence[str] = ()
) -> Callable[[Item], Inspection]:
    """A function that inspects one sound; it never raises on bad data. See `media.inspection`.

    Raises:
        ValueError: a property or a feature is not known.
    """
    return Inspections("sounds", canonical, PROPERTIES, FEATURES).inspector(Inspection, properties, filters, features)
