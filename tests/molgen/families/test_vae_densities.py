"""The variational autoencoder: bounds against exact densities."""

import math

import pytest
import torch
from support.orderings import CONDITION, asked, chi_square_p, every_sample, keys
from support.small_vaes import a_model, by_quadrature, every_decoder, rows_of, words
from torch import nn

from molgen.backbone import Backbone, make_build
from molgen.backbones.transformer.config import TransformerConfig
from molgen.backbones.transformer.network import Transformer
from molgen.batch import Batch, collate, separate
from molgen.errors import UnsupportedSpace
from molgen.families.diffusion import Diffusion, DiffusionConfig
from molgen.families.parts.latent import LATENT, Posterior, prior, standard_log_density
from molgen.families.vae import VAE, VAEConfig
from molgen.family import Density
from molgen.seeding import Rng
from molgen.space import Axis, Layout, Real
from molgen.testing.containment import require_batch


class Linear(Backbone):
    """A fixed linear map from latents to a normal decoder, or from samples to a posterior; nothing is learned."""

    layouts = frozenset(Layout)

    def __init__(self, inputs, outputs, config, condition=None):
        super().__init__(inputs, outputs, config, condition)
        self.source = next(iter(inputs))
        self.target = next(iter(outputs))
        self.weight = nn.Parameter(torch.zeros(3, 2, dtype=torch.float64))
        self.log_scale = nn.Parameter(torch.zeros((), dtype=torch.float64))

    def forward(self, batch, time, condition):
        values = batch.fields[self.source].double()
        mean = values.flatten(1) @ (self.weight.T if self.source == LATENT else self.weight)
        mean = mean.view(len(mean), -1, 1)
        return {self.target: torch.cat([mean, self.log_scale.expand_as(mean)], -1)}


PIXELS = {"x": Real((Axis("row", 4, variable=False), Axis("column", 4, variable=False)), levels=4)}
NUMBERS = {"x": Real((Axis("n", 3, variable=False),))}


def a_linear_model(*, exact, seed=0):
    """p(x | z) = N(W z, s^2) with columns of W at right angles, so that p(z | x) has independent numbers."""
    torch.manual_seed(seed)
    family = VAE(NUMBERS, make_build(Linear, None, None), VAEConfig(slots=2, channels=1)).eval()
    columns = torch.linalg.qr(torch.randn(3, 2, dtype=torch.float64)).Q * 1.3
    raw = 0.4
    scale = 1e-3 + nn.functional.softplus(torch.tensor(raw, dtype=torch.float64))
    precision = 1 + 1.3**2 / scale**2
    log_scale = -0.5 * precision.log() + (0.0 if exact else 0.5)
    with torch.no_grad():
        family.decoder.network.weight.copy_(columns)
        family.decoder.network.log_scale.fill_(raw)
        family.encoder.weight.copy_(columns / scale**2 / precision * (1.0 if exact else 0.6))
        family.encoder.log_scale.copy_(_unbounded(log_scale))
    covariance = columns @ columns.T + scale**2 * torch.eye(3, dtype=torch.float64)
    return family, torch.distributions.MultivariateNormal(torch.zeros(3, dtype=torch.float64), covariance)


def _unbounded(log_scale):
    """What a network must say for a posterior to have this log-scale."""
    above = 2 - (2 - log_scale).expm1().log()
    return (above + 7).expm1().log() - 7 + 2


def normal_batch(exact, rows):
    torch.manual_seed(1)
    return Batch({"x": exact.sample((rows,))}, {})


def test_with_the_exact_posterior_every_draw_gives_the_exact_density():
    family, exact = a_linear_model(exact=True)
    batch = normal_batch(exact, 20)
    for draws in (1, 3):
        found = family.log_density(batch, rng=rows_of(batch), draws=draws)
        torch.testing.assert_close(found.value, exact.log_prob(batch.fields["x"]))
    torch.testing.assert_close(found.standard_error, torch.zeros(20, dtype=torch.float64), rtol=0, atol=1e-9)
    mean = -family.loss(batch, None, rows_of(batch)).total
    assert mean.mean().item() == pytest.approx(exact.log_prob(batch.fields["x"]).mean().item(), abs=0.5)


def test_bounds_of_a_linear_model_rise_to_its_exact_density():
    family, exact = a_linear_model(exact=False)
    batch = normal_batch(exact, 8)
    truth = exact.log_prob(batch.fields["x"])
    _require_rising_bounds(family, batch, truth)
    _require_convergence(family, batch, truth)
    found = family.log_density(batch, rng=rows_of(batch), draws=2000)
    assert found.kind is Density.LOWER_BOUND
    assert found.dims.tolist() == [3] * 8
    assert (found.standard_error > 0).all()
    assert ((found.value - truth).abs() < 4 * found.standard_error).all()


def _bounds(family, batch, draws, repetitions):
    """Independent bounds of each item, (repetitions, B)."""
    copies = torch.arange(len(batch)).repeat(repetitions)
    rng = Rng(3, range(len(copies)))
    return family.log_density(batch.take(copies), rng=rng, draws=draws).value.view(repetitions, -1)


def _require_rising_bounds(family, batch, truth, repetitions=200):
    """Means are at most the truth, and higher with more draws, each within three standard errors."""
    before = None
    for draws in (1, 4, 16):
        values = _bounds(family, batch, draws, repetitions)
        error = values.std(0) / repetitions**0.5
        assert (values.mean(0) <= truth + 3 * error + 1e-9).all()
        if before is not None:
            # The latents of fewer draws are among those of more, so the difference has little noise.
            rise = (values - before).mean(1)
            assert rise.mean() > 3 * rise.std() / repetitions**0.5
        before = values


