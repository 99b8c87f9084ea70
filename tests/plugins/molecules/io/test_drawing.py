"""Contact sheets are one well-formed document without references, whatever stands in them."""

import math
import re
from xml.etree import ElementTree

import numpy as np
import pytest
from support.geometries import conformers

from molgen.domain import Invalid
from molgen_plugins.molecules.domain import EXAMPLES
from molgen_plugins.molecules.geometry.conformer import Conformer
from molgen_plugins.molecules.io.drawing import MAX_CELLS, sheet
from molgen_plugins.molecules.io.stills import still

SVG = "{http://www.w3.org/2000/svg}"


def texts(document):
    return ["".join(text.itertext()) for text in ElementTree.fromstring(document).iter(f"{SVG}text")]


def cells(document):
    return ElementTree.fromstring(document).findall(f"{SVG}g")


def test_each_molecule_has_its_cell_and_legend():
    document = sheet(EXAMPLES, [f"molecule {number}" for number in range(len(EXAMPLES))])
    assert len(cells(document)) == len(EXAMPLES)
    assert [text for text in texts(document) if text.startswith("molecule")][-1] == f"molecule {len(EXAMPLES) - 1}"
    assert len({cell.get("transform") for cell in cells(document)}) == len(EXAMPLES)


def test_nothing_outside_the_document_is_referred_to():
    document = sheet(EXAMPLES).replace('xmlns="http://www.w3.org/2000/svg"', "")
    assert not re.search(r"http|href|url\(|<image|<script", document)


def test_what_is_no_molecule_says_why():
    document = sheet(["C1CC", Invalid("row <3> is bad & long")])
    assert {"no molecule", "unclosed ring 1", "row <3> is bad & long"} <= set(texts(document))


def test_legends_may_hold_anything():
    document = sheet(["CC", "CO"], ["<b>&\0\ud800\"'", "x" * 5000])
    assert len(cells(document)) == 2


def test_a_sheet_says_what_it_leaves_out():
    document = sheet(["CCO"] * (MAX_CELLS + 5))
    assert len(cells(document)) == MAX_CELLS
    assert f"the first {MAX_CELLS} of {MAX_CELLS + 5}" in texts(document)


def test_an_empty_sheet_is_a_document():
    assert ElementTree.fromstring(sheet([])).tag == f"{SVG}svg"


def test_every_molecule_has_a_legend_or_none_has():
    with pytest.raises(ValueError, match="1 legends for 2 molecules"):
        sheet(["C", "O"], ["one"])


def _bonds(svg):
    """The lengths of the straight lines of each cell."""
    cells = svg.split("<g transform")[1:]
    paths = [re.findall(r"d='M ([\d.]+),([\d.]+) L ([\d.]+),([\d.]+)'", cell) for cell in cells]
    return [[math.hypot(float(a) - float(c), float(b) - float(d)) for a, b, c, d in found] for found in paths]


def test_a_sheet_has_one_scale():
    small, large = _bonds(sheet(["CCC", "C" * 24]))
    assert max(small) == pytest.approx(max(large), rel=0.02)
    (alone,) = _bonds(sheet(["CCC"]))
    assert max(alone) > 1.3 * max(small)


def test_unpaired_electrons_are_drawn():
    radical, closed = sheet(["C[CH]C"]), sheet(["CCC"])
    assert len(re.findall("<path|<ellipse|<circle", radical)) > len(re.findall("<path|<ellipse|<circle", closed))


def test_molecules_in_space_are_seen_from_two_sides():
    shown = conformers()[:2]
    document = sheet([*shown, "CCO"], ["a", "b", "c"])
    balls = [len(cell.findall(f"{SVG}circle")) for cell in cells(document)]
    assert balls == [*(2 * 2 * len(one.elements) for one in shown), 0]  # each with its light
    assert len(cells(document)[0].findall(f"{SVG}line")) == 2 * 2 * 7  # halves of six bonds, one of them double


def test_a_still_does_not_depend_on_how_the_molecule_lies_and_fits_into_its_cell():
    conformer = conformers()[9]
    turned = Conformer(conformer, conformer.elements, conformer.positions @ TURN + 7, bonds=conformer.bonds)
    first, second = (numbers(still(one, 200, 150)) for one in (conformer, turned))
    assert first == pytest.approx(second, abs=0.11)
    places = [float(value) for value in re.findall(r'c?[xy]\d?="([-\d.]+)"', still(conformer, 200, 150))]
    assert 0 <= min(places) <= max(places) <= 200


def test_atoms_without_positions_are_no_picture():
    assert {"no molecule", "there are no positions"} <= set(texts(sheet([Conformer("", [], np.zeros((0, 3)))])))


#: A rotation by a right angle.
TURN = [[0, 1, 0], [-1, 0, 0], [0, 0, 1]]


def numbers(text):
    return sorted(float(value) for value in re.findall(r'="([-\d.]+)"', text))
