"""What charts are made of: SVG elements, signs of files, axes.

Charts need no script and no library, and print. Their colours are those of the style sheet, so that they
follow its light and dark schemes; files differ by shape as well as by colour.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from molgen_cli.report.histograms import Histogram, bins, finite, histogram, span
from molgen_cli.report.markup import Html, clipped, markup, shortened, tag
from molgen_cli.report.numbers import percent, short, ticks

#: Colours that the style sheet has for files; more files take them again.
COLOURS = 6

#: Where on the picture a number lies.
Scale = Callable[[float], float]


@dataclass(frozen=True)
class Series:
    """What a chart shows of one set.

    Attributes:
        name: of the set.
        number: among the files, from 0; references have none and are -1.
        values: numbers, one-dimensional.
    """

    name: str
    number: int
    values: np.ndarray


def document(width: float, height: float, title: str, *content: object) -> Html:
    """An SVG element as wide as its place, with a title for those who cannot see it."""
    box = f"0 0 {width:g} {height:g}"
    return tag("svg", content, viewBox=box, role="img", aria_label=title, class_="chart")


def line(x1: float, y1: float, x2: float, y2: float, class_: str) -> Html:
    """A straight line."""
    return tag("line", x1=float(x1), y1=float(y1), x2=float(x2), y2=float(y2), class_=class_)


def words(text: str | Html, x: float, y: float, class_: str = "", anchor: str = "start") -> Html:
    """A piece of text."""
    return tag("text", text, x=float(x), y=float(y), class_=class_ or None, text_anchor=anchor)


def label(text: str, limit: int, x: float, y: float, class_: str = "", anchor: str = "start") -> Html:
    """A name of any length in at most `limit` characters, see `shortened`; the whole of it is the tooltip."""
    if len(text) <= limit:
        return words(text, x, y, class_, anchor)
    return words(markup(tag("title", text[:1000]), shortened(text, limit)), x, y, class_, anchor)


def hint(text: str, *content: object) -> Html:
    """Shapes with a tooltip."""
    return tag("g", tag("title", text), content)


def marker(number: int, x: float, y: float, size: float = 5.0) -> Html:
    """The sign of a file: a colour and a shape."""
    shape = _SHAPES[number % len(_SHAPES)]
    return tag("g", shape(x, y, size), class_=f"mark s{number % COLOURS}")


def sign(number: int) -> Html:
    """The sign of a file within text."""
    return tag("svg", marker(number, 7.0, 7.0), viewBox="0 0 14 14", class_="sign", aria_hidden="true")


def named(number: int, name: str, limit: int = 60) -> Html:
    """A file within text: its sign and its name."""
    return markup(sign(number), " ", clipped(name, limit))


def _circle(x: float, y: float, size: float) -> Html:
    return tag("circle", cx=x, cy=y, r=size)


def _square(x: float, y: float, size: float) -> Html:
    return tag("rect", x=x - 0.88 * size, y=y - 0.88 * size, width=1.76 * size, height=1.76 * size)


def _triangle(x: float, y: float, size: float) -> Html:
    return polygon((x, y - 1.15 * size), (x + 1.1 * size, y + 0.8 * size), (x - 1.1 * size, y + 0.8 * size))


def diamond(x: float, y: float, size: float) -> Html:
    """A square on its corner."""
    return polygon((x, y - 1.25 * size), (x + 1.25 * size, y), (x, y + 1.25 * size), (x - 1.25 * size, y))


def polygon(*points: tuple[float, float]) -> Html:
    """A closed line through points."""
    return tag("polygon", points=" ".join(f"{x:.1f},{y:.1f}" for x, y in points))


_SHAPES = (_circle, _square, _triangle, diamond)


def linear(ends: tuple[float, float], places: tuple[float, float]) -> Scale:
    """The scale that puts the ends of a range at two places."""
    (low, high), (start, stop) = ends, places
    return lambda value: start + (float(value) - low) / (high - low) * (stop - start)


def axis(ends: tuple[float, float], scale: Scale, y: float) -> Iterator[Html]:
    """Ticks of a horizontal axis below y, their numbers kept between its ends."""
    left, right = scale(ends[0]), scale(ends[1])
    for tick in ticks(*ends):
        x = scale(tick)
        anchor = "start" if x < left + 12 else "end" if x > right - 12 else "middle"
        yield line(x, y, x, y + 4, "rule")
        yield words(f"{tick:,.10g}".replace("-", "\u2212"), x, y + 17, "soft", anchor)


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
    mean = f"mean {short(float(own.mean()))}"
    return f"{mean}, reference {short(float(reference.mean()))}" if len(reference) else mean


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
    peak = f"peak {times:.1f} times as high"
    if highest > len(found.heights) / 2:
        return words(peak, scale(found.edges[highest]) - 6, above + 14, "soft", "end")
    return words(peak, scale(found.edges[highest + 1]) + 6, above + 14, "soft")


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
