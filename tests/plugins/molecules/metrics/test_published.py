"""A set that is described elsewhere has the summaries that it has when it is read."""

from collections import Counter

import numpy as np
import pytest

from molgen.metric import Chunk, PublishedStatistics
from molgen.metrics.frechet import Moments
from molgen.metrics.identity import Keys, TrainingConfig
from molgen.metrics.sample import FeatureConfig
from molgen_cli.report.collect import Portrait, portrayed
from molgen_plugins.molecules.chemistry.features import FEATURES
from molgen_plugins.molecules.chemistry.inspection import inspector
from molgen_plugins.molecules.domain import Molecules
from molgen_plugins.molecules.metrics.counts import FragmentCounts, ScaffoldCounts
from molgen_plugins.molecules.metrics.properties import PropertyConfig, Values
from molgen_plugins.molecules.metrics.similarity import Fingerprints

SMILES = ["CC(=O)Nc1ccccc1C(=O)OCc1ccccc1", "CCO", "c1ccc(cc1)-c1ccncc1", "O=C(NCc1ccccc1)c1ccccc1", "CCN(CC)CC"]
SUMMARIES = [
    lambda: Moments(FeatureConfig("chemnet")),
    lambda: Values(PropertyConfig("qed")),
    Fingerprints,
    FragmentCounts,
    ScaffoldCounts,
    lambda: Keys(TrainingConfig()),
    lambda: Portrait(portrayed(Molecules())),
]


@pytest.fixture(scope="module")
def both():
    found = [inspector(features=list(FEATURES))(smiles) for smiles in SMILES]
    features = {name: [one.features[name] for one in found] for name in FEATURES}
    features |= {n: np.array(v) for n, v in features.items() if isinstance(v[0], float | int | np.ndarray)}
    features["chemnet"] = np.random.default_rng(0).normal(size=(len(SMILES), 7))
    keys = [one.smiles for one in found]
    chunk = Chunk(0, np.ones(len(SMILES), bool), keys, keys, features, SMILES)
    published = PublishedStatistics(
        rows=len(SMILES),
        values={name: values for name, values in features.items() if isinstance(values, np.ndarray)},
        counts={
            "fragments": Counter(name for names in features["fragments"] for name in names),
            "scaffold": Counter(name for name in features["scaffold"] if name),
        },
        moments={"chemnet": (features["chemnet"].mean(0), np.cov(features["chemnet"], rowvar=False))},
        keys=lambda: iter(keys),
    )
    return chunk, published


@pytest.mark.parametrize("make", SUMMARIES)
def test_published_statistics_are_those_of_the_items(both, make):
    chunk, published = both
    read, told = make(), make()
    read.add(chunk)
    assert told.include_published(published)
    expected, found = read.arrays(), told.arrays()
    assert expected.keys() == found.keys()
    for name, array in expected.items():
        np.testing.assert_allclose(found[name], array, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("make", [*SUMMARIES, lambda: Keys(TrainingConfig(as_stored=True))])
def test_what_is_not_published_is_read(make):
    assert not make().include_published(PublishedStatistics(rows=3))


def test_half_of_a_symmetric_matrix_is_enough():
    rows = np.random.default_rng(1).normal(size=(20, 5))
    whole, half = Moments(), Moments()
    whole.include(rows)
    arrays = whole.arrays()
    triangle = arrays.pop("scatter")[np.triu_indices(5)].astype(np.float32)
    half.load({**arrays, "triangle": triangle})
    np.testing.assert_allclose(half.covariance, whole.covariance, rtol=1e-5)
