"""The encoded store: what was written comes back, and half a store is none."""

import json
import os
import shutil
from functools import partial

import numpy as np
import pytest
from support.toys import TOYS, Tokens

from molgen.batch import collate, separate
from molgen.data import encode as encode_module
from molgen.data.encode import write_store
from molgen.data.store import Store, StoreError, StoreWriter, encode_chunk
from molgen.domain import Encoder, Invalid
from molgen.space import Axis, Categorical, Real
from molgen.testing.containment import require_batch
from molgen.testing.random_samples import draw_samples


class Given(Encoder):
    """Items that are samples already."""

    def __init__(self, space):
        self._space = space

    @property
    def space(self):
        return self._space

    def encode(self, item):
        return item

    def decode(self, sample):
        return sample


def stored(path, toy, items):
    return write_store(path, toy, toy().space, [(item, {}) for item in items], processes=1)


def same(batch, other):
    for name, tensor in (batch.fields | batch.sizes).items():
        assert tensor.dtype == (other.fields | other.sizes)[name].dtype
        np.testing.assert_array_equal(tensor.numpy(), (other.fields | other.sizes)[name].numpy())


@pytest.mark.parametrize("toy", TOYS)
def test_every_toy_comes_back_from_the_store(toy, tmp_path):
    encoder = toy()
    items = encoder.examples()
    store = stored(tmp_path / "store", toy, items)
    rows = np.array([2, 0, 1])
    assert len(store) == len(items)
    assert encoder.decode(store.sample(1)) == encoder.decode(encoder.encode(items[1]))
    same(store.batch(rows), collate(encoder.space, [encoder.encode(items[row]) for row in rows]))


@pytest.mark.parametrize("channels", [(), (2,)])
def test_levels_are_stored_as_numbers_and_read_as_values(tmp_path, channels):
    space = {"x": Real((Axis("n", 3),), channels=channels, levels=256)}
    samples = [{"x": np.full((n, *channels), 40 * n, dtype=np.uint8)} for n in (1, 2, 3)]
    store = write_store(tmp_path / "store", partial(Given, space), space, [(sample, {}) for sample in samples])
    assert store.fields["x"].dtype == np.uint8
    same(store.batch(np.arange(3)), collate(space, samples))


PAIRS = (Axis("n", 4, minimum=0),) * 2


