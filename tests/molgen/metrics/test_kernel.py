"""The kernel distance against numbers by hand and against the definition."""

import math
import random

import numpy as np
import pytest
from support.measures import chunks, measured

from molgen.errors import MolgenError
from molgen.metrics.kernel import KernelDistance
from molgen.metrics.sample import SampleConfig, Subsample

FEATURES = {"embedding": lambda item: np.array(item, np.float32)}


def rows(vectors):
    return [tuple(vector) for vector in np.asarray(vectors, np.float32).tolist()]


def value(items, reference, sizes=None, most=10_000):
    config = SampleConfig(most=most)
    known = Subsample(config)
    for chunk in chunks(reference, sizes, FEATURES):
        known.add(chunk)
    return measured(KernelDistance(config, known), items, sizes, FEATURES)


def definition(items, reference):
    def mean(first, second, same):
        values = [
            (np.dot(one, other) / len(one) + 1) ** 3
            for a, one in enumerate(first)
            for b, other in enumerate(second)
            if not (same and a == b)
        ]
        return np.mean(values)

    items, reference = np.asarray(items, np.float32).astype(float), np.asarray(reference, np.float32).astype(float)
    return mean(items, items, True) + mean(reference, reference, True) - 2 * mean(items, reference, False)


def samples(count=150, width=3, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(count, width)), rng.normal(size=(count - 20, width)) * 1.5 + 0.2


def test_by_hand():
    """Among 0, 1 the kernel is 1; among 1, 2 it is 27; across 1, 1, 8 and 27."""
    found = value(rows([[0], [1]]), rows([[1], [2]]))
    assert found.value == 1 + 27 - 2 * 37 / 4
    assert math.isnan(found.low)


def test_it_is_the_definition():
    items, reference = samples()
    found = value(rows(items), rows(reference))
    assert found.value == pytest.approx(definition(items, reference), rel=1e-9)
    assert found.low < found.value < found.high
    assert found.count == 150


def test_it_is_what_random_subsets_average_to():
    items, reference = samples(60)
    rng = np.random.default_rng(0)
    drawn = [definition(rng.permutation(items)[:10], rng.permutation(reference)[:10]) for _ in range(300)]
    error = np.std(drawn, ddof=1) / math.sqrt(len(drawn))
    assert abs(np.mean(drawn) - value(rows(items), rows(reference)).value) < 4 * error


def test_equal_distributions_give_about_zero_whatever_the_number():
    rng = np.random.default_rng(0)
    found = [value(rows(rng.normal(size=(80, 2))), rows(rng.normal(size=(300, 2)))) for _ in range(20)]
    assert sum(one.low <= 0 <= one.high for one in found) >= 16
    assert min(one.value for one in found) < 0 < max(one.value for one in found)


def test_the_interval_is_as_wide_as_the_values_of_other_samples_spread():
    rng = np.random.default_rng(0)
    reference = rows(rng.normal(size=(300, 2)))
    found = [value(rows(rng.normal(size=(150, 2)) * 1.5), reference) for _ in range(40)]
    spread = np.std([one.value for one in found], ddof=1)
    width = np.mean([one.high - one.low for one in found]) / (2 * 1.96)
    assert 0.6 < width / spread < 1.6


def test_portions_order_and_invalid_rows_do_not_matter():
    items, reference = (rows(side) for side in samples(120))
    whole = value(items, reference)
    parts = value(items, reference, [1, 50, 0, 69])
    assert (parts.value, parts.low, parts.high) == pytest.approx((whole.value, whole.low, whole.high), rel=1e-12)
    assert value(random.Random(1).sample(items, 120), reference).value == pytest.approx(whole.value, rel=1e-10)
    assert value([None, *items, None], reference).value == pytest.approx(whole.value, rel=1e-10)


def test_large_sets_are_sampled_and_that_is_noted():
    items, reference = (rows(side) for side in samples(150))
    found = value(items, reference, most=40)
    assert found.count == 40
    assert found.note == "a sample of 40 of 150 items"


@pytest.mark.parametrize(
    ("items", "reference", "reason"),
    [
        ([], [[0], [2]], "fewer than 2 valid items"),
        ([[1]], [[0], [2]], "fewer than 2 valid items"),
        ([[1], [2]], [[0]], "fewer than 2 items in the reference"),
    ],
)
def test_too_few_items_have_no_distance(items, reference, reason):
    found = value(rows(items) if items else [None], rows(reference))
    assert math.isnan(found.value)
    assert found.note == reason


def test_features_of_another_width_are_an_error():
    with pytest.raises(MolgenError, match="1 features against 2 of the reference"):
        value(rows([[3], [7]]), rows([[0, 1], [2, 1]]))
