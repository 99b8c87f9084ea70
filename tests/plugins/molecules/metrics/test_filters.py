"""The share of molecules that pass, by hand."""

import math
import random

import numpy as np
import pytest
from support.measures import measured

from molgen.metric import Chunk
from molgen_plugins.molecules.chemistry.features import FEATURES
from molgen_plugins.molecules.metrics.filters import Filters

PASSES = {"a": True, "b": False, "c": True}
ROWS = ["a", None, "b", "a", "c", None]


def value(rows, sizes=None):
    return measured(Filters(), rows, sizes, {"passes": PASSES.get})


def test_by_hand():
    found = value(ROWS)
    assert (found.value, found.count) == (3 / 4, 4)
    assert 0 <= found.low < found.value < found.high <= 1


def test_portions_and_order_do_not_matter():
    assert value(ROWS, [1, 3, 0, 2]) == value(ROWS)
    assert value(random.Random(0).sample(ROWS, len(ROWS))).value == 3 / 4


@pytest.mark.parametrize("rows", [[], [None], [None, None]])
def test_nothing_valid_is_undefined(rows):
    found = value(rows)
    assert math.isnan(found.value)
    assert found.note == "no valid item"


def test_a_portion_without_valid_rows_adds_nothing():
    metric = Filters()
    metric.add(Chunk(0, np.zeros(3, bool), [], []))
    assert math.isnan(metric.estimate(np.random.default_rng(0)).value)


def test_the_feature_is_that_of_the_filters():
    assert Filters.needs == ("passes",)
    assert "passes" in FEATURES
