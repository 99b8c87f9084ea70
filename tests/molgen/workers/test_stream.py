"""Looking ahead: in order, bounded in items and in bytes, and over when the caller has enough."""

from __future__ import annotations

import threading
import time
import tracemalloc
from contextlib import contextmanager
from typing import ClassVar

import numpy as np
import pytest

from molgen.data import prepare
from molgen.data.encode import write_store
from molgen.data.prepare import training_data
from molgen.data.source import RowSource
from molgen.domain import Domain, Encoder, Invalid, Record
from molgen.evaluation.features import FeatureExtractor
from molgen.inference.score import ScoredRows
from molgen.space import Axis, Real
from molgen.workers.inspector import Inspector
from molgen.workers.pool import Workers
from molgen.workers.stream import byte_size, chunked, stream

MIB = 1 << 20


@contextmanager
def at_most(megabytes):
    """No more memory is in use at any time in the block."""
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < megabytes * MIB
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("value", "least"),
    [
        ("a" * 1000, 1000),
        (b"a" * 1000, 1000),
        (np.zeros(1000, np.float32), 4000),
        ({"x": np.zeros(1000)}, 8000),
        ([("a" * 500, 1), "b" * 500], 1000),
        (Record(0, "a" * 500, {"b": "c" * 500}), 1000),
        (Invalid("r" * 1000), 1000),
        (1.5, 0),
    ],
)
def test_bytes_of_plain_data(value, least):
    assert least <= byte_size(value) < least + 500


def test_chunks_are_bounded_in_items_and_in_bytes():
    sizes = [1, 1, 1, 1, 5, 9, 20, 1]
    assert list(chunked(sizes, 3, 10, size=int)) == [[1, 1, 1], [1, 5], [9], [20], [1]]
    assert list(chunked([], 3)) == []


def test_results_come_in_order_with_their_chunks():
    given = [[1, 2], [3], [4, 5, 6]]
    assert list(stream(given, lambda chunk: (10 * item for item in chunk))) == [
        ([1, 2], [10, 20]),
        ([3], [30]),
        ([4, 5, 6], [40, 50, 60]),
    ]


def test_a_chunk_of_large_results_comes_in_parts_and_few_wait():
    made = []

    def work(chunk):
        for item in chunk:
            made.append(item)
            yield np.zeros(MIB, np.uint8)

    taken = 0
    for part, results in stream([range(50), range(50, 100)], work, most_bytes=4 * MIB):
        assert len(part) == len(results) <= 5
        taken += len(part)
        time.sleep(0.002)
        assert len(made) <= taken + 7
    assert taken == 100


def test_an_empty_chunk_means_not_before_the_next_result():
    seen = []

    def chunks():
        for number in range(4):
            while number > len(seen):  # the next one depends on the results of the one before
                yield []
            yield [number]

    for chunk, results in stream(chunks(), iter):
        seen.append((list(chunk), results))
    assert seen == [([k], [k]) for k in range(4)]


def test_an_error_comes_after_the_results_before_it():
    def work(chunk):
        yield from chunk
        raise OSError("the disk is gone")

    found = stream([[1, 2, 3]], lambda chunk: work(chunk[:2]))
    with pytest.raises(OSError, match="the disk is gone"):
        list(found)


def test_whoever_has_enough_leaves_no_thread_behind():
    before = threading.active_count()
    for _ in stream(([k] * 100 for k in range(1000)), iter, most_bytes=10):
        break
    deadline = time.monotonic() + 10
    while threading.active_count() > before and time.monotonic() < deadline:
        time.sleep(0.01)
    assert threading.active_count() == before


# --- memory -----------------------------------------------------------------------------------------


class Big(Domain, Encoder):
    """Small numbers that stand for arrays of 4 MiB, as small files stand for large pictures."""

    space: ClassVar = {"x": Real((Axis("n", 4, variable=False),))}

    def __init__(self, config=None):
        self.config = config

    def examples(self):
        return [0]

    def canonical(self, item):
        return np.full(4 * MIB, item % 250, np.uint8) if item >= 0 else Invalid("below zero")

    def key(self, item):
        return str(item[0])

    def encode(self, item):
        return {"x": item[:4].astype(np.float32)}

    def decode(self, sample):
        return sample["x"]


def records(count):
    return (Record(k, k if k % 7 else -1) for k in range(count))


def test_training_on_large_items_takes_little_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(prepare, "KEPT_BYTES", 20 * MIB)
    source = RowSource("big", lambda: records(150), ())
    with at_most(200):  # of 600
        data = training_data(source, Big(), (), (), tmp_path, lambda count: None)
        store = write_store(tmp_path / "store", lambda: Big(), Big.space, data.rows())
    assert len(store) == sum(k % 7 > 0 for k in range(150))
    assert store.fields["x"][::4].tolist() == [k for k in range(150) if k % 7]
    assert store.rejected == {"below zero": 22}


def test_what_is_inspected_again_is_what_was_kept(tmp_path, monkeypatch):
    source = RowSource(
        "some", lambda: (Record(k, "CCO"[: 1 + k % 3] + "N" * (k // 6), {"y": str(k)}) for k in range(20)), "y"
    )

    class Words(Domain):
        def examples(self):
            return ["C"]

    found = []
    for room in (1 << 30, 300):
        monkeypatch.setattr(prepare, "KEPT_BYTES", room)
        data = training_data(source, Words(), ["y"], (), tmp_path, lambda count: None)
        found.append((list(data.rows()), list(data.rows()), data.digest, data.keys.count))
    assert found[0] == found[1]
    assert found[0][0] == found[0][1]
    assert sum(isinstance(item, Invalid) for item, _ in found[0][0]) == 9


def test_evaluating_large_items_takes_little_memory():
    with at_most(200), FeatureExtractor(Big()) as extractor:
        count = sum(len(chunk.valid) for chunk in extractor.chunks(record.item for record in records(150)))
    assert count == 150


def test_scoring_large_items_takes_little_memory():
    class Model:
        domain, encoder = Big(), Big()

        def log_density_of(self, encoded, **options):
            from molgen.family import Density
            from molgen.model.sampling import Scored

            return [Scored(0.0, Density.EXACT) for _ in encoded]

    with at_most(200), Inspector(Big()) as inspector:
        rows = ScoredRows(Model(), inspector).rows(records(150))
        statuses = [row["status"] for row in rows]
    assert statuses.count("invalid") == 22
    assert len(statuses) == 150


def test_results_of_workers_wait_in_little_memory(tmp_path, monkeypatch):
    (tmp_path / "growing.py").write_text("def large(size):\n    return lambda item: bytes([item % 250]) * size\n")
    monkeypatch.syspath_prepend(tmp_path)
    with at_most(150), Workers("growing:large", {"size": 2 * MIB}, chunk=200) as workers:
        for number, result in enumerate(workers.map(range(200))):  # of 400
            assert result[0] == number % 250
    assert number == 199
