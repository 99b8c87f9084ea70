"""What charts are made of: SVG elements, signs of files, axes.

Charts need no script and no library, and print. Their colours are those of the style sheet, so that they
follow its light and dark schemes; files differ by shape as well as by colour.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from molgen_cli.report.markup import Html, clipped, markup, shortened, tag
from molgen_cli.report.numbers import ticks

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
