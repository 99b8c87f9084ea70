"""What a model is trained on: a data set of the registry or the user's own file, brought into canonical form.

Nothing is dropped in silence: each row of the source stays a row here, and what is left out carries the reason.
"""

from __future__ import annotations

import hashlib
import json
import math
from array import array
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from molgen.atomic_files import replaced_file
from molgen.data.bloom import BloomFilter
from molgen.data.condition_columns import read_class, read_number
from molgen.data.source import Classes, Source
from molgen.data.store import Row
from molgen.domain import Domain, Invalid, Record
from molgen.versions import versions
from molgen.workers.inspector import Inspection, Inspector

#: Records that are judged together, and how many such portions are judged ahead.
CHUNK, AHEAD = 4096, 2
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
    source: Source,
    domain: Domain,
    conditions: Sequence[str],
    computed: Sequence[str],
    cache: Path,
    advance: Callable[[int], object],
) -> TrainingData:
    """Judge the records in worker processes and give what a run learns from.

    Args:
        source: the records.
        domain: of the items.
        conditions: names of columns and properties.
        computed: those that the domain computes.
        cache: the folder for what was found about items that are used as stored.
        advance: called with the number of records that were judged since.
    """
    if source.as_stored:
        return _as_stored(source, domain, conditions, computed, cache, advance)
    rows, keys = _canonical(source, domain, conditions, computed, advance)
    digest = _content_digest(rows, domain)
    return TrainingData(source.name, lambda: rows, digest, keys, source.card, source.classes)


def rejected_records(source: Source, reasons: Iterable[tuple[int, str]]) -> Iterator[tuple[Record, str]]:
    """The records that were left out, each with its reason, in their order."""
    waiting = iter(reasons)
    place = next(waiting, None)
    for number, record in enumerate(source.records() if place else ()):
        if place is None:
            return
        if number == place[0]:
            yield record, place[1]
            place = next(waiting, None)


def _judged(
    source: Source, domain: Domain, computed: Sequence[str], advance: Callable[[int], object]
) -> Iterator[tuple[Record, Inspection]]:
    records = iter(source.records())
    pending: deque[tuple[list[Record], Any]] = deque()
    with closing(Inspector(domain, computed)) as inspector:
        while True:
            if chunk := list(islice(records, CHUNK)):
                pending.append((chunk, inspector.submit([record.item for record in chunk])))
            if not pending:
                return
            if not chunk or len(pending) > AHEAD:
                judged, inspections = pending.popleft()
                yield from zip(judged, inspections.result(), strict=True)
                advance(len(judged))


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


def _canonical(
    source: Source, domain: Domain, conditions: Sequence[str], computed: Sequence[str], advance: Callable[[int], object]
) -> tuple[list[Row], BloomFilter]:
    rows: list[Row] = []
    seen: set[str] = set()
    for record, inspection in _judged(source, domain, computed, advance):
        if inspection.error is not None:
            rows.append((Invalid(inspection.error), {}))
            continue
        key = domain.key(inspection.item)
        numbers = _numbers(record, inspection, conditions, source.classes)
        rows.append((Invalid(REPEATED), {}) if key in seen else (inspection.item, numbers))
        seen.add(key)
    return rows, BloomFilter.of(seen, expected=len(seen))


def _content_digest(rows: Iterable[Row], domain: Domain) -> str:
    digest = hashlib.sha256()
    for item, numbers in rows:
        content = repr(item) if isinstance(item, Invalid) else domain.key(item)
        digest.update(repr((content, sorted(numbers.items()))).encode())
    return digest.hexdigest()


# --- as stored ------------------------------------------------------------------------------------


def _as_stored(
    source: Source,
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
    source: Source, domain: Domain, conditions: Sequence[str], computed: Sequence[str], advance: Callable[[int], object]
) -> tuple[BloomFilter, dict[str, array[float]]]:
    """The keys of the canonical forms, and the numbers of every record."""
    keys = BloomFilter.of((), expected=source.count or 1)
    columns = {name: array("d") for name in conditions}
    for record, inspection in _judged(source, domain, computed, advance):
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
