"""The arithmetic of sets: recipes, keys, plans and splits, without any model."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest

from molgen.data.keys import digest
from molgen.errors import UsageError
from molgen_datasets.synthetic.draw import BITS, GROUP, KEY
from molgen_datasets.synthetic.folder import claimed
from molgen_datasets.synthetic.plan import Round, draws_of, next_round, order_of, part_size, sampling_seed, shards
from molgen_datasets.synthetic.recipe import SplitSettings, recipe_from
from molgen_datasets.synthetic.splits import Splitter, bit_words, centres


def recipe(**settings):
    return recipe_from({"model": "moses", "count": 1000, **settings})


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"cuont": 3}, "recipe: no setting 'cuont'; did you mean 'count'"),
        ({"filters": {"uniqe": True}}, "recipe.filters: no setting 'uniqe'; did you mean 'unique'"),
        ({"filters": {"valid": 1}}, "recipe.filters: valid must be bool, not 1"),
        ({"filters": 3}, "recipe.filters takes settings by name, not 3"),
        ({"filters": {"properties": {"qed": [2, 1]}}}, r"properties.qed must be \[lowest, highest\]"),
        ({"filters": {"alerts": "fail"}}, "alerts must be one of 'flag', 'drop', 'none'"),
        ({"screen": {"lists": [{"pth": "x"}]}}, r"recipe.screen.lists\[0\]: no setting 'pth'; did you mean 'path'"),
        ({"splits": {"shares": {"train": 0.5}}}, "shares must sum to 1, not 0.5"),
        ({"splits": {"shares": {"../x": 1.0}}}, "named by letters and digits"),
        ({"conditions": {"fixed": {"a": 1}, "marginals": ["a"]}}, "a is given in two ways"),
        ({"models": [{"model": "a"}]}, "give either model or models"),
        ({"count": 0}, "at least 1"),
        ({"labels": {"novelty": ["a/x.smi", "b/x.smi"]}}, "two sets would have one column"),
        ({"filters": {"valid": False}, "output": {"format": "csv"}}, "written as parquet only"),
    ],
)
def test_a_recipe_that_is_wrong_says_where(settings, message):
    with pytest.raises(UsageError, match=message):
        recipe(**settings)


def test_a_recipe_comes_back_from_json():
    made = recipe(filters={"properties": {"qed": [0.5, None]}}, screen={"lists": [{"path": "x"}]}, seed=0)
    assert recipe_from(made.to_json()) == made


# --- plans ----------------------------------------------------------------------------------------


def test_draws_of_a_mixture_are_consecutive_and_as_many_as_their_weights_say():
    mixed = recipe(
        model=None, models=[{"model": "a", "weight": 0.7}, {"model": "b", "weight": 0.1}, {"model": "c", "weight": 0.2}]
    )
    parts = [draws_of(mixed, number) for number in range(40)]
    assert all(sum(map(len, part)) == part_size(mixed) for part in parts)
    for model, share in enumerate((0.7, 0.1, 0.2)):
        spans = [part[model] for part in parts]
        assert spans[0].start == 0
        assert all(before.stop == after.start for before, after in pairwise(spans))
        assert spans[-1].stop == pytest.approx(share * 40 * part_size(mixed), abs=1)
    order = order_of(mixed, 3)
    assert sorted(order) == list(range(part_size(mixed)))
    assert not np.array_equal(order, order_of(mixed, 4))


def test_seeds_differ_by_recipe_seed_and_model():
    assert len({sampling_seed(recipe, seed, model) for recipe in "ab" for seed in (0, 1) for model in (0, 1)}) == 8


def test_rounds_go_on_until_there_is_enough_or_no_hope():
    made = recipe()
    size = part_size(made)
    assert next_round(made, [Round(2, 200)]) == 2 + 9  # eight more, and a little
    assert next_round(made, [Round(1, 100)]) == 9  # never more than eight times as many as there are
    assert next_round(made, [Round(1, 100), Round(10, 1000)]) is None
    assert next_round(made, [Round(1, 0)]) == 9
    assert next_round(made, [Round(1, 0), Round(9, 0)]) == 81
    assert next_round(made, [Round(1, 0), Round(9, 0), Round(81, 3)]) is None  # 3 of more than 10,000
    assert next_round(recipe(max_draws=10 * size), [Round(9, 0)]) == 10
    assert next_round(recipe(max_draws=10 * size), [Round(10, 0)]) is None


def test_shards_hold_every_row_of_every_split_once():
    found = shards({"train": 25, "test": 0, "valid": 10}, 10, ".parquet")
    assert [(one["path"], one["start"], one["stop"], one["code"]) for one in found] == [
        ("data/train-00000-of-00003.parquet", 0, 10, 0),
        ("data/train-00001-of-00003.parquet", 10, 20, 0),
        ("data/train-00002-of-00003.parquet", 20, 25, 0),
        ("data/valid-00000-of-00001.parquet", 0, 10, 2),
    ]


# --- splits ---------------------------------------------------------------------------------------

SHARES = {"train": 0.7, "test": 0.3}


def candidates(groups=None, bits=None, count=4000):
    keys = [digest(str(number)) for number in range(count)]
    columns = {KEY: pa.array(keys, pa.binary(16))}
    columns[GROUP] = pa.array(groups or [None] * count, pa.binary(8))
    columns[BITS] = pa.array(bits or [None] * count, pa.binary())
    return pa.table(columns)


def test_a_random_split_has_its_shares_and_depends_on_the_item_alone():
    splitter, table = Splitter(SplitSettings(shares=SHARES), 0), candidates()
    codes = splitter.codes(table.select(splitter.columns), 0)
    assert codes.mean() == pytest.approx(0.3, abs=0.02)
    later = table.slice(1000, 50).select(splitter.columns)
    assert np.array_equal(splitter.codes(later, 77), codes[1000:1050])
    assert not np.array_equal(Splitter(SplitSettings(shares=SHARES), 1).codes(table.select(splitter.columns), 0), codes)


def test_groups_stay_together_and_items_of_none_do_not():
    groups = [digest(str(number % 400))[:8] if number < 3000 else None for number in range(4000)]
    splitter = Splitter(SplitSettings("scaffold", SHARES), 0)
    codes = splitter.codes(candidates(groups).select(splitter.columns), 0)
    assert all(len(set(codes[group:3000:400])) == 1 for group in range(400))
    assert codes[:400].mean() == pytest.approx(0.3, abs=0.08)
    assert codes[3000:].mean() == pytest.approx(0.3, abs=0.05)


def test_what_is_alike_stays_together():
    rng = np.random.default_rng(0)
    kinds = rng.integers(0, 256, (100, 32), dtype=np.uint8)
    bits = [
        bytes(kind ^ (1 << rng.integers(8) if byte == 0 else 0) for byte, kind in enumerate(kinds[n % 100]))
        for n in range(4000)
    ]
    found = centres([bit_words(bits)], 0.6, 1000)
    assert len(found) == 100
    splitter = Splitter(SplitSettings("cluster", SHARES), 0, found)
    codes = splitter.codes(candidates(bits=bits).select(splitter.columns), 0)
    assert all(len(set(codes[kind::100])) == 1 for kind in range(100))
    assert 0.15 < codes.mean() < 0.45


# --- the folder -----------------------------------------------------------------------------------


def test_a_folder_is_claimed_by_one_process_and_only_where_it_is_a_set(tmp_path):
    first = claimed(tmp_path / "set", resume=False)
    with first as folder, pytest.raises(UsageError, match="another process"), claimed(tmp_path / "set", resume=True):
        pass
    folder.recipe.write_text("{}")
    with pytest.raises(UsageError, match="type --resume"), claimed(tmp_path / "set", resume=False):
        pass
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.tex").touch()
    with pytest.raises(UsageError, match="holds other files"), claimed(tmp_path / "other", resume=True):
        pass
