"""Contact sheets: many molecules in one self-contained SVG document."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from html import escape
from typing import Any

import numpy as np
from rdkit import Chem, rdBase
from rdkit.Chem import rdDepictor
from rdkit.Chem.Draw import rdMolDraw2D

from molgen.domain import Invalid
from molgen_plugins.molecules.chemistry.rdkit_io import parse
from molgen_plugins.molecules.geometry.conformer import Conformer
from molgen_plugins.molecules.io.stills import still

#: What is drawn in a cell.
Shown = Chem.Mol | Conformer | Invalid

#: More molecules are not drawn: the sheet says how many it leaves out.
MAX_CELLS = 60
#: Size of a drawing, height of its legend and space between cells, in pixels.
_WIDTH, _HEIGHT, _LEGEND, _GAP = 200, 150, 20, 10
_COLUMNS = 6
#: The most pixels of an ångström, of which a bond has 1.5, and the pixels around a molecule.
_LARGEST_SCALE, _MARGIN = 17.0, 20
#: Characters of a legend that fit below a drawing.
_FITTING = 30

_HEADER = re.compile(r"^.*?<!-- END OF HEADER -->", re.DOTALL)
_NOT_IN_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def sheet(items: Sequence[str | Invalid], legends: Sequence[str] | None = None) -> str:
    """Draw molecules in a grid, in their order, each above its legend.

    Those with positions are seen in space from two sides. What is no molecule gets a cell that says why.

    Raises:
        ValueError: the number of legends is not the number of items.
    """
    if legends is not None and len(legends) != len(items):
        raise ValueError(f"{len(legends)} legends for {len(items)} molecules")
    shown = [item if isinstance(item, Invalid | Conformer) else parse(item) for item in items[:MAX_CELLS]]
    columns = max(1, min(_COLUMNS, math.ceil(math.sqrt(len(shown)))))
    scale = _scale(shown)
    cells = [_cell(one, legends[i] if legends else "", scale, *_place(i, columns)) for i, one in enumerate(shown)]
    width = _GAP + columns * (_WIDTH + _GAP)
    height = _GAP + math.ceil(len(shown) / columns) * (_HEIGHT + _LEGEND + _GAP)
    if len(items) > len(shown):
        cells.append(_text(f"the first {len(shown)} of {len(items)}", width / 2, height + _LEGEND / 2))
        height += _LEGEND
    return _document(width, height, cells)


def _place(number: int, columns: int) -> tuple[int, int]:
    """The upper left corner of a cell."""
    row, column = divmod(number, columns)
    return _GAP + column * (_WIDTH + _GAP), _GAP + row * (_HEIGHT + _LEGEND + _GAP)


def _document(width: int, height: int, parts: Sequence[str]) -> str:
    head = f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}">'
    return "\n".join([head, f'<rect width="{width}" height="{height}" fill="#ffffff"/>', *parts, "</svg>", ""])


def _scale(molecules: Sequence[Shown]) -> float:
    """Pixels of a unit of length at which the largest molecule fits into its cell: one scale for a whole sheet."""
    scale = _LARGEST_SCALE
    for molecule in molecules:
        if isinstance(molecule, Invalid | Conformer):
            continue
        rdDepictor.Compute2DCoords(molecule)
        places = molecule.GetConformer().GetPositions()
        width, height = (float(size) for size in np.ptp(places[:, :2], axis=0))
        for size, room in ((width, _WIDTH), (height, _HEIGHT)):
            scale = min(scale, (room - 2 * _MARGIN) / max(size, 1.0))
    return scale


def _cell(shown: Shown, legend: str, scale: float, left: int, top: int) -> str:
    picture = _apology(shown.reason) if isinstance(shown, Invalid) else _shown(shown, scale)
    caption = _text(legend, _WIDTH / 2, _HEIGHT + _LEGEND * 0.7)
    return f'<g transform="translate({left} {top})">\n{picture}\n{caption}\n</g>'


def _shown(molecule: Chem.Mol | Conformer, scale: float) -> str:
    if not isinstance(molecule, Conformer):
        return _picture(molecule, scale)
    if not len(molecule.elements) or not np.isfinite(molecule.positions).all():
        return _apology("there are no positions")
    return still(molecule, _WIDTH, _HEIGHT)


def _picture(molecule: Chem.Mol, scale: float) -> str:
    """The drawing commands of one molecule without their document; unpaired electrons are dots."""
    drawer = rdMolDraw2D.MolDraw2DSVG(_WIDTH, _HEIGHT)
    options: Any = drawer.drawOptions()
    options.fixedBondLength = scale  # which RDKit takes for the pixels of an ångström
    options.includeRadicals = True
    with rdBase.BlockLogs():
        try:
            rdMolDraw2D.PrepareAndDrawMolecule(drawer, molecule)
        except (ValueError, RuntimeError):
            return _apology("cannot be drawn")
    drawer.FinishDrawing()
    return _HEADER.sub("", drawer.GetDrawingText(), count=1).replace("</svg>", "").strip()


def _apology(reason: str) -> str:
    frame = f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="none" stroke="#cccccc"/>'
    title, cause = _text("no molecule", _WIDTH / 2, _HEIGHT / 2 - 8), _text(reason, _WIDTH / 2, _HEIGHT / 2 + 8)
    return "\n".join([frame, title, cause])


def _text(text: str, x: float, y: float) -> str:
    clean = _NOT_IN_XML.sub("\ufffd", text)
    short = clean if len(clean) <= _FITTING else clean[: _FITTING - 1] + "…"
    style = 'font-family="sans-serif" font-size="11" text-anchor="middle" fill="#333333"'
    title = f"<title>{escape(clean[:1000])}</title>" if short != clean else ""
    return f'<text x="{x:g}" y="{y:g}" {style}>{title}{escape(short)}</text>'
