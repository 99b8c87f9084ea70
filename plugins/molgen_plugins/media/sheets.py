"""Contact sheets: many drawings in one self-contained SVG document."""

from __future__ import annotations

import math
import re
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from molgen.domain import Invalid, Item

#: More items are not drawn: the sheet says how many it leaves out.
MAX_CELLS = 100
#: Height of a legend and space between cells, in pixels; lines of a reason that fit into a cell.
_LEGEND, _GAP, _LINES = 18, 8, 5
#: Pixels of a letter.
_LETTER = 6

_NOT_IN_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True)
class Cells:
    """How items are drawn.

    Attributes:
        noun: what an item is called; `plural` several.
        width: of a cell, in pixels.
        height: of a cell, in pixels.
        columns: the most cells beside each other.
        canonical: an item in its one form, or why it is none.
        drawn: elements of SVG for one of them, within its cell.
    """

    noun: str
    plural: str
    width: int
    height: int
    columns: int
    canonical: Callable[[Item], Any]
    drawn: Callable[[Any], str]

    @property
    def letters(self) -> int:
        """Characters that fit into a line of a cell."""
        return self.width // _LETTER


def sheet(cells: Cells, items: Sequence[Item | Invalid], legends: Sequence[str] | None = None) -> str:
    """Draw items in a grid, in their order, each above its legend if there are legends.

    What is no item gets a cell that says why.

    Raises:
        ValueError: the number of legends is not the number of items.
    """
    if legends is not None and len(legends) != len(items):
        raise ValueError(f"{len(legends)} legends for {len(items)} {cells.plural}")
    shown = items[:MAX_CELLS]
    columns = max(1, min(cells.columns, math.ceil(math.sqrt(len(shown)))))
    step = cells.height + _GAP + (_LEGEND if legends is not None else 0)
    width, height = _GAP + columns * (cells.width + _GAP), _GAP + math.ceil(len(shown) / columns) * step
    parts = []
    for number, item in enumerate(shown):
        row, column = divmod(number, columns)
        place = f"translate({_GAP + column * (cells.width + _GAP)} {_GAP + row * step})"
        drawn = _cell(cells, item, legends[number] if legends is not None else "")
        parts.append(f'<g transform="{place}">\n{drawn}\n</g>')
    if len(items) > len(shown):
        parts.append(text(f"the first {len(shown)} of {len(items)}", width / 2, height + _LEGEND / 2))
        height += _LEGEND
    return _document(width, height, parts)


def _document(width: int, height: int, parts: Sequence[str]) -> str:
    head = f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}">'
    return "\n".join([head, f'<rect width="{width}" height="{height}" fill="#ffffff"/>', *parts, "</svg>", ""])


def _cell(cells: Cells, item: Item | Invalid, legend: str) -> str:
    found = item if isinstance(item, Invalid) else cells.canonical(item)
    drawn = _apology(cells, found.reason) if isinstance(found, Invalid) else cells.drawn(found)
    return f"{drawn}\n{_legend(cells, legend)}" if legend else drawn


def _apology(cells: Cells, reason: str) -> str:
    frame = f'<rect width="{cells.width}" height="{cells.height}" fill="none" stroke="#cccccc"/>'
    lines = textwrap.wrap(_NOT_IN_XML.sub("\ufffd", reason), cells.letters, max_lines=_LINES, placeholder="…")
    texts = [text(line, cells.width / 2, 34 + 13 * number) for number, line in enumerate(lines)]
    return "\n".join([f"<title>{_clean(reason)}</title>", frame, text(f"no {cells.noun}", cells.width / 2, 16), *texts])


def _legend(cells: Cells, words: str) -> str:
    short = words if len(words) <= cells.letters else words[: cells.letters - 1] + "…"
    title = f"<title>{_clean(words)}</title>" if short != words else ""
    return text(short, cells.width / 2, cells.height + _LEGEND * 0.7, title)


def text(words: str, x: float, y: float, title: str = "") -> str:
    """Words in the middle of a place."""
    style = 'font-family="sans-serif" font-size="11" text-anchor="middle" fill="#333333"'
    return f'<text x="{x:g}" y="{y:g}" {style}>{title}{_clean(words)}</text>'


def _clean(words: str) -> str:
    return escape(_NOT_IN_XML.sub("\ufffd", words)[:1000])
