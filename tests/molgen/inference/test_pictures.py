"""What a notebook shows of samples: pictures of the domain, in which nothing can run."""

import base64
import pickle
import re
import xml.etree.ElementTree as ET

import numpy as np
import pytest
from support.toys import Tokens

from molgen import registry
from molgen.config import Part
from molgen.inference.pictures import Rows, Samples
from molgen.inference.request import Row
from molgen.inference.score import Score
from molgen.model.generative_model import GenerativeModel

SHOWN = re.compile(r'<img alt="([^"]*)" src="data:image/svg\+xml;base64,([A-Za-z0-9+/=]+)">')


def drawing(html):
    """The text of the one image that is shown; nothing else is."""
    found = SHOWN.fullmatch(html)
    assert found is not None
    svg = base64.b64decode(found[2]).decode()
    ET.fromstring(svg)
    return svg


def domain(name):
    cls = registry.get("domain", name)
    return cls(cls.Config())


@pytest.mark.parametrize(
    ("name", "items"),
    [
        ("molecules", ["CCO", "c1ccccc1", "CCN"]),
        ("images", [np.full((4, 4, 1), level, np.uint8) for level in (0, 9, 99)]),
    ],
)
def test_a_notebook_shows_items_as_their_domain_draws_them(name, items):
    samples = Samples(items, domain(name))
    assert drawing(samples._repr_html_()) == samples.domain.draw(items)
    assert drawing(samples[1:]._repr_html_()) == samples.domain.draw(items[1:])
    assert samples[0] is items[0]


def test_rows_are_shown_with_their_densities_and_reasons():
    rows = Rows(
        [Row(0, "CCO", "OCC", Score(-12.345, "exact")), Row(1, None, "C(", Score(error='<script>alert(1)</script>"'))],
        domain("molecules"),
    )
    svg = drawing(rows._repr_html_())
    assert "-12.35" in svg or "-12.34" in svg
    assert "<script" not in svg


def test_nothing_that_a_domain_writes_reaches_the_page_itself():
    class Hostile(Tokens):
        def draw(self, items, legends=None):
            return f'<svg xmlns="http://www.w3.org/2000/svg"><text>"&gt;{len(items)}</text></svg>'

    assert "<svg" in drawing(Samples(["a", "b"], Hostile(None))._repr_html_())


def test_samples_are_a_list_that_can_be_stored():
    samples = Samples(["CCO", "C"], domain("molecules"))
    again = pickle.loads(pickle.dumps(samples))
    assert again == samples == ["CCO", "C"]
    assert again._repr_html_() == samples._repr_html_()


def test_what_is_not_drawn_is_shown_as_text():
    assert Samples(["a"], Tokens(None))._repr_html_() is None
    assert Samples([], domain("molecules"))._repr_html_() is None


def test_a_model_gives_samples_that_show_themselves():
    network = Part("recurrent", {"width": 4, "layers": 1, "embedding": 2})
    model = GenerativeModel("molecules.smiles", backbone=network)
    model.use(model.build())
    (one,) = model.sample(1)
    assert drawing(one._repr_html_()) == model.domain.draw([one.item])
    assert drawing(model.sample_rows(3, workers=1)._repr_html_())
    items = model.sample_items(2, workers=1)
    assert drawing(items._repr_html_()) == model.domain.draw(list(items))
