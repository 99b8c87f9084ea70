"""Fragments and scaffolds against cosines made by hand."""

import math
import random

import numpy as np
import pytest
from scipy.spatial.distance import cosine
from support.measures import chunks, measured

from molgen.metric import GROUPS, Chunk
from molgen_plugins.molecules.chemistry.features import FEATURES
from molgen_plugins.molecules.chemistry.rdkit_io import parse
from molgen_plugins.molecules.metrics import counts
from molgen_plugins.molecules.metrics.counts import (
    CountsConfig,
    FragmentCounts,
    Fragments,
    GroupedCounts,
    ScaffoldCounts,
    ScaffoldHashes,
    ScaffoldNovelty,
    Scaffolds,
)

#: Letters are fragments of words; "x" stands for a molecule without a scaffold, whose strings are empty.
FRAGMENTS = {"fragments": list}
SCAFFOLDS = {"scaffold": lambda word: "" if word == "x" else word}
ROWS = ["ab", None, "aac", "b", "ab"]  # a 4, b 3, c 1
REFERENCE = ["ab", "bbd"]  # a 1, b 3, d 1
#: 4 * 1 + 3 * 3 over the root of (16 + 9 + 1) (1 + 9 + 1)
COSINE = 13 / math.sqrt(26 * 11)


def summary(cls, rows, features, config=None):
    made = cls(config)
    for chunk in chunks(rows, features=features):
        made.add(chunk)
    loaded = cls(config)
    loaded.load(made.arrays())
    return loaded


def fragments(rows, reference=REFERENCE, config=None, sizes=None):
    metric = Fragments(config, summary(FragmentCounts, reference, FRAGMENTS))
    return measured(metric, rows, sizes, FRAGMENTS)


def scaffolds(rows, reference):
    metric = Scaffolds(None, summary(ScaffoldCounts, reference, SCAFFOLDS))
    return measured(metric, rows, features=SCAFFOLDS)


def novelty(rows, training):
    metric = ScaffoldNovelty(None, training=summary(ScaffoldHashes, training, SCAFFOLDS))
    return measured(metric, rows, features=SCAFFOLDS)


# --- fragments ------------------------------------------------------------------------------------


def test_by_hand():
    found = fragments(ROWS)
    assert found.value == pytest.approx(COSINE, rel=1e-12)
    assert found.count == 4
    assert 0 <= found.low < found.value < found.high <= 1


def test_portions_and_order_do_not_matter():
    assert fragments(ROWS, sizes=[2, 0, 1, 2]).value == fragments(ROWS).value
    shuffled = random.Random(0).sample(ROWS, len(ROWS))
    assert fragments(shuffled).value == pytest.approx(COSINE, rel=1e-12)


def test_a_set_is_like_itself():
    assert fragments(REFERENCE).value == pytest.approx(1, rel=1e-12)
    assert fragments(["c"]).value == 0


def test_the_interval_is_that_of_leaving_groups_out():
    rows = ["ab", "aac", "b", "cd", "d"] * 40
    found = fragments(rows)
    groups = next(chunks(rows)).groups
    without = [fragments([r for r, g in zip(rows, groups, strict=True) if g != k]).value for k in range(GROUPS)]
    error = math.sqrt((GROUPS - 1) * np.var(without))
    assert found.high - found.low == pytest.approx(2 * 1.959964 * error, rel=1e-6)


def test_one_item_has_no_interval():
    found = fragments(["ab"])
    assert found.value == pytest.approx(4 / math.sqrt(2 * 11))
    assert math.isnan(found.low)


@pytest.mark.parametrize(
    ("rows", "reference", "note"),
    [
        ([], REFERENCE, "no fragment"),
        ([None], REFERENCE, "no fragment"),
        (ROWS, [], "no fragment in the reference"),
        (ROWS, [None], "no fragment in the reference"),
    ],
)
def test_an_empty_side_is_undefined(rows, reference, note):
    found = fragments(rows, reference)
    assert math.isnan(found.value)
    assert found.note == note


# --- integers that wrap ---------------------------------------------------------------------------


def original(reference, found):
    """The cosine of scipy for integers, or NaN where it stops."""
    try:
        with np.errstate(over="ignore"):
            return 1 - cosine(np.array(reference), np.array(found))
    except ValueError:
        return math.nan


