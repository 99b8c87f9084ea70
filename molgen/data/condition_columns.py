"""The columns of a user's file that become conditions: numbers or classes, and what in them is neither."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from molgen.domain import Record
from molgen.errors import UsageError

if TYPE_CHECKING:
    from molgen.data.source import RowSource

#: The most classes that one condition may have, and how many a message names.
MOST_CLASSES, SHOWN = 1000, 8
#: Distinct texts below which a column may hold classes however many of its rows differ.
FEW = 20
#: How people write that a number is not known.
MISSING = frozenset({"", "na", "n/a", "nan", "#n/a", "null", "none", "-", "?"})
#: Examples that a message shows, and the characters of each.
EXAMPLES, EXAMPLE_LENGTH = 3, 20

#: A number as people write it for people: with a comma, or with a bound before it.
_ALMOST = re.compile(r"^[<>=~≤≥±≈]*\s*[-+]?\d[\d.,' ]*\s*%?$")


#: A number with a comma, and one whose commas may just as well divide thousands.
_COMMA, _THOUSANDS = re.compile(r"[-+]?\d+,\d+(e[-+]?\d+)?", re.IGNORECASE), re.compile(r"[-+]?\d{1,3}(,\d{3})+")


def read_number(text: Any) -> float:
    """A number as it is written, NaN for anything else and for what is not finite."""
    try:
        value = float(text)
    except (TypeError, ValueError):
        return math.nan
    return value if math.isfinite(value) else math.nan


def read_class(text: Any, names: Sequence[str]) -> float:
    """The place of a class among the known ones, NaN for another value."""
    text = str(text).strip()
    return float(names.index(text)) if text in names else math.nan


@dataclass
class Column:
    """What is in one column.

    Attributes:
        name: of the condition.
        numbers: how many values are finite numbers.
        missing: how many say that they are not known.
        texts: each other value and how often it occurs.
        values: each value that may be a class, and how often it occurs.
        rows: for each text, the number of the first row that has it.
        points: how many of the numbers are written with a decimal point.
        may_be_classes: whether numbers may be classes too.
    """

    name: str
    may_be_classes: bool = False
    numbers: int = 0
    missing: int = 0
    texts: dict[str, int] = field(default_factory=dict)
    values: dict[str, int] = field(default_factory=dict)
    rows: dict[str, int] = field(default_factory=dict)
    points: int = 0

    def add(self, row: int, value: Any) -> None:
        """Take in the value of one row."""
        text = str(value).strip()
        finite = math.isfinite(read_number(text))
        if text and (self.may_be_classes or not finite):
            self.values[text] = self.values.get(text, 0) + 1
        if finite:
            self.numbers += 1
            self.points += "." in text
        elif text.lower() in MISSING:
            self.missing += 1
        else:
            self.texts[text] = self.texts.get(text, 0) + 1
            self.rows.setdefault(text, row)

    @property
    def has_decimal_commas(self) -> bool:
        """Whether commas stand for decimal points: some can be nothing else, and no number has a point."""
        commas = [text for text in self.texts if _COMMA.fullmatch(text)]
        return not self.points and not all(map(_THOUSANDS.fullmatch, commas))

    def take_commas(self) -> None:
        """Count what has a decimal comma among the numbers."""
        for text in [text for text in self.texts if _COMMA.fullmatch(text)]:
            self.numbers += self.texts.pop(text)
            self.values.pop(text, None)

    @property
    def unreadable(self) -> int:
        """How many values are no numbers, and do not say that they are missing."""
        return sum(self.texts.values())

    @property
    def are_numbers(self) -> bool:
        """Whether the column is meant to hold numbers: some are, or most would be if they were written for programs."""
        almost = sum(count for text, count in self.texts.items() if _ALMOST.match(text))
        return self.numbers > 0 or almost * 2 > self.unreadable

    def examples(self, texts: Iterable[str]) -> str:
        """Some values, each with the row that has it first, counted from 1."""
        shown = sorted(texts, key=lambda text: self.rows.get(text, 0))
        parts = [f"{_short(text)!r} (row {self.rows.get(text, 0) + 1})" for text in shown[:EXAMPLES]]
        return ", ".join(parts) + (", ..." if len(shown) > EXAMPLES else "")


def _short(text: str) -> str:
    return text if len(text) <= EXAMPLE_LENGTH else f"{text[: EXAMPLE_LENGTH - 3]}..."


def with_classes(
    source: RowSource, conditions: Sequence[str], named: Sequence[str], known: Mapping[str, tuple[str, ...]]
) -> RowSource:
    """The source with the classes of every condition that holds no numbers, and with notes of what is not read.

    Args:
        source: the records.
        conditions: names of columns and properties; a column may write them in other cases.
        named: those that hold classes even where their values look like numbers.
        known: classes of a model that is tuned; a value that it has not is not given.

    Raises:
        UsageError: a condition has too many classes to be one, is no column, or most of its values are not read.
    """
    source = _in_the_case_of(conditions, source)
    columns = [name for name in conditions if name in source.columns]
    for name in named:
        if name not in columns:
            raise UsageError(f"the condition {name!r} cannot have classes: it is no column of {source.name}")
    asked = [name for name in columns if name not in source.classes]
    if source.digest is not None:  # what a registered data set has is known; only classes have to be looked for
        asked = [name for name in asked if name in named and name not in known]
    classes: dict[str, tuple[str, ...]] = {}
    notes = list(source.notes)
    for column in _read(source, asked, {*named, *known}):
        if column.name in known:
            notes.extend(_of_known_classes(column, known[column.name]))
        elif column.name in named or not column.are_numbers:
            classes[column.name] = _classes(column, column.name in named)
            notes.append(_classes_note(column.name, classes[column.name]))
        else:
            if column.has_decimal_commas:
                column.take_commas()
                source = _with_decimal_points(column.name, source)
                notes.append(f"the condition {column.name!r} is written with decimal commas")
            notes.extend(_numbers_note(column))
    return replace(source, classes={**source.classes, **classes, **known}, notes=tuple(notes))


def _read(source: RowSource, names: Sequence[str], classes: Collection[str]) -> list[Column]:
    columns = [Column(name, name in classes) for name in names]
    for record in source.records() if columns else ():
        for column in columns:
            column.add(record.row, record.columns.get(column.name, ""))
    return columns


def _classes(column: Column, named: bool) -> tuple[str, ...]:
    texts, count = sorted(column.values), sum(column.values.values())
    if not named and len(texts) > FEW and len(texts) * 2 > count:
        raise UsageError(
            f"the condition {column.name!r} has {len(texts):,} different values in {count:,} rows: that is a name "
            f"or an id, not a class; if they are classes all the same, write {column.name}:class"
        )
    if len(texts) > MOST_CLASSES:
        raise UsageError(
            f"the condition {column.name!r} has {len(texts):,} different values; classes are at most {MOST_CLASSES:,}"
        )
    return tuple(texts)


def _classes_note(name: str, classes: Sequence[str]) -> str:
    shown = ", ".join(map(_short, classes[:SHOWN])) + (", ..." if len(classes) > SHOWN else "")
    noun = "class" if len(classes) == 1 else "classes"
    return f"the condition {name!r} has {len(classes):,} {noun}: {shown}"


def _numbers_note(column: Column) -> Iterator[str]:
    """What is not read of a column of numbers.

    Raises:
        UsageError: that is more than is read.
    """
    if not column.unreadable:
        return
    count = column.numbers + column.unreadable
    text = f"{column.unreadable:,} of {count:,} values of the condition {column.name!r} are no numbers, such as "
    text += column.examples(column.texts)
    if column.unreadable > column.numbers:
        raise UsageError(
            f"{text}; write numbers with a decimal point, without other signs, or take the values for classes: "
            f"{column.name}:class"
        )
    yield f"{text}; in those rows it counts as not known"


def _with_decimal_points(name: str, source: RowSource) -> RowSource:
    """The source with decimal points in the place of the decimal commas of a column."""

    def records() -> Iterator[Record]:
        for record in source.records():
            text = str(record.columns.get(name, "")).strip()
            read = {name: text.replace(",", ".")} if _COMMA.fullmatch(text) else {}
            yield replace(record, columns={**record.columns, **read})

    return replace(source, records=records)


def _of_known_classes(column: Column, known: Sequence[str]) -> Iterator[str]:
    """What is not read of a column whose classes the model has already.

    Raises:
        UsageError: that is everything.
    """
    unknown = {text: count for text, count in column.values.items() if text not in known}
    if not unknown:
        return
    rows, count = sum(unknown.values()), sum(column.values.values())
    shown = ", ".join(map(repr, list(unknown)[:EXAMPLES])) + (", ..." if len(unknown) > EXAMPLES else "")
    has = ", ".join(known[:SHOWN]) + (", ..." if len(known) > SHOWN else "")
    text = f"{rows:,} of {count:,} values of the condition {column.name!r} are no classes of the model ({has}): {shown}"
    if rows == count:
        raise UsageError(f"{text}; a model keeps its classes when it is tuned")
    yield f"{text}; in those rows it counts as not known"


def _in_the_case_of(conditions: Sequence[str], source: RowSource) -> RowSource:
    """The source with its columns under the names of the conditions where they differ in upper and lower case only."""
    renamed: dict[str, str] = {}
    for name in conditions:
        alike = [column for column in source.columns if column.lower() == name.lower()]
        if name not in source.columns and len(alike) == 1:
            renamed[alike[0]] = name
    if not renamed:
        return source

    def records() -> Iterator[Record]:
        for record in source.records():
            yield replace(record, columns={renamed.get(name, name): text for name, text in record.columns.items()})

    notes = [f"the column {column!r} is taken for the condition {name!r}" for column, name in renamed.items()]
    columns = [renamed.get(name, name) for name in source.columns]
    return replace(source, records=records, columns=columns, notes=(*source.notes, *notes))
