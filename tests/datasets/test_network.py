"""The real data sets, downloaded once; `-m network` runs these. ZINC250k is read from the mirror that is set."""

import itertools
import json
import math
import os
import tracemalloc

import pytest

from molgen_datasets.sources.moses import Moses
from molgen_datasets.sources.qm9 import PROPERTIES, QM9
from molgen_datasets.sources.qm9_geometry import QM9Geometry
from molgen_datasets.sources.zinc250k import ZINC250k

pytestmark = [pytest.mark.network, pytest.mark.timeout(1200)]

MIRROR = os.environ.get("MOLGEN_MIRROR")


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def shared_cache(shared, cache, monkeypatch):
    """One cache for all tests of this file, so that each source is downloaded once."""
    monkeypatch.setenv("MOLGEN_CACHE", str(shared))


@pytest.fixture(params=[Moses, QM9, QM9Geometry, ZINC250k])
def source(request, monkeypatch):
    if request.param is ZINC250k:
        if not MIRROR:
            pytest.skip("MOLGEN_MIRROR names no folder with zinc250k.smi.gz")
        monkeypatch.setenv("MOLGEN_MIRROR", MIRROR)
    return request.param()


def test_the_splits_have_the_counts_that_are_stated_and_are_disjoint(source, shared, files_below):
    reports = []
    source.fetch(lambda done, total: reports.append((done, total)))
    splits = {split: set(source.items(split)) for split in source.splits}
    assert {split: len(items) for split, items in splits.items()} == source.splits
    assert not any(a & b for a, b in itertools.combinations(splits.values(), 2))
    assert all(item and item.isascii() and not item.isspace() for items in splits.values() for item in items)
    assert sorted(name for name in files_below(source.path())) == sorted(source.files)
    assert not reports or reports[-1][0] == reports[-1][1]


def test_reading_takes_little_memory(source):
    tracemalloc.start()
    try:
        for _ in itertools.islice(source.items(next(iter(source.splits))), 100_000):
            pass
        assert tracemalloc.get_traced_memory()[1] < 20_000_000
    finally:
        tracemalloc.stop()


def test_no_molecule_of_qm9_is_in_two_splits():
    from rdkit.Chem import CanonSmiles

    source = QM9()
    splits = [set(map(CanonSmiles, source.items(split))) for split in ("valid", "test")]
    train = {CanonSmiles(item) for item in source.items("train")}
    assert not any(a & b for a, b in itertools.combinations([train, *splits], 2))


def test_every_molecule_of_qm9_has_a_geometry_and_finite_properties():
    for record in QM9().records("test"):
        elements, xyz = json.loads(record.columns["elements"]), json.loads(record.columns["xyz"])
        assert len(elements) == len(xyz)
        assert set(elements) <= set("HCNOF")
        assert all(len(position) == 3 for position in xyz)
        assert all(math.isfinite(float(record.columns[name])) for name in PROPERTIES)
