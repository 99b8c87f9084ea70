"""What a model is trained on: a data set of the registry or the user's own file, brought into canonical form.

Nothing is dropped in silence: each row of the source stays a row here, and what is left out carries the reason.
"""

from __future__ import annotations

import hashlib
import json
import math
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from molgen.atomic_files import replaced_file
from molgen.data.bloom import BloomFilter
from molgen.data.condition_columns import read_class, read_number
from molgen.data.source import Classes, RowSource
from molgen.data.store import Row
from molgen.domain import Domain, Invalid, Record
from molgen.versions import versions
from molgen.workers.inspector import Inspection, Inspector
from molgen.workers.stream import byte_size, chunked

#: The most records that are inspected together.
CHUNK = 4096
#: Bytes of canonical items that are kept in memory; those behind them are found again each time they are asked for.
KEPT_BYTES = 128 << 20
#: Why a row is left out that the source holds already.
REPEATED = "equal to an earlier row"


@dataclass
class TrainingData:
    """What a run learns from.

    Attributes:
        name: of the data set; names the key set and goes into the card.
        rows: gives the rows from the start each time: an item, or `Invalid`, and its numbers; a class is the
            number of its name in `classes`, NaN where it is not known.
        digest: names the content; the same digest lets an encoded store be used again.
        keys: of the canonical items, for telling new ones from seen ones.
        card: what the model card says of the data.
        classes: the names of the classes of each condition that is no number.
    """

    name: str
    rows: Callable[[], Iterable[Row]]
    digest: str | None = None
    keys: BloomFilter | None = None
    card: Mapping[str, Any] = field(default_factory=dict)
    classes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def training_data(
    source: RowSource,
    domain: Domain,
    conditions: Sequence[str],
    computed: Sequence[str],
    cache: Path,
    advance: Callable[[int], object],
) -> TrainingData:
    """Inspect the records in worker processes and give what a run learns from, in bounded memory.

    Args:
        source: the records.
        domain: of the items.
        conditions: names of columns and properties.
        computed: those that the domain computes.
        cache: the folder for what was found about items that are used as stored.
        advance: called with the number of records that were inspected since.
    """
    if source.as_stored:
        return _as_stored(source, domain, conditions, computed, cache, advance)
    rows = CanonicalRows(source, domain, conditions, computed)
    keys, digest = rows.find(advance)
    return TrainingData(source.name, lambda: rows, digest, keys, source.card, source.classes)


def rejected_records(source: RowSource, reasons: Iterable[tuple[int, str]]) -> Iterator[tuple[Record, str]]:
    """The records that were left out, each with its reason, in their order."""
    waiting = iter(reasons)
    place = next(waiting, None)
    for number, record in enumerate(source.records() if place else ()):
        if place is None:
            return
        if number == place[0]:
            yield record, place[1]
            place = next(waiting, None)


@contextmanager
def _inspected(
    records: Iterable[Record], domain: Domain, computed: Sequence[str], advance: Callable[[int], object]
) -> Iterator[Iterator[tuple[Record, Inspection]]]:
    """Records with what the domain says of them; the processes that find it end with the block, whatever ends it."""

    def pairs() -> Iterator[tuple[Record, Inspection]]:
        for chunk, inspections in inspector.stream(chunked(records, CHUNK), lambda record: record.item):
            yield from zip(chunk, inspections, strict=True)
            advance(len(chunk))

    with Inspector(domain, computed) as inspector:
        yield pairs()


def _numbers(record: Record, inspection: Inspection, conditions: Sequence[str], classes: Classes) -> dict[str, float]:
    found = {}
    for name in conditions:
        text = record.columns.get(name)
        if text is None:
            found[name] = inspection.properties.get(name, math.nan)
        else:
            found[name] = read_class(text, classes[name]) if name in classes else read_number(text)
    return found


# --- in canonical form ----------------------------------------------------------------------------


