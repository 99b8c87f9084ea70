"""Nearest similarity and internal diversity against numbers by hand and the plain definitions."""

import math
import random

import numpy as np
import pytest
from support.measures import chunks, measured

from molgen.metric import GROUPS, groups_of
from molgen_plugins.molecules.metrics import similarity
from molgen_plugins.molecules.metrics.similarity import (
    DiversityConfig,
    Fingerprints,
    InternalDiversity,
    NearestSimilarity,
    sampled,
)

#: Items are sets of bits.
FEATURES = {"fingerprint": lambda item: packed(item)}


def packed(item):
    bits = np.zeros(128, np.uint8)
    bits[list(item)] = 1
    return np.packbits(bits)


def tanimoto(first, second):
    return len(first & second) / len(first | second) if first | second else 1.0


def drawn(count, seed=0):
    numbers = random.Random(seed)
    return [frozenset(numbers.sample(range(60), numbers.randint(3, 12))) for _ in range(count)]


def summary(items, sizes=None, cls=Fingerprints):
    made = cls()
    for chunk in chunks(items, sizes, FEATURES):
        made.add(chunk)
    loaded = cls()
    loaded.load(made.arrays())
    return loaded


def nearest(items, reference, sizes=None):
    return measured(NearestSimilarity(None, summary(reference)), items, sizes, FEATURES)


def diversity(items, sizes=None, **settings):
    return measured(InternalDiversity(DiversityConfig(**settings)), items, sizes, FEATURES)


def plain_diversity(items, power):
    """As the code of MOSES does: the root of each item's mean."""
    return 1 - np.mean([np.mean([tanimoto(a, b) ** power for b in items]) ** (1 / power) for a in items])


# --- nearest similarity ---------------------------------------------------------------------------


def test_the_nearest_of_two_by_hand():
    reference = [{1, 2, 3, 4}, {5, 6}]
    found = nearest([{1, 2, 3}, {5, 6}, {7}], reference)
    assert found.value == pytest.approx((3 / 4 + 1 + 0) / 3)
    assert found.count == 3
    assert 0 <= found.low < found.value < found.high <= 1


def test_invalid_rows_do_not_count_and_repeated_ones_do():
    reference = [{1, 2, 3, 4}, None]
    assert nearest([{1, 2}, None, {1, 2}, {1, 2, 3, 4}, None], reference).value == pytest.approx((0.5 + 0.5 + 1) / 3)


def test_portions_and_order_do_not_matter(monkeypatch):
    monkeypatch.setattr(similarity, "PASS", 16)
    items, reference = drawn(100), drawn(40, seed=1)
    expected = np.mean([max(tanimoto(a, b) for b in reference) for a in items])
    assert nearest(items, reference).value == pytest.approx(expected, rel=1e-12)
    assert nearest(items, reference, [1, 9, 50, 40]).value == pytest.approx(expected, rel=1e-12)
    assert nearest(items[::-1], reference[::-1]).value == pytest.approx(expected, rel=1e-12)


def test_the_interval_holds_the_value_of_more_items():
    found = nearest(drawn(400), drawn(40, seed=1))
    assert found.low < nearest(drawn(4000, seed=2), drawn(40, seed=1)).value < found.high
    assert found.high - found.low < 0.05


@pytest.mark.parametrize(
    ("items", "reference", "note"),
    [([], [{1}], "no valid item"), ([None], [{1}], "no valid item"), ([{1}], [None], "no valid reference item")],
)
def test_nothing_is_not_zero(items, reference, note):
    found = nearest(items, reference)
    assert math.isnan(found.value)
    assert found.note == note


def test_a_summary_takes_portions_without_valid_rows():
    assert summary([{1}, None, {2}], [1, 1, 1]).fingerprints.tolist() == [packed({1}).tolist(), packed({2}).tolist()]
    assert len(summary([None]).fingerprints) == 0
    assert Fingerprints.name(None) == "fingerprints"
    assert Fingerprints.needed(None) == NearestSimilarity.needed(None) == ("fingerprint",)


