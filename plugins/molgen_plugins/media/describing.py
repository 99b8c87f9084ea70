"""What domains of files have to say of their items: metrics of a feature, and numbers of an item that may be none."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from molgen.domain import Descriptors, Invalid, Item

#: A suite of metrics: the name of each and its settings, by the title of its figure.
Suite = Mapping[str, tuple[str, Mapping[str, Any]]]


def compared(feature: str, **distance: Any) -> dict[str, tuple[str, Mapping[str, Any]]]:
    """The metrics of distributions, in the space of one feature; further settings are of the Fréchet distance."""
    of = {"feature": feature}
    return {
        "Fréchet distance/{}": ("frechet_distance", {**of, **distance}),
        "Kernel distance/{}": ("kernel_distance", of),
        **{f"{name.capitalize()}/{{}}": (name, of) for name in ("precision", "recall", "density", "coverage")},
    }


def described(
    canonical: Callable[[Item], Any],
    properties: Mapping[str, Callable[[Any], float]],
    features: Mapping[str, Callable[[Any], Any]],
) -> Descriptors:
    """Properties and features of canonical items as those of any: NaN and None where an item is none; no filters."""
    return Descriptors(
        properties={name: _of_canonical(canonical, own, math.nan) for name, own in properties.items()},
        features={name: _of_canonical(canonical, own, None) for name, own in features.items()},
    )


def _of_canonical(canonical: Callable[[Item], Any], function: Callable[[Any], Any], otherwise: Any) -> Any:
    def compute(item: Item) -> Any:
        found = canonical(item)
        return otherwise if isinstance(found, Invalid) else function(found)

    return compute
