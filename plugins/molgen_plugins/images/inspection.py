"""What there is to say of one image, as plain data; made to run in a worker that may be killed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from molgen.domain import Invalid, Item
from molgen_plugins.images.properties import FEATURES, PROPERTIES
from molgen_plugins.images.raster import canonical


@dataclass(frozen=True)
class Inspection:
    """One image inspected.

    Attributes:
        image: the canonical array, or None where the item is no image.
        error: why it is none, or None.
        properties: the properties asked for by name; empty for no image.
        passes: whether it passes the filters, of which there are none; None where that was not asked.
        features: the features asked for by name; empty for no image.
    """

    image: np.ndarray | None
    error: str | None = None
    properties: Mapping[str, float] = field(default_factory=dict)
    passes: bool | None = None
    features: Mapping[str, Any] = field(default_factory=dict)


def inspector(
    properties: Sequence[str] = (), filters: bool = False, features: Sequence[str] = ()
) -> Callable[[Item], Inspection]:
    """A function that inspects one image; it never raises on bad data.

    Args:
        properties: names of the properties to compute.
        filters: whether to apply the filters.
        features: names of the features to compute.

    Raises:
        ValueError: a property or a feature is not known.
    """
    for name, known in [*((name, PROPERTIES) for name in properties), *((name, FEATURES) for name in features)]:
        if name not in known:
            raise ValueError(f"images have no {name!r}: there are {', '.join(known)}")

    def inspect(item: Item) -> Inspection:
        image = canonical(item)
        if isinstance(image, Invalid):
            return Inspection(None, error=image.reason)
        return Inspection(
            image,
            properties={name: PROPERTIES[name](image) for name in properties},
            passes=True if filters else None,
            features={name: FEATURES[name](image) for name in features},
        )

    return inspect
