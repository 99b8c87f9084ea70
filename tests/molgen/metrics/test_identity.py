"""Validity, uniqueness and novelty against counts made by hand."""

import math
import random

import numpy as np
import pytest
from support.measures import chunks, measured

from molgen.metrics.identity import (
    Copies,
    Equality,
    Keys,
    Novelty,
    Protocol,
    Seen,
    TrainingConfig,
    Uniqueness,
    UniquenessConfig,
    Validity,
    ValidUnique,
    ValidUniqueNovel,
    contained,
    hashed,
)

#: Eight rows, two of them invalid; four kinds of items, of which a and d are training items.
ROWS = ["a", None, "b", "a", "c", None, "d", "b"]
TRAINING = ["a", "d", "e", "a"]
ALL = [Validity, Uniqueness, Novelty, ValidUnique, ValidUniqueNovel, Copies]
BY_HAND = [6 / 8, 4 / 6, 2 / 4, 4 / 8, 2 / 8, 3 / 6]


def keys_of(items, config=None, features=None):
    made = Keys(config)
    for chunk in chunks(items, features=features):
        made.add(chunk)
    loaded = Keys(config)
    loaded.load(made.arrays())
    return loaded


def value(cls, rows, sizes=None, config=None, training=TRAINING, features=None):
    known = keys_of(training, config, features) if cls.training else None
    return measured(cls(config or cls.Config(), training=known), rows, sizes, features)


@pytest.mark.parametrize(("cls", "expected"), list(zip(ALL, BY_HAND, strict=True)))
def test_by_hand(cls, expected):
    found = value(cls, ROWS)
    assert found.value == expected
    assert 0 <= found.low <= found.value <= found.high <= 1
    assert found.low < found.high


@pytest.mark.parametrize("cls", ALL)
def test_portions_and_order_do_not_matter(cls):
    whole = value(cls, ROWS)
    assert value(cls, ROWS, [1, 3, 1, 0, 3]) == whole
    shuffled = random.Random(1).sample(ROWS, len(ROWS))
    assert value(cls, shuffled).value == whole.value
    assert value(cls, shuffled).count == whole.count


@pytest.mark.parametrize(("cls", "count"), list(zip(ALL, [8, 6, 4, 8, 8, 6], strict=True)))
def test_the_count_is_of_what_the_share_is_of(cls, count):
    assert value(cls, ROWS).count == count


@pytest.mark.parametrize("cls", ALL)
def test_no_rows_are_undefined(cls):
    found = value(cls, [])
    assert math.isnan(found.value)
    assert found.note in ("no rows", "no valid item")


@pytest.mark.parametrize("cls", ALL)
def test_invalid_rows_alone(cls):
    found = value(cls, [None, None])
    if cls in (Validity, ValidUnique, ValidUniqueNovel):
        assert (found.value, found.count) == (0, 2)
        assert found.low == 0 < found.high
    else:
        assert math.isnan(found.value)
        assert found.note == "no valid item"


def test_a_perfect_share_is_not_certain():
    found = value(Validity, ["a"] * 50)
    assert (found.value, found.high) == (1, 1)
    assert found.low == pytest.approx(0.9287, abs=1e-4)  # Wilson's interval of 50 of 50


# --- uniqueness -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("first", "expected"), [(1, 1), (3, 2 / 3), (4, 3 / 4), (6, 4 / 6), (0, 4 / 6)])
@pytest.mark.parametrize("sizes", [[8], [1] * 8, [3, 5]])
def test_the_first_valid_rows(first, expected, sizes):
    found = value(Uniqueness, ROWS, sizes, UniquenessConfig(first=first))
    assert found.value == expected
    assert not found.note


def test_fewer_rows_than_asked_for():
    found = value(Uniqueness, ROWS, config=UniquenessConfig(first=10_000))
    assert (found.value, found.count) == (4 / 6, 6)
    assert found.note == "of 6 valid rows; there are no 10,000"


def test_repeats_narrow_no_interval():
    """The rows of the second half repeat the first: the share is a half, and resampling keeps it there."""
    rows = [str(k) for k in range(3000)] * 2
    found = value(Uniqueness, rows)
    assert found.value == 0.5
    assert found.low < 0.5 < found.high
    assert found.high - found.low < 0.05


# --- what counts as equal -------------------------------------------------------------------------


def test_a_feature_may_decide():
    rows, training, lower = ["a", "A", "b", "C"], ["B", "x"], {"lower": str.lower}
    assert value(Uniqueness, rows, features=lower).value == 1
    assert value(Uniqueness, rows, config=UniquenessConfig(by="lower"), features=lower).value == 3 / 4
    by = TrainingConfig(by="lower")
    assert value(Novelty, rows, training=training, config=by, features=lower).value == 2 / 3
    assert value(Copies, rows, training=training, config=by, features=lower).value == 1 / 4


def test_features_that_decide_are_needed():
    assert Uniqueness.needed(UniquenessConfig()) == Keys.needed(TrainingConfig()) == Validity.needed(Protocol()) == ()
    assert Uniqueness.needed(UniquenessConfig(by="flat")) == Keys.needed(TrainingConfig(by="flat")) == ("flat",)
    assert ValidUnique.needed(Equality(by="flat")) == ("flat",)


def test_strings_as_stored():
    """Training items that are not canonical are known by default, and new to the letter of MOSES."""
    (chunk,) = chunks(["cat", "dog"])
    stored = type(chunk)(chunk.first, chunk.valid, chunk.items, chunk.keys, {}, ["CAT", "dog"])
    for config, expected in ((TrainingConfig(), 0), (TrainingConfig(as_stored=True), 0.5)):
        keys = Keys(config)
        keys.add(stored)
        found = measured(Novelty(config, training=keys), ["cat", "dog"])
        assert found.value == expected
        assert bool(found.note) == config.as_stored


def test_summaries_of_different_forms_have_different_names():
    configs = [TrainingConfig(), TrainingConfig(by="flat"), TrainingConfig(as_stored=True)]
    assert len({Keys.name(config) for config in configs}) == 3
    assert Keys.name(TrainingConfig(enough=5)) == Keys.name(TrainingConfig())


def test_settings_that_contradict_each_other():
    with pytest.raises(ValueError, match="as_stored"):
        TrainingConfig(by="flat", as_stored=True)


# --- hashes ---------------------------------------------------------------------------------------


def test_hashes_tell_keys_apart():
    hashes = hashed(map(str, range(100_000)))
    assert hashes.dtype == np.uint64
    assert len(np.unique(hashes)) == 100_000
    assert (hashed(["a", "ä", "a", "\udcff"])[[0, 2]] == hashed(["a"])).all()


def test_membership():
    known = np.unique(hashed(["a", "b", "c"]))
    assert contained(hashed(["b", "x", "c", "a"]), known).tolist() == [True, False, True, True]
    assert contained(hashed(["b"]), known[:0]).tolist() == [False]
    assert contained(hashed([]), known).tolist() == []


def test_seen_agrees_with_a_set():
    rng, seen, known = random.Random(0), Seen(), set()
    for size in (0, 1, 50, 3, 200):
        keys = [str(rng.randrange(100)) for _ in range(size)]
        expected = [key not in known and not known.add(key) for key in keys]
        assert seen.first(hashed(keys)).tolist() == expected


def test_a_large_training_set_is_found_again():
    items = [f"item {k}" for k in range(20_000)]
    found = value(Novelty, [*items[:500], *(f"new {k}" for k in range(1500))], training=items)
    assert found.value == 0.75
