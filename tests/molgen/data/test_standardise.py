import math

import numpy as np
import pytest
import torch

from molgen.backbone import make_build
from molgen.backbones.transformer.network import Transformer
from molgen.batch import Batch, collate
from molgen.data.standardise import log_abs_det, restore, standardise
from molgen.data.statistics import Moments, Statistics, measure
from molgen.families.diffusion import Diffusion
from molgen.seeding import Rng
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
    assert found["place"].root_mean_square == pytest.approx(1, rel=1e-5)
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
    expected = free * math.log(scale.root_mean_square)
    assert torch.allclose(log_abs_det(only, statistics, batch), expected.double())


def test_nothing_changes_before_anything_was_counted(batch):
    assert log_abs_det(SPACE, Statistics(), batch).eq(0).all()
    assert standardise(SPACE, Statistics(), batch).fields["charge"] is batch.fields["charge"]


# --- channels of different units -------------------------------------------------------------------

HOURS = Axis("hour", 4, variable=False)
WEATHER = {"weather": Real((HOURS,), channels=(2,))}
MEANS, DEVIATIONS = torch.tensor([20.0, 101_300.0]), torch.tensor([5.0, 500.0])


def weather(rows):
    torch.manual_seed(0)
    return Batch({"weather": MEANS + DEVIATIONS * torch.randn(rows, 4, 2)}, {})


def test_each_channel_has_mean_zero_and_deviation_one():
    batch = weather(500)
    statistics = measure(WEATHER, [batch.take(slice(0, 77)), batch.take(slice(77, None))])
    standard = standardise(WEATHER, statistics, batch)
    values = standard.fields["weather"].double().flatten(0, 1)
    assert values.mean(0).tolist() == pytest.approx([0, 0], abs=1e-5)
    assert values.std(0, correction=0).tolist() == pytest.approx([1, 1], rel=1e-5)
    torch.testing.assert_close(restore(WEATHER, statistics, standard).fields["weather"], batch.fields["weather"])


def test_moments_of_an_earlier_checkpoint_keep_one_scale_for_all_channels():
    statistics = Statistics(moments={"weather": Moments.from_sums(8.0, 80.0, 1600.0)})
    standard = standardise(WEATHER, statistics, weather(2))
    torch.testing.assert_close(standard.fields["weather"], (weather(2).fields["weather"] - 10) / 10)
    assert log_abs_det(WEATHER, statistics, weather(2)).tolist() == pytest.approx([8 * math.log(10)] * 2)


@pytest.fixture(scope="module")
def of_weather():
    """A diffusion trained on channels of different units."""
    batch = weather(512)
    statistics = measure(WEATHER, [batch])
    standard = standardise(WEATHER, statistics, batch)
    build = make_build(Transformer, Transformer.Config(width=16, layers=1, heads=2), None)
    torch.manual_seed(0)
    family = Diffusion(WEATHER, build, Diffusion.Config())
    optimiser = torch.optim.Adam(family.parameters(), lr=5e-3)
    for step in range(300):
        rows = torch.randint(len(batch), (64,)).tolist()
        optimiser.zero_grad()
        family.loss(standard.take(rows), None, Rng(step, rows)).total.mean().backward()
        optimiser.step()
    return family.eval(), statistics


def test_samples_of_a_trained_model_have_the_units_of_each_channel(of_weather):
    family, statistics = of_weather
    drawn = restore(WEATHER, statistics, family.sample(400, rng=Rng(0, range(400))).batch).fields["weather"]
    values = drawn.flatten(0, 1)
    assert ((values.mean(0) - MEANS) / DEVIATIONS).tolist() == pytest.approx([0, 0], abs=0.15)
    assert (values.std(0) / DEVIATIONS).tolist() == pytest.approx([1, 1], abs=0.15)


def test_the_volume_is_the_jacobian_of_restoring(of_weather):
    _, statistics = of_weather
    batch = standardise(WEATHER, statistics, weather(1))

    def restored(values):
        return restore(WEATHER, statistics, Batch({"weather": values.view(1, 4, 2)}, {})).fields["weather"].flatten()

    jacobian = torch.autograd.functional.jacobian(restored, batch.fields["weather"].double().flatten())
    expected = torch.linalg.slogdet(jacobian).logabsdet.item()
    assert log_abs_det(WEATHER, statistics, batch).item() == pytest.approx(expected)
