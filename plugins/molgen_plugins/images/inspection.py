"""What there is to say of one image, as plain data; made to run in a worker that may be killed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from molgen.domain import Item
from molgen_plugins.images.properties import FEATURES, PROPERTIES
from molgen_plugins.images.raster import canonical
from molgen_plugins.media.inspection import Inspected, Inspections


@dataclass(frozen=True)
class Inspection(Inspected):
    """One image inspected.

    Attributes:
        image: the canonical array, or None where the item is none.
    """

    image: np.ndarray | None


def inspector(
    properties: Sequence[str] = (), filters: bool = False, features: Sequence[str] = ()
) -> Callable[[Item], Inspection]:
    """A function that inspects one image; it never raises on bad data. See `media.inspection`.

    Raises:
        ValueError: a property or a feature is not known.
    """
    return Inspections("images", canonical, PROPERTIES, FEATURES).inspector(Inspection, properties, filters, features)