# --- internal diversity ---------------------------------------------------------------------------


def test_the_diversity_of_two_items_by_hand():
    items = [{1, 2}, {2, 3}]  # similarity 1/3
    assert diversity(items).value == pytest.approx(1 - (1 + 1 / 3) / 2)
    assert diversity(items, power=2).value == pytest.approx(1 - math.sqrt((1 + 1 / 9) / 2))


@pytest.mark.parametrize("power", [1, 2, 3])
def test_the_diversity_is_that_of_the_definition(power):
    items = [*drawn(150), frozenset(), frozenset()]
    assert diversity(items, power=power).value == pytest.approx(plain_diversity(items, power), rel=1e-6)


def test_the_pooled_root_is_that_of_the_publication():
    items = drawn(50)
    mean = np.mean([tanimoto(a, b) ** 2 for a in items for b in items])
    assert diversity(items, power=2, pooled=True).value == pytest.approx(1 - math.sqrt(mean), rel=1e-6)
    assert diversity(items, pooled=True).value == pytest.approx(diversity(items).value, rel=1e-6)
    assert diversity(items, power=2, pooled=True).value < diversity(items, power=2).value


def test_equal_items_have_no_diversity():
    for items in ([{1, 2}], [{1, 2}] * 5, [set()] * 3):
        assert diversity(items).value == pytest.approx(0, abs=1e-7)
        assert diversity(items).low >= 0


def test_the_diversity_does_not_depend_on_portions_or_order():
    items = drawn(60)
    value = diversity(items, power=2).value
    assert diversity([None, *items, None], [7, 30, 25], power=2).value == pytest.approx(value, rel=1e-6)
    assert diversity(items[::-1], power=2).value == pytest.approx(value, rel=1e-6)


@pytest.mark.parametrize("settings", [{}, {"power": 2}, {"power": 2, "pooled": True}])
def test_the_interval_of_the_diversity_is_as_wide_as_samples_differ(settings):
    found = [diversity(drawn(300, seed), **settings) for seed in range(40)]
    deviation = np.std([one.value for one in found], ddof=1)
    side = np.mean([one.high - one.low for one in found]) / 2
    assert 0.7 < side / (1.96 * deviation) < 1.4


def test_many_items_are_sampled():
    items = drawn(900)
    found, whole = diversity(items, most=300), diversity(items)
    assert found.note == "a sample of 300 of 900 items"
    assert found.count == 300
    assert found.low < whole.value < found.high
    assert found.value != whole.value
    assert diversity(items, [100] * 9, most=300).value == pytest.approx(found.value, rel=1e-6)
    assert diversity(items, most=900).note == whole.note == ""


def test_a_sample_depends_on_row_numbers_alone():
    rows = np.arange(1000)
    chosen = set(rows[sampled(rows, 100)])
    assert len(chosen) == 100
    assert set(rows[::-1][sampled(rows[::-1], 100)]) == chosen
    part = sampled(rows, 400)
    assert set(rows[part][sampled(rows[part], 100)]) == chosen
    groups = groups_of(np.array(sorted(sampled(np.arange(100_000), 20_000))))
    assert np.bincount(groups, minlength=GROUPS).std() < 40  # that of independent draws is 18


def test_both_powers_find_the_similarities_once(monkeypatch):
    calls = []
    real = similarity.power_sums
    monkeypatch.setattr(similarity, "power_sums", lambda *given: calls.append(given) or real(*given))
    items = drawn(30, seed=9)
    assert diversity(items, power=1).value != diversity(items, power=2).value
    assert len(calls) == 1
    diversity(drawn(30, seed=10))
    assert len(calls) == 2


def test_no_items_have_no_diversity():
    for items in ([], [None, None]):
        found = diversity(items)
        assert math.isnan(found.value)
        assert found.note == "no valid item"


@pytest.mark.parametrize("settings", [{"power": 0}, {"most": 0}])
def test_wrong_settings_are_refused(settings):
    with pytest.raises(ValueError, match=next(iter(settings))):
        DiversityConfig(**settings)
