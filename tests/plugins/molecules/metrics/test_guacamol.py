"""GuacaMol's scores against its definitions, written out with scipy."""

import math
import random

import numpy as np
import pytest
from rdkit import Chem, DataStructs
from rdkit.Chem.rdFingerprintGenerator import GetMorganGenerator
from scipy.stats import entropy, gaussian_kde
from support.measures import chunks, measured

from molgen.metric import Chunk
from molgen.metrics.frechet import FrechetDistance, Moments
from molgen.metrics.sample import FeatureConfig
from molgen_plugins.molecules.chemistry.features import FEATURES
from molgen_plugins.molecules.chemistry.rdkit_io import parse
from molgen_plugins.molecules.domain import EXAMPLES
from molgen_plugins.molecules.metrics.guacamol import (
    FCDConfig,
    FCDScore,
    KLConfig,
    KLReference,
    KLScore,
    RandomMoments,
    RandomRows,
    internal_similarity,
)

#: Ten each, with stereochemistry that does not count.
ITEMS = [*EXAMPLES[1:9], "CCOC(C)=O", "Cc1ccccc1", "CC(=O)Oc1ccccc1C(=O)O"]
REFERENCE = ["CCN", "CCCO", "c1ccccc1CN", "CC(=O)NC", "OCC(O)CO", "C1CCCCC1N", "Cc1ccncc1", "CCS", "CC(F)F", "C/C=C/C"]
MOLECULAR = {name: lambda item, name=name: FEATURES[name](parse(item)) for name in KLScore.needs}


def summary(cls, config, rows, features, sizes=None):
    made, loaded = cls(config), cls(config)
    for chunk in chunks(rows, sizes, features=features):
        made.add(chunk)
    loaded.load(made.arrays())
    return loaded


def score(rows, reference=REFERENCE, size=10_000, sizes=None, features=MOLECULAR):
    config = KLConfig(size)
    return measured(KLScore(config, summary(KLReference, config, reference, features)), rows, sizes, features)


# --- the definition -------------------------------------------------------------------------------


def numbers(rows):
    """Descriptors and internal similarity of the distinct molecules without stereochemistry."""
    flats = sorted({Chem.MolToSmiles(Chem.MolFromSmiles(row), isomericSmiles=False) for row in rows})
    molecules = [Chem.MolFromSmiles(flat) for flat in flats]
    bits = [GetMorganGenerator(radius=2, fpSize=4096).GetFingerprint(molecule) for molecule in molecules]
    similarity = np.array([DataStructs.BulkTanimotoSimilarity(one, bits) for one in bits])
    np.fill_diagonal(similarity, 0)
    return np.column_stack([[FEATURES["guacamol"](molecule) for molecule in molecules], similarity.max(1)])


def continuous(baseline, sampled):
    points = np.linspace(min(baseline.min(), sampled.min()), max(baseline.max(), sampled.max()), 1000)
    return entropy(gaussian_kde(baseline)(points) + 1e-10, gaussian_kde(sampled)(points) + 1e-10)


def discrete(baseline, sampled):
    expected, bins = np.histogram(baseline, bins=10, density=True)
    return entropy(expected + 1e-10, np.histogram(sampled, bins=bins, density=True)[0] + 1e-10)


def definition(rows, reference):
    found, known = numbers(rows), numbers(reference)
    divergences = [
        (discrete if 4 <= place < 9 else continuous)(known[:, place], found[:, place]) for place in range(10)
    ]
    return sum(math.exp(-divergence) for divergence in divergences) / 10


def test_the_score_is_that_of_the_definition():
    found = score(ITEMS)
    assert found.value == pytest.approx(definition(ITEMS, REFERENCE), rel=1e-9)
    assert found.count == len(ITEMS) - 1
    assert 0 <= found.low < found.value < found.high <= 1


def test_a_set_has_no_divergence_from_itself():
    assert score(REFERENCE).value == pytest.approx(1, rel=1e-12)


def test_repeats_and_stereochemistry_do_not_count():
    again = [*ITEMS, ITEMS[0], None, "C[C@@H](N)C(=O)[O-].[Na+]"]
    assert score(again).value == pytest.approx(score(ITEMS).value, rel=1e-12)
    assert score(ITEMS, [*REFERENCE, "C/C=C\\C", None]).value == pytest.approx(score(ITEMS).value, rel=1e-12)


def test_portions_and_order_do_not_matter():
    whole = score(ITEMS)
    assert score(ITEMS, sizes=[3, 0, 8]) == whole
    assert score(random.Random(0).sample(ITEMS, len(ITEMS))).value == pytest.approx(whole.value, rel=1e-9)


def test_only_the_first_distinct_molecules_count():
    rows = [ITEMS[0], None, ITEMS[0], *ITEMS]
    found = score(rows, size=5, sizes=[2, 4, len(rows) - 6])
    assert found.count == 5
    assert found.value == score(ITEMS[:5], size=5).value


# --- made-up numbers ------------------------------------------------------------------------------


def made(items, shift=0.0):
    """Features of items that are numbers."""
    rng = np.random.default_rng(0)
    bits = rng.integers(0, 256, (len(items), 512), np.uint8)
    return {
        "flat": str,
        "guacamol": lambda item: np.array([item + shift, *[item % 7 + 0.5 * item] * 8]),
        "guacamol_fingerprint": lambda item: bits[items.index(item)],
    }


