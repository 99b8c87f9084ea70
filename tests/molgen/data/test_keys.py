"""Keys of items: sets on disk, which are new however many there are, and which of many are the first of their kind."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from molgen.data import keys as module
from molgen.data.keys import KeyIndex, SeenKeys, digest, first_of_each, words


@pytest.mark.parametrize("bucket", [3, 10_000])
def test_the_first_of_each_key_is_found_in_any_memory(tmp_path, bucket):
    keys = [digest(str(number)) for number in np.random.default_rng(0).integers(0, 60, 200)]
    rows = np.arange(0, 400, 2, dtype=np.uint64)  # odd rows have no key
    parts = [lambda s=s: (words(keys[s : s + 50]), rows[s : s + 50]) for s in range(0, 200, 50)]
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    first = first_of_each(parts, 400, scratch, bucket=bucket)
    seen = set()
    expected = [not (key in seen or seen.add(key)) for key in keys]
    assert first[::2].tolist() == expected
    assert first[1::2].all()
    assert {path.name for path in scratch.iterdir()} == {"first.npy"}


def test_an_index_has_its_keys_and_no_others(tmp_path):
    known = [digest(f"known {number}") for number in range(500)]
    assert KeyIndex.write(tmp_path / "a" / "keys.npy", [*known, *known]) == 500
    index = KeyIndex(tmp_path / "a" / "keys.npy")
    assert all(map(index.has, known))
    assert not any(index.has(digest(f"other {number}")) for number in range(500))


@pytest.mark.parametrize("content", [None, b"", b"no array"])
def test_an_index_that_cannot_be_read_is_not_empty(tmp_path, content):
    path = tmp_path / "keys.npy"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises((OSError, ValueError)):
        KeyIndex(path)


@pytest.mark.parametrize("chunk", [7, 1 << 20])
def test_two_indices_are_merged_piece_by_piece(tmp_path, monkeypatch, chunk):
    monkeypatch.setattr(module, "_CHUNK", chunk)
    known = [digest(f"known {number}") for number in range(300)]
    for name, part in (("a", known[:80]), ("b", known[80:]), ("all", known)):
        KeyIndex.write(tmp_path / f"{name}.npy", part)
    KeyIndex(tmp_path / "a.npy").merge(KeyIndex(tmp_path / "b.npy"), tmp_path / "merged.npy")
    np.testing.assert_array_equal(np.load(tmp_path / "merged.npy"), np.load(tmp_path / "all.npy"))


def test_a_key_is_new_once_however_few_lie_in_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(module.tempfile, "tempdir", str(tmp_path))
    asked = [f"key {number}" for number in np.random.default_rng(0).integers(0, 1500, 4000)]
    known: set[str] = set()
    expected = [not (key in known or known.add(key)) for key in asked]
    seen, most = SeenKeys(room=32), 0
    for key, new in zip(asked, expected, strict=True):
        assert seen.add(key) is new
        most = max(most, len(seen._latest), len(seen._files))
    assert most < 32
    assert sum(map(len, seen._files)) + len(seen._latest) == len(known)
    assert len(seen._files) <= np.log2(len(known) / 32) + 1
    assert all(len(first) > len(second) for first, second in pairwise(seen._files))
    (folder,) = tmp_path.iterdir()
    assert len(list(folder.iterdir())) == len(seen._files)
    seen.close()
    assert not list(tmp_path.iterdir())
    assert SeenKeys().add("key 1")
