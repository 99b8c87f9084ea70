"""Similarities, their sums and the nearest neighbours are those of the plain definition."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from rdkit import Chem, DataStructs
from rdkit.Chem.rdFingerprintGenerator import GetMorganGenerator
from support.molecules import SMILES

from molgen_plugins.molecules.fingerprints import nearest as neighbours
from molgen_plugins.molecules.fingerprints import tanimoto
from molgen_plugins.molecules.fingerprints.nearest import Neighbours, nearest
from molgen_plugins.molecules.fingerprints.tanimoto import (
    BYTES,
    LONGEST,
    SHORTS,
    bit_counts,
    pack,
    power_sums,
    shared,
    words,
)

MOLECULES = [molecule for molecule in map(Chem.MolFromSmiles, SMILES) if molecule is not None]
MORGAN = GetMorganGenerator(radius=2, fpSize=1024)


def plain(queries, references):
    """All similarities by the definition, float64 (Q, R)."""
    ones, others = (np.unpackbits(side, axis=1).astype(int) for side in (queries, references))
    common = ones @ others.T
    either = ones.sum(1)[:, None] + others.sum(1) - common
    return np.where(either > 0, common / np.maximum(either, 1), 1.0)


def drawn(rng, count, bytes_, density):
    bits = rng.random((count, 8 * bytes_)) < density
    return np.packbits(bits, axis=1)


@st.composite
def fingerprints(draw, fewest=0):
    """Sparse and dense ones, with empty, full and repeated ones among them."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    made = drawn(rng, draw(st.integers(fewest, 40)), 48, draw(st.sampled_from([0.01, 0.1, 0.5, 0.9, 1.0])))
    for value in (0, 255):
        made[rng.random(len(made)) < draw(st.sampled_from([0, 0.2]))] = value
    if len(made) and draw(st.booleans()):
        made = made[rng.integers(0, len(made), len(made))]
    return made


@pytest.fixture
def small(monkeypatch):
    """Small blocks, few bins and small heaps, so that a few rows reach every part."""
    for name, size in {"CHUNK": 16, "BLOCK": 5, "PASS": 12, "BINS": 24, "HEAP": 2, "STRIP": 2, "_PAIRS": 3}.items():
        monkeypatch.setattr(neighbours, name, size)
    monkeypatch.setattr(tanimoto, "_UNIT", 7)


# --- counts in the slots of doubles ---------------------------------------------------------------


@pytest.mark.parametrize(("slots", "most"), [(BYTES, 255), (SHORTS, LONGEST)])
def test_slots_hold_counts_up_to_the_largest(slots, most):
    counts = np.array([[most, 0, 1, most, 2, most, most - 1, 3]])
    packs = pack(np.concatenate([counts, np.zeros_like(counts)]), slots)
    ones = torch.ones(2, 1, dtype=torch.float64)
    found = shared(torch.from_numpy(packs), ones, slots)[:, 0, : slots.used].flatten()
    assert found[: counts.shape[1]].tolist() == counts[0].tolist()
    assert not found[counts.shape[1] :].any()


def test_the_last_column_is_added_to_every_pair():
    columns = np.array([[1, 0, 1], [4, 5, 6]])
    others = torch.tensor([[1.0, 0.0], [1.0, 1.0]], dtype=torch.float64)
    found = shared(torch.from_numpy(pack(columns, SHORTS)), others, SHORTS)
    assert found[0, :, :3].tolist() == [[5, 5, 7], [4, 5, 6]]


def test_words_take_any_number_of_bytes():
    made = np.full((2, 9), 255, np.uint8)
    assert words(made).shape == (2, 2)
    assert bit_counts(words(made)).tolist() == [72, 72]