@pytest.mark.parametrize(("rows", "note"), [([], "valid items"), ([None], "valid items"), ([1], "valid items")])
def test_too_few_items_are_undefined(rows, note):
    found = score(rows, [1, 2, 3], features=made([1, 2, 3]))
    assert math.isnan(found.value)
    assert found.note == f"fewer than 2 distinct {note}"


def test_portions_without_valid_rows_add_nothing():
    empty = Chunk(0, np.zeros(3, bool), [], [])
    for metric, cls in ((KLScore, KLReference), (FCDScore, RandomMoments)):
        known = cls(metric.Config())
        known.add(empty)
        known.load(known.arrays())
        made = metric(metric.Config(), known)
        made.add(empty)
        assert made.estimate(np.random.default_rng(0)).note.startswith("fewer than 2")


def test_too_small_a_reference_is_undefined():
    assert score([1, 2], [3, 3], features=made([1, 2, 3])).note == "fewer than 2 distinct molecules in the reference"
    assert score([1, 2], [], features=made([1, 2, 3])).note == "fewer than 2 distinct molecules in the reference"


def test_equal_values_are_undefined():
    features = made([1, 2, 3, 4]) | {"guacamol": lambda item: np.full(9, 3.0)}
    assert score([1, 2], [3, 4], features=features).note == "all values of BertzCT are equal"


def test_counts_beyond_the_reference_are_undefined():
    found = score([100, 200, 300], [1, 2, 3], features=made([1, 2, 3, 100, 200, 300]))
    assert math.isnan(found.value)
    assert found.note == "no item is within the range of the reference"


def test_molecules_without_descriptors_are_left_out():
    rows, reference = [1, 2, 4], [2, 3, 4]
    plain = made([1, 2, 3, 4, 5])
    broken = plain | {"guacamol": lambda item: plain["guacamol"](item) * (math.nan if item == 5 else 1)}
    expected = score(rows, reference, features=plain).value
    assert 0 < expected < 1
    assert score([*rows, 5], reference, features=broken).value == expected
    assert score(rows, [*reference, 5], features=broken).value == expected


def test_internal_similarity_by_hand():
    bits = np.zeros((4, 8), np.uint8)
    bits[0, :3] = bits[1, 1:4] = bits[2, 4] = 1  # the last has no bits
    found = internal_similarity(np.packbits(bits, axis=1, bitorder="little"))
    assert found.tolist() == [0.5, 0.5, 0.0, 0.0]
    assert internal_similarity(np.zeros((1, 8), np.uint8)).tolist() == [0.0]


def test_random_rows_do_not_depend_on_portions():
    valid = np.random.default_rng(1).random(300) < 0.8
    numbers = np.arange(300)[valid]
    found = []
    for sizes in ([300], [1, 0, 99, 150, 50]):
        rows, first = RandomRows(40), 0
        for size in sizes:
            part = valid[first : first + size]
            before = valid[:first].sum()
            rows.add(part, {"number": numbers[before : before + part.sum()]})
            first += size
        found.append(rows.columns["number"])
    assert found[0].tolist() == found[1].tolist() == sorted(set(found[0].tolist()))
    assert len(found[0]) == 40
    assert found[0].min() < 60
    assert found[0].max() > 240


def test_few_rows_are_all_chosen():
    rows = RandomRows(40)
    rows.add(np.ones(7, bool), {"number": np.arange(7)})
    assert rows.columns["number"].tolist() == list(range(7))


# --- the Fréchet ChemNet distance -----------------------------------------------------------------

VECTORS = {"chemnet": lambda item: np.random.default_rng(item).normal(size=3).astype(np.float32)}


def fcd_score(rows, reference, size=10_000, sizes=None):
    config = FCDConfig(size=size)
    return measured(FCDScore(config, summary(RandomMoments, config, reference, VECTORS)), rows, sizes, VECTORS)


def test_the_fcd_score_is_that_of_the_distance():
    rows, reference = [*range(50), None, 3], list(range(100, 180))
    config = FeatureConfig("chemnet")
    distance = measured(FrechetDistance(config, summary(Moments, config, reference, VECTORS)), rows, None, VECTORS)
    found = fcd_score(rows, reference)
    assert found.value == pytest.approx(math.exp(-0.2 * distance.value), rel=1e-9)
    assert found.low == pytest.approx(math.exp(-0.2 * distance.high), rel=1e-9)
    assert found.high == pytest.approx(math.exp(-0.2 * distance.low), rel=1e-9)
    assert found.count == 51


def test_only_so_many_items_and_random_rows_count():
    rows = [None, *range(50)]
    assert fcd_score(rows, list(range(99)), size=20, sizes=[10, 30, 11]) == fcd_score(rows[:21], list(range(99)), 20)
    chosen = summary(RandomMoments, FCDConfig(size=20), list(range(99)), VECTORS)
    again = summary(RandomMoments, FCDConfig(size=20), list(range(99)), VECTORS, [50, 49])
    assert chosen.count == 20
    assert np.array_equal(chosen.mean, again.mean)
    assert RandomMoments.name(FCDConfig()) == "moments-chemnet-10000"


@pytest.mark.parametrize("rows", [[], [None], [1]])
def test_no_distance_is_no_score(rows):
    found = fcd_score(rows, list(range(9)))
    assert math.isnan(found.value)
    assert found.note == "fewer than 2 valid items"
