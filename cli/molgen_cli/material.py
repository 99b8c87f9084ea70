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
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from molgen import registry
from molgen.config import Part, settings_of
from molgen.dataset import Dataset
from molgen.domain import Domain, Invalid, Record
from molgen.errors import UsageError
from molgen.files import replaced_file
from molgen.fitting import TrainingData
from molgen.judging import Judge, Verdict
from molgen.keys import KeySet
from molgen.store import Row
from molgen_cli.console import Progress
from molgen_cli.env import versions

#: The split that is trained on.
SPLIT = "train"
#: Records that are judged together, and how many such portions are judged ahead.
PORTION, AHEAD = 4096, 2
#: Why a row is left out that the source holds already.
REPEATED = "equal to an earlier row"


#: The most classes that one condition may have.
MOST_CLASSES = 1000

Classes = Mapping[str, tuple[str, ...]]


@dataclass(frozen=True)
class Source:
    """Where records come from.

    Attributes:
        name: what the data are called.
        records: gives them from the start each time.
        columns: the names of their columns.
        as_stored: whether the items are used as they are written, instead of their canonical form.
        digest: names the content, where it is known without reading.
        count: of the records, where that is known.
        card: what the model card says of the data.
        classes: the columns that hold classes and no numbers, each with the names of its classes.
    """

    name: str
    records: Callable[[], Iterable[Record]]
    columns: Sequence[str]
    as_stored: bool = False
    digest: str | None = None
    count: int | None = None
    card: Mapping[str, Any] = field(default_factory=dict)
    classes: Classes = field(default_factory=dict)


def dataset_source(part: Part, domain: str) -> Source:
    """The training split of a data set of the registry.

    Raises:
        UsageError: there is no such data set, or its items are of another domain.
    """
    cls, config = settings_of("dataset", part)
    dataset: Dataset = cls(config)
    if dataset.domain != domain:
        raise UsageError(f"the data set {part.name} holds {dataset.domain}, and the encoder is one of {domain}")
    dataset.require_split(SPLIT)
    card = {"split": SPLIT, "licence": dataset.licence, "citation": dataset.citation}
    return Source(
        part.name,
        lambda: dataset.records(SPLIT),
        list(dataset.columns(SPLIT)),
        dataset.canonical,
        dataset.digest(SPLIT),
        dataset.splits[SPLIT],
        card,
        dataset.classes(SPLIT),
    )


def file_source(path: Path, domain: Domain, column: str | None) -> Source:
    """A file of the user's own, or a folder where the domain reads those.

    Raises:
        UsageError: it is not there, cannot be read, has no such column, or has no row.
    """
    if not path.exists():
        raise UsageError(f"{path}: there is no such file")

    def records() -> Iterable[Record]:
        return domain.read(path, column=column)

    first = next(iter(records()), None)
    if first is None:
        raise UsageError(f"{path} has no row to learn from")
    card = {"file": path.name, "licence": "not stated: it is the user's own file"}
    return Source(path.name.partition(".")[0] or path.name, records, list(first.columns), card=card)


def with_classes(source: Source, conditions: Sequence[str], named: Sequence[str], known: Classes) -> Source:
    """The source with the classes of every condition that holds no numbers.

    Args:
        source: the records.
        conditions: names of columns and properties.
        named: those that hold classes even where their values look like numbers.
        known: classes of a model that is tuned; a value that it has not is not given.

    Raises:
        UsageError: a condition has too many classes to be one, or is no column.
    """
    columns = [name for name in conditions if name in source.columns]
    for name in named:
        if name not in columns:
            raise UsageError(f"the condition {name!r} cannot have classes: it is no column of {source.name}")
    open_ones = [name for name in columns if name not in source.classes and name not in known]
    found: dict[str, set[str]] = {name: set() for name in open_ones}
    if source.digest is None or named:
        for record in source.records() if open_ones else ():
            for name in open_ones:
                found[name].add(str(record.columns.get(name, "")).strip())
    classes = {name: _class_names(name, texts, name in named) for name, texts in found.items()}
    return replace(source, classes={**source.classes, **{n: c for n, c in classes.items() if c}, **known})


def _class_names(name: str, texts: set[str], named: bool) -> tuple[str, ...]:
    """The classes of a column, none where it holds numbers: some text among them is a number that is not known."""
    texts = texts - {""}
    if not named and any(_is_number(text) for text in texts):
        return ()
    if len(texts) > MOST_CLASSES:
        raise UsageError(
            f"the condition {name!r} has {len(texts):,} different values; classes are at most {MOST_CLASSES:,}"
        )
    return tuple(sorted(texts))


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def computed_conditions(source: Source, domain: Domain, conditions: Sequence[str], *, required: bool) -> list[str]:
    """The conditions that are no column, so that the domain computes them.

    Args:
        source: the records.
        domain: of the items.
        conditions: names.
        required: whether each must be known; a model that is tuned can do without.

    Raises:
        UsageError: a condition is neither a column nor a property.
    """
    others = [name for name in conditions if name not in source.columns]
    known = domain.rules().properties if others else {}
    for name in others:
        if name not in known and required:
            columns = ", ".join(source.columns) or "none"
            raise UsageError(
                f"the condition {name!r} is neither a column of {source.name} ({columns}) "
                f"nor a property ({', '.join(known) or 'none'})"
            )
    return [name for name in others if name in known]


