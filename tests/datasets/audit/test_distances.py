"""Distances, ties, shares and rates against values worked out by hand and by brute force."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import sparse
from sklearn.metrics import roc_auc_score

from molgen.domain import Record
from molgen_datasets.audit import closeness
from molgen_datasets.audit.exposure import exposure, exposures, regenerated
from molgen_datasets.audit.findings import shares_null
from molgen_datasets.audit.measure import Euclidean, Tanimoto, nearest, vectors
from molgen_datasets.audit.membership import log_ratios
from molgen_datasets.audit.rates import Curve, area, rate_at, told_apart
from molgen_datasets.audit.sets import sampled


def test_tanimoto_counts_bits_and_equal_fractions_are_equal():
    bits = np.array([[0b11110000], [0b11000000], [0b00001111], [0]], np.uint8)
    measure, (first, second) = vectors([bits, bits])
    assert isinstance(measure, Tanimoto)
    expected = [[0, 0.5, 1, 1], [0.5, 0, 1, 1], [1, 1, 0, 1], [1, 1, 1, 0]]
    assert measure.compare(first, second).tolist() == expected


def test_equal_numbers_are_at_no_distance_at_all():
    rng = np.random.default_rng(0)
    points = (1000 * rng.normal(size=(40, 700))).astype(np.float32)
    measure, (first, second) = vectors([points, points[:30]])
    assert isinstance(measure, Euclidean)
    found = nearest(measure, second, first)
    assert found.first.tolist() == [0.0] * 30
    others = [np.sort(np.linalg.norm(points.astype(float) - p, axis=1))[1] for p in points[:30].astype(float)]
    assert found.second == pytest.approx(others)


def test_cells_are_apart_by_range_class_and_gap():
    numbers = [{"n": float(n), "c": "a"} for n in range(20)]
    other = [{"n": 9.5, "c": "b"}, {"n": None, "c": "a"}]
    measure, (train, drawn) = vectors([numbers, other])
    found = measure.distance(measure.compare(drawn, train))
    assert found[0, 0] == pytest.approx(math.sqrt(1 + 0.25))  # half the range, and another class
    assert found[1, 0] == pytest.approx(1.0)  # a gap


def test_the_ratio_of_the_nearest_to_the_next_is_one_where_both_are_there():
    found = nearest(Euclidean(), np.array([[0.0], [4.0]], np.float32), np.array([[0.0], [0.0], [3.0]], np.float32))
    assert found.ratio.tolist() == [1.0, 0.25]


def compared(synthetic, training, holdout):
    sides = [np.asarray(side, np.float32).reshape(len(side), -1) for side in (synthetic, training, holdout)]
    return closeness.compare(Euclidean(), *sides, np.random.default_rng(0))


def test_closer_to_training_counts_ties_half():
    found = compared([0, 10, 20, 30], [0, 10, 99, 98], [10, 20, 97, 96])
    share = closeness.closer(found.tied, np.random.default_rng(0))
    assert share.estimate.value == (1 + 0.5 + 0 + 0) / 4  # 30 is nearer to 20
    assert found.to_training.first.tolist() == [0, 0, 10, 20]
    assert found.real_to_synthetic.tolist() == [0, 0, 69, 68, 0, 0, 67, 66]
    assert found.between.first.tolist() == [0, 10, 1, 2]


def test_the_null_of_closer_is_that_of_random_divisions():
    # One real item is the nearest of all synthetic ones: a division puts it on one side or the other.
    tied = sparse.csr_matrix(np.eye(1, 40).repeat(200, 0).astype(np.float32))
    share = closeness.closer(tied, np.random.default_rng(0))
    assert share.estimate.value == 1.0
    assert share.null == (0.0, 1.0)
    assert not share.above
    # Each real item is the nearest of five: the standard deviation is that of a sample without replacement.
    tied = sparse.csr_matrix(np.eye(400).repeat(5, 0).astype(np.float32))
    share = closeness.closer(tied, np.random.default_rng(0))
    assert share.estimate.value == 0.5
    assert share.null == (0.5, 0.5)
    chosen = np.random.default_rng(1).integers(400, size=400)
    share = closeness.closer(sparse.csr_matrix(np.eye(400)[chosen].astype(np.float32)), np.random.default_rng(0))
    counts = np.bincount(chosen, minlength=400)
    deviation = math.sqrt(200 / 2 * counts.var(ddof=1)) / 400
    assert share.null == pytest.approx((0.5 - 1.96 * deviation, 0.5 + 1.96 * deviation), abs=0.01)


def test_copies_are_above_chance_and_independent_draws_are_not():
    rng = np.random.default_rng(0)
    train, holdout, fresh = (rng.normal(size=(600, 5)) for _ in range(3))
    copy = train[rng.integers(600, size=500)] + 1e-3 * rng.normal(size=(500, 5))
    keys = np.arange(600, dtype=np.uint64)
    for drawn, own, remembered in ((copy, keys[:500], True), (fresh, keys + 2000, False)):
        one = closeness.section(compared(drawn, train, holdout), (own, keys + 1000, keys), None, rng)
        assert [found.above for found in one.findings] == [remembered] * 3
        assert "no proof of privacy" in one.words[0]


def test_area_and_rate_are_those_of_the_curve():
    rng = np.random.default_rng(0)
    members, others = np.round(rng.normal(0.7, 1, 300), 1), np.round(rng.normal(size=200), 1)
    counts = Curve.of(members, others).counted()
    labels = [1] * 300 + [0] * 200
    assert area(*counts) == pytest.approx(roc_auc_score(labels, np.concatenate([members, others])))
    assert rate_at(*counts) == (members > np.sort(others)[-3]).mean()  # two others may pass
    auc, rate = told_apart("it", np.append(members, np.nan), others, rng)
    assert auc.estimate.low < auc.estimate.value < auc.estimate.high
    assert (auc.above, auc.estimate.count) == (True, 500)
    assert auc.null == pytest.approx((0.5 - 0.0517, 0.5 + 0.0517), abs=1e-3)
    assert rate.label == "it: TPR at 1 % FPR"
    assert not told_apart("it", others, others, rng)[0].above
    assert math.isnan(told_apart("it", np.full(3, np.nan), others, rng)[0].estimate.value)


def test_ratios_of_distances_stay_finite():
    assert log_ratios(np.array([2.0, 0.0]), np.array([0.0, 1.0])).tolist() == [math.log(4), math.log(0.5)]
    assert log_ratios(np.zeros(2), np.zeros(2)).tolist() == [0.0, 0.0]


def test_exposure_is_the_rank_among_the_controls():
    controls = np.array([-float(n) for n in range(1, 8)])
    bits = exposures(np.array([0.0, -3.5, -9.0, -2.0]), controls)
    assert bits == pytest.approx([3.0, 1.0, 0.0, 3 - math.log2(2.5)])
    found = exposure(np.array([0.0] * 20), controls)
    assert (found.estimate.value, found.above) == (3.0, True)
    drawn = np.random.default_rng(0).normal(size=1000)
    assert not exposure(drawn[:200], drawn[200:]).above
    assert "represents no canary" in exposure(np.array([np.nan]), controls).estimate.note
    keys = np.arange(10, dtype=np.uint64)
    assert regenerated(keys[:4], keys[4:], np.array([1, 2, 50], np.uint64)).estimate.value == 0.5


def test_a_share_is_expected_around_that_of_others():
    low, high = shares_null(0.0, 100, 0.0, 100)
    assert (low, high) == (0.0, 0.0)
    assert shares_null(0.5, 400, 0.5, 400) == pytest.approx((0.5 - 0.0693, 0.5 + 0.0693), abs=1e-3)


def test_a_sample_is_a_function_of_the_seed_and_a_smaller_one_is_its_beginning():
    records = [Record(n, n) for n in range(20_000)]
    found, count = sampled(iter(records), 500, 0)
    assert (len({one.row for one in found}), count) == (500, 20_000)
    assert found[:50] == sampled(iter(records), 50, 0)[0]
    assert found != sampled(iter(records), 500, 1)[0]
    assert abs(np.mean([one.row for one in found]) - 10_000) < 1000
    assert len(sampled(iter(records[:30]), 500, 0)[0]) == 30


def test_what_a_model_thinks_impossible_is_no_member():
    members, others = np.array([-1.0, -2.0]), np.array([-np.inf, -np.inf, np.nan])
    assert [one.estimate.value for one in told_apart("it", members, others, np.random.default_rng(0))] == [1.0, 1.0]
    assert exposures(np.array([-np.inf, -3.0]), np.array([-np.inf, -np.inf, -4.0])) == pytest.approx(
        [2 - np.log2(3), 2]
    )


def test_the_null_of_a_rate_is_that_of_members_drawn_as_the_others():
    rng = np.random.default_rng(0)
    members, others = rng.normal(size=(4000, 200)), rng.normal(size=(4000, 150))
    rates = (members > np.sort(others, axis=1)[:, -2:-1]).mean(1)  # one of 150 may pass
    _, rate = told_apart("it", members[0], others[0], rng)
    assert rate.null == pytest.approx(np.quantile(rates, [0.025, 0.975]), abs=0.006)
