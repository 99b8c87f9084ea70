"""The score and the shares of classes against numbers by hand."""

import math

import numpy as np
import pytest
from support.measures import chunks, measured

from molgen.errors import MolgenError
from molgen.metrics.classes import ClassDistance, ClassScore, ClassShares

FEATURES = {"classes": lambda item: np.array(item, np.float32)}
SURE = [(1, 0, 0), (0, 1, 0), (0, 0, 1)]


def distance(items, reference, sizes=None):
    known = ClassShares()
    for chunk in chunks(reference, None, FEATURES):
        known.add(chunk)
    other = ClassShares()
    other.load(known.arrays())
    return measured(ClassDistance(reference=other), items, sizes, FEATURES)


def score(items, sizes=None):
    return measured(ClassScore(), items, sizes, FEATURES)


@pytest.mark.parametrize(
    ("items", "expected"),
    [
        (SURE * 4, 3),  # sure of each, all equally frequent
        ([SURE[0]] * 5, 1),  # one class only
        ([(0.5, 0.5, 0)] * 5, 1),  # never sure
        ([(1, 0, 0), (0, 1, 0)], 2),
        # entropies log 2 and 0, marginal (3/4, 1/4, 0)
        ([(0.5, 0.5, 0), (1, 0, 0)], math.exp(-0.75 * math.log(0.75) - 0.25 * math.log(0.25) - math.log(2) / 2)),
    ],
)
def test_the_score_by_hand(items, expected):
    assert score(items).value == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(
    ("items", "reference", "expected"),
    [
        (SURE, SURE * 2, 0),
        ([SURE[0]] * 3, [SURE[1]] * 4, 1),
        ([SURE[0], SURE[1]], SURE, 1 / 3),  # one class dropped
        ([(0.5, 0.5, 0)], [SURE[0], SURE[1]], 0),
    ],
)
def test_the_distance_by_hand(items, reference, expected):
    assert distance(items, reference).value == pytest.approx(expected, abs=1e-6)


def drawn(count, shares, seed=0):
    rng = np.random.default_rng(seed)
    return [SURE[k] for k in rng.choice(3, count, p=shares)]


def test_neither_order_nor_portions_matter():
    items = drawn(200, [0.5, 0.3, 0.2])
    first, second = score(items), score(items, sizes=[7, 0, 93, 100])
    assert first == second
    assert score(items[::-1]).value == pytest.approx(first.value, rel=1e-12)
    reference = drawn(300, [0.2, 0.3, 0.5], seed=1)
    assert distance(items, reference).value == pytest.approx(distance(items[::-1], reference, [50, 150]).value)


def test_the_intervals_hold_what_others_samples_give():
    shares = [0.5, 0.3, 0.2]
    reference = drawn(5000, [0.4, 0.3, 0.3], seed=1)
    scores = [score(drawn(300, shares, seed)) for seed in range(40)]
    distances = [distance(drawn(300, shares, seed), reference) for seed in range(40)]
    for found in (scores, distances):
        centre = np.mean([one.value for one in found])
        assert sum(one.low <= centre <= one.high for one in found) >= 32


def test_nothing_is_undefined_and_no_probabilities_are_an_error():
    assert "no valid item" in score([]).note
    assert "no item in the reference" in distance(SURE, []).note
    with pytest.raises(MolgenError, match="no probabilities"):
        score([(2, 0, 0)])