def _require_convergence(family, batch, truth, repetitions=100):
    """The mean of 2,000 importance weights is the exact density within four standard errors."""
    found = _bounds(family, batch, 20, repetitions).exp()
    error = found.std(0) / repetitions**0.5
    assert ((found.mean(0) - truth.exp()).abs() < 4 * error).all()
    assert (error < 0.2 * truth.exp()).all()
    return found.mean(0), error


def test_the_bound_of_a_linear_model_is_the_reconstruction_less_the_divergence():
    """Against the closed form of E_q[log p(x | z)] for normal distributions."""
    family, exact = a_linear_model(exact=False)
    batch = normal_batch(exact, 10)
    copies = torch.arange(10).repeat(400)
    parts = family.loss(batch.take(copies), None, Rng(0, range(4000))).parts
    posterior = Posterior(family.encoder(batch, None, None))
    mean, scale = posterior.means[LATENT].flatten(1), posterior.log_scales[LATENT].exp().flatten(1)
    columns, s = family.decoder.network.weight, 1e-3 + nn.functional.softplus(family.decoder.network.log_scale)
    residual = (batch.fields["x"] - mean @ columns.T).square().sum(1) + (scale**2 @ columns.square().T).sum(1)
    expected = 0.5 * residual / s**2 + 3 * (s.log() + 0.5 * math.log(2 * math.pi))
    found = parts["reconstruction"].view(400, 10)
    assert ((found.mean(0) - expected).abs() < 4 * found.std(0) / 400**0.5).all()
    torch.testing.assert_close(parts["kl"][:10], posterior.divergence().sum(1))


@every_decoder
@torch.no_grad()
def test_bounds_of_a_model_of_words_rise_to_its_exact_density(decoder):
    """All words up to two letters, sizes included, with an encoder that knows little."""
    space = words(0, 2)
    family = a_model(space, decoder, away=0.15)
    batch = collate(space, [sample for batch in every_sample(space) for sample in separate(space, batch)])
    truth = by_quadrature(family, batch)
    assert truth.exp().sum().item() == pytest.approx(1, abs=1e-6)
    _require_rising_bounds(family, batch, truth)
    found, error = _require_convergence(family, batch, truth)
    assert abs(found.sum() - 1) < 3 * error.square().sum().sqrt()
    bounds = _bounds(family, batch, 4, 250)
    doubt = (bounds.std(0) / 250**0.5 * bounds.mean(0).exp()).square().sum().sqrt()
    assert bounds.mean(0).exp().sum() <= 1 + 3 * doubt


@every_decoder
@torch.no_grad()
def test_samples_are_as_frequent_as_the_exact_density_says(decoder):
    space, count = words(0, 2), 4000
    family = a_model(space, decoder, condition=CONDITION, away=0.15)
    batch = collate(space, [sample for batch in every_sample(space) for sample in separate(space, batch)])
    chances = by_quadrature(family, batch, asked(len(batch))).exp().tolist()
    seen = keys(space, family.sample(count, condition=asked(count), rng=Rng(5, range(count))).batch)
    assert chi_square_p(seen, dict(zip(keys(space, batch), chances, strict=True)), count) > 1e-3


# --- for whoever builds on the latent -------------------------------------------------------------


@every_decoder
def test_the_density_is_made_of_the_public_likelihood_posterior_and_prior(decoder):
    family, batch = a_model(words(1, 2), decoder), list(every_sample(words(1, 2)))[-1]
    weights = []
    for seed in range(3):
        latents = family.encode(batch, rng=rows_of(batch, seed))
        likelihood = family.log_likelihood(batch, latents, rng=rows_of(batch, seed))
        weights.append(likelihood + standard_log_density(latents) - family.log_posterior(latents, batch))
        assert weights[-1].dtype == torch.float64
        assert weights[-1].requires_grad
        alone = family.log_density(batch, rng=rows_of(batch, seed), draws=1).value
        torch.testing.assert_close(weights[-1].detach(), alone)
    # The posterior is a density: a mean over the prior of its ratio to the prior is 1.
    drawn = prior(family.latent_space, Rng(0, range(4000)))
    first = batch.take(torch.zeros(4000, dtype=torch.long))
    ratio = (family.log_posterior(drawn, first) - standard_log_density(drawn)).exp().detach()
    assert float(ratio.mean()) == pytest.approx(1, abs=4 * float(ratio.std()) / 4000**0.5)


def test_a_family_without_latents_refuses():
    family = Diffusion(
        words(2, 2), make_build(Transformer, TransformerConfig(width=8, layers=1, heads=2), None), DiffusionConfig()
    )
    for call in (lambda: family.log_likelihood(None, None), lambda: family.log_posterior(None, None)):
        with pytest.raises(UnsupportedSpace, match="no latent space"):
            call()


@pytest.mark.parametrize("space", [words(1, 3), PIXELS], ids=["slots", "grid"])
def test_a_latent_space_is_a_space_that_another_family_learns(space):
    family = a_model(space, channels=2)
    latents = prior(family.latent_space, Rng(0, range(5)))
    require_batch(family.latent_space, latents)
    build = make_build(Transformer, TransformerConfig(width=8, layers=1, heads=2), None)
    other = Diffusion(family.latent_space, build, DiffusionConfig(steps=2)).double().eval()
    assert torch.isfinite(other.loss(latents, None, rows_of(latents)).total).all()
    drawn = other.sample(4, rng=Rng(0, range(4))).batch
    require_batch(family.latent_space, drawn)
    require_batch(space, family.decode(drawn, rng=Rng(0, range(4))).batch)
