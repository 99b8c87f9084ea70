"""Samples that show themselves in a notebook: as the pictures that their domain draws of them."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable, Sequence
from html import escape
from typing import Any, SupportsIndex, TypeVar, overload

from molgen.domain import Domain, Invalid, Item

T = TypeVar("T")

#: Items of a list that can be played in a notebook.
MOST_PLAYERS = 24


def as_html(domain: Domain, items: Sequence[Item | Invalid], legends: Sequence[str] | None = None) -> str | None:
    """A picture of items for a notebook, with players if they can be heard; None where the domain draws none.

    The drawing is embedded as an image, in which nothing that stands in an item or a plugin's drawing can run.
    """
    if not items:
        return None
    try:
        drawing = domain.draw(items, legends)
    except ValueError:
        return None
    content = b64encode(drawing.encode()).decode("ascii")
    picture = f'<img alt="{escape(f"{len(items)} items")}" src="data:image/svg+xml;base64,{content}">'
    return picture + "".join(_player(domain, item) for item in items[:MOST_PLAYERS])


def _player(domain: Domain, item: Item | Invalid) -> str:
    """What plays an item, where it can be heard."""
    canonical = item if isinstance(item, Invalid) else domain.canonical(item)
    sound = None if isinstance(canonical, Invalid) else domain.audible(canonical)
    return f'<audio controls src="data:audio/wav;base64,{b64encode(sound).decode("ascii")}"></audio>' if sound else ""


class Samples(list[T]):
    """A list of items which a notebook shows as pictures; a slice of it does so too.

    Args:
        values: the items.
        domain: draws them.
    """

    def __init__(self, values: Iterable[T], domain: Domain) -> None:
        super().__init__(values)
        self.domain = domain

    @overload
    def __getitem__(self, place: SupportsIndex) -> T: ...

    @overload
    def __getitem__(self, place: slice) -> Samples[T]: ...

    def __getitem__(self, place: SupportsIndex | slice) -> T | Samples[T]:
        if isinstance(place, slice):
            return type(self)(super().__getitem__(place), self.domain)
        return super().__getitem__(place)

    def drawn(self) -> tuple[list[Item | Invalid], list[str] | None]:
        """What is drawn of the values, and the legends below, if there are any."""
        return list(self), None

    def _repr_html_(self) -> str | None:
        return as_html(self.domain, *self.drawn())


class Rows(Samples[Any]):
    """Each an `inference.request.Row`, shown with its log-density, or with the reason why it is no item."""

    def drawn(self) -> tuple[list[Item | Invalid], list[str] | None]:
        """The item of each row, and its log-density as the legend."""
        items = [row.item if row.item is not None else Invalid(row.score.error or row.status) for row in self]
        return items, [f"{row.score.log_density:.2f}" if row.score.kind else row.status for row in self]