@pytest.mark.parametrize(
    "wrong", [np.zeros(8, np.uint8), np.zeros((2, 8), bool), np.zeros((1, LONGEST // 8 + 1), np.uint8)]
)
def test_what_is_no_packed_fingerprint_is_refused(wrong):
    with pytest.raises(ValueError, match="fingerprints"):
        words(wrong)


# --- sums -----------------------------------------------------------------------------------------


@given(fingerprints(), st.integers(0, 2**32 - 1))
@settings(deadline=None)
def test_sums_are_those_of_the_definition(made, seed):
    groups = np.random.default_rng(seed).integers(0, 5, len(made))
    similarity, member = plain(made, made), groups[:, None] == np.arange(6)
    found = power_sums(made, groups, 6, (1, 2, 3))
    assert found.shape == (3, len(made), 6)
    for sums, power in zip(found, (1, 2, 3), strict=True):
        np.testing.assert_allclose(sums, similarity**power @ member, rtol=1e-5)


def test_sums_do_not_depend_on_the_units(small):
    rng = np.random.default_rng(0)
    made, groups = drawn(rng, 60, 16, 0.2), rng.integers(0, 4, 60)
    made[::9] = 0
    member = groups[:, None] == np.arange(4)
    np.testing.assert_allclose(power_sums(made, groups, 4)[0], plain(made, made) @ member, rtol=1e-5)


def test_sums_of_fingerprints_with_many_bits():
    made = drawn(np.random.default_rng(0), 10, 128, 0.6)
    sums = power_sums(made, np.zeros(10, int), 1)[0, :, 0]
    np.testing.assert_allclose(sums, plain(made, made).sum(1), rtol=1e-6)


# --- neighbours -----------------------------------------------------------------------------------


def check(queries, references, floor=0.0):
    """The search finds the largest similarity and a reference that has it."""
    similarity, index = nearest(queries, references, floor)
    exact = plain(queries, references)
    best = exact.max(1)
    np.testing.assert_array_equal(similarity, np.where(best > floor, best, floor))
    np.testing.assert_array_equal(index >= 0, best > floor)
    found = np.flatnonzero(index >= 0)
    np.testing.assert_array_equal(exact[found, index[found]], best[found])


@given(fingerprints(), fingerprints(fewest=1), st.sampled_from([0.0, 0.3, 0.9]))
@settings(deadline=None)
def test_the_nearest_is_that_of_the_definition(queries, references, floor):
    check(queries, references, floor)
    check(references, references, floor)


@pytest.mark.parametrize("density", [0.02, 0.1, 0.5])
@pytest.mark.parametrize("count", [1, 15, 16, 17, 100])
def test_the_nearest_does_not_depend_on_blocks(small, count, density):
    rng = np.random.default_rng(count)
    references = drawn(rng, count, 16, density)
    references[:: max(2, count // 3)] = 0
    queries = np.concatenate([drawn(rng, 30, 16, density), references[:3], np.zeros((1, 16), np.uint8)])
    check(queries, references)


def test_bit_counts_of_all_sizes_lie_in_one_search():
    """From none to all of 1,024 bits: counts of one byte and of two."""
    rng = np.random.default_rng(0)
    references = np.concatenate([drawn(rng, 20, 128, density) for density in (0, 0.02, 0.2, 0.25, 0.5, 0.97, 1)])
    queries = np.concatenate([drawn(rng, 5, 128, density) for density in (0, 0.01, 0.24, 0.6, 1)])
    check(queries, references)
    check(references[::3], references)


def test_the_order_of_both_sides_does_not_matter():
    rng = np.random.default_rng(0)
    queries, references = drawn(rng, 50, 32, 0.1), drawn(rng, 300, 32, 0.1)
    similarity, _ = nearest(queries, references)
    order, other = rng.permutation(50), rng.permutation(300)
    np.testing.assert_array_equal(nearest(queries[order], references[other])[0], similarity[order])


def test_many_equal_fingerprints():
    made = np.tile(drawn(np.random.default_rng(0), 1, 128, 0.05), (5000, 1))
    assert (nearest(made[:50], made)[0] == 1).all()


def test_an_empty_fingerprint_equals_only_an_empty_one():
    none, one = np.zeros((1, 8), np.uint8), np.full((1, 8), 1, np.uint8)
    assert nearest(none, np.concatenate([one, none])) == (1.0, 1)
    assert nearest(none, one) == (0.0, -1)
    assert nearest(one, none) == (0.0, -1)


def test_no_queries():
    similarity, index = nearest(np.zeros((0, 8), np.uint8), np.ones((3, 8), np.uint8))
    assert similarity.shape == index.shape == (0,)


def test_what_cannot_be_searched_is_refused():
    made = np.ones((3, 16), np.uint8)
    with pytest.raises(ValueError, match="no references"):
        Neighbours(made[:0])
    with pytest.raises(ValueError, match="128"):
        nearest(made[:, :8], made)
    with pytest.raises(ValueError, match="below"):
        nearest(made, made, floor=-0.1)


def test_similarities_of_molecules_are_those_of_rdkit():
    vectors = [MORGAN.GetFingerprint(molecule) for molecule in MOLECULES]
    packed = np.stack([np.packbits(MORGAN.GetFingerprintAsNumPy(m), bitorder="little") for m in MOLECULES])
    references, queries = vectors[::2], vectors[1::2]
    expected = [max(DataStructs.BulkTanimotoSimilarity(query, references)) for query in queries]
    np.testing.assert_array_equal(nearest(packed[1::2], packed[::2])[0], expected)
    sums = [sum(DataStructs.BulkTanimotoSimilarity(vector, vectors)) for vector in vectors]
    np.testing.assert_allclose(power_sums(packed, np.zeros(len(packed), int), 1)[0, :, 0], sums, rtol=1e-6)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_finds_the_same():
    rng = np.random.default_rng(0)
    queries, references = drawn(rng, 500, 128, 0.04), drawn(rng, 5000, 128, 0.04)
    np.testing.assert_array_equal(nearest(queries, references, device="cuda")[0], nearest(queries, references)[0])
    groups = rng.integers(0, 8, 500)
    np.testing.assert_allclose(power_sums(queries, groups, 8, device="cuda"), power_sums(queries, groups, 8), rtol=1e-5)
