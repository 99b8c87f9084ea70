"""The sets that an audit compares: synthetic sets by their folders, data sets by name, files of the user's."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from pyarrow import parquet as pq

from molgen import registry
from molgen.atomic_files import sha256
from molgen.data.tables import reopenable
from molgen.dataset import Dataset
from molgen.domain import Domain, Invalid, Item, Record
from molgen.errors import UsageError
from molgen.evaluation.reference_cache import ItemSet
from molgen.evaluation.references import References, records_of, stem
from molgen.metric import PublishedStatistics
from molgen.seeding import Rng
from molgen.workers.stream import chunked
from molgen_datasets.synthetic.folder import MANIFEST, WORK, finished

#: Rows that are read together.
_ROWS = 4096


@dataclass(frozen=True)
class RecordSet:
    """A set whose rows can be read again and again.

    Attributes:
        name: what results call it.
        source: what the user typed.
        records: gives the rows from the start each time.
        digest: of the content.
        published: gives what is known of the items without looking at them, if anything is.
        canonical: whether items are used as stored; see `Dataset.canonical`.
    """

    name: str
    source: str
    records: Callable[[], Iterator[Record]]
    digest: str
    published: Callable[[], PublishedStatistics | None] = lambda: None
    canonical: bool = False

    def items(self) -> ItemSet:
        """The set as metrics compare with it."""

        def items() -> Iterator[Item | Invalid]:
            return (record.item for record in self.records())

        return ItemSet(self.name, items, self.digest, None, self.published, self.canonical)


def domain_name(source: str) -> str | None:
    """The registry name of the domain of a synthetic set or a data set; None for a file, which says none."""
    if _is_set(source):
        return str(finished(source)[1]["domain"])
    name = _dataset(source)[0]
    return str(registry.get("dataset", name).domain) if name else None


def open_set(source: str, domain: Domain, name: str, *, column: str | None = None, split: str = "train") -> RecordSet:
    """A set by what the user typed: the folder of a synthetic set, NAME or NAME:SPLIT of a data set, or a file.

    Args:
        source: what was typed.
        domain: reads files.
        name: its registry name, which sets must be of.
        column: of a file, that holds the items; found by its usual names without it.
        split: of a data set of which none is named.

    Raises:
        UsageError: there is no such set, it is of another domain, or it cannot be read.
    """
    if _is_set(source):
        return _synthetic(source, domain, name)
    dataset, part = _dataset(source)
    if dataset:
        return _registered(source, dataset, part or split, name)
    if not Path(source).exists():
        References(domain, name).references([source])  # says what is meant, perhaps
    path = reopenable(Path(source))
    records_of(domain, path, column=column)
    content = f"{sha256(path)} {column or ''}"
    digest = hashlib.sha256(content.encode()).hexdigest()
    return RecordSet(stem(source), source, lambda: domain.read(path, column=column), digest)


def _is_set(source: str) -> bool:
    """Whether a path is the folder of a synthetic set, finished or not."""
    return (Path(source) / MANIFEST).is_file() or (Path(source) / WORK).is_dir()


def _dataset(source: str) -> tuple[str, str]:
    """The data set and the split that a text names; empty where it names none."""
    known = registry.names("dataset")
    name, _, split = source.rpartition(":")
    return (source, "") if source in known else (name, split) if name in known else ("", "")


def _registered(source: str, name: str, split: str, domain: str) -> RecordSet:
    dataset: Dataset = registry.get("dataset", name)()
    if dataset.domain != domain:
        raise UsageError(f"the data set {name} holds {dataset.domain}, not {domain}")
    dataset.require_split(split)
    return RecordSet(
        f"{name}:{split}",
        source,
        lambda: dataset.records(split),
        dataset.digest(split),
        lambda: dataset.published(split),
        dataset.canonical,
    )


def _synthetic(source: str, domain: Domain, name: str) -> RecordSet:
    folder, manifest = finished(source)
    if manifest["domain"] != name:
        raise UsageError(f"{source} holds {manifest['domain']}, not {name}")
    column = next(iter(manifest["columns"]))

    def records() -> Iterator[Record]:
        rows = itertools.count()
        for one in manifest["files"]:
            path = folder.path / one["path"]
            found = _parquet(path, domain, column) if path.suffix == ".parquet" else domain.read(path)
            yield from (replace(record, row=next(rows)) for record in found)

    digest = hashlib.sha256("".join(one["sha256"] for one in manifest["files"]).encode()).hexdigest()
    return RecordSet(Path(source).resolve().name, source, records, digest)


def _parquet(path: Path, domain: Domain, column: str) -> Iterator[Record]:
    for batch in pq.ParquetFile(path).iter_batches(_ROWS):
        for row in batch.to_pylist():
            value = row.pop(column)
            item = Invalid("there is nothing in this row") if value is None else domain.from_stored(value)
            yield Record(0, item, {name: "" if cell is None else str(cell) for name, cell in row.items()})


def sampled(records: Iterator[Record], most: int, seed: int) -> tuple[list[Record], int]:
    """At most `most` records, drawn without replacement, in random order, and how many there were.

    Every row has a rank that is a function of the seed and its number; the lowest ranks stay. So no count is needed
    beforehand, and the first n of a sample are a sample of n.
    """
    kept: list[tuple[float, Record]] = []
    count, bound = 0, np.inf
    for chunk in chunked(records, _ROWS):
        ranks = Rng(seed, np.arange(count, count + len(chunk))).uniform("audit").numpy()
        kept += [(float(ranks[place]), chunk[place]) for place in np.flatnonzero(ranks < bound)]
        count += len(chunk)
        if len(kept) >= 2 * most:
            kept = _lowest(kept, most)
            bound = kept[-1][0]
    return [record for _, record in _lowest(kept, most)], count


def _lowest(kept: list[tuple[float, Any]], most: int) -> list[tuple[float, Any]]:
    return sorted(kept, key=lambda pair: pair[0])[:most]