@pytest.mark.parametrize("scale", [1, 1_000, 30_000, 60_000, 100_000])
def test_counts_wrap_where_that_is_asked_for(scale):
    reference, found = [6 * scale, 3 * scale, 1, 0], [scale, scale // 2, 0, 2]
    known = summary(FragmentCounts, [], FRAGMENTS)
    known.counter.update(dict(zip("abc", reference, strict=False)))
    for as_original in (False, True):
        metric = Fragments(CountsConfig(as_original), known)
        metric._count = sum(found)
        for letter, count in zip("abd", [found[0], found[1], found[3]], strict=True):
            metric._found.add(np.arange(count) % GROUPS, [letter] * count)
        expected = original(reference, found) if as_original else 1 - cosine(np.array(reference, float), found)
        estimate = metric.estimate(np.random.default_rng(0))
        assert estimate.value == pytest.approx(expected, rel=1e-12, nan_ok=True)
        assert bool(estimate.note) == math.isnan(expected)


def test_waiting_numbers_are_merged(monkeypatch):
    monkeypatch.setattr(counts, "_WAITING", 3)
    grouped = GroupedCounts()
    for strings in (["a", "b"], ["a", "a", "c"], [], ["c"]):
        grouped.add(np.arange(len(strings)), strings)
    assert list(grouped.numbers) == ["a", "b", "c"]
    assert grouped.table().toarray()[:3].tolist() == [[2, 0, 1], [1, 1, 0], [0, 0, 1]]


# --- scaffolds ------------------------------------------------------------------------------------


def test_molecules_without_a_scaffold_do_not_count():
    found = scaffolds(["p", "x", "q", "p", None], ["p", "x", "x", "r"])
    assert found.value == pytest.approx(2 / math.sqrt(5 * 2), rel=1e-12)
    assert found.count == 3


def test_no_scaffold_is_undefined():
    assert scaffolds(["x", "x"], ["p"]).note == "no scaffold of two rings or more"
    assert scaffolds(["p"], ["x"]).note == "no scaffold of two rings or more in the reference"


def test_summaries_have_different_names():
    names = {cls.name(CountsConfig()) for cls in (FragmentCounts, ScaffoldCounts, ScaffoldHashes)}
    assert len(names) == 3
    assert FragmentCounts.name(CountsConfig(True)) == FragmentCounts.name(CountsConfig(False))


# --- scaffold novelty -----------------------------------------------------------------------------


def test_new_scaffolds_are_counted_once():
    found = novelty(["p", "q", "x", "q", None, "r", "q"], ["p", "x", "s", "p"])
    assert (found.value, found.count) == (2 / 3, 3)
    assert 0 <= found.low < found.value < found.high <= 1


def test_novelty_of_nothing_and_against_nothing():
    assert math.isnan(novelty(["x", None], ["p"]).value)
    assert novelty(["p"], []).value == 1


def test_a_portion_without_valid_rows_adds_nothing():
    empty = Chunk(0, np.zeros(3, bool), [], [])
    for cls, kind, features in (
        (Fragments, FragmentCounts, FRAGMENTS),
        (Scaffolds, ScaffoldCounts, SCAFFOLDS),
        (ScaffoldNovelty, ScaffoldHashes, SCAFFOLDS),
    ):
        known = summary(kind, ["p"], features)
        known.add(empty)
        metric = cls(None, known, known)
        metric.add(empty)
        assert math.isnan(metric.estimate(np.random.default_rng(0)).value)


# --- with molecules -------------------------------------------------------------------------------


def test_molecules_by_hand():
    """Two ethers and an amide: fragments and scaffolds of real molecules."""
    features = {name: lambda item, name=name: FEATURES[name](parse(item)) for name in ("fragments", "scaffold")}
    rows, others = ["CCOc1ccccc1", "CCOCC"], ["CCOCC", "c1ccccc1-c1ccccc1"]
    # [4*]CC 3, [3*]O[3*] 2, [16*]c1ccccc1 1 against 2, 1, 2
    metric = Fragments(None, summary(FragmentCounts, others, features))
    assert measured(metric, rows, features=features).value == pytest.approx(10 / math.sqrt(14 * 9), rel=1e-12)
    metric = Scaffolds(None, summary(ScaffoldCounts, others, features))
    assert measured(metric, [*rows, "Cc1ccccc1-c1ccccc1"], features=features).value == pytest.approx(1)
