"""Samples of features, and distances to the training items, against numbers by hand."""

import math
import random

import numpy as np
import pytest
from support.measures import chunks, measured

from molgen.errors import MolgenError
from molgen.metric import GROUPS
from molgen.metrics.distances import BLOCK, nearest, squared_distances
from molgen.metrics.nearest import CloserToTraining, NearestTraining
from molgen.metrics.sample import SampleConfig, Subsample

FEATURES = {"embedding": lambda item: np.array(item, np.float32)}


def line(*numbers):
    return [None if number is None else (float(number),) for number in numbers]


def sample_of(items, sizes=None, most=10_000):
    config = SampleConfig(most=most)
    made = Subsample(config)
    for chunk in chunks(items, sizes, FEATURES):
        made.add(chunk)
    loaded = Subsample(config)
    loaded.load(made.arrays())
    return loaded


def to_training(items, training, sizes=None):
    return measured(NearestTraining(None, None, sample_of(training, sizes)), items, sizes, FEATURES)


def closer(items, training, reference, sizes=None):
    metric = CloserToTraining(None, sample_of(reference, sizes), sample_of(training, sizes))
    return measured(metric, items, sizes, FEATURES)


# --- samples --------------------------------------------------------------------------------------


def test_a_small_set_is_its_own_sample():
    items = line(*range(50))
    made = sample_of([*items, None])
    assert sorted(made.vectors.ravel().tolist()) == list(range(50))
    assert made.count == 50
    assert made.note(50) == ""
    assert len(made.groups) == 50
    assert set(made.groups) <= set(range(GROUPS))


def test_portions_do_not_matter():
    items = line(*range(1000))
    whole = sample_of(items, most=100)
    parts = sample_of(items, [1, 0, 49, 300, 50, 600], most=100)
    assert np.array_equal(whole.vectors, parts.vectors)
    assert np.array_equal(whole.groups, parts.groups)
    assert whole.count == parts.count == 1000
    assert whole.note(100) == "a sample of 100 of 1,000 items"


def test_a_smaller_sample_is_the_start_of_a_larger_one():
    items = line(*range(1000))
    assert np.array_equal(sample_of(items, most=30).vectors, sample_of(items, most=100).vectors[:30])


def test_every_row_is_as_likely():
    """The mean of 2,000 of the numbers 0 to 19,999 has a standard error of 122."""
    drawn = sample_of(line(*range(20_000)), [4096] * 4 + [3616], most=2000).vectors.ravel()
    assert len(set(drawn.tolist())) == 2000
    assert abs(drawn.mean() - 9999.5) < 4 * 122
    assert abs(np.corrcoef(drawn, np.arange(2000))[0, 1]) < 4 / math.sqrt(2000)


def test_no_more_is_held_than_twice_the_sample_and_a_portion():
    made = Subsample(SampleConfig(most=10))
    held = []
    for chunk in chunks(line(*range(2000)), [20] * 100, FEATURES):
        made.add(chunk)
        held.append(len(made._rows) + sum(len(rows) for rows, _ in made._waiting))
    assert max(held) <= 2 * 10 + 20


def test_an_empty_set_has_an_empty_sample():
    for made in (sample_of([]), sample_of([None, None])):
        assert len(made.vectors) == made.count == 0


def test_samples_are_told_apart_by_feature_and_size():
    assert Subsample.name(SampleConfig("colour", most=7)) == "sample-colour-7"
    assert Subsample.needed(SampleConfig("colour")) == NearestTraining.needed(SampleConfig("colour")) == ("colour",)


def test_a_sample_of_one_is_refused():
    with pytest.raises(ValueError, match="most must be 2 or more, not 1"):
        SampleConfig(most=1)


def test_features_that_are_not_finite_are_an_error():
    with pytest.raises(MolgenError, match="not finite"):
        sample_of(line(1, math.inf))


# --- distances ------------------------------------------------------------------------------------


def test_distances_are_the_definition():
    rng = np.random.default_rng(0)
    first, second = rng.normal(size=(7, 3)), rng.normal(size=(5, 3))
    expected = [[((one - other) ** 2).sum() for other in second] for one in first]
    assert squared_distances(first, second) == pytest.approx(np.array(expected))
    assert squared_distances(first + 1e3, first + 1e3).min() == 0


def test_vectors_of_other_widths_are_an_error():
    with pytest.raises(MolgenError, match="2 features against 3"):
        squared_distances(np.zeros((1, 2)), np.zeros((1, 3)))


