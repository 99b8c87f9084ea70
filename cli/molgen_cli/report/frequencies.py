"""The chart of how often scaffolds occur: the share of each in every set."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from molgen_cli.report.markup import Html, tag
from molgen_cli.report.numbers import percent, ticks
from molgen_cli.report.shapes import Scale, Series, document, hint, line, linear, marker, words

_WIDTH, _LEFT, _RIGHT = 720.0, 40.0, 690.0
#: Height of a row with one file, and of each further one.
_ROW, _FILE = 26.0, 8.0


def shares(title: str, names: Sequence[str], files: Sequence[Series], references: Sequence[Series]) -> Html:
    """A row for each name: the share in each file as its sign, that in each reference as an upright stroke.

    Args:
        title: of the chart.
        names: of the rows.
        files: their shares by row, NaN where unknown.
        references: likewise.
    """
    highest = [float(np.nanmax(one.values)) for one in (*files, *references) if np.isfinite(one.values).any()]
    ends = 0.0, max(highest, default=0.0) or 1.0
    step = _ROW + _FILE * max(0, len(files) - 1)
    scale, foot = linear(ends, (_LEFT, _RIGHT)), len(names) * step
    grid = [(line(scale(tick), 0, scale(tick), foot + 4, "grid"), _tick(tick, scale, foot)) for tick in ticks(*ends)]
    rows = [_row(row, name, row * step, step, scale, files, references) for row, name in enumerate(names)]
    return document(_WIDTH, foot + 24, title, grid, rows)


def _tick(tick: float, scale: Scale, foot: float) -> Html:
    return words(f"{100 * tick:.4g} %", scale(tick), foot + 18, "soft", "middle")


def _row(
    row: int,
    name: str,
    above: float,
    height: float,
    scale: Scale,
    files: Sequence[Series],
    references: Sequence[Series],
) -> Html:
    """Files below one another, so that equal shares do not hide each other; strokes across all of them."""
    strokes = [
        hint(_told(one, row), line(x, above + 3, x, above + height - 3, f"stroke r{-one.number}"))
        for one in references
        if math.isfinite(x := scale(one.values[row]))
    ]
    signs = [
        hint(_told(one, row), marker(one.number, x, above + _ROW / 2 + _FILE * place))
        for place, one in enumerate(files)
        if math.isfinite(x := scale(one.values[row]))
    ]
    return tag(
        "g",
        line(scale(0), above + height, _RIGHT, above + height, "grid"),
        words(name, _LEFT - 12, above + height / 2 + 4, "strong", "end"),
        strokes,
        signs,
    )


def _told(one: Series, row: int) -> str:
    return f"{one.name}: {percent(float(one.values[row]))}"
