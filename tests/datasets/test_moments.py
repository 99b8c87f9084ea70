import json
from pathlib import Path

import numpy as np
import pytest

from molgen import registry
from molgen.evaluation.reference_cache import ItemSet, Request, Summaries
from molgen.metrics.frechet import FeatureConfig, Moments, Normal
from molgen_datasets import moments
from molgen_plugins.molecules.chemnet import network
from molgen_plugins.molecules.domain import Molecules

SHIPPED = ("qm9", "zinc250k")


def test_what_is_written_comes_back_for_the_same_items_alone(tmp_path):
    values = np.random.default_rng(0).normal(size=(50, 4))
    mean, covariance = values.mean(0), np.cov(values.T)
    path = tmp_path / "some.safetensors"
    moments.write(path, "digest", "network", 50, mean, covariance)
    found = moments.read(path, "digest")
    assert found.rows == 50
    assert Normal(*found.moments["network"]).distance(mean, covariance) < 1e-6
    np.testing.assert_allclose(found.moments["network"][1], covariance, rtol=1e-6)
    assert moments.read(path, "another") is None
    assert moments.read(tmp_path / "none.safetensors", "digest") is None


@pytest.mark.parametrize("name", SHIPPED)
def test_moments_of_all_test_items_ship(name, tmp_path):
    dataset = registry.get("dataset", name)()
    found = dataset.published("test")
    assert found.rows == dataset.splits["test"]
    mean, covariance = found.moments["chemnet"]
    assert mean.shape == (512,)
    assert np.linalg.eigvalsh(covariance)[0] > -1e-6
    assert dataset.published("train") is None
    items = ItemSet("Test", lambda: pytest.fail("read"), dataset.digest("test"), None, lambda: found)
    request = Request(Moments, FeatureConfig("chemnet"))
    summaries = Summaries(Molecules(), tmp_path, {})
    summaries.make(items, [request])
    np.testing.assert_allclose(summaries.get(request, items).covariance, covariance, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", SHIPPED)
def test_items_of_the_split_have_the_moments_that_ship(name):
    mean, covariance = registry.get("dataset", name)().published("test").moments["chemnet"]
    items = json.loads(Path(__file__).with_name("items_of_test_splits.json").read_text(encoding="utf-8"))[name]
    rows = network("cpu")([Molecules().canonical(item) for item in items])
    error = np.sqrt(covariance.diagonal() / len(rows)) + 1e-6
    assert np.mean(np.abs(rows.mean(0) - mean) < 4 * error) > 0.97
    assert np.trace(np.cov(rows.T)) == pytest.approx(np.trace(covariance), rel=0.25)
