"""Priors over latents: the bound of a linear model against its exact density, wholeness, options, and the kit."""

import math

import pytest
import torch
from support.toys import Record, Tokens
from torch import nn

from molgen import registry
from molgen.batch import Batch, Partial, collate
from molgen.config import Part
from molgen.data.statistics import Statistics
from molgen.errors import MolgenError, UsageError
from molgen.families.latent import Latent, LatentConfig
from molgen.family import Capability, Density, Family, Generated, LogDensity, Loss
from molgen.model.generative_model import GenerativeModel
from molgen.seeding import Rng
from molgen.space import Real
from molgen.testing import SPACES, Case, Skipped
from molgen.testing.fixtures import FamilyTrial
from molgen.testing.suites import FAMILY_CHECKS

NUMBERS = {"x": Real(channels=(3,))}
#: x = WEIGHTS z + noise of scale NOISE.
WEIGHTS, NOISE = torch.tensor([[1.0, 0.5], [-0.3, 1.2], [0.7, 0.1]], dtype=torch.float64), 0.5


class Normal(Family):
    """Independent standard normal numbers."""

    capability = Capability(density=Density.EXACT)
    loss_unit = "nats"

    def __init__(self, space, build, config, condition=None):
        super().__init__(space, build, config, condition)
        self.place = nn.Parameter(torch.zeros((), dtype=torch.float64))

    def _log_p(self, batch):
        (z,) = batch.fields.values()
        return torch.distributions.Normal(0.0, 1.0).log_prob(z.double()).flatten(1).sum(1)

    def loss(self, batch, condition, rng, phase="model"):
        return Loss(-self._log_p(batch) + 0 * self.place)

    def log_density(self, batch, condition=None, rng=None, **options):
        (z,) = batch.fields.values()
        return LogDensity(self._log_p(batch), Density.EXACT, torch.full((len(z),), z[0].numel()))

    def sample(self, count, condition=None, rng=None, known=None, sizes=None, **options):
        (name,) = self.space
        return Generated(Batch({name: rng.normal("normal", self.space[name].channels)}, {}))


class Linear(Family):
    """p(x | z) = N(WEIGHTS z, NOISE^2), with its true posterior under a standard normal prior, or one moved away."""

    capability = Capability(density=Density.LOWER_BOUND, latent=True)

    def __init__(self, away=0.0):
        super().__init__(NUMBERS, None, None)
        self.place, self.away = nn.Parameter(torch.zeros((), dtype=torch.float64)), away
        precision = torch.eye(2, dtype=torch.float64) + WEIGHTS.T @ WEIGHTS / NOISE**2
        self.covariance = torch.linalg.inv(precision) * (1 + away)
        self.to_mean = torch.linalg.inv(precision) @ WEIGHTS.T / NOISE**2

    @property
    def latent_space(self):
        return {"latent": Real(channels=(2,))}

    def _posterior(self, batch):
        mean = batch.fields["x"] @ self.to_mean.T + self.away
        return torch.distributions.MultivariateNormal(mean, self.covariance)

    def encode(self, batch, condition=None, rng=None):
        q = self._posterior(batch)
        noise = 0.0 if rng is None else rng.normal("posterior", (2,)) @ torch.linalg.cholesky(self.covariance).T
        return Batch({"latent": q.mean + noise}, {})

    def decode(self, latents, condition=None, rng=None, sizes=None, **options):
        noise = 0.0 if rng is None else NOISE * rng.normal("noise", (3,))
        return Generated(Batch({"x": latents.fields["latent"] @ WEIGHTS.T + noise}, {}))

    def log_likelihood(self, batch, latents, condition=None, rng=None):
        mean = latents.fields["latent"] @ WEIGHTS.T
        return torch.distributions.Normal(mean, NOISE).log_prob(batch.fields["x"]).sum(1)

    def log_posterior(self, latents, batch, condition=None):
        return self._posterior(batch).log_prob(latents.fields["latent"])

    def loss(self, batch, condition, rng, phase="model"):
        raise NotImplementedError

    log_density = sample = loss


@pytest.fixture(autouse=True)
def known_families():
    registry.register("family", "Normal", Normal)


