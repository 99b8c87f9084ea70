"""The diffusion family over spaces of every kind: losses, samples, known parts, guidance, densities."""

import pytest
import torch
from support.denoisers import AnyKind
from support.diffusions import (
    LEVELS,
    MASKING,
    a_batch,
    a_family,
    every_case,
    every_toy_case,
    rng_of,
)
from support.toys import Choices, Points, Tokens, every_item, samples_of

from molgen.backbone import make_build
from molgen.batch import Batch, collate, field_mask
from molgen.data.statistics import measure
from molgen.errors import UnsupportedSpace
from molgen.families.diffusion import Diffusion, DiffusionConfig
from molgen.family import Density
from molgen.seeding import Rng
from molgen.space import Axis, Real
from molgen.testing.batches import padded


@every_case
def test_the_loss_of_an_item_knows_nothing_of_its_batch(space, config):
    family, batch = a_family(space, config), a_batch(space)
    together = family.loss(batch, None, rng_of(batch)).total
    assert torch.isfinite(together).all()
    for rows in (torch.tensor([2]), torch.tensor([4, 0])):
        alone = family.loss(batch.take(rows), None, rng_of(batch).take(rows)).total
        torch.testing.assert_close(alone, together[rows])
    longer = family.loss(padded(space, batch), None, rng_of(batch)).total
    torch.testing.assert_close(longer, together)


@every_toy_case
def test_every_toy_is_learned(space, config):
    family = a_family(space, config, dtype=torch.float32).train()
    batch = a_batch(space).take(torch.arange(100) % 5)
    optimiser = torch.optim.Adam(family.parameters(), 1e-2)

    def loss(seed):
        parts = family.loss(batch, None, rng_of(batch, seed)).parts
        return torch.stack([part.mean() for name, part in parts.items() if name != "size"]).sum()

    before = sum(float(loss(1000 + seed).detach()) for seed in range(5))
    for step in range(40):
        optimiser.zero_grad()
        loss(step).backward()
        optimiser.step()
    assert sum(float(loss(1000 + seed).detach()) for seed in range(5)) < 0.9 * before


def test_the_loss_is_the_weighted_sum_of_its_parts_and_of_the_size():
    space, batch = Points().space, a_batch(Points().space)
    family = a_family(space, DiffusionConfig(weights={"places": 3.0}))
    loss = family.loss(batch, None, rng_of(batch))
    assert set(loss.parts) == {"types", "places", "size"}
    expected = loss.parts["types"] + 3 * loss.parts["places"] + loss.parts["size"]
    torch.testing.assert_close(loss.total, expected)
    torch.testing.assert_close(loss.parts["size"], -family.sizes.log_probability(batch.sizes))
    with pytest.raises(ValueError, match="weights name the fields bonds"):
        a_family(space, DiffusionConfig(weights={"bonds": 2.0}))


def test_the_loss_of_numbers_is_a_mean_over_elements():
    space = {"x": Real((Axis("n", 200, minimum=1),))}
    family, count = a_family(space, DiffusionConfig()), torch.tensor([3, 200])
    batch = Batch({"x": torch.randn(2, 200) * (torch.arange(200) < count[:, None])}, {"n": count})
    losses = [family.loss(batch, None, rng_of(batch, seed)).parts["x"].detach() for seed in range(200)]
    few, many = torch.stack(losses).mean(0)
    assert 0.5 < few / many < 2


def test_the_first_weights_give_the_frequencies_of_the_classes():
    space = Choices().space
    batch = collate(space, samples_of(Choices, [(0, 0)] * 60 + [(1, 1)] * 40))
    family = a_family(space)
    with torch.no_grad():
        for head in family.denoiser.backbone.heads.values():
            head.weight.zero_()
    family.initialise(batch, measure(space, [batch]))
    drawn = family.sample(2000, rng=Rng(0, range(2000))).batch.fields["colour"]
    assert float((drawn == 0).double().mean()) == pytest.approx(0.6, abs=0.04)
    assert (drawn == 2).double().mean() < 0.02


