"""A data set that is read from pinned files in the cache folder."""

from __future__ import annotations

import hashlib
from abc import abstractmethod
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import ClassVar

from molgen.data.cache import cache_folder
from molgen.dataset import Dataset, Progress
from molgen.domain import Item
from molgen.metric import PublishedStatistics
from molgen_datasets import moments
from molgen_datasets.cache import Pin, holds

#: The key of the hash below. Another key would be another split, so it never changes.
_KEY = b"molgen split 1"
_TENTHS = (*["train"] * 8, "valid", "test")


class Source(Dataset):
    """A data set in files that are pinned by size and SHA-256; a class says how to obtain and to read them."""

    #: the folder of the files within the cache.
    folder: ClassVar[str]
    #: what the files must be, by name.
    files: ClassVar[Mapping[str, Pin]]
    #: the registry name under which moments of splits ship, if any do.
    moments: ClassVar[str] = ""

    @abstractmethod
    def obtain(self, names: Collection[str], folder: Path, progress: Progress | None) -> None:
        """Put the named files, verified, into a folder."""

    @abstractmethod
    def read(self, split: str, folder: Path) -> Iterator[Item]:
        """The items of a split, from the verified files in a folder."""

    def files_of(self, split: str) -> tuple[str, ...]:
        """The names of the files that a split needs; all of them by default."""
        return tuple(self.files)

    def path(self) -> Path:
        """The folder that holds the files once they are fetched."""
        return cache_folder() / "data" / self.folder

    def fetch(self, progress: Progress | None = None, split: str | None = None) -> Path:
        """Verify the files in the cache and obtain those that are missing."""
        folder = self.path()
        missing = [name for name in self._needed(split) if not holds(folder / name, self.files[name])]
        if missing:
            self.obtain(missing, folder, progress)
        return folder

    def fetched(self, split: str | None = None) -> bool:
        """Whether files of the right names are in the cache."""
        return all((self.path() / name).is_file() for name in self._needed(split))

    def items(self, split: str) -> Iterator[Item]:
        """Fetch what is missing, verify, and read."""
        return self.read(split, self.fetch(split=split))

    def digest(self, split: str) -> str:
        """The hash of the pinned files' hashes, the rule that splits them and the name of the split."""
        self.require_split(split)
        lines = [f"{name} {self.files[name].sha256}" for name in sorted(self.files_of(split))]
        return hashlib.sha256("\n".join([*lines, _KEY.decode(), split]).encode()).hexdigest()

    def published(self, split: str) -> PublishedStatistics | None:
        """The moments of a feature network that ship, where they are of these very items."""
        digest = self.digest(split)
        return moments.read(moments.path_of(self.moments, split), digest) if self.moments else None

    def _needed(self, split: str | None) -> list[str]:
        chosen = list(self.splits) if split is None else [split]
        for name in chosen:
            self.require_split(name)
        return [name for name in self.files if any(name in self.files_of(one) for one in chosen)]


def split_of(key: str) -> str:
    """The split of an item in a data set that has no published one: train, valid or test as 8 : 1 : 1.

    It depends on the key alone, on neither the order nor the number of the items, so equal keys never
    end in different splits.
    """
    digest = hashlib.blake2b(key.encode(), digest_size=8, key=_KEY).digest()
    return _TENTHS[int.from_bytes(digest, "big") % len(_TENTHS)]
