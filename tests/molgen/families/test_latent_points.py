"""Latents at the points of a sample: they turn and move with it, and so do densities and what is learned over them."""

from dataclasses import replace

import pytest
import torch

from molgen import registry
from molgen.batch import Batch
from molgen.config import Part
from molgen.errors import UsageError
from molgen.families.latent import Latent, LatentConfig
from molgen.families.vae import VAE
from molgen.families.vae.latents import PLACES
from molgen.model.generative_model import GenerativeModel
from molgen.seeding import Rng
from molgen.testing import SPACES, Case, Skipped
from molgen.testing.batches import in_float64, moved
from molgen.testing.fixtures import FamilyTrial, tiny_config
from molgen.testing.suites import FAMILY_CHECKS

#: Checks that cost little, and those of them without a density that is an equation.
SMALL = replace(tiny_config(VAE), decoder="points")
SLOW = ("probabilities_sum_to_one", "training_stays_finite")
QUICK = [check for check in FAMILY_CHECKS if check.__name__ not in SLOW]
FEW = [check for check in QUICK if check.__name__ in ("gradients_reach_every_parameter", "sizes_are_honoured")]
TRIALS = {
    "vae": (VAE, SMALL, FAMILY_CHECKS),
    "flow": (Latent, LatentConfig(prior_settings={"variant": "matching", "steps": 2}, draws=1), FEW),
    "diffusion": (Latent, LatentConfig("", "diffusion", {"steps": 2, "samples": 2}, draws=1), QUICK),
}
EVERY = [
    pytest.param(cls, config, check, id=f"{name}-{check.__name__}", marks=pytest.mark.slow if checks is QUICK else ())
    for name, (cls, config, checks) in TRIALS.items()
    for check in checks
]


class OverPoints(Latent):
    """A latent model whose autoencoder has latents at points."""

    molgen_trained = {"autoencoder": ("PointVAE",)}  # noqa: RUF012


class PointVAE(VAE):
    molgen_tiny = {**VAE.molgen_tiny, "decoder": "points"}  # noqa: RUF012


@pytest.mark.parametrize(("cls", "config", "check"), EVERY)
def test_the_kit(cls, config, check):
    registry.register("family", "PointVAE", PointVAE)
    cls = OverPoints if cls is Latent else cls
    try:
        check(FamilyTrial(cls, config, Case.of("points", SPACES["points"])))
    except Skipped as reason:
        pytest.skip(str(reason))


def a_vae(over="molecule"):
    trial = FamilyTrial(VAE, SMALL, Case.of(over, SPACES[over]))
    batch = in_float64(trial.batch)
    return trial.family().double(), batch, Rng(0, range(len(batch)))


def turned(batch, name):
    """About a slanted axis, by a proper rotation."""
    rotation, _ = torch.linalg.qr(torch.randn(3, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0)))
    rotation = rotation * torch.linalg.det(rotation)
    return batch.with_fields({**batch.fields, name: batch.fields[name] @ rotation.T}), rotation


def test_latents_turn_with_the_sample():
    family, batch, _ = a_vae()
    other, rotation = turned(batch, "places")
    first, second = family.encode(batch), family.encode(other)
    assert torch.allclose(first.fields[PLACES] @ rotation.T, second.fields[PLACES], atol=1e-9)
    assert torch.allclose(first.fields["latent"], second.fields["latent"], atol=1e-9)
    assert float(first.fields[PLACES].sum(1).abs().max()) < 1e-9
    assert float(first.fields[PLACES].abs().max()) > 0.01


def test_densities_of_a_turned_sample_with_its_turned_latent_are_the_same():
    family, batch, rng = a_vae()
    latents = family.encode(batch, rng=rng)
    (other, _), (others, _) = turned(batch, "places"), turned(latents, PLACES)
    for density in (
        lambda x, z: family.log_likelihood(x, z),
        lambda x, z: family.log_posterior(z, x),
        lambda x, z: family.latents.log_prior(z, None),
    ):
        assert torch.allclose(density(batch, latents), density(other, others), atol=1e-9)


def test_no_order_of_the_points_is_preferred():
    family, batch, _ = a_vae()
    rows = batch.sizes["atom"] == 4
    batch, order = batch.take(rows), {"atom": torch.tensor([2, 0, 3, 1])}
    latents = family.encode(batch)
    other = moved(family.space, batch, order)
    assert torch.allclose(family.encode(other).fields[PLACES], latents.fields[PLACES][:, order["atom"]], atol=1e-9)
    again = moved(family.latent_space, latents, order)
    assert torch.allclose(family.log_likelihood(batch, latents), family.log_likelihood(other, again), atol=1e-9)


def test_the_posterior_is_normal_around_its_mean_and_the_divergence_is_its_mean_log_ratio():
    family, batch, _ = a_vae("points")
    rows = torch.zeros(4000, dtype=torch.long) + int((batch.sizes["atom"] == 4).nonzero()[0])
    many = batch.take(rows)
    with torch.no_grad():
        posterior = family._posterior(many, None)
    drawn = posterior.draw(Rng(0, range(4000)))
    free = {"atom": drawn.sizes["atom"]}
    size = family.latents.log_size(free, None)
    ratio = posterior.log_density(drawn) - (family.latents.log_prior(drawn, None) - size)
    error = 4 * float(ratio.std() / 4000**0.5)
    assert float(ratio.mean()) == pytest.approx(float(posterior.divergence()[0].sum()), abs=error)
    assert float(drawn.fields[PLACES].sum(1).abs().max()) < 1e-9


def test_a_size_is_that_of_the_latent_and_is_charged_once():
    family, batch, rng = a_vae("points")
    latents = family.encode(batch, rng=rng)
    smaller = Batch(batch.fields, {"atom": (batch.sizes["atom"] - 1).clamp(min=1)})
    found = family.log_likelihood(smaller, latents)
    assert bool((found[batch.sizes["atom"] > 1] == -torch.inf).all())
    parts = family.loss(batch, None, rng).parts
    assert torch.allclose(parts["size"].double(), -family.latents.sizes.log_probability(batch.sizes, None), atol=1e-6)
    with pytest.raises(ValueError, match="other sizes along 'atom'"):
        family.decode(latents, rng=rng, sizes={"atom": smaller.sizes["atom"]})


def test_what_latents_at_points_cannot_do_is_one_line():
    model = GenerativeModel("molecules.geometry", Part("vae", {"channels": 2, "decoder": "points"}))
    model.use(model.build())
    with pytest.raises(UsageError, match="a place for each atom"):
        model.encode([])
    with pytest.raises(UsageError, match="no field over one axis rotates"):
        GenerativeModel("molecules.smiles", Part("vae", {"decoder": "points"})).build()
