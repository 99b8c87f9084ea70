"""The chart of a property: a row for each file, its distribution over that of the reference."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from molgen_cli.report.distributions import Histogram, bins, finite, histogram, span
from molgen_cli.report.markup import Html, tag
from molgen_cli.report.numbers import short
from molgen_cli.report.shapes import COLOURS, Scale, Series, axis, document, label, line, linear, marker, words

#: References that are drawn: the first as an area, the second as a dashed line.
REFERENCES = 2
#: Width of the chart and of its margins, heights of the name and of the picture of a row, in pixels.
_WIDTH, _MARGIN, _NAME, _PICTURE = 480.0, 8.0, 22.0, 54.0
#: A peak so many times higher than the highest of the reference is cut off.
_CUT = 2.5


@dataclass(frozen=True)
class _Row:
    series: Series
    own: Histogram
    references: Sequence[tuple[Series, Histogram]]


def densities(title: str, files: Sequence[Series], references: Sequence[Series]) -> Html | None:
    """Densities of the values of a property, in the same bins for a file and the references.

    Returns:
        The chart, or None where no set has a value.
    """
    references = references[:REFERENCES]
    ends = span([one.values for one in (*files, *references)])
    if ends is None:
        return None
    scale = linear(ends, (_MARGIN, _WIDTH - _MARGIN))
    rows = [_binned(one, references, *ends) for one in files]
    height, top = len(rows) * (_NAME + _PICTURE), _top(rows)
    drawn = [_drawn(row, scale, k * (_NAME + _PICTURE), top) for k, row in enumerate(rows)]
    return document(_WIDTH, height + 22, title, drawn, axis(ends, scale, height))


def _binned(series: Series, references: Sequence[Series], low: float, high: float) -> _Row:
    """A file and the references in bins that the smallest of them can fill."""
    known = [found for one in (series, *references) if len(found := finite(one.values))]
    edges = bins(min(known, key=len), low, high)
    return _Row(series, histogram(series.values, edges), [(one, histogram(one.values, edges)) for one in references])


def _top(rows: Sequence[_Row]) -> float:
    """The density at the upper edge of a row: the highest one, unless that would flatten the reference."""
    own = max((float(row.own.heights.max()) for row in rows), default=0.0)
    reference = max((float(h.heights.max()) for row in rows for _, h in row.references), default=0.0)
    return (max(reference, min(own, _CUT * reference)) if reference else own) or 1.0


def _drawn(row: _Row, scale: Scale, above: float, top: float) -> Html:
    foot, series = above + _NAME + _PICTURE, row.series
    return tag(
        "g",
        [_outline(h, scale, foot, top, "dashes" if k else "area") for k, (_, h) in enumerate(row.references)],
        _outline(row.own, scale, foot, top, f"outline s{series.number % COLOURS}"),
        line(_MARGIN, foot, _WIDTH - _MARGIN, foot, "rule"),
        marker(series.number, _MARGIN + 6, above + 11, 4.5),
        label(series.name, 32, _MARGIN + 17, above + 15, "strong"),
        words(_means(row), _WIDTH - _MARGIN, above + 15, "soft", "end"),
        _cut_off(row.own, scale, foot - _PICTURE, top),
    )


def _means(row: _Row) -> str:
    own = finite(row.series.values)
    if not len(own):
        return "no value"
    reference = finite(row.references[0][0].values) if row.references else own[:0]
    told = f"mean {short(float(own.mean()))}"
    return f"{told}, reference {short(float(reference.mean()))}" if len(reference) else told


def _outline(found: Histogram, scale: Scale, foot: float, top: float, class_: str) -> Html | None:
    """The steps of a histogram; nothing for an empty one, so that no line pretends that there are zeros."""
    if not found.heights.any():
        return None
    levels = foot - (_PICTURE - 6) * np.minimum(found.heights / top, 1.0)
    steps = [f"V{y:.1f}H{scale(right):.1f}" for y, right in zip(levels, found.edges[1:], strict=True)]
    return tag("path", d=f"M{scale(found.edges[0]):.1f},{foot:.1f}{''.join(steps)}V{foot:.1f}", class_=class_)


def _cut_off(found: Histogram, scale: Scale, above: float, top: float) -> Html | None:
    """How high the highest peak is, where the picture ends before it."""
    highest = int(found.heights.argmax())
    times = float(found.heights[highest]) / top
    if times <= 1.001:
        return None
    told = f"peak {times:.1f} times as high"
    if highest > len(found.heights) / 2:
        return words(told, scale(found.edges[highest]) - 6, above + 14, "soft", "end")
    return words(told, scale(found.edges[highest + 1]) + 6, above + 14, "soft")
