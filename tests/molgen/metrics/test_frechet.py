"""The Fréchet distance against numbers by hand and against the definition."""

import math
import random

import numpy as np
import pytest
from scipy.linalg import sqrtm
from support.measures import chunks, measured

from molgen.errors import MolgenError
from molgen.evaluation.intervals import jackknife_error, normal_interval
from molgen.metrics.frechet import FEWEST_FOLDS, FrechetDistance, Moments, Normal
from molgen.metrics.sample import FeatureConfig

FEATURES = {"embedding": lambda item: np.array(item, np.float32)}


def rows(vectors):
    return [tuple(vector) for vector in np.asarray(vectors, np.float32).tolist()]


def moments_of(items, sizes=None):
    made = Moments()
    for chunk in chunks(items, sizes, FEATURES):
        made.add(chunk)
    loaded = Moments()
    loaded.load(made.arrays())
    return loaded


def value(items, reference, sizes=None):
    return measured(FrechetDistance(None, moments_of(reference, sizes)), items, sizes, FEATURES)


def definition(first, second):
    first, second = np.asarray(first, np.float64), np.asarray(second, np.float64)
    means, covariances = (first.mean(0), second.mean(0)), (np.cov(first.T), np.cov(second.T))
    root = np.trace(sqrtm(covariances[0] @ covariances[1]).real)
    return ((means[0] - means[1]) ** 2).sum() + np.trace(covariances[0]) + np.trace(covariances[1]) - 2 * root


def samples(count=400, width=6, seed=0):
    rng = np.random.default_rng(seed)
    mixing = rng.normal(size=(width, width))
    return rng.normal(size=(count, width)) @ mixing, rng.normal(size=(count, width)) @ mixing * 1.2 + 0.3


# --- the value ------------------------------------------------------------------------------------


def test_by_hand_in_one_dimension():
    """Means 5 and 1, variances 8 and 2: 16 + 8 + 2 - 2 * 4."""
    assert value(rows([[3], [7]]), rows([[0], [2]])).value == pytest.approx(18, rel=1e-12)


def test_by_hand_in_two_dimensions():
    """Variances (2, 8) and (8, 2) without covariance, the same mean: 20 - 2 * (4 + 4)."""
    first = [[1, 0], [-1, 0], [0, 2], [0, -2]]
    second = [[2, 0], [-2, 0], [0, 1], [0, -1]]
    assert value(rows(first), rows(second)).value == pytest.approx((20 - 16) / 3, rel=1e-12)


def test_it_is_the_definition():
    items, reference = samples()
    found = value(rows(items), rows(reference))
    assert found.value == pytest.approx(definition(items.astype("f4"), reference.astype("f4")), rel=1e-9)
    assert found.low < found.value < found.high
    assert found.count == 400
    assert found.note == ""


def test_fewer_items_than_features_are_the_definition_too_and_noted():
    items, reference = samples(8, 12)
    found = value(rows(items), rows(reference))
    assert found.value == pytest.approx(definition(items.astype("f4"), reference.astype("f4")), rel=1e-5)
    assert found.note == "no more items than 12 features, which raises the value"


def test_a_set_is_at_no_distance_from_itself():
    items, _ = samples()
    found = value(rows(items), rows(items))
    assert found.value == pytest.approx(0, abs=1e-10)
    assert 0 <= found.low <= found.value <= found.high


def test_portions_order_and_invalid_rows_do_not_matter():
    items, reference = (rows(side) for side in samples())
    whole = value(items, reference)
    parts = value(items, reference, [1, 150, 0, 249])
    assert parts.value == pytest.approx(whole.value, rel=1e-10)
    assert (parts.low, parts.high) == pytest.approx((whole.low, whole.high), rel=1e-8)
    shuffled = random.Random(1).sample(items, len(items))
    assert value(shuffled, reference).value == pytest.approx(whole.value, rel=1e-10)
    gaps = measured(FrechetDistance(None, moments_of(reference)), [None, *items, None], [1, 401], FEATURES)
    assert gaps.value == pytest.approx(whole.value, rel=1e-10)


def test_repeated_items_count_each_time():
    assert value(rows([[3], [7], [7]]), rows([[0], [2]])).value == pytest.approx(definition_1d([3, 7, 7], [0, 2]))


def definition_1d(first, second):
    spread = np.std(first, ddof=1) - np.std(second, ddof=1)
    return (np.mean(first) - np.mean(second)) ** 2 + spread**2


@pytest.mark.parametrize(
    ("items", "reference", "reason"),
    [
        ([], [[0], [2]], "fewer than 2 valid items"),
        ([None], [[0], [2]], "fewer than 2 valid items"),
        ([[1]], [[0], [2]], "fewer than 2 valid items"),
        ([[1], [2]], [[0]], "fewer than 2 items in the reference"),
        ([[1], [2]], [], "fewer than 2 items in the reference"),
    ],
)
def test_too_few_items_have_no_distance(items, reference, reason):
    items = [None if item is None else tuple(item) for item in items]
    found = value(items, rows(reference) if reference else [])
    assert math.isnan(found.value)
    assert found.note == reason