def test_the_bounds_of_all_samples_sum_to_one_at_most():
    space = Tokens().space
    batch = collate(space, samples_of(Tokens, every_item(Tokens)))
    rows = 60
    family, repeated = a_family(space), batch.take(torch.arange(len(batch)).repeat_interleave(rows))
    for steps in (0, 2):
        values = family.log_density(repeated, rng=rng_of(repeated), samples=16, steps=steps).value.view(-1, rows)
        mean, error = values.mean(1), values.std(1) / rows**0.5
        total, spread = mean.exp().sum(), ((mean.exp() * error) ** 2).sum().sqrt()
        assert total < 1 + 3 * spread
        assert total > 0.5


def test_the_size_is_charged_once():
    space = Tokens().space
    family, batch = a_family(space), a_batch(space)
    found = family.log_density(batch, rng=rng_of(batch), samples=2, steps=1).value
    with torch.no_grad():
        masked = {"letters": torch.full((5, 3), 3)}
        predictions = family.denoiser(masked, torch.ones(5).double(), family._elements(batch), None)["letters"]
    letters = predictions.gather(-1, batch.fields["letters"][..., None]).squeeze(-1)
    expected = (letters * field_mask(space, batch, "letters")).sum(1) + family.sizes.log_probability(batch.sizes)
    torch.testing.assert_close(found, expected.detach())


@every_case
def test_densities_are_bounds_that_know_nothing_of_their_batch(space, config):
    family, batch = a_family(space, config), a_batch(space)
    for options in ({}, {"steps": 3, "samples": 6}):
        density = family.log_density(batch, rng=rng_of(batch), **options)
        assert density.kind is Density.LOWER_BOUND
        assert torch.isfinite(density.value).all()
        rows = torch.tensor([3, 1])
        alone = family.log_density(batch.take(rows), rng=rng_of(batch).take(rows), **options)
        torch.testing.assert_close(alone.value, density.value[rows])
        torch.testing.assert_close(alone.standard_error, density.standard_error[rows])


def test_the_probability_flow_is_for_numbers_without_levels():
    batch = a_batch(Points().space)
    with pytest.raises(UnsupportedSpace, match="not for 'types'"):
        a_family(Points().space).log_density(batch, method="ode")
    with pytest.raises(UnsupportedSpace, match="not for 'pixels'"):
        a_family(LEVELS).log_density(a_batch(LEVELS), method="ode")
    space = {"places": Points().space["places"]}
    family = a_family(space)
    numbers = Batch({"places": batch.fields["places"]}, batch.sizes)
    density = family.log_density(numbers, method="ode", steps=8)
    assert density.kind is Density.EXACT
    assert density.dims.tolist() == [0, 3, 6, 0, 3]
    # Without elements all that is drawn is the size.
    torch.testing.assert_close(density.value[:1], family.sizes.log_probability(numbers.sizes)[:1])
    alone = family.log_density(numbers.take(torch.tensor([2])), method="ode", steps=8).value
    torch.testing.assert_close(alone, density.value[2:3])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"temperature": 2}, "no option temperature; known: method, samples, steps"),
        ({"samples": 3}, "samples must be an even number"),
        ({"method": "exact"}, "method must be one of bound, ode"),
    ],
)
def test_options_of_the_density_without_meaning_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        a_family(Choices().space).log_density(a_batch(Choices().space), **options)


def test_what_was_measured_travels_with_the_weights():
    family = a_family(LEVELS)
    other = Diffusion(LEVELS, make_build(AnyKind, None, None), MASKING).double()
    other.load_state_dict(family.state_dict())
    assert family.denoiser.of("pixels").scale != 1
    batch = a_batch(LEVELS)
    values = [one.log_density(batch, rng=rng_of(batch)).value for one in (family, other)]
    assert torch.equal(*values)
