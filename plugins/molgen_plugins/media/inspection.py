"""What there is to say of one item of a file, as plain data; made to run in a worker that may be killed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from molgen.domain import Invalid, Item

T = TypeVar("T", bound="Inspected")


@dataclass(frozen=True, kw_only=True)
class Inspected:
    """One item inspected; each kind adds the canonical item under the name of its column.

    Attributes:
        error: why it is none, or None.
        properties: the properties asked for by name; empty for no item.
        passes: whether it passes the filters, of which there are none; None where that was not asked.
        features: the features asked for by name; empty for no item.
    """

    error: str | None = None
    properties: Mapping[str, float] = field(default_factory=dict)
    passes: bool | None = None
    features: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Inspections:
    """What can be said of a kind of items.

    Attributes:
        plural: what they are called.
        canonical: the one form of an item, or why it is none.
        properties: the functions of canonical items that are properties, by name.
        features: those that are features.
    """

    plural: str
    canonical: Callable[[Item], Any]
    properties: Mapping[str, Callable[[Any], float]]
    features: Mapping[str, Callable[[Any], Any]]

    def inspector(
        self, made: Callable[..., T], properties: Sequence[str], filters: bool, features: Sequence[str]
    ) -> Callable[[Item], T]:
        """A function that inspects one item; it never raises on bad data.

        Args:
            made: makes the result, of the canonical item or None, and of what `Inspected` holds.
            properties: names of the properties to compute.
            filters: whether to apply the filters.
            features: names of the features to compute.

        Raises:
            ValueError: a property or a feature is not known.
        """
        for names, known in ((properties, self.properties), (features, self.features)):
            for name in names:
                if name not in known:
                    raise ValueError(f"{self.plural} have no {name!r}: there are {', '.join(known)}")

        def inspect(item: Item) -> T:
            found = self.canonical(item)
            if isinstance(found, Invalid):
                return made(None, error=found.reason)
            return made(
                found,
                properties={name: self.properties[name](found) for name in properties},
                passes=True if filters else None,
                features={name: self.features[name](found) for name in features},
            )

        return inspect