def training_data(
    source: Source,
    domain: Domain,
    conditions: Sequence[str],
    computed: Sequence[str],
    cache: Path,
    progress: Progress,
) -> TrainingData:
    """Judge the records in worker processes and give what a run learns from.

    Args:
        source: the records.
        domain: of the items.
        conditions: names of columns and properties.
        computed: those that the domain computes.
        cache: the folder for what was found about items that are used as stored.
        progress: told of each record.
    """
    if source.as_stored:
        return _as_stored(source, domain, conditions, computed, cache, progress)
    rows, keys = _canonical(source, domain, conditions, computed, progress)
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
    source: Source, domain: Domain, computed: Sequence[str], progress: Progress
) -> Iterator[tuple[Record, Verdict]]:
    records = iter(source.records())
    pending: deque[tuple[list[Record], Any]] = deque()
    with closing(Judge(domain, computed)) as judge:
        while True:
            if portion := list(islice(records, PORTION)):
                pending.append((portion, judge.submit([record.item for record in portion])))
            if not pending:
                return
            if not portion or len(pending) > AHEAD:
                judged, verdicts = pending.popleft()
                yield from zip(judged, verdicts.result(), strict=True)
                progress.advance(len(judged))


def _numbers(record: Record, verdict: Verdict, conditions: Sequence[str], classes: Classes) -> dict[str, float]:
    found = {}
    for name in conditions:
        text = record.columns.get(name)
        if text is None:
            found[name] = verdict.properties.get(name, math.nan)
        else:
            found[name] = _class_number(text, classes[name]) if name in classes else _number(text)
    return found


def _class_number(text: Any, names: tuple[str, ...]) -> float:
    """The place of a class among the known ones; another value means that the condition is not known for this row."""
    text = str(text).strip()
    return float(names.index(text)) if text in names else math.nan


def _number(text: Any) -> float:
    """A number as the user wrote it; anything else means that the condition is not known for this row."""
    try:
        return float(text)
    except (TypeError, ValueError):
        return math.nan


# --- in canonical form ----------------------------------------------------------------------------


def _canonical(
    source: Source, domain: Domain, conditions: Sequence[str], computed: Sequence[str], progress: Progress
) -> tuple[list[Row], KeySet]:
    rows: list[Row] = []
    seen: set[str] = set()
    for record, verdict in _judged(source, domain, computed, progress):
        if verdict.error is not None:
            rows.append((Invalid(verdict.error), {}))
            continue
        key = domain.key(verdict.item)
        numbers = _numbers(record, verdict, conditions, source.classes)
        rows.append((Invalid(REPEATED), {}) if key in seen else (verdict.item, numbers))
        seen.add(key)
    return rows, KeySet.of(seen, expected=len(seen))


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
    progress: Progress,
) -> TrainingData:
    # What a package computes may change with its version, so versions are part of the name.
    about = [source.digest, sorted(conditions), versions(), *([source.classes] if source.classes else [])]
    content = json.dumps(about)
    name = hashlib.sha256(content.encode()).hexdigest()
    path = cache / f"{source.name}-found-{name[:16]}.npz"
    if not path.is_file():
        _save_found(path, *_find(source, domain, conditions, computed, progress))
    keys, columns = _load_found(path, conditions)
    digest = name if conditions else source.digest

    def rows() -> Iterator[Row]:
        for number, record in enumerate(source.records()):
            yield record.item, {name: values[number] for name, values in columns.items()}

    return TrainingData(source.name, rows, digest, keys, source.card, source.classes)


def _find(
    source: Source, domain: Domain, conditions: Sequence[str], computed: Sequence[str], progress: Progress
) -> tuple[KeySet, dict[str, array[float]]]:
    """The keys of the canonical forms, and the numbers of every record."""
    keys = KeySet.of((), expected=source.count or 1)
    columns = {name: array("d") for name in conditions}
    for record, verdict in _judged(source, domain, computed, progress):
        if verdict.error is None:
            keys.add(domain.key(verdict.item))
        for name, value in _numbers(record, verdict, conditions, source.classes).items():
            columns[name].append(value)
    return keys, columns


def _save_found(path: Path, keys: KeySet, columns: Mapping[str, array[float]]) -> None:
    with replaced_file(path) as temporary, temporary.open("wb") as file:
        numbers = {f"column.{name}": np.frombuffer(values) for name, values in columns.items() if values}
        np.savez(file, bits=keys.bits, hashes=keys.hashes, count=keys.count, **numbers)  # type: ignore[arg-type]


def _load_found(path: Path, conditions: Sequence[str]) -> tuple[KeySet, dict[str, np.ndarray]]:
    with np.load(path, allow_pickle=False) as found:
        keys = KeySet(found["bits"], int(found["hashes"]), int(found["count"]))
        return keys, {name: found[f"column.{name}"] for name in conditions}


def embedded_name(source: Source, taken: Iterable[str]) -> str:
    """The name of the source, made different from those of the data that a model has seen before."""
    taken, name, number = set(taken), source.name, 2
    while name in taken:
        name, number = f"{source.name}-{number}", number + 1
    return name


def known_datasets() -> str:
    """The names of the data sets, for a message."""
    return ", ".join(registry.names("dataset")) or "none"
