"""The figures of evaluated files: as a table for people, and as JSON for programs."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TextIO

import numpy as np

from molgen.domain import Item
from molgen.evaluation.evaluate import Figure
from molgen.metric import Better
from molgen_cli.console import printable, table

if TYPE_CHECKING:
    from rich.table import Table as RichTable

#: How a table points to the better values.
_ARROWS = {Better.HIGHER: "↑", Better.LOWER: "↓", Better.NEITHER: ""}
#: What stands for no value, and for one that failed; neither is a number.
UNDEFINED, FAILED = "-", "failed"


@dataclass(frozen=True)
class Evaluated:
    """What there is to say of one set of items.

    Attributes:
        name: of the set, for people.
        rows: of the set.
        valid: the valid ones among them.
        figures: its metrics.
        sample: some valid items drawn at random.
        values: property -> values of many of its items, float (K,).
        nearest: items of the sample, the training item nearest to each, and their similarity.
        groups: those of the domain and how many items belong to each, the most frequent first.
        seconds: by what took them.
    """

    name: str
    rows: int
    valid: int
    figures: list[Figure] = field(default_factory=list)
    sample: list[Item] = field(default_factory=list)
    values: Mapping[str, np.ndarray] = field(default_factory=dict)
    nearest: list[tuple[Item, Item, float]] = field(default_factory=list)
    groups: list[tuple[str, int]] = field(default_factory=list)
    seconds: Mapping[str, float] = field(default_factory=dict)


# --- for people -----------------------------------------------------------------------------------


def show(files: Sequence[Evaluated], stream: TextIO) -> None:
    """Print a table with a row for each metric and a column for each file, then warnings and reasons."""
    if not stream.isatty():
        remarks = list(_remarks(files))
        text = "\n".join([table([dict(row) for row in _rows(files)]), *([""] if remarks else []), *remarks])
        print(text.encode(stream.encoding or "utf-8", "replace").decode(stream.encoding or "utf-8"), file=stream)
        return
    from rich.console import Console  # takes a tenth of a second, which a script need not pay
    from rich.text import Text

    console = Console(file=stream, highlight=False, no_color=bool(os.environ.get("NO_COLOR")))
    console.print(_drawn(files))
    for remark in _remarks(files):
        console.print(Text(remark, "red" if f": {FAILED}: " in remark else "yellow"))


def _drawn(files: Sequence[Evaluated]) -> RichTable:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    heading, *rows = ([cell for _, cell in row] for row in (_heading(files), *_rows(files)))
    drawn = Table(box=SIMPLE_HEAD)
    for name in heading:
        drawn.add_column(Text(name))
    for row in rows:
        drawn.add_row(*(Text(cell, "red" if cell == FAILED else "") for cell in row))
    return drawn


def _heading(files: Sequence[Evaluated]) -> list[tuple[str, str]]:
    return [(name, printable(name)) for name in ("metric", " ", *(one.name for one in files))]


def _rows(files: Sequence[Evaluated]) -> Iterator[list[tuple[str, str]]]:
    """The cells of each row, each with the name of its column."""
    columns = [name for name, _ in _heading(files)]
    rows = [("rows", "", *(f"{one.rows:,}" for one in files)), ("valid rows", "", *(f"{one.valid:,}" for one in files))]
    for figures in zip(*(one.figures for one in files), strict=True):
        rows.append((figures[0].label, _ARROWS[figures[0].better], *map(cell, figures)))
    return (list(zip(columns, row, strict=True)) for row in rows)


def cell(figure: Figure) -> str:
    """The value and its interval, or a word for why there is none."""
    if figure.error:
        return FAILED
    estimate = figure.estimate
    if not math.isfinite(estimate.value):
        return UNDEFINED
    if not math.isfinite(estimate.low + estimate.high):
        return number(estimate.value)
    return f"{number(estimate.value)}  [{number(estimate.low)}, {number(estimate.high)}]"


def number(value: float) -> str:
    """Four decimals; of very small and large values four digits."""
    return f"{value:.4f}" if value == 0 or 1e-3 <= abs(value) < 1e4 else f"{value:.4g}"


def _remarks(files: Sequence[Evaluated]) -> Iterator[str]:
    """Each warning and reason once, with the metrics that it is of."""
    for one in files:
        where = f" of {one.name}" if len(files) > 1 else ""
        labels_of: dict[str, list[str]] = {}
        for figure in one.figures:
            for text in dict.fromkeys(_texts(figure)):
                labels_of.setdefault(text, []).append(figure.label)
        for text, labels in labels_of.items():
            yield printable(f"{', '.join(labels)}{where}: {text}")


def _texts(figure: Figure) -> Iterator[str]:
    if figure.error:
        yield f"{FAILED}: {figure.error}"
    else:
        yield from filter(None, (figure.warning, figure.estimate.note))


# --- for programs ---------------------------------------------------------------------------------


def as_json(one: Evaluated) -> dict[str, Any]:
    """The figures of a file as JSON values; null stands for a number that there is none of."""
    return {
        "name": one.name,
        "rows": one.rows,
        "valid": one.valid,
        "figures": [_figure(figure) for figure in one.figures],
        "seconds": {name: round(seconds, 3) for name, seconds in one.seconds.items()},
    }


def _figure(figure: Figure) -> dict[str, Any]:
    estimate = figure.estimate
    return {
        "label": figure.label,
        "metric": figure.metric,
        "settings": dict(figure.settings),
        "reference": figure.reference or None,
        "better": figure.better.value,
        "value": _finite(estimate.value),
        "low": _finite(estimate.low),
        "high": _finite(estimate.high),
        "count": estimate.count,
        "note": estimate.note,
        "warning": figure.warning,
        "error": figure.error,
        "seconds": round(figure.seconds, 3),
    }


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
