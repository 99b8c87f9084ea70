"""Near copies and the share closer to the training set: by hand, and on samples that copy and that do not."""

import math
import random

import numpy as np
import pytest
from support.measures import chunks, measured

from molgen_plugins.molecules.metrics.memorisation import (
    CloserToTraining,
    LongFingerprints,
    NearCopies,
    NearCopiesConfig,
)

#: Items are sets of bits.
FEATURES = {"fingerprint2048": lambda item: packed(item)}


def packed(item):
    bits = np.zeros(256, np.uint8)
    bits[list(item)] = 1
    return np.packbits(bits)


def summary(items):
    made = LongFingerprints()
    for chunk in chunks(items, features=FEATURES):
        made.add(chunk)
    return made


def near_copies(items, training, sizes=None, **settings):
    metric = NearCopies(NearCopiesConfig(**settings), None, summary(training))
    return measured(metric, items, sizes, FEATURES)


def closer(items, training, reference, sizes=None):
    metric = CloserToTraining(None, summary(reference), summary(training))
    return measured(metric, items, sizes, FEATURES)


def molecules(count, seed):
    """Sets of some scaffold and of random bits, as alike as molecules of one library."""
    numbers = random.Random(seed)
    scaffolds = [frozenset(random.Random(k).sample(range(256), 14)) for k in range(20)]
    return [numbers.choice(scaffolds) | set(numbers.sample(range(256), 16)) for _ in range(count)]


def changed(item, seed):
    """With some bits replaced, as an added carbon atom replaces those of the environments that it enters."""
    numbers = random.Random(seed)
    kept = set(numbers.sample(sorted(item), len(item) - 6))
    return frozenset(kept | set(numbers.sample(range(256), 6)))


TRAINING, HELD_OUT, NEW = molecules(600, 1), molecules(300, 2), molecules(400, 3)


# --- near copies ----------------------------------------------------------------------------------


def test_near_copies_by_hand():
    training = [frozenset(range(10)), frozenset({100, 101})]
    items = [frozenset(range(10)), frozenset(range(9)), frozenset(range(8)), frozenset({100}), None]
    found = near_copies(items, training)  # similarities 1, 0.9, 0.8 and 0.5
    assert found.value == 2 / 4
    assert found.count == 4
    assert 0 <= found.low < found.value < found.high <= 1
    assert near_copies(items, training, threshold=1.0).value == 1 / 4
    assert near_copies(items, training, threshold=0.8).value == 3 / 4
    assert near_copies(items, training, threshold=0.5).value == 1


def test_a_small_threshold_does_not_count_what_shares_nothing():
    assert near_copies([{1}, {2, 3}], [{3, 4}], threshold=1e-4).value == 0.5


def test_portions_and_order_do_not_matter():
    items = [*NEW[:50], *TRAINING[:50], None]
    value = near_copies(items, TRAINING).value
    assert value == 50 / 100
    assert near_copies(items, TRAINING, [30, 1, 70]).value == value
    assert near_copies(items[::-1], TRAINING[::-1]).value == value


def test_copies_are_flagged_and_held_out_molecules_are_not():
    assert near_copies(TRAINING[:100], TRAINING).value == 1
    assert near_copies(HELD_OUT, TRAINING).value == 0


def test_nothing_is_not_zero():
    for items, training, note in ([], [{1}], "no valid item"), ([{1}], [None], "no valid training item"):
        found = near_copies(items, training)
        assert math.isnan(found.value)
        assert found.note == note


@pytest.mark.parametrize("threshold", [0.0, 1.1, math.nan])
def test_a_wrong_threshold_is_refused(threshold):
    with pytest.raises(ValueError, match="threshold"):
        NearCopiesConfig(threshold=threshold)


# --- closer to the training set -------------------------------------------------------------------


def test_the_share_by_hand():
    training, reference = [frozenset({1, 2, 3})], [frozenset({3, 4, 5})]
    nearer, tied, farther = frozenset({1, 2}), frozenset({3}), frozenset({5})
    assert closer([nearer], training, reference).value == 1
    assert closer([farther], training, reference).value == 0
    assert closer([nearer, tied, tied, None, farther], training, reference).value == 0.5
    assert closer([nearer, tied], training, reference).value == 0.75


def test_new_molecules_are_as_close_to_both():
    found = closer(NEW, TRAINING, HELD_OUT)
    assert found.low < 0.5 < found.high
    assert found.note == "nearest of 300 training and 300 reference items"
    assert found.count == 400


def test_copies_are_closer_to_the_training_set():
    """Half of the training set is drawn for the comparison, so half of the copies are found in it."""
    found = closer(TRAINING, TRAINING, HELD_OUT)
    assert found.low > 0.6
    assert closer(HELD_OUT, TRAINING, HELD_OUT).high < 0.4


def test_small_changes_of_training_molecules_are_found_too():
    """A model that adds an atom to a training molecule makes no copy that a threshold would see."""
    items = [changed(item, k) for k, item in enumerate(TRAINING)]
    assert near_copies(items, TRAINING).value < 0.05
    assert closer(items, TRAINING, HELD_OUT).low > 0.6


def test_a_larger_reference_is_cut_to_the_size_of_the_training_set():
    found = closer(NEW, TRAINING[:100], HELD_OUT)
    assert found.note == "nearest of 100 training and 100 reference items"
    assert found.low < 0.5 < found.high


def test_the_share_does_not_depend_on_portions():
    assert closer(NEW, TRAINING, HELD_OUT, [100, 250, 50]).value == closer(NEW, TRAINING, HELD_OUT).value


def test_nothing_to_compare_with_is_not_zero():
    for training, reference in ([None], [{1}]), ([{1}], []):
        found = closer([{1}], training, reference)
        assert math.isnan(found.value)
        assert found.note == "nothing to compare with"
    assert closer([], [{1}], [{1}]).note == "no valid item"


def test_both_read_the_long_fingerprint():
    assert NearCopies.needed(None) == CloserToTraining.needed(None) == LongFingerprints.needed(None)
    assert LongFingerprints.needed(None) == ("fingerprint2048",)
    assert LongFingerprints.name(None) == "fingerprint2048s"
