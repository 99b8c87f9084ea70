"""Contact sheets: many images in one self-contained SVG document."""

from __future__ import annotations

import math
import re
import textwrap
from collections.abc import Sequence
from html import escape

import numpy as np
from PIL import Image

from molgen.domain import Invalid, Item
from molgen_plugins.images.io.writing import data_uri
from molgen_plugins.images.raster import canonical

#: More images are not drawn: the sheet says how many it leaves out.
MAX_CELLS = 100
#: Side of the square of an image, height of a legend and space between cells, in pixels.
_SIDE, _LEGEND, _GAP = 96, 18, 8
_COLUMNS = 10
#: A larger picture is embedded at this size.
_EMBEDDED = 2 * _SIDE
#: Characters of a legend that fit below an image, and lines of a reason that fit into its place.
_FITTING, _LINES = 16, 5

_NOT_IN_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def sheet(items: Sequence[Item | Invalid], legends: Sequence[str] | None = None) -> str:
    """Draw images in a grid, in their order, each above its legend if there are legends.

    A small picture is enlarged by a whole factor, so that its pixels stay squares. What is no image gets
    a cell that says why.

    Raises:
        ValueError: the number of legends is not the number of items.
    """
    if legends is not None and len(legends) != len(items):
        raise ValueError(f"{len(legends)} legends for {len(items)} images")
    shown = items[:MAX_CELLS]
    columns = max(1, min(_COLUMNS, math.ceil(math.sqrt(len(shown)))))
    step = _SIDE + _GAP + (_LEGEND if legends is not None else 0)
    width, height = _GAP + columns * (_SIDE + _GAP), _GAP + math.ceil(len(shown) / columns) * step
    parts = []
    for number, item in enumerate(shown):
        row, column = divmod(number, columns)
        place = f"translate({_GAP + column * (_SIDE + _GAP)} {_GAP + row * step})"
        parts.append(f'<g transform="{place}">\n{_cell(item, legends[number] if legends is not None else "")}\n</g>')
    if len(items) > len(shown):
        parts.append(_text(f"the first {len(shown)} of {len(items)}", width / 2, height + _LEGEND / 2))
        height += _LEGEND
    return _document(width, height, parts)


def _document(width: int, height: int, parts: Sequence[str]) -> str:
    head = f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}">'
    return "\n".join([head, f'<rect width="{width}" height="{height}" fill="#ffffff"/>', *parts, "</svg>", ""])


def _cell(item: Item | Invalid, legend: str) -> str:
    image = item if isinstance(item, Invalid) else canonical(item)
    picture = _apology(image.reason) if isinstance(image, Invalid) else _picture(image)
    return f"{picture}\n{_legend(legend)}" if legend else picture


def _picture(image: np.ndarray) -> str:
    """An image in the middle of its square, with a thin frame so that a white one can be seen."""
    rows, columns = image.shape[:2]
    scale = _SIDE / max(rows, columns)
    scale = math.floor(scale) if scale >= 1 else scale
    width, height = max(1.0, columns * scale), max(1.0, rows * scale)
    box = f'x="{(_SIDE - width) / 2:g}" y="{(_SIDE - height) / 2:g}" width="{width:g}" height="{height:g}"'
    style = "image-rendering:pixelated" if scale >= 1 else "image-rendering:auto"
    embedded = _enlarged(image, int(scale)) if scale >= 1 else _reduced(image)
    frame = f'<rect {box} fill="none" stroke="#dddddd"/>'
    return f'{frame}\n<image {box} preserveAspectRatio="none" style="{style}" href="{data_uri(embedded)}"/>'


def _enlarged(image: np.ndarray, scale: int) -> np.ndarray:
    """Pixels as squares: many programs that show SVG know no other enlargement than a blurred one."""
    return image.repeat(scale, axis=0).repeat(scale, axis=1)


def _reduced(image: np.ndarray) -> np.ndarray:
    if max(image.shape[:2]) <= _EMBEDDED:
        return image
    small = Image.fromarray(image)
    small.thumbnail((_EMBEDDED, _EMBEDDED))
    return np.asarray(small)


def _apology(reason: str) -> str:
    frame = f'<rect width="{_SIDE}" height="{_SIDE}" fill="none" stroke="#cccccc"/>'
    lines = textwrap.wrap(_NOT_IN_XML.sub("\ufffd", reason), _FITTING, max_lines=_LINES, placeholder="…")
    texts = [_text(line, _SIDE / 2, 34 + 13 * number) for number, line in enumerate(lines)]
    return "\n".join([f"<title>{_clean(reason)}</title>", frame, _text("no image", _SIDE / 2, 16), *texts])


def _legend(text: str) -> str:
    short = text if len(text) <= _FITTING else text[: _FITTING - 1] + "…"
    title = f"<title>{_clean(text)}</title>" if short != text else ""
    return _text(short, _SIDE / 2, _SIDE + _LEGEND * 0.7, title)


def _text(text: str, x: float, y: float, title: str = "") -> str:
    style = 'font-family="sans-serif" font-size="11" text-anchor="middle" fill="#333333"'
    return f'<text x="{x:g}" y="{y:g}" {style}>{title}{_clean(text)}</text>'


def _clean(text: str) -> str:
    return escape(_NOT_IN_XML.sub("\ufffd", text)[:1000])
