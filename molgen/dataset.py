"""Where items come from: a data set that has a name, splits, a licence and a checksum. This module imports no torch."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from molgen.domain import API_VERSION, Config, Item, Record
from molgen.errors import UsageError, hint

if TYPE_CHECKING:
    from molgen.metric import PublishedStatistics

#: Called with the bytes that have arrived and the bytes that are expected in all.
Progress = Callable[[int, int], None]


class Dataset(ABC):
    """A named set of items in splits: fetched once, verified against pinned checksums, read as a stream.

    Only `fetch`, `items` and `digest` have no default. The class attributes are what `molgen data` and
    the card of a trained model say about the data.
    """

    molgen_api: ClassVar[int] = API_VERSION
    Config: ClassVar[type] = Config
    #: the registry name of the domain whose items these are; every data set says it.
    domain: ClassVar[str] = ""
    #: one line that says what the items are.
    description: ClassVar[str] = ""
    #: under which terms the data may be used, as far as their source says so.
    licence: ClassVar[str] = "unknown"
    #: what to cite when results with these data are published.
    citation: ClassVar[str] = ""
    #: each split and how many items it has.
    splits: ClassVar[Mapping[str, int]] = {}
    #: the splits that generated items are compared with: label, as results are published -> split. Those that are
    #: no split of this data set are left out.
    references: ClassVar[Mapping[str, str]] = {"Test": "test"}
    #: whether items are used as stored; where not, the domain brings them into canonical form first.
    canonical: ClassVar[bool] = False

    def __init__(self, config: Any = None) -> None:
        self.config = self.Config() if config is None else config

    @abstractmethod
    def fetch(self, progress: Progress | None = None, split: str | None = None) -> Path:
        """Make sure that the data lie on this machine, whole and verified, and return their folder.

        What is there already is checked and not fetched again.

        Args:
            progress: called with how far a download is.
            split: the only split that is needed; all of them by default.

        Raises:
            UsageError: there is no such split, or the user must put a file in place first.
            MolgenError: the data cannot be had, or are not what was pinned.
        """

    @abstractmethod
    def items(self, split: str) -> Iterator[Item]:
        """The items of a split as a stream, always in the same order; fetches them where they are not there.

        Raises:
            UsageError, MolgenError: as `fetch`, before the first item.
        """

    @abstractmethod
    def digest(self, split: str) -> str:
        """A SHA-256 in hex that changes whenever the items of the split do; needs no fetching."""

    def fetched(self, split: str | None = None) -> bool:
        """Whether the data of a split, or of all, lie here already; a quick look that verifies nothing."""
        return False

    def columns(self, split: str) -> Mapping[str, str]:
        """The columns that `records` has beside the item: name -> what it is, with its unit."""
        self.require_split(split)
        return {}

    def classes(self, split: str) -> Mapping[str, tuple[str, ...]]:
        """The columns that hold classes and no numbers, each with the names of its classes."""
        self.require_split(split)
        return {}

    def records(self, split: str) -> Iterator[Record]:
        """The items in the order of `items`, each with its number within the split and its columns."""
        return (Record(row, item) for row, item in enumerate(self.items(split)))

    def published(self, split: str) -> PublishedStatistics | None:
        """What is known of the items of a split without looking at them, such as the statistics of a benchmark."""
        self.require_split(split)
        return None

    def require_split(self, split: str) -> None:
        """Refuse the name of a split that there is not.

        Raises:
            UsageError: the condition itself.
        """
        if split in self.splits:
            return
        name, found = type(self).__name__, hint(split, self.splits)
        raise UsageError(f"data set {name}: no split {split!r}{found} Known: {', '.join(self.splits)}")
