"""Contact sheets of pictures."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from PIL import Image

from molgen.domain import Invalid, Item
from molgen_plugins.images.io.writing import data_uri
from molgen_plugins.images.raster import canonical
from molgen_plugins.media import sheets

#: Side of the square of an image, in pixels, and the most beside each other.
_SIDE, _COLUMNS = 96, 10
#: A larger picture is embedded at this size.
_EMBEDDED = 2 * _SIDE


def sheet(items: Sequence[Item | Invalid], legends: Sequence[str] | None = None) -> str:
    """Draw images in a grid, in their order, each above its legend if there are legends.

    A small picture is enlarged by a whole factor, so that its pixels stay squares. What is no image gets
    a cell that says why.

    Raises:
        ValueError: the number of legends is not the number of items.
    """
    cells = sheets.Cells("image", "images", _SIDE, _SIDE, _COLUMNS, canonical, _picture)
    return sheets.sheet(cells, items, legends)


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
