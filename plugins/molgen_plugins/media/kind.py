"""What there is to know of items that lie in files of their own, such as pictures, to read and to write them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from molgen.domain import Invalid, Record
from molgen_plugins.media.containers import Container

#: Several rows that lie in one file of a container, by the ending of its name.
Arrays = Callable[[Container, str], Iterator[Record]]


@dataclass(frozen=True)
class Kind:
    """One kind of items.

    Attributes:
        noun: what an item is called.
        plural: what items are called.
        column: of a table that is written, and the name of the item in a row.
        forms: the names under which a row may hold an item as it was made, the best first; one of them is written.
        usual: names of the column of a table that may hold items, the best first.
        endings: of the names of files that hold one item, also of kinds that are then refused with a reason.
        shown: some of them, for people.
        held: the type of an item in memory.
        canonical: an item in memory in its one form, or why it is none.
        arrays: reads files that hold several items, by the ending of their names.
    """

    noun: str
    plural: str
    column: str
    forms: tuple[str, ...]
    usual: tuple[str, ...]
    endings: tuple[str, ...]
    shown: str
    held: type
    canonical: Callable[[Any], Any]
    arrays: dict[str, Arrays]

    def of_row(self, row: Any) -> Any | Invalid | None:
        """The item of a row, None where it has none. The bytes of a file are none: an item stands in another column."""
        found = next((row[form] for form in self.forms if isinstance(row.get(form), self.held)), None)
        return None if found is None else self.canonical(found)


@dataclass(frozen=True)
class Encoding:
    """A format of files that items are written in: the ending of their names, the media type, and the bytes."""

    ending: str
    media_type: str
    encoded: Callable[[Any], bytes]