@pytest.mark.parametrize(
    "field",
    [
        Categorical(PAIRS, classes=3, symmetric=True),
        Real(PAIRS, symmetric=True),
        Real(PAIRS, channels=(2,), symmetric=True),
        Real(PAIRS, channels=(1,), levels=4, symmetric=True),
    ],
    ids=["classes", "numbers", "vectors", "levels"],
)
def test_of_symmetric_pairs_one_order_is_stored(tmp_path, field):
    space = {"x": field}
    samples = draw_samples(space, 5, seed=0)
    store = write_store(tmp_path / "store", partial(Given, space), space, [(sample, {}) for sample in samples])
    pairs = sum(len(sample["x"]) * (len(sample["x"]) - 1) // 2 for sample in samples)
    assert len(store.fields["x"]) == pairs * np.prod(field.channels_shape, dtype=int)
    batch = store.batch(np.arange(5))
    same(batch, collate(space, samples))
    require_batch(space, batch)
    for sample, again in zip(samples, separate(space, batch), strict=True):
        np.testing.assert_array_equal(again["x"], sample["x"])
        np.testing.assert_array_equal(store.sample(1)["x"], samples[1]["x"])


def test_samples_without_any_element_are_stored(tmp_path):
    space = {"x": Categorical((Axis("n", 3, minimum=0),), classes=2)}
    sizes = [2, 0, 3, 0]
    samples = [{"x": np.ones(size, dtype=np.int64)} for size in sizes]
    store = write_store(tmp_path / "store", partial(Given, space), space, [(sample, {}) for sample in samples])
    same(store.batch(np.array([3, 2, 1])), collate(space, [samples[k] for k in (3, 2, 1)]))
    assert store.batch(np.array([1, 3])).fields["x"].shape == (2, 0)


def test_nothing_but_empty_samples_is_a_store(tmp_path):
    space = {"x": Categorical((Axis("n", 3, minimum=0),), classes=2)}
    sample = {"x": np.zeros(0, dtype=np.int64)}
    store = write_store(tmp_path / "store", partial(Given, space), space, [(sample, {})])
    assert store.batch(np.array([0])).sizes["n"].tolist() == [0]


def test_rejected_rows_are_counted_by_reason_and_named_by_number(tmp_path):
    items = ["a", "no", Invalid("unreadable"), "b", "nope", "c"]
    store = stored(tmp_path / "store", Tokens, items)
    assert len(store) == 3
    assert store.rejected == {"not a word of one to three letters a, b, c": 2, "unreadable": 1}
    assert [number for number, _ in store.rejections()] == [1, 2, 4]


def test_columns_follow_the_rows_that_are_kept(tmp_path):
    rows = [("a", {"weight": 1.0}), ("no", {"weight": 2.0}), ("b", {}), ("c", {"weight": 4.0, "other": 9.0})]
    store = write_store(tmp_path / "store", Tokens, Tokens().space, rows, ["weight"])
    np.testing.assert_array_equal(store.columns["weight"], [1.0, np.nan, 4.0])


def test_worker_processes_keep_the_order(tmp_path, monkeypatch):
    monkeypatch.setattr(encode_module, "CHUNK", 4)
    items = ["a", "no", "b", "c"] * 3 + ["ab", "abc"]
    seen = []
    rows = [(item, {"number": k}) for k, item in enumerate(items)]
    store = write_store(tmp_path / "s", Tokens, Tokens().space, rows, ["number"], 2, seen.append)
    assert [Tokens().decode(store.sample(k)) for k in range(len(store))] == [item for item in items if item != "no"]
    assert store.columns["number"].tolist() == [k for k, item in enumerate(items) if item != "no"]
    assert [number for number, _ in store.rejections()] == [1, 5, 9]
    assert seen == [4, 8, 12, 14]


def test_no_row_at_all_is_an_empty_store(tmp_path):
    assert len(stored(tmp_path / "store", Tokens, [])) == 0


@pytest.mark.parametrize(
    ("sample", "message"),
    [([7], "values of the field 'letters' from 7 to 7"), ([-1], "values"), ([0] * 4, "sizes of the axis 'length'")],
)
def test_a_sample_outside_its_space_is_not_stored_as_another_one(sample, message):
    with pytest.raises(ValueError, match=message):
        encode_chunk(Given(Tokens().space), [{"letters": np.array(sample)}])


@pytest.mark.parametrize("name", ["field.letters.npy", "sizes.length.npy", "meta.json"])
@pytest.mark.parametrize("damage", ["truncated", "empty", "missing"])
def test_a_damaged_store_is_no_store(tmp_path, name, damage):
    stored(tmp_path / "store", Tokens, ["abc", "ab"])
    file = tmp_path / "store" / name
    if damage == "missing":
        file.unlink()
    else:
        file.write_bytes(file.read_bytes()[: -3 if damage == "truncated" else 0])
    with pytest.raises(StoreError, match="delete it"):
        Store(tmp_path / "store", Tokens().space)


def test_parts_of_two_stores_are_no_store(tmp_path):
    stored(tmp_path / "store", Tokens, ["abc", "ab"])
    stored(tmp_path / "other", Tokens, ["abc", "a"])
    shutil.copy(tmp_path / "other" / "field.letters.npy", tmp_path / "store")
    with pytest.raises(StoreError, match="do not fit"):
        Store(tmp_path / "store", Tokens().space)


def test_another_format_is_named(tmp_path):
    stored(tmp_path / "store", Tokens, ["abc"])
    meta = json.loads((tmp_path / "store" / "meta.json").read_text())
    (tmp_path / "store" / "meta.json").write_text(json.dumps(meta | {"format": 99}))
    with pytest.raises(StoreError, match="format is 99"):
        Store(tmp_path / "store", Tokens().space)


def test_of_two_writers_the_first_to_finish_wins(tmp_path):
    encoder = Tokens()
    writers = [StoreWriter(tmp_path / "store", encoder.space) for _ in range(2)]
    for writer, item in zip(writers, ["a", "b"], strict=True):
        writer.add(encode_chunk(encoder, [item]), {})
    for writer in writers:
        writer.finish()
    assert encoder.decode(Store(tmp_path / "store", encoder.space).sample(0)) == "a"
    assert [path.name for path in tmp_path.iterdir()] == ["store"]


def test_a_failing_source_leaves_nothing_behind(tmp_path):
    def rows():
        yield "a", {}
        raise OSError("the disk is gone")

    with pytest.raises(OSError, match="the disk is gone"):
        write_store(tmp_path / "store", Tokens, Tokens().space, rows())
    assert not list(tmp_path.iterdir())


class Hostile(Tokens):
    """Some words are the end of the process that encodes them, one is encoded wrongly."""

    def encode(self, item):
        if item == "die":
            os._exit(1)
        return {"letters": np.array([9])} if item == "wrong" else super().encode(item)


def test_only_the_item_that_is_the_end_of_its_worker_is_left_out(tmp_path, monkeypatch):
    monkeypatch.setattr(encode_module, "CHUNK", 3)
    rows = [(item, {}) for item in ("a", "b", "c", "ab", "abc", "die")]
    store = write_store(tmp_path / "store", Hostile, Tokens().space, rows, processes=1)
    assert store.rejected == {"crashed its worker": 1}
    assert [Tokens().decode(store.sample(k)) for k in range(len(store))] == ["a", "b", "c", "ab", "abc"]


class Slow(Hostile):
    """Encodes "hang" for ever, and says of others where they come from."""

    item_seconds = 0.5

    def encode(self, item):
        while item == "hang":
            pass
        return super().encode(item)

    def provenance(self, item):
        return "long ones by hand" if len(item) > 1 else ""


def test_an_item_that_takes_too_long_is_left_out_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(encode_module, "SINGLE_CHUNK", 4)
    rows = [(item, {"x": float(len(item))}) for item in ("a", "hang", "ab")]
    rows += [(Invalid("bad"), {}), ("abc", {"x": 3.0})]
    store = write_store(tmp_path / "store", Slow, Tokens().space, rows, ["x"], processes=1)
    assert [Tokens().decode(store.sample(k)) for k in range(len(store))] == ["a", "ab", "abc"]
    assert store.columns["x"].tolist() == [1.0, 2.0, 3.0]
    assert store.provenance == {"long ones by hand": 2}
    assert [number for number, _ in store.rejections()] == [1, 3]
    assert store.rejected == {"took longer than 0.5 s": 1, "bad": 1}


@pytest.mark.parametrize("chunk", [3, 100])
def test_an_encoder_that_leaves_its_space_ends_the_encoding(tmp_path, monkeypatch, chunk):
    monkeypatch.setattr(encode_module, "CHUNK", chunk)
    rows = [(item, {}) for item in ("wrong", "b", "c", "ab")]
    with pytest.raises(ValueError, match=r"values of the field .letters. from . to 9"):
        write_store(tmp_path / "store", Hostile, Tokens().space, rows, processes=1)
    assert not list(tmp_path.iterdir())
