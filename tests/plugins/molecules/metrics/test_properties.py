"""Wasserstein distances by hand."""

import math
import random

import numpy as np
import pytest
from support.measures import chunks, measured

from molgen.metric import Chunk
from molgen_plugins.molecules.chemistry.features import FEATURES
from molgen_plugins.molecules.metrics.properties import PropertyConfig, PropertyDistance, Values

#: Items are their own values; NaN stands for one that cannot be computed.
FEATURE = {"logp": float, "mw": lambda item: 10.0 * item}


def summary(rows, name="logp"):
    made, loaded = Values(PropertyConfig(name)), Values(PropertyConfig(name))
    for chunk in chunks(rows, [len(rows) // 2, len(rows) - len(rows) // 2], FEATURE):
        made.add(chunk)
    loaded.load(made.arrays())
    return loaded


def value(rows, reference, name="logp", sizes=None):
    return measured(PropertyDistance(PropertyConfig(name), summary(reference, name)), rows, sizes, FEATURE)


@pytest.mark.parametrize(
    ("rows", "reference", "expected"),
    [
        ([1, 2, 3], [2, 3, 4], 1.0),  # all by one
        ([0, 1], [0, 0, 1], 1 / 6),  # a sixth of the mass by one
        ([5], [1, 2], 3.5),
        ([1, None, 2], [2, 1, 1, 2], 0.0),
    ],
)
def test_by_hand(rows, reference, expected):
    found = value(rows, reference)
    assert found.value == pytest.approx(expected, abs=1e-12)
    assert found.count == sum(row is not None for row in rows)


def test_units_are_those_of_the_property():
    assert value([1, 2], [2, 3], "mw").value == pytest.approx(10.0)
    assert PropertyDistance.needed(PropertyConfig("mw")) == ("mw",)
    assert Values.name(PropertyConfig("mw")) != Values.name(PropertyConfig("sa"))


def test_portions_and_order_do_not_matter():
    rng = np.random.default_rng(0)
    rows, reference = rng.normal(size=200).tolist(), rng.normal(0.1, size=300).tolist()
    whole = value(rows, reference)
    assert value(rows, reference, sizes=[50, 0, 149, 1]) == whole
    shuffled = value(random.Random(0).sample(rows, 200), random.Random(1).sample(reference, 300))
    assert shuffled.value == pytest.approx(whole.value, rel=1e-12)
    assert whole.low < whole.value < whole.high


def test_the_interval_is_about_the_standard_error():
    """Shifted by 5, the distance is the difference of means."""
    rng = np.random.default_rng(0)
    rows, reference = rng.normal(size=2000).tolist(), rng.normal(5, size=5000).tolist()
    found = value(rows, reference)
    assert (found.high - found.low) / (2 * 1.96) == pytest.approx(1 / math.sqrt(2000), rel=0.3)


def test_what_cannot_be_computed_is_left_out_and_told():
    found = value([1, math.nan, 2, math.inf], [1, 2, math.nan])
    assert (found.value, found.count) == (0, 2)
    assert found.note == "2 valid items without a value are left out"


@pytest.mark.parametrize(
    ("rows", "reference", "note"),
    [([], [1], "no valid item"), ([None], [1], "no valid item"), ([1], [], "no value in the reference")],
)
def test_an_empty_side_is_undefined(rows, reference, note):
    found = value(rows, reference)
    assert math.isnan(found.value)
    assert found.note == note


def test_a_portion_without_valid_rows_adds_nothing():
    empty, known = Chunk(0, np.zeros(3, bool), [], []), summary([1, 2])
    known.add(empty)
    metric = PropertyDistance(PropertyConfig(), known)
    metric.add(empty)
    assert metric.estimate(np.random.default_rng(0)).note == "no valid item"


def test_one_item_has_no_interval():
    found = value([1], [3])
    assert found.value == 2
    assert math.isnan(found.low)


def test_the_properties_of_the_benchmark_are_features():
    assert {"logp", "sa", "qed", "mw"} <= set(FEATURES)
