"""What generated items are compared with: data sets of the registry by name, or the user's own files."""

from __future__ import annotations

import difflib
import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from molgen import registry
from molgen.atomic_files import sha256
from molgen.data.tables import reopenable
from molgen.domain import Domain, Invalid, Item, Record
from molgen.errors import UnknownFormat, UsageError
from molgen.evaluation.reference_cache import ItemSet

if TYPE_CHECKING:
    from molgen.dataset import Dataset

#: The split of a data set that models learn from.
TRAINING = "train"


@dataclass(frozen=True)
class Reference:
    """A set to compare with.

    Attributes:
        items: the set itself.
        source: where it is from: NAME:SPLIT, or a path.
        dataset: the registry name of the data set; empty for a file.
    """

    items: ItemSet
    source: str
    dataset: str = ""


class References:
    """Finds sets by what the user typed: NAME or NAME:SPLIT of a data set, or a file.

    A name of a data set comes before a file of the same name, which `./NAME` means.

    Args:
        domain: reads the files.
        domain_name: its registry name; data sets must be of it.
        column: of the files; found by its usual names without it.
        say: called with a line about a download before it begins.
    """

    def __init__(
        self,
        domain: Domain,
        domain_name: str,
        column: str | None = None,
        say: Callable[[str], object] = lambda text: None,
    ) -> None:
        self._domain, self._domain_name = domain, domain_name
        self._column, self._say = column, say

    def references(self, texts: Sequence[str]) -> list[Reference]:
        """The sets to be like; a data set has those that its publications compare with, under their names.

        Raises:
            UsageError: there is no such set, or it cannot be read.
        """
        found = {(one.source, one.items.digest): one for text in texts for one in self._references(text)}
        names = Counter(one.items.name for one in found.values())
        return [one if names[one.items.name] == 1 else _in_full(one) for one in found.values()]

    def training(self, text: str | None, references: Sequence[Reference]) -> Reference | None:
        """The set learned from: the one asked for, or that of the data set of all references, if there is one.

        Raises:
            UsageError: there is no such set, or it cannot be read.
        """
        if text is None:
            (name, *others) = {one.dataset for one in references} or {""}
            dataset = _dataset(name) if name and not others else None
            return self._split(name, dataset, TRAINING) if dataset and TRAINING in dataset.splits else None
        name, split = _named(text)
        return self._split(name, self._checked(name), split or TRAINING) if name else self._file(text)

    def _references(self, text: str) -> list[Reference]:
        name, split = _named(text)
        if not name:
            return [self._file(text)]
        dataset = self._checked(name)
        labels = {there: label for label, there in dataset.references.items() if there in dataset.splits}
        if not split and not labels:
            raise UsageError(f"{name} does not say what to compare with; type {name}:{next(iter(dataset.splits))}")
        return [self._split(name, dataset, one, labels.get(one, one)) for one in ([split] if split else labels)]

    def _checked(self, name: str) -> Dataset:
        dataset = _dataset(name)
        if dataset.domain != self._domain_name:
            raise UsageError(f"the data set {name} holds {dataset.domain}; type --domain {dataset.domain}")
        return dataset

    def _split(self, name: str, dataset: Dataset, split: str, label: str = "") -> Reference:
        dataset.require_split(split)

        def items() -> Iterator[Item]:
            if not dataset.fetched(split):
                self._say(f"fetching the data set {name}")
            return dataset.items(split)

        title, count = label or f"{name}:{split}", dataset.splits[split]
        digest, stored = dataset.digest(split), dataset.canonical
        found = ItemSet(title, items, digest, count, lambda: dataset.published(split), stored)
        return Reference(found, f"{name}:{split}", name)

    def _file(self, text: str) -> Reference:
        if text == "-":
            raise UsageError("what to compare with is read more than once, so it cannot come from stdin")
        path = Path(text)
        if not path.exists():
            raise _not_found(text)
        path = reopenable(path)
        try:
            records_of(self._domain, path, column=self._column)
        except UnknownFormat as error:
            raise UsageError(f"{text}: the name of a reference ends with its format, {error.known}") from None

        def items() -> Iterator[Item | Invalid]:
            return (record.item for record in self._domain.read(path, column=self._column))

        digest = sha256(path)
        # Another column is another set; the name says how the content is read.
        content = digest if self._column is None else hashlib.sha256(f"{digest} {self._column}".encode()).hexdigest()
        return Reference(ItemSet(stem(text), items, content), text)


def records_of(domain: Domain, path: Path, *, format: str | None = None, column: str | None = None) -> Iterator[Record]:
    """The rows of a file, of which the first has been read: what is wrong with the file shows before the work.

    Raises:
        UsageError: the file cannot be read, or the domain reads none.
    """
    try:
        next(iter(domain.read(path, format=format, column=column)), None)
    except ValueError as error:
        raise UsageError(str(error)) from error
    return domain.read(path, format=format, column=column)


def stem(text: str) -> str:
    """What to call a file: its name up to the first dot."""
    name = Path(text).name
    return name.partition(".")[0] or name


def _named(text: str) -> tuple[str, str]:
    """The data set and the split that a text names; empty where it names none."""
    plugins = registry.plugins("dataset")
    known = {name for plugin in plugins for name in (plugin.name, f"{plugin.distribution}:{plugin.name}")}
    name, _, split = text.rpartition(":")
    return (text, "") if text in known else (name, split) if name in known else ("", "")


def _dataset(name: str) -> Dataset:
    dataset: Dataset = registry.get("dataset", name)()
    return dataset


def _in_full(reference: Reference) -> Reference:
    return replace(reference, items=replace(reference.items, name=reference.source))


def _not_found(text: str) -> UsageError:
    names = registry.names("dataset")
    close = difflib.get_close_matches(text, names, n=1)
    hint = f"; did you mean {close[0]!r}?" if close else "."
    return UsageError(f"{text}: there is no such file and no such data set{hint} Data sets: {', '.join(names)}")