def test_two_items_have_a_distance_without_an_interval():
    found = value(rows([[3], [7]]), rows([[0], [2]]))
    assert math.isnan(found.low)
    assert math.isnan(found.high)


def test_features_of_another_width_are_an_error():
    with pytest.raises(MolgenError, match="1 features against 2 of the reference"):
        value(rows([[3], [7]]), rows([[0, 1], [2, 1]]))


def test_features_that_are_not_finite_are_an_error():
    with pytest.raises(MolgenError, match="the feature embedding of an item is not finite"):
        value(rows([[3], [math.nan]]), rows([[0], [2]]))


def test_features_of_any_shape_are_vectors():
    grid = {"embedding": lambda item: np.array(item, np.float32).reshape(2, 3)}
    items, reference = (rows(side) for side in samples())
    found = measured(FrechetDistance(None, moments_of(reference)), items, None, grid)
    assert found.value == pytest.approx(value(items, reference).value, rel=1e-12)


def test_another_feature_can_be_named():
    config = FeatureConfig("colour", 100)
    assert FrechetDistance.needed(config) == Moments.needed(config) == ("colour",)
    assert Moments.name(config) == "moments-colour"
    features = {"colour": FEATURES["embedding"]}
    reference = Moments(config)
    for chunk in chunks(rows([[0], [2]]), features=features):
        reference.add(chunk)
    found = measured(FrechetDistance(config, reference), rows([[3], [7]]), None, features)
    assert found.value == pytest.approx(18)


# --- moments --------------------------------------------------------------------------------------


def test_moments_far_from_zero_lose_nothing():
    items = np.random.default_rng(0).normal(size=(500, 3)) * [1, 0.1, 10] + 1e6
    made = Moments()
    for start in range(0, 500, 37):
        made.include(items[start : start + 37])
    assert made.count == 500
    assert made.mean == pytest.approx(items.mean(0), rel=1e-14)
    assert made.covariance == pytest.approx(np.cov(items.T), rel=1e-7)


def test_moments_of_parts_merge():
    items, _ = samples()
    whole, left, right = Moments(), Moments(), Moments()
    for made, part in ((whole, items), (left, items[:100]), (right, items[100:])):
        made.include(part)
    left.merge(right)
    left.merge(Moments())
    assert left.count == whole.count
    assert left.mean == pytest.approx(whole.mean)
    assert left.covariance == pytest.approx(whole.covariance)


def test_merging_leaves_the_other_as_it_was():
    items, _ = samples()
    one, total = Moments(), Moments()
    one.include(items[:10])
    before = one.scatter.copy()
    total.merge(one)
    total.include(items[10:])
    assert np.array_equal(one.scatter, before)


def test_the_square_root_of_a_singular_covariance():
    """All of one distribution on a line: the distance is that on the line, and the other's spread beside it."""
    line, plane = np.diag([4.0, 0.0]), np.diag([1.0, 9.0])
    assert Normal(np.zeros(2), line).distance(np.zeros(2), plane) == pytest.approx((2 - 1) ** 2 + 9)
    assert Normal(np.zeros(2), plane).distance(np.zeros(2), line) == pytest.approx((2 - 1) ** 2 + 9)


# --- the interval ---------------------------------------------------------------------------------


def test_the_jackknife_of_a_mean_is_its_standard_error():
    numbers = np.random.default_rng(0).normal(size=40)
    error = jackknife_error(lambda left_out: float(np.delete(numbers, left_out).mean()), range(40))
    assert error == pytest.approx(numbers.std(ddof=1) / math.sqrt(40), rel=1e-9)


def test_one_group_has_no_error():
    assert math.isnan(jackknife_error(lambda left_out: 1.0, [3]))
    assert math.isnan(jackknife_error(lambda left_out: math.nan, [3, 4]))
    assert math.isnan(normal_interval(1.0, math.nan, 5).low)


def test_bounds_hold():
    found = normal_interval(0.1, 1.0, 5, (0.0, 1.0), "so")
    assert (found.low, found.high, found.count, found.note) == (0.0, 1.0, 5, "so")


def test_the_interval_is_as_wide_as_the_values_of_other_samples_spread():
    rng = np.random.default_rng(0)
    reference = moments_of(rows(rng.normal(size=(2000, 4))))
    found = [
        measured(FrechetDistance(None, reference), rows(rng.normal(size=(300, 4)) * 1.3), None, FEATURES)
        for _ in range(30)
    ]
    spread = np.std([one.value for one in found], ddof=1)
    width = np.mean([one.high - one.low for one in found]) / (2 * 1.96)
    assert 0.7 < width / spread < 1.5


def test_wide_features_have_fewer_groups():
    reference = Moments()
    reference.include(np.zeros((2, 2048)))
    assert len(FrechetDistance(None, reference)._folds) == FEWEST_FOLDS
