"""Latent spaces by arrangement, and normal distributions over them."""

import pytest
import torch
from support.toys import TOYS, Graph, Grid, Points, Record, Tokens
from torch import distributions

from molgen.batch import Batch, Partial
from molgen.families.parts.latent import (
    LATENT,
    LatentConfig,
    Posterior,
    as_condition,
    latent_space,
    posterior_heads,
    prior,
    standard_log_density,
    with_latents,
)
from molgen.seeding import Rng
from molgen.space import Axis, Categorical, Real, variable_axes

CONFIG = LatentConfig(slots=5, channels=3, coarseness=4)


def shape_of(space, config=CONFIG):
    field = latent_space(space, config)[LATENT]
    return tuple(axis.maximum for axis in field.axes), field.channels


def picture(rows, columns, variable=False):
    axes = Axis("row", rows, variable=variable), Axis("column", columns, variable=False)
    return {"label": Categorical(classes=3), "pixels": Real(axes, channels=(1,), levels=256)}


@pytest.mark.parametrize("toy", TOYS)
def test_a_latent_space_has_fixed_axes_of_its_own(toy):
    field = latent_space(toy().space, CONFIG)[LATENT]
    own = {axis.name for sample in toy().space.values() for axis in sample.axes}
    assert field.axes
    assert not variable_axes({LATENT: field})
    assert own.isdisjoint(axis.name for axis in field.axes)


@pytest.mark.parametrize("toy", [Tokens, Graph, Points, Record])
def test_samples_without_a_grid_have_slots(toy):
    assert shape_of(toy().space) == ((5,), (3,))


@pytest.mark.parametrize(
    ("space", "expected"),
    [
        (picture(28, 28), (7, 7)),
        (picture(32, 30), (8, 10)),
        (picture(29, 3), (29, 1)),
        (Grid().space, (1, 1)),
        ({"wave": Real((Axis("time", 8000, variable=False),), levels=256)}, (2000,)),
        (picture(28, 28, variable=True), (5,)),
    ],
)
def test_a_grid_of_fixed_size_has_a_coarser_one_and_others_have_slots(space, expected):
    assert shape_of(space) == (expected, (3,))


def test_sizes_below_one_are_refused():
    for name in ("slots", "channels", "coarseness"):
        with pytest.raises(ValueError, match=name):
            LatentConfig(**{name: 0})


def outputs(rows=4, places=(2, 3), channels=2, spread=1.0):
    torch.manual_seed(0)
    return spread * torch.randn(rows, *places, 2 * channels, dtype=torch.float64)


def a_posterior(**options):
    return Posterior({"latent": outputs(**options)})


def as_torch(posterior):
    return distributions.Normal(posterior.means["latent"], posterior.log_scales["latent"].exp())


def test_the_heads_of_a_network_give_a_posterior_over_its_space():
    space = latent_space(picture(8, 4), CONFIG)
    head = posterior_heads(space)[LATENT]
    assert (head.width, head.axes) == (6, space[LATENT].axes)
    assert Posterior({LATENT: torch.zeros(2, 2, 1, 6)}).mean().fields[LATENT].shape == (2, 2, 1, 3)


def test_the_divergence_is_the_closed_form_at_every_place():
    posterior = a_posterior()
    expected = distributions.kl_divergence(as_torch(posterior), distributions.Normal(0, 1)).sum(-1).flatten(1)
    torch.testing.assert_close(posterior.divergence(), expected)
    assert posterior.divergence().shape == (4, 6)


def test_the_divergence_is_the_mean_of_the_log_ratios_of_draws():
    posterior, rng = a_posterior(spread=0.7), Rng(0, range(4))
    drawn = [posterior.draw(rng, k) for k in range(1500)]
    ratios = torch.stack([posterior.log_density(latents) - standard_log_density(latents) for latents in drawn])
    error = ratios.std(0) / 1500**0.5
    assert ((ratios.mean(0) - posterior.divergence().sum(1)).abs() < 4 * error).all()


def test_densities_are_those_of_normal_distributions():
    posterior = a_posterior()
    latents = posterior.draw(Rng(1, range(4)))
    z = latents.fields["latent"]
    torch.testing.assert_close(posterior.log_density(latents), as_torch(posterior).log_prob(z).flatten(1).sum(1))
    expected = distributions.Normal(0, 1).log_prob(z).flatten(1).sum(1)
    torch.testing.assert_close(standard_log_density(latents), expected)


def test_draws_have_the_means_and_scales_of_the_posterior():
    posterior = a_posterior(rows=1)
    drawn = torch.cat([posterior.draw(Rng(2, [0]), k).fields["latent"] for k in range(1500)])
    scale = posterior.log_scales["latent"].exp()
    torch.testing.assert_close(drawn.mean(0, keepdim=True), posterior.means["latent"], rtol=0, atol=0.25)
    torch.testing.assert_close(drawn.std(0, keepdim=True), scale, rtol=0.1, atol=0)


def test_draws_belong_to_their_rows_and_not_to_the_batch():
    posterior, rng = a_posterior(), Rng(0, range(4))
    rows = torch.tensor([3, 1])
    some = Posterior({"latent": outputs()[rows]})
    together, alone = posterior.draw(rng).fields["latent"], some.draw(rng.take(rows)).fields["latent"]
    torch.testing.assert_close(together[rows], alone)
    assert not torch.equal(together, posterior.draw(rng, 1).fields["latent"])
    space = latent_space(Tokens().space, CONFIG)
    torch.testing.assert_close(prior(space, rng).take(rows).fields[LATENT], prior(space, rng.take(rows)).fields[LATENT])


def test_scales_have_bounds():
    posterior = Posterior({"latent": torch.tensor([[[0.0, -1e4]], [[0.0, 1e4]], [[0.0, 0.0]]])})
    assert posterior.log_scales["latent"].flatten().tolist() == pytest.approx([-7, 2, -2], abs=0.06)
    assert torch.isfinite(posterior.divergence()).all()


def test_latents_become_conditions_that_tell_places_apart():
    space = latent_space(Tokens().space, CONFIG)
    assert as_condition(space) == {LATENT: Real(channels=(5, 3))}
    latents = prior(space, Rng(0, range(2)))
    alone = with_latents(None, latents)
    assert alone.given[LATENT].tolist() == [True, True]
    asked = Partial(Batch({"height": torch.zeros(2)}, {}), {"height": torch.tensor([True, False])})
    both = with_latents(asked, latents)
    assert set(both.batch.fields) == {"height", LATENT}
    assert both.given["height"].tolist() == [True, False]
