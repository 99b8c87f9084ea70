"""Precision, recall, density and coverage against numbers by hand and against the definitions."""

import math
import random

import numpy as np
import pytest
from support.measures import chunks, measured

from molgen.metrics import manifold
from molgen.metrics.manifold import Coverage, Density, DensityConfig, Precision, PrecisionConfig, Recall
from molgen.metrics.sample import SampleConfig, Subsample

FEATURES = {"embedding": lambda item: np.array(item, np.float32)}
ALL = [Precision, Recall, Density, Coverage]
#: On a line, with balls that reach to the nearest other item: 1, 1, 2, 4, 0.5, 0.5 around the reference and
#: 3.5, 1, 0.25, 0.25, 0.25, 1 around the items. The item 5 is on the surface of the ball around 3.
REFERENCE, ITEMS = [0, 1, 3, 7, 20, 20.5], [0.5, 5, 12, 12.5, 12.25, 4]
BY_HAND = [3 / 6, 3 / 6, (2 + 2 + 2) / 6, 4 / 6]


@pytest.fixture(autouse=True)
def _nothing_kept():
    manifold.overlap.cache_clear()
    manifold._neighbours.cache_clear()


def rows(vectors):
    return [tuple(np.atleast_1d(vector).tolist()) for vector in np.asarray(vectors, np.float32)]


def value(cls, items, reference, sizes=None, neighbours=None, most=10_000):
    config = cls.Config(most=most, neighbours=neighbours) if neighbours else cls.Config(most=most)
    known = Subsample(SampleConfig(most=most))
    for chunk in chunks(reference, sizes, FEATURES):
        known.add(chunk)
    return measured(cls(config, known), items, sizes, FEATURES)


def definitions(items, reference, k):
    """Straight from the papers, item by item."""

    def radii(points):
        return [
            sorted(math.dist(one, other) for b, other in enumerate(points) if b != a)[k - 1]
            for a, one in enumerate(points)
        ]

    items, reference = np.asarray(items, np.float32).astype(float), np.asarray(reference, np.float32).astype(float)
    reach, reference_reach = radii(items), radii(reference)
    inside = np.array([[math.dist(x, y) <= r for y, r in zip(reference, reference_reach, strict=True)] for x in items])
    recalled = [any(math.dist(x, y) <= r for x, r in zip(items, reach, strict=True)) for y in reference]
    return [inside.any(1).mean(), np.mean(recalled), inside.sum() / (k * len(items)), inside.any(0).mean()]


def clouds(count=60, width=2, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(count, width)) * 0.8 + 0.5, rng.normal(size=(count, width))


@pytest.mark.parametrize(("cls", "expected"), list(zip(ALL, BY_HAND, strict=True)))
def test_by_hand(cls, expected):
    found = value(cls, rows(ITEMS), rows(REFERENCE), neighbours=1)
    assert found.value == pytest.approx(expected)
    assert found.count == 6
    assert found.low < found.value < found.high


@pytest.mark.parametrize("k", [1, 3, 5, 7])
def test_they_are_the_definitions(k):
    items, reference = clouds()
    found = [value(cls, rows(items), rows(reference), neighbours=k).value for cls in ALL]
    assert found == pytest.approx(definitions(items, reference, k))


def test_neighbours_are_those_of_the_papers():
    assert [cls.Config().neighbours for cls in ALL] == [3, 3, 5, 5]


def test_the_distances_within_a_side_are_found_once_for_all(monkeypatch):
    calls = []

    def counted(*arguments, **options):
        calls.append(arguments)
        return search(*arguments, **options)

    search = manifold.nearest
    monkeypatch.setattr(manifold, "nearest", counted)
    items, reference = (rows(side) for side in clouds())
    for cls in ALL:
        value(cls, items, reference)
    assert len(calls) == 2
    value(Precision, items[:-1], reference)
    assert len(calls) == 4


@pytest.mark.parametrize("cls", ALL)
def test_portions_order_and_invalid_rows_do_not_matter(cls):
    items, reference = (rows(side) for side in clouds())
    whole = value(cls, items, reference)
    assert value(cls, items, reference, [1, 20, 0, 39]) == whole
    assert value(cls, random.Random(1).sample(items, 60), reference).value == pytest.approx(whole.value)
    assert value(cls, [None, *items, None], reference).value == pytest.approx(whole.value)


@pytest.mark.parametrize("cls", ALL)
def test_sides_far_apart_share_nothing(cls):
    items, reference = clouds()
    found = value(cls, rows(items + 100), rows(reference))
    assert found.value == found.low == 0
    assert found.high < 0.12


@pytest.mark.parametrize("cls", [Precision, Recall, Coverage])
def test_a_set_covers_itself(cls):
    items, _ = clouds()
    found = value(cls, rows(items), rows(items))
    assert found.value == found.high == 1
    assert 0.88 < found.low < 1


@pytest.mark.parametrize("cls", [Precision, Recall, Coverage])
def test_copies_of_one_item_lie_where_their_equals_lie(cls):
    """Balls of radius 0 hold what is at their centre, whatever the rounding."""
    same = rows(np.full((30, 40), 0.1) * np.arange(1, 41))
    assert value(cls, same, same).value == 1


def test_a_collapsed_set_is_precise_and_recalls_little():
    _, reference = clouds(200)
    items = np.random.default_rng(1).normal(size=(200, 2)) * 0.05
    found = [value(cls, rows(items), rows(reference)).value for cls in ALL]
    assert found[0] > 0.95
    assert found[1] < 0.2
    assert found[3] < 0.5


@pytest.mark.parametrize("cls", ALL)
def test_sides_are_cut_to_the_same_size(cls):
    items, reference = clouds(80)
    found = value(cls, rows(items), rows(reference)[:50])
    assert found.count == 50
    assert found.note == "a sample of 50 of 80 items"
    assert value(cls, rows(items), rows(reference), most=50).note == "a sample of 50 of 80 items"


@pytest.mark.parametrize("cls", ALL)
def test_the_interval_is_about_as_wide_as_the_values_of_other_samples_spread(cls):
    rng = np.random.default_rng(0)
    reference = rows(rng.normal(size=(150, 2)))
    found = [value(cls, rows(rng.normal(size=(150, 2)) * 0.8 + 0.4), reference) for _ in range(20)]
    spread = np.std([one.value for one in found], ddof=1)
    width = np.mean([one.high - one.low for one in found]) / (2 * 1.96)
    assert 0.6 < width / spread < 2.5


@pytest.mark.parametrize("cls", ALL)
@pytest.mark.parametrize(("count", "known"), [(0, 9), (1, 9), (3, 9), (9, 3), (9, 0)])
def test_too_few_items_have_no_balls(cls, count, known):
    items, reference = (rows(side) for side in clouds(9))
    found = value(cls, items[:count], reference[:known])
    assert math.isnan(found.value)
    assert found.note == f"{min(count, known)} items on a side, and balls reach to neighbour {cls.Config().neighbours}"


@pytest.mark.parametrize("config", [PrecisionConfig, DensityConfig])
def test_a_ball_reaches_to_some_neighbour(config):
    with pytest.raises(ValueError, match="neighbours must be 1 or more, not 0"):
        config(neighbours=0)
    with pytest.raises(ValueError, match="most must be 2 or more"):
        config(most=1)