def x_of(rows, scale=1.0):
    z = scale * torch.randn(rows, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    return Batch({"x": z @ WEIGHTS.T + NOISE * torch.randn(rows, 3, generator=torch.Generator().manual_seed(1))}, {})


def over(autoencoder, **settings):
    return Latent(NUMBERS, None, LatentConfig(prior="Normal", **settings), None, autoencoder).double()


def exact(batch, mean=(0.0, 0.0), scale=(1.0, 1.0)):
    """log p(x) where z has independent normal numbers."""
    mean, scale = (torch.tensor(own, dtype=torch.float64) for own in (mean, scale))
    covariance = WEIGHTS @ torch.diag(scale**2) @ WEIGHTS.T + NOISE**2 * torch.eye(3)
    return torch.distributions.MultivariateNormal(WEIGHTS @ mean, covariance).log_prob(batch.fields["x"])


def test_with_the_true_posterior_the_bound_is_the_density():
    batch = x_of(20)
    found = over(Linear()).log_density(batch, rng=Rng(0, range(20)), draws=1)
    assert torch.allclose(found.value, exact(batch), atol=1e-9)
    assert found.kind is Density.LOWER_BOUND
    assert found.dims.tolist() == [3] * 20


def test_with_another_posterior_the_bound_is_below_the_density_and_rises_with_the_draws():
    batch = x_of(200)
    family = over(Linear(away=0.6))
    bounds = [family.log_density(batch, rng=Rng(0, range(200)), draws=draws) for draws in (1, 4, 64)]
    means = [float((bound.value - exact(batch)).mean()) for bound in bounds]
    assert means[0] < means[1] < means[2] < 0.02
    assert means[0] < -0.3
    assert means[2] > -0.1
    assert bounds[0].standard_error is None
    assert float(bounds[2].standard_error.median()) < float(bounds[1].standard_error.median())


def test_the_held_out_figure_is_the_negative_bound():
    batch, rng = x_of(20), Rng(0, range(20))
    family = over(Linear())
    assert torch.allclose(family.validate(batch, None, rng).total, -exact(batch), atol=1e-9)
    assert family.loss_unit == "nats"


def test_the_prior_sees_latents_at_unit_scale_and_the_density_counts_their_units():
    batch = x_of(400, scale=3.0)
    family = over(Linear())
    family.initialise(batch, Statistics())
    seen = family._at_unit_scale(family.encode(batch, None, Rng(1, range(400)))).fields["latent"]
    assert torch.allclose(seen.std(0), torch.ones(2).double(), atol=0.1)
    moments = family.statistics.moments["latent"]
    expected = exact(batch, moments.means, moments.scales)
    bound = family.log_density(batch, rng=Rng(0, range(400)), draws=32).value
    assert -0.2 < float((bound - expected).mean()) < 0.01
    drawn = family.sample(4000, rng=Rng(2, range(4000))).batch.fields["x"]
    scale = torch.tensor(moments.scales, dtype=torch.float64)
    assert torch.allclose(drawn.var(0), (WEIGHTS**2 @ scale**2) + NOISE**2, rtol=0.1)


class Rough(Normal):
    """Its density is an estimate: right on average, with noise that exp would turn into more."""

    def log_density(self, batch, condition=None, rng=None, **options):
        found = super().log_density(batch)
        noise = 3 * rng.normal("rough")
        return LogDensity(found.value + noise, Density.LOWER_BOUND, found.dims, torch.full((len(batch),), 3.0))


def test_noise_of_the_prior_does_not_lift_the_bound_above_the_density():
    registry.register("family", "Rough", Rough)
    family = Latent(NUMBERS, None, LatentConfig(prior="Rough"), None, Linear()).double()
    batch = x_of(100)
    found = family.log_density(batch, rng=Rng(0, range(100)), draws=64)
    assert abs(float((found.value - exact(batch)).mean())) < 0.15
    assert float(found.standard_error.mean()) == pytest.approx(3 / 8, rel=0.2)


# --- options and refusals -------------------------------------------------------------------------


def tiny(space="words", prior="flow", **settings):
    trial = FamilyTrial(Latent, LatentConfig(prior=prior, prior_settings=settings), Case.of(space, SPACES[space]))
    return trial.family(), trial


def test_options_go_to_the_prior_and_those_of_the_decoder_have_a_name_of_their_own():
    family, trial = tiny(rounds=1, bins=4)
    rng = Rng(0, range(64))
    first = family.sample(64, rng=rng, likeliest=True, temperature=0.01).batch.fields["letters"]
    assert len(first.unique(dim=0)) < len(family.sample(64, rng=rng).batch.fields["letters"].unique(dim=0))
    family.sample(2, rng=Rng(0, range(2)), decode_temperature=0.5)
    with pytest.raises(ValueError, match="sampling from a flow has no option steps"):
        family.sample(2, steps=3)
    with pytest.raises(ValueError, match="sampling from a vae has no option steps"):
        family.sample(2, decode_steps=3)
    given = {"letters": torch.ones(len(trial.batch), 3, dtype=torch.bool)}
    with pytest.raises(ValueError, match="cannot keep known parts"):
        family.sample(len(trial.batch), known=Partial(trial.batch, given))


def test_what_it_can_do_follows_from_the_prior():
    assert tiny(rounds=1)[0].capability.density is Density.LOWER_BOUND
    adversarial = tiny(prior="gan", latent=2)[0]
    assert adversarial.capability.density is Density.CRITIC
    assert list(adversarial.phases) == ["critic", "generator"]
    assert adversarial.loss_unit == "energy score"
    assert tiny(variant="matching", steps=2, pairing="optimal")[0].capability.coupled


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "type family.autoencoder=RUN"),
        ({"prior": "flwo"}, "did you mean 'flow'"),
        ({"prior_settings": {"rounds": 0}}, "rounds must be at least 1"),
        ({"prior_settings": {"round": 2}}, "no setting 'round'; did you mean 'rounds'"),
        ({"draws": 0}, "draws must be at least 1"),
    ],
)
def test_what_is_missing_or_wrong_is_one_line(settings, message):
    with pytest.raises(MolgenError, match=message):
        GenerativeModel(Tokens, Part("latent", settings)).build()