class CanonicalRows:
    """The rows of a source in canonical form, each item once, as often as they are asked for.

    The first ones stay in memory, up to `KEPT_BYTES`. Those behind them, such as thousands of large pictures, are
    read and inspected again whenever the rows are; only the reasons of rejected rows and the numbers of the others
    stay.
    """

    def __init__(
        self, source: RowSource, domain: Domain, conditions: Sequence[str] = (), computed: Sequence[str] = ()
    ) -> None:
        self._source, self._domain = source, domain
        self._conditions, self._computed = conditions, computed
        self._kept: list[Row] = []
        self._rejected: dict[int, str] = {}
        self._numbers = {name: array("d") for name in conditions}
        self._count = 0

    def find(self, advance: Callable[[int], object]) -> tuple[BloomFilter, str]:
        """Go through the source once: the keys of the items, and a digest of all rows.

        Args:
            advance: called with the number of records that were inspected since.
        """
        digest = hashlib.sha256()
        # In the order of the rows: of a set the order, and with it the filter's count, differs from run to run.
        keys: dict[str, None] = {}
        seen: set[str] = set()
        room = KEPT_BYTES
        with _inspected(self._source.records(), self._domain, self._computed, advance) as inspected:
            for number, (record, inspection) in enumerate(inspected):
                row, content = self._row(number, record, inspection, seen)
                if content is None:
                    content = repr(row[0])
                else:
                    keys[self._domain.key(row[0])] = None
                digest.update(repr((content, sorted(row[1].items()))).encode())
                if room > 0:
                    self._kept.append(row)
                    room -= byte_size(row[0])
                self._count = number + 1
        return BloomFilter.of(keys, expected=len(keys)), digest.hexdigest()

    def _row(self, number: int, record: Record, inspection: Inspection, seen: set[str]) -> tuple[Row, str | None]:
        """A row, with the content of its item where it has one."""
        content = None if inspection.error is not None else self._domain.content(inspection.item)
        if content is None or (content in seen and not self._domain.repeats):
            self._rejected[number] = inspection.error or REPEATED
            numbers: dict[str, float] = {}
        else:
            seen.add(content)
            numbers = _numbers(record, inspection, self._conditions, self._source.classes)
        for name, column in self._numbers.items():
            column.append(numbers.get(name, math.nan))
        reason = self._rejected.get(number)
        return (inspection.item if reason is None else Invalid(reason), numbers), content if reason is None else None

    def __iter__(self) -> Iterator[Row]:
        yield from self._kept
        if len(self._kept) < self._count:
            yield from self._again(len(self._kept))

    def _again(self, start: int) -> Iterator[Row]:
        """The rows from one on, read and inspected again; those that were left out need no second look."""
        records = (
            replace(record, item=Invalid(self._rejected[number])) if number in self._rejected else record
            for number, record in enumerate(islice(self._source.records(), start, None), start)
        )
        with _inspected(records, self._domain, (), lambda count: None) as inspected:
            for number, (_, inspection) in enumerate(inspected, start):
                if inspection.error is not None:
                    yield Invalid(inspection.error), {}
                else:
                    yield inspection.item, {name: column[number] for name, column in self._numbers.items()}


# --- as stored ------------------------------------------------------------------------------------


def _as_stored(
    source: RowSource,
    domain: Domain,
    conditions: Sequence[str],
    computed: Sequence[str],
    cache: Path,
    advance: Callable[[int], object],
) -> TrainingData:
    # What a package computes may change with its version, so versions are part of the name.
    about = [source.digest, sorted(conditions), versions(), *([source.classes] if source.classes else [])]
    content = json.dumps(about)
    name = hashlib.sha256(content.encode()).hexdigest()
    path = cache / f"{source.name}-found-{name[:16]}.npz"
    if not path.is_file():
        _save_found(path, *_find(source, domain, conditions, computed, advance))
    keys, columns = _load_found(path, conditions)
    digest = name if conditions else source.digest

    def rows() -> Iterator[Row]:
        for number, record in enumerate(source.records()):
            yield record.item, {name: values[number] for name, values in columns.items()}

    return TrainingData(source.name, rows, digest, keys, source.card, source.classes)


def _find(
    source: RowSource,
    domain: Domain,
    conditions: Sequence[str],
    computed: Sequence[str],
    advance: Callable[[int], object],
) -> tuple[BloomFilter, dict[str, array[float]]]:
    """The keys of the canonical forms, and the numbers of every record."""
    keys = BloomFilter.of((), expected=source.count or 1)
    columns = {name: array("d") for name in conditions}
    with _inspected(source.records(), domain, computed, advance) as inspected:
        for record, inspection in inspected:
            if inspection.error is None:
                keys.add(domain.key(inspection.item))
            for name, value in _numbers(record, inspection, conditions, source.classes).items():
                columns[name].append(value)
    return keys, columns


def _save_found(path: Path, keys: BloomFilter, columns: Mapping[str, array[float]]) -> None:
    with replaced_file(path) as temporary, temporary.open("wb") as file:
        numbers = {f"column.{name}": np.frombuffer(values) for name, values in columns.items() if values}
        np.savez(file, bits=keys.bits, hashes=keys.hashes, count=keys.count, **numbers)  # type: ignore[arg-type]


def _load_found(path: Path, conditions: Sequence[str]) -> tuple[BloomFilter, dict[str, np.ndarray]]:
    with np.load(path, allow_pickle=False) as found:
        keys = BloomFilter(found["bits"], int(found["hashes"]), int(found["count"]))
        return keys, {name: found[f"column.{name}"] for name in conditions}