@pytest.mark.parametrize("neighbours", [1, 3])
def test_neighbours_are_those_of_a_full_search(neighbours):
    rng = np.random.default_rng(0)
    queries, points = rng.normal(size=(BLOCK + 9, 2)), rng.normal(size=(BLOCK + 40, 2))
    expected = np.sort(squared_distances(queries, points), 1)[:, :neighbours]
    assert nearest(queries, points, neighbours) == pytest.approx(expected)
    others = squared_distances(points, points) + np.diag(np.full(len(points), np.inf))
    assert nearest(points, points, neighbours, same=True) == pytest.approx(np.sort(others, 1)[:, :neighbours])


# --- the distance to the training items -----------------------------------------------------------


def test_the_median_distance_by_hand():
    """Distances 1, 4 and 2 to the training items 0 and 10, which are 10 apart."""
    found = to_training(line(1, None, 4, 8), line(0, 10))
    assert found.value == 2
    assert found.count == 3
    assert found.note == "control: 10 between training items"
    assert found.low <= found.value <= found.high


def test_copies_are_at_no_distance():
    found = to_training(line(*range(20)), line(*range(20)))
    assert (found.value, found.low, found.high) == (0, 0, 0)


def test_items_like_the_training_items_are_as_far_as_those_from_each_other():
    rng = np.random.default_rng(0)
    items, training = (list(map(tuple, rng.normal(size=(500, 2)))) for _ in range(2))
    found = to_training(items, training)
    control = float(found.note.split()[1])
    assert found.low < control < found.high


def test_the_note_says_what_was_sampled():
    metric = NearestTraining(None, None, sample_of(line(*range(100)), most=40))
    assert "a sample of 40 of 100 items" in measured(metric, line(1, 2, 3), None, FEATURES).note


@pytest.mark.parametrize("sizes", [[1, 3, 0, 96], None])
def test_portions_and_order_do_not_matter_to_the_median(sizes):
    items = line(*np.random.default_rng(0).normal(size=100))
    training = line(*np.random.default_rng(1).normal(size=100))
    whole = to_training(items, training)
    again = to_training(items, training, sizes)
    assert (again.value, again.low, again.high) == (whole.value, whole.low, whole.high)
    assert to_training(random.Random(1).sample(items, 100), training).value == whole.value


@pytest.mark.parametrize(
    ("items", "training", "reason"),
    [([], [0, 1], "no valid item"), ([None], [0, 1], "no valid item"), ([1], [], "no training item")],
)
def test_nothing_on_a_side_has_no_median(items, training, reason):
    found = to_training(line(*items), line(*training))
    assert math.isnan(found.value)
    assert found.note == reason


def test_one_training_item_has_no_control():
    found = to_training(line(1, 2), line(0))
    assert found.value == 1.5
    assert found.note == "control: nan between training items"


# --- training items against the reference ---------------------------------------------------------


def test_the_share_by_hand():
    """With training items 0 and 10 and reference 2 and 100: 1 is a tie, 9 is closer to training, 4 and 3 are not."""
    found = closer(line(1, 9, None, 4, 3), line(0, 10), line(2, 100))
    assert found.value == (0.5 + 1) / 4
    assert found.count == 4
    assert found.note == "nearest of 2 training and 2 reference items"
    assert 0 <= found.low < found.value < found.high <= 1


def test_copies_are_all_closer():
    items = line(*range(0, 40, 2))
    assert closer(items, items, line(*range(1, 41, 2))).value == 1
    assert closer(items, line(*range(1, 41, 2)), items).value == 0


def test_the_same_items_on_both_sides_tie():
    items = list(map(tuple, np.random.default_rng(0).normal(size=(60, 5)) + 100))
    others = list(map(tuple, np.random.default_rng(1).normal(size=(60, 5)) + 100))
    assert closer(items, others, others).value == 0.5
    assert closer(items, items, items).value == 0.5


def test_the_larger_side_is_cut():
    """Of many training items only as many count as there are reference items, or they would always be nearer."""
    found = closer(line(*range(10)), line(*range(1000)), line(5))
    assert found.note == "nearest of 1 training and 1 reference items"


def test_portions_and_order_do_not_matter_to_the_share():
    rng = np.random.default_rng(0)
    items, training, reference = (line(*rng.normal(size=100)) for _ in range(3))
    whole = closer(items, training, reference)
    assert closer(items, training, reference, [1, 3, 0, 96]) == whole
    assert closer(random.Random(1).sample(items, 100), training, reference).value == whole.value
    assert whole.low < 0.5 < whole.high


@pytest.mark.parametrize(
    ("items", "training", "reference", "reason"),
    [([], [1], [2], "no valid item"), ([1], [], [2], "nothing to compare with"), ([1], [2], [], "nothing to compare")],
)
def test_nothing_on_a_side_has_no_share(items, training, reference, reason):
    found = closer(line(*items), line(*training), line(*reference))
    assert math.isnan(found.value)
    assert found.note.startswith(reason)