# --- whole models ---------------------------------------------------------------------------------

FIT = {"steps": 3, "batch_size": 4, "validation": 0, "warmup": 1}


@pytest.mark.filterwarnings("ignore:.*this model can be loaded only where")
def test_a_model_needs_nothing_of_its_autoencoder_once_it_is_made(tmp_path):
    network = Part("transformer", {"width": 16, "layers": 1, "heads": 2})
    vae = GenerativeModel(Record, Part("vae", {"slots": 2, "channels": 2}), network)
    vae.fit(Record().examples() * 4, output=tmp_path / "vae", **FIT)
    settings = {"prior": "diffusion", "prior_settings": {"steps": 3, "samples": 2}, "draws": 2}
    family = Part("latent", {"autoencoder": str(tmp_path / "vae"), **settings})
    model = GenerativeModel(Record, family, network)
    model.fit(Record().examples() * 4, output=tmp_path / "run", **FIT)
    before = model.sample_items(4, seed=0), model.log_density(Record().examples())
    vae.save(tmp_path / "other")
    for file in sorted((tmp_path / "vae").rglob("*"), reverse=True):
        file.unlink() if file.is_file() else file.rmdir()
    loaded = GenerativeModel.load(tmp_path / "run")
    assert (loaded.sample_items(4, seed=0), loaded.log_density(Record().examples())) == before
    again, first = (one.reconstruct(Record().examples()) for one in (loaded, GenerativeModel.load(tmp_path / "other")))
    assert [item[:2] for item in again] == [item[:2] for item in first]
    assert [item[2] for item in again] == pytest.approx([item[2] for item in first], abs=1e-5)


@pytest.mark.filterwarnings("ignore:.*this model can be loaded only where")
def test_a_model_without_latents_is_refused(tmp_path):
    network = Part("recurrent", {"width": 8, "layers": 1, "embedding": 4})
    other = GenerativeModel(Tokens, backbone=network)
    other.fit(Tokens().examples(), output=tmp_path / "run", **FIT)
    with pytest.raises(UsageError, match="is a Autoregressive, which has no latent space"):
        GenerativeModel(Tokens, Part("latent", {"autoencoder": str(tmp_path / "run")})).build()


# --- the kit --------------------------------------------------------------------------------------

PRIORS = {
    "autoregressive": {"bins": 8},
    "diffusion": {"steps": 3, "samples": 2},
    "gan": {"latent": 3, "element_noise": 2, "validation_samples": 2},
    "energy": {"variant": "matching"},
}


@pytest.mark.parametrize(
    "prior", [pytest.param(name, marks=[] if name == "autoregressive" else pytest.mark.slow) for name in PRIORS]
)
@pytest.mark.parametrize("check", FAMILY_CHECKS, ids=lambda check: check.__name__)
def test_the_kit(check, prior):
    """That of a flow over latents is part of that of all families."""
    config = LatentConfig(prior=prior, prior_settings=PRIORS[prior], draws=2)
    trial = FamilyTrial(Latent, config, Case.of("classes", SPACES["classes"]))
    try:
        check(trial)
    except Skipped as reason:
        pytest.skip(str(reason))


def test_encoding_in_portions_is_encoding_at_once():
    family, trial = tiny(rounds=1)
    many = collate(trial.space, [trial.case.samples[k % 6] for k in range(300)])
    family.initialise(many, trial.case.statistics)
    latents = [family.encode(many, None, Rng(0, range(300)).fold(f"draw {draw}")).fields["latent"] for draw in range(4)]
    moments = family.statistics.moments["latent"]
    assert torch.allclose(torch.tensor(moments.means), torch.cat(latents).mean((0, 1)), atol=1e-5)
    assert family.statistics.count == 4 * 300
    assert math.isfinite(family.log_density(trial.batch, rng=trial.rng).value.sum())
