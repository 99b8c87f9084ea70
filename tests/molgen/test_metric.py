"""What metrics share: portions, groups, means with intervals, packed strings."""

import math

import numpy as np
import pytest

from molgen.evaluation.intervals import GroupedMean, resampled, wilson, with_interval
from molgen.metric import GROUPS, Chunk, groups_of, pack_strings, undefined, unpack_strings


def rng():
    return np.random.default_rng(0)


# --- portions and groups --------------------------------------------------------------------------


def test_rows_and_groups_are_those_of_the_valid_rows():
    chunk = Chunk(10, np.array([True, False, True]), ["a", "b"], ["a", "b"])
    assert chunk.rows.tolist() == [10, 12]
    assert chunk.groups.tolist() == groups_of(np.array([10, 12])).tolist()


def test_take_keeps_rows_and_features_together():
    valid = np.array([True, False, True, True])
    features = {"number": np.array([1.0, 2.0, 3.0]), "words": [["a"], [], ["b", "c"]]}
    taken = Chunk(4, valid, ["x", "y", "z"], ["kx", "ky", "kz"], features, ["X", "Y", "Z"]).take([0, 2])
    assert taken.rows.tolist() == [4, 7]
    assert (taken.items, taken.keys, taken.raw) == (["x", "z"], ["kx", "kz"], ["X", "Z"])
    assert taken.features["number"].tolist() == [1, 3]
    assert taken.features["words"] == [["a"], ["b", "c"]]
    assert valid.sum() == 3


def test_take_nothing():
    taken = Chunk(0, np.array([True]), ["x"], ["x"], {"number": np.array([1.0])}).take([])
    assert not taken.valid.any()
    assert taken.features["number"].shape == (0,)


@pytest.mark.parametrize("step", [1, 2, 64, 1000])
def test_groups_are_even_however_a_file_is_sorted(step):
    counts = np.bincount(groups_of(np.arange(0, 64_000 * step, step)), minlength=GROUPS)
    assert len(counts) == GROUPS
    assert counts.min() > 900
    assert counts.max() < 1100


# --- intervals ------------------------------------------------------------------------------------


def test_resamples_draw_all_groups():
    weights = resampled(rng(), resamples=50)
    assert weights.shape == (50, GROUPS)
    assert (weights.sum(1) == GROUPS).all()


def test_the_interval_of_a_mean_is_that_of_the_textbook():
    numbers = rng().normal(5, 2, 20_000)
    mean = GroupedMean()
    mean.add(groups_of(np.arange(20_000)), numbers)
    found = mean.estimate(rng())
    assert found.value == pytest.approx(numbers.mean())
    side = 1.96 * numbers.std() / math.sqrt(20_000)
    assert found.high - found.value == pytest.approx(side, rel=0.3)
    assert found.value - found.low == pytest.approx(found.high - found.value)


def test_intervals_cover_the_truth_as_often_as_they_say():
    draws = np.random.default_rng(1)
    groups, covered = groups_of(np.arange(400)), 0
    for _ in range(100):
        mean = GroupedMean((0.0, 1.0))
        mean.add(groups, draws.random(400) < 0.9)
        found = mean.estimate(draws)
        covered += found.low <= 0.9 <= found.high
    assert covered >= 88


def test_portions_do_not_change_a_mean():
    numbers, groups = rng().random(100), groups_of(np.arange(100))
    whole, parts = GroupedMean(), GroupedMean()
    whole.add(groups, numbers)
    for start in range(0, 100, 7):
        parts.add(groups[start : start + 7], numbers[start : start + 7])
    assert parts.value == pytest.approx(whole.value, rel=1e-14)
    assert parts.count == whole.count == 100


def test_no_numbers_are_undefined():
    found = GroupedMean().estimate(rng(), nothing="no pair")
    assert math.isnan(found.value)
    assert (found.note, found.count) == ("no pair", 0)


def test_a_number_that_is_none_leaves_none():
    mean = GroupedMean((0.0, 1.0))
    mean.add(np.array([0, 1]), np.array([0.5, math.nan]))
    assert math.isnan(mean.estimate(rng()).value)


def test_intervals_keep_to_bounds():
    found = with_interval(0.1, lambda weights: float(weights[0]), rng(), 5, bounds=(0, 0.2), note="few")
    assert (found.low, found.high, found.count, found.note) == (0, 0.2, 5, "few")


def test_resamples_without_a_value_are_left_out():
    found = with_interval(1.0, lambda weights: 1.0 if weights[0] else math.nan, rng(), 5)
    assert (found.low, found.high) == (1, 1)
    found = with_interval(1.0, lambda weights: math.nan, rng(), 5)
    assert math.isnan(found.low)


def test_no_value_has_no_interval():
    found = with_interval(math.nan, lambda weights: float(weights[0]), rng(), 5)
    assert math.isnan(found.low)
    assert math.isnan(undefined("why").low)


def test_the_interval_of_a_share():
    assert wilson(0.5, 100) == pytest.approx((0.4038, 0.5962), abs=1e-4)
    assert wilson(1.0, 50) == pytest.approx((0.9287, 1.0), abs=1e-4)
    assert wilson(0.0, 50) == pytest.approx((0.0, 0.0713), abs=1e-4)


@pytest.mark.parametrize("number", [0.0, 0.3, 1.0])
def test_equal_numbers_have_an_interval_that_holds_them(number):
    mean = GroupedMean((0.0, 1.0))
    mean.add(groups_of(np.arange(20)), np.full(20, number))
    found = mean.estimate(rng())
    assert found.low <= found.value == pytest.approx(number)
    assert found.value <= found.high
    assert 0.1 < found.high - found.low < 0.45


# --- strings --------------------------------------------------------------------------------------


@pytest.mark.parametrize("strings", [[], [""], ["a"], ["", ""], ["a", "", "é\t"]])
def test_strings_survive_packing(strings):
    packed = pack_strings(strings)
    assert packed.dtype == np.uint8
    assert unpack_strings(packed) == strings
