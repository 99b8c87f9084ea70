"""Items of which a part is drawn anew: what is kept, how large samples are, and what is refused."""

from typing import ClassVar

import numpy as np
import pytest
from support import toys

from molgen.domain import Extent, Invalid
from molgen.errors import UsageError
from molgen.model.filling import around


class Word(toys.Toy):
    """Words of up to six letters a and b, and two letters a second."""

    space: ClassVar = {"letters": toys.Categorical((toys.Axis("letter", 6),), classes=2)}

    def examples(self):
        return ["ab"]

    def encode(self, item):
        return {"letters": np.array(["ab".index(k) for k in item])} if item else Invalid("an empty word")

    def decode(self, sample):
        return "".join("ab"[k] for k in sample["letters"])


class Spoken(Word):
    def extents(self):
        edges = np.arange(7) / 2
        return {"time": Extent("letter", edges[:-1], edges[1:], "seconds")}


@pytest.mark.parametrize(
    ("fill", "kept", "size"),
    [
        ([(1, 3)], "x..x", 4),
        ([(1, 2), (3, 4)], "x.x.", 4),
        ([(2, None)], "xx..", None),
        ([(None, 1)], ".xxx", 4),
        ([(2, 6)], "xx..", 6),
        ([(9, None)], "xxxx", None),
        ([(4, 5)], "xxxx", 5),
    ],
)
def test_what_is_kept_of_a_row_and_how_long_it_is(fill, kept, size):
    part = around(Word(), "abba", {"letter": fill})
    assert "".join("x" if known else "." for known in part.given["letters"]) == kept
    assert part.sizes == ({} if size is None else {"letter": size})
    assert part.sample["letters"].tolist() == [0, 1, 1, 0]


def test_an_encoder_may_measure_its_places():
    part = around(Spoken(), "abba", {"time": [(0.6, 1.2)]})  # letters of half a second, of which 0.5 to 1.5 is touched
    assert part.given["letters"].tolist() == [True, False, False, True]


def test_directions_together_are_a_box():
    part = around(toys.Grid(), "000/111", {"row": [(0, 1)], "column": [(1, 3)]})
    assert part.given["pixels"].tolist() == [[True, False, False], [True, True, True]]
    assert part.sizes == {}


@pytest.mark.parametrize(
    ("fill", "item", "words"),
    [
        ({"row": [(0, 1)]}, "ab", "no direction 'row' to fill in along; known: letter \\(places\\)"),
        ({"letter": [(3, 3)]}, "ab", "nothing lies between letter 3 and 3"),
        ({"letter": [(0, None)]}, "ab", "nothing of the item would be kept"),
        ({"letter": [(None, 0)]}, "ab", "nothing would be drawn"),
        ({"letter": [(0, 1)]}, "", "cannot keep a part of the item: an empty word"),
    ],
)
def test_what_cannot_be_filled_in_says_why(fill, item, words):
    with pytest.raises(UsageError, match=words):
        around(Word(), item, fill)


def test_unordered_axes_are_no_directions():
    with pytest.raises(UsageError, match="known: none"):
        around(toys.Points(), (("H",), ((0.0, 0.0, 0.0),)), {"atom": [(0, 1)]})
