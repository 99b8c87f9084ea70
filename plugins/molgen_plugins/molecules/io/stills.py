"""Still pictures of molecules in space: balls and sticks from two sides, as parts of an SVG document.

What is in front hides what is behind, and what is behind is paler. Letters in shapes: N atoms.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np
from rdkit import Chem

from molgen_plugins.molecules.geometry.conformer import Conformer
from molgen_plugins.molecules.geometry.perception import orders_by_length

#: The usual colours of elements (Corey, Pauling and Koltun), and that of all others.
_COLOURS: Mapping[int, str] = {
    **{1: "#f2f2f2", 5: "#f7b58b", 6: "#505050", 7: "#3b5bd6", 8: "#e0352b", 9: "#7ac943", 14: "#d9b98a"},
    **{15: "#f08a1d", 16: "#e6c229", 17: "#2ea836", 34: "#f0a030", 35: "#9c3b26", 53: "#7a2fa0"},
}
_OTHER = "#d45fb0"
#: Balls are this part of the covalent radius, sticks this wide, and parallel ones this far apart, in ångström.
_BALL, _STICK, _APART = 0.42, 0.13, 0.19
#: The most pixels of an ångström, and how pale the atom farthest behind is.
_LARGEST_SCALE, _HAZE = 26.0, 0.45
#: Pixels around a picture, on both sides together.
_ROOM = 16


class _Part(NamedTuple):
    depth: float
    text: str


def still(conformer: Conformer, width: float, height: float) -> str:
    """Two views of a molecule side by side: with its longest extents in the plane, and turned by 90 degrees.

    Both have one scale, which lets the molecule fit into the given pixels.
    """
    places = _along_axes(conformer.positions)
    radii = np.array([Chem.GetPeriodicTable().GetRcovalent(int(number)) for number in conformer.elements]) * _BALL
    margin = 2 * float(radii.max())
    extents = np.ptp(places, axis=0) + margin
    # the two views, a gap of an ångström between them, and a little room around
    scale = min(_LARGEST_SCALE, (width - _ROOM) / (extents[0] + extents[2] + 1.0), (height - _ROOM) / extents[1])
    middle = (width - scale) * extents[0] / (extents[0] + extents[2])
    bonds = conformer.bonds
    if bonds is None:
        bonds = orders_by_length(conformer.elements, conformer.positions)
    front = _view(conformer, places, radii, bonds, scale, (middle / 2, height / 2))
    side = np.stack([-places[:, 2], places[:, 1], places[:, 0]], axis=1)
    return front + _view(conformer, side, radii, bonds, scale, ((middle + scale + width) / 2, height / 2))


def _along_axes(positions: np.ndarray) -> np.ndarray:
    """The positions around their mean along their principal axes, the longest first; handedness stays."""
    centred = positions - positions.mean(axis=0)
    axes = np.linalg.svd(centred, full_matrices=True)[2]
    # of the two directions of an axis the one in which the first atom off the middle lies, whatever the library says
    for axis in axes:
        along = centred @ axis
        axis *= np.sign(along[np.argmax(np.abs(along) > 1e-6)]) or 1.0
    axes[2] *= np.sign(np.linalg.det(axes)) or 1.0
    return centred @ axes.T


def _view(
    conformer: Conformer,
    places: np.ndarray,
    radii: np.ndarray,
    bonds: np.ndarray,
    scale: float,
    centre: tuple[float, float],
) -> str:
    """The molecule as it is seen along the third axis, from its positive end."""
    depths = places[:, 2]
    span = max(float(np.ptp(depths)), 1e-6)
    haze = _HAZE * (depths.max() - depths) / span if span > 0.5 else np.zeros(len(depths))
    colours = [
        _paler(_COLOURS.get(int(number), _OTHER), float(h)) for number, h in zip(conformer.elements, haze, strict=True)
    ]
    flat = places[:, :2] * [scale, -scale] + list(centre)
    parts = [*_balls(flat, depths, radii * scale, colours), *_sticks(flat, places, bonds, scale, colours)]
    return "\n".join(part.text for part in sorted(parts))


def _balls(flat: np.ndarray, depths: np.ndarray, radii: np.ndarray, colours: list[str]) -> Iterator[_Part]:
    for (x, y), depth, radius, colour in zip(flat.tolist(), depths.tolist(), radii.tolist(), colours, strict=True):
        ball = (
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius:.1f}" fill="{colour}" stroke="#2a2a2a" stroke-width=".5"/>'
        )
        x, y, radius = x - radius / 3, y - radius / 3, radius / 4
        light = f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius:.1f}" fill="#fff" opacity=".5"/>'
        yield _Part(depth, ball + light)


def _sticks(
    flat: np.ndarray, places: np.ndarray, bonds: np.ndarray, scale: float, colours: list[str]
) -> Iterator[_Part]:
    """Each bond as two halves in the colours of its ends, just behind the middle of each."""
    for i, j in np.argwhere(np.triu(bonds, 1)).tolist():
        middle, depth = (flat[i] + flat[j]) / 2, (places[i, 2] + places[j, 2]) / 2
        across = _across(flat[j] - flat[i])
        order = int(bonds[i, j])
        for line in range(order):
            shift = across * (line - (order - 1) / 2) * _APART * scale
            for end in (i, j):
                (x1, y1), (x2, y2) = flat[end] + shift, middle + shift
                half = f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colours[end]}"'
                width = _STICK * scale * (1.0 if order == 1 else 0.75)
                yield _Part((places[end, 2] + depth) / 2 - 1e-3, f'{half} stroke-width="{width:.1f}"/>')


def _across(direction: np.ndarray) -> np.ndarray:
    length = float(np.linalg.norm(direction))
    return np.array([-direction[1], direction[0]]) / length if length > 1e-9 else np.array([1.0, 0.0])


def _paler(colour: str, part: float) -> str:
    """A colour with so much white in it."""
    values = (int(colour[place : place + 2], 16) for place in (1, 3, 5))
    return "#" + "".join(f"{round(value + (255 - value) * part):02x}" for value in values)
