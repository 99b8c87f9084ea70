"""Where rows come from: a registered data set, or a file."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from molgen import registry
from molgen.config import Part, settings_of
from molgen.data.tables import printable, reopenable
from molgen.dataset import Dataset
from molgen.domain import Domain, Record
from molgen.errors import UsageError

#: The split that is trained on.
SPLIT = "train"

Classes = Mapping[str, tuple[str, ...]]


@dataclass(frozen=True)
class RowSource:
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
        notes: what people must know of how the columns are read, a line each.
    """

    name: str
    records: Callable[[], Iterable[Record]]
    columns: Sequence[str]
    as_stored: bool = False
    digest: str | None = None
    count: int | None = None
    card: Mapping[str, Any] = field(default_factory=dict)
    classes: Classes = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def dataset_source(part: Part, domain: str) -> RowSource:
    """The training split of a data set of the registry.

    Raises:
        UsageError: there is no such data set, or its items are of another domain.
    """
    cls, config = settings_of("dataset", part)
    return source_of(cls(config), part.name, domain)


def source_of(dataset: Dataset, name: str, domain: str) -> RowSource:
    """The training split of a data set.

    Raises:
        UsageError: its items are of another domain, or it has no such split.
    """
    if not dataset.domain:
        raise UsageError(f"the data set {name} does not say of which domain its items are; its author sets `domain`")
    if dataset.domain != domain:
        raise UsageError(f"the data set {name} holds {dataset.domain}, and the encoder is one of {domain}")
    dataset.require_split(SPLIT)
    card = {"split": SPLIT, "licence": dataset.licence, "citation": dataset.citation}
    return RowSource(
        name,
        lambda: dataset.records(SPLIT),
        list(dataset.columns(SPLIT)),
        dataset.canonical,
        dataset.digest(SPLIT),
        dataset.splits[SPLIT],
        card,
        dataset.classes(SPLIT),
    )


def file_source(path: Path, domain: Domain, column: str | None, format: str | None = None) -> RowSource:
    """A file of the user's own, or a folder where the domain reads those.

    Args:
        path: of the file.
        domain: reads it.
        column: that holds the items; found by its usual names without it.
        format: of the file, where its name does not say it.

    Raises:
        UsageError: it is not there, cannot be read, has no such column, or has no row.
    """
    if not path.exists():
        raise UsageError(f"{path}: there is no such file")
    again = reopenable(path)

    def records() -> Iterable[Record]:
        return domain.read(again, format=format, column=column)

    first = next(iter(records()), None)
    if first is None:
        raise UsageError(f"{path} has no row to learn from")
    name = printable(path.name)
    card = {"file": name, "licence": "not stated: it is the user's own file"}
    return RowSource(name.partition(".")[0] or name, records, list(first.columns), card=card)


def computed_conditions(source: RowSource, domain: Domain, conditions: Sequence[str], *, required: bool) -> list[str]:
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
    known = domain.descriptors().properties if others else {}
    for name in others:
        if name not in known and required:
            columns = ", ".join(source.columns) or "none"
            raise UsageError(
                f"the condition {name!r} is neither a column of {source.name} ({columns}) "
                f"nor a property ({', '.join(known) or 'none'})"
            )
    return [name for name in others if name in known]


def embedded_name(source: RowSource, taken: Iterable[str]) -> str:
    """The name of the source, made different from those of the data that a model has seen before."""
    taken, name, number = set(taken), source.name, 2
    while name in taken:
        name, number = f"{source.name}-{number}", number + 1
    return name


def known_datasets() -> str:
    """The names of the data sets, for a message."""
    return ", ".join(registry.names("dataset")) or "none"
