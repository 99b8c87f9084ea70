import math

import numpy as np
import pytest
import torch

from molgen.batch import collate
from molgen.data.standardise import log_abs_det, restore, standardise
from molgen.data.statistics import Statistics, measure
from molgen.space import Axis, Categorical, Real

ATOMS = Axis("atom", 4, ordered=False)
SPACE = {
    "kind": Categorical((ATOMS,), classes=3),
    "charge": Real((ATOMS,)),
    "place": Real((ATOMS,), channels=(3,), centred=True, rotates=True),
    "grey": Real((ATOMS,), levels=4),
    "weight": Real(),
}


def samples():
    random = np.random.default_rng(0)
    for n in (1, 3, 4):
        place = random.normal(scale=5, size=(n, 3))
        yield {
            "kind": random.integers(3, size=n),
            "charge": random.normal(7, 2, size=n).astype(np.float32),
            "place": (place - place.mean(0)).astype(np.float32),
            "grey": random.integers(4, size=n),
            "weight": np.float32(random.normal(-3, 0.5)),
        }


@pytest.fixture(scope="module")
def batch():
    return collate(SPACE, list(samples()))


@pytest.fixture(scope="module")
def statistics(batch):
    return measure(SPACE, [batch])


def test_real_fields_have_zero_mean_and_unit_scale_and_others_stay(batch, statistics):
    found = measure(SPACE, [standardise(SPACE, statistics, batch)]).moments
    for name in ("charge", "weight"):
        assert found[name].mean == pytest.approx(0, abs=1e-5)
        assert found[name].scale == pytest.approx(1, rel=1e-5)
    place = found["place"]
    assert place.squares / place.count == pytest.approx(1, rel=1e-5)
    standard = standardise(SPACE, statistics, batch)
    for name in ("kind", "grey"):
        assert torch.equal(standard.fields[name], batch.fields[name])


def test_restoring_inverts_and_padding_stays_zero(batch, statistics):
    standard = standardise(SPACE, statistics, batch)
    back = restore(SPACE, statistics, standard)
    for name in SPACE:
        assert torch.allclose(back.fields[name], batch.fields[name], atol=1e-5)
        assert standard.fields[name].dtype == batch.fields[name].dtype
    assert standard.fields["charge"][0, 1:].eq(0).all()
    assert standard.fields["place"][0, 1:].eq(0).all()


def test_the_volume_turns_a_density_at_unit_scale_into_one_in_the_users_units(batch, statistics):
    """A product of normal densities, with the moments of the data and with the standard ones."""
    standard = standardise(SPACE, statistics, batch)
    unit = torch.distributions.Normal(0, 1).log_prob(standard.fields["weight"].double())
    moments = statistics.moments["weight"]
    exact = torch.distributions.Normal(moments.mean, moments.scale).log_prob(batch.fields["weight"].double())
    only = {"weight": SPACE["weight"]}
    assert torch.allclose(unit - log_abs_det(only, statistics, batch), exact, atol=1e-5)


def test_the_volume_counts_free_elements(batch, statistics):
    scale = statistics.moments["place"]
    only = {"place": SPACE["place"]}
    free = torch.tensor([0, 6, 9])
    expected = free * math.log((scale.squares / scale.count) ** 0.5)
    assert torch.allclose(log_abs_det(only, statistics, batch), expected.double())


def test_nothing_changes_before_anything_was_counted(batch):
    assert log_abs_det(SPACE, Statistics(), batch).eq(0).all()
    assert standardise(SPACE, Statistics(), batch).fields["charge"] is batch.fields["charge"]
