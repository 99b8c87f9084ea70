"""Contact sheets are one well-formed document without references, whatever stands in them."""

import base64
import re
from xml.etree import ElementTree

import numpy as np
import pytest

from molgen.domain import Invalid
from molgen_plugins.images.examples import digit, examples
from molgen_plugins.images.io.drawing import sheet
from molgen_plugins.images.raster import decoded, encoded
from molgen_plugins.media.sheets import MAX_CELLS

SVG = "{http://www.w3.org/2000/svg}"


def texts(document):
    return ["".join(text.itertext()) for text in ElementTree.fromstring(document).iter(f"{SVG}text")]


def cells(document):
    return ElementTree.fromstring(document).findall(f"{SVG}g")


def pictures(document):
    links = [image.get("href") for image in ElementTree.fromstring(document).iter(f"{SVG}image")]
    return [decoded(base64.b64decode(link.removeprefix("data:image/png;base64,"))) for link in links]


def test_each_image_has_its_cell_and_legend():
    document = sheet(examples(), [f"no {number}" for number in range(len(examples()))])
    assert texts(document) == [f"no {number}" for number in range(len(examples()))]
    assert len({cell.get("transform") for cell in cells(document)}) == len(examples())


def test_pixels_stay_squares():
    for image, shown in zip(examples(), pictures(sheet(examples())), strict=True):
        scale = shown.shape[0] // image.shape[0]
        assert np.array_equal(shown[::scale, ::scale], image)
        assert np.array_equal(shown, image.repeat(scale, 0).repeat(scale, 1))


def test_a_large_picture_is_embedded_small():
    wide = np.zeros((1000, 2000, 3), np.uint8)
    (shown,) = pictures(sheet([wide]))
    assert shown.shape == (96, 192, 3)
    line = np.zeros((1, 4000), np.uint8)
    assert pictures(sheet([line]))[0].shape == (1, 192)


def test_nothing_outside_the_document_is_referred_to():
    document = sheet(examples()).replace('xmlns="http://www.w3.org/2000/svg"', "")
    document = re.sub(r'href="data:image/png;base64,[A-Za-z0-9+/=]+"', "", document)
    assert not re.search(r"http|href|url\(|<script", document)


def test_what_is_no_image_says_why():
    document = sheet([b"", Invalid("row <3> is bad & long\0"), np.zeros((2, 2)), encoded(digit(1))])
    assert {"no image", "the file is", "empty"} <= set(texts(document))
    assert len(cells(document)) == 4
    assert len(pictures(document)) == 1


def test_legends_may_hold_anything():
    document = sheet([digit(0), digit(1)], ["<b>&\0\ud800\"'", "x" * 5000])
    assert len(cells(document)) == 2


def test_a_sheet_says_what_it_leaves_out():
    document = sheet([digit(0)] * (MAX_CELLS + 5))
    assert len(cells(document)) == MAX_CELLS
    assert texts(document) == [f"the first {MAX_CELLS} of {MAX_CELLS + 5}"]


def test_an_empty_sheet_is_a_document():
    assert ElementTree.fromstring(sheet([])).tag == f"{SVG}svg"


def test_every_image_has_a_legend_or_none_has():
    with pytest.raises(ValueError, match="1 legends for 2 images"):
        sheet([digit(0), digit(1)], ["one"])
