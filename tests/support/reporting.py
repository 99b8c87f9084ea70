"""Files as the report sees them, domains that can be drawn or not, and a reader of pages."""

import math
import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np

from molgen.domain import Domain
from molgen.evaluation.evaluate import Figure
from molgen.metric import Better, Estimate
from molgen_cli.figures import Evaluated
from molgen_cli.report.page import page

HOSTILE = "<script>alert(1)</script>\"'&\0\u202e]]>-->.csv"


class Plain(Domain):
    """Words that cannot be drawn."""

    def examples(self):
        return ["a"]


class Drawn(Plain):
    """Words that are drawn as one line of text, without any care."""

    def draw(self, items, legends=None):
        return f'<svg xmlns="http://www.w3.org/2000/svg"><text>{" ".join(items)}</text></svg>'


class Broken(Plain):
    def draw(self, items, legends=None):
        raise RuntimeError("no <ink>")


class Elements(HTMLParser):
    """Elements of a page with their attributes and text; unbalanced tags are an error."""

    def __init__(self, text):
        super().__init__()
        self.open, self.found, self.texts = [], [], []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attributes):
        self.found.append((tag, dict(attributes)))
        if tag not in ("meta", "img", "wbr"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)

    def named(self, tag):
        return [attributes for name, attributes in self.found if name == tag]

    @property
    def text(self):
        return "".join(self.texts)


def figure(label, value=0.5, low=math.nan, high=math.nan, better=Better.HIGHER, **others):
    reference = label.partition("/")[2]
    return Figure(label, "a.metric", Estimate(value, low, high, 100), better, reference, **others)


def evaluated(name="samples", **changes):
    rng = np.random.default_rng(len(name))
    made = Evaluated(
        name,
        100,
        90,
        [figure("Valid", 0.9, 0.85, 0.95), figure("FCD/Test", 0.2, 0.1, 0.3, Better.LOWER)],
        ["CCO", "c1ccccc1"],
        {"size": rng.normal(size=90), "rings": rng.integers(0, 5, 90)},
        [("CCO", "CCO", 1.0), ("CCN", "CCC", 0.25)],
        [("c1ccccc1", 30), ("C1CC1", 20), ("C1CCC1", 1)],
        {"all": 1.5},
    )
    return replace(made, **changes)


def text_of(files, references=(), about=None, domain=None):
    return page(files, references, about or {}, domain or Drawn())


def row_of(text, label):
    """The cells of the row of a metric in the first table, as text."""
    found = re.search(rf'<tr><th scope="row">{re.escape(label)}.*?</tr>', text)
    return [re.sub("<[^>]*>", " ", cell).split() for cell in re.findall(r"<td.*?</td>", found[0])]
