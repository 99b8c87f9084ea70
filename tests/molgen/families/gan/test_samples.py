"""What generators draw and critics see: relaxations, the order of elements, truncation, known parts, and collapse."""

from math import pi

import pytest
import torch
from support.small_gans import a_gan, constant
from torch import nn

from molgen.backbone import Head
from molgen.batch import Partial
from molgen.config import options_of
from molgen.families.gan.config import Sampling
from molgen.families.gan.generator import truncated_normal
from molgen.families.gan.health import Health, energy_score
from molgen.families.gan.relaxation import relaxation
from molgen.family import Density
from molgen.seeding import Rng
from molgen.space import Axis, Categorical, Real
from molgen.testing import SPACES, Case, Skipped
from molgen.testing.batches import moved, require_close, unordered_axes
from molgen.testing.random_samples import draw_samples


@pytest.mark.parametrize("space", ["set", "graph", "distances"])
def test_the_critic_does_not_see_the_order_of_elements_without_one(space):
    family, trial = a_gan(space)
    largest = max(int(size.max()) for size in trial.batch.sizes.values())
    batch = trial.batch.take((trial.batch.sizes["node"] == largest).nonzero().squeeze(1))
    order = {name: torch.arange(largest).roll(1) for name in unordered_axes(trial.space)}
    values = [family.log_density(one).value for one in (batch, moved(trial.space, batch, order))]
    require_close(values[0], values[1], "the value in another order", 1e-4)


@pytest.mark.parametrize("space", SPACES)
def test_real_and_generated_samples_look_the_same_to_the_critic(space):
    """Sizes, masks and the exact form of every element: nothing but what is generated tells them apart."""
    try:
        family, trial = a_gan(space)
    except Skipped as reason:
        pytest.skip(str(reason))
    read = []
    family.critic.register_forward_pre_hook(lambda module, args: read.append(args[0]))
    family.loss(trial.batch, None, trial.rng)
    real, fake = read
    for name, field in trial.space.items():
        assert real.fields[name].shape == fake.fields[name].shape
        assert real.fields[name].dtype == fake.fields[name].dtype
        if isinstance(field, Categorical):
            assert set(fake.fields[name].unique().tolist()) <= {0.0, 1.0}
            assert torch.equal(real.fields[name].sum(-1), fake.fields[name].sum(-1))
            if field.symmetric:
                assert torch.equal(fake.fields[name], fake.fields[name].transpose(1, 2))
        elif field.levels:
            assert set(fake.fields[name].unique().tolist()) <= set(real.fields[name].unique().tolist())
    assert {name: size.tolist() for name, size in real.sizes.items()} == {n: s.tolist() for n, s in fake.sizes.items()}


def test_classes_are_drawn_from_their_softmax_and_gradients_are_those_of_the_relaxation():
    own = relaxation(Categorical(classes=3))
    logits = torch.tensor([1.0, 0.0, -1.0]).expand(1, 40_000, 3).clone().requires_grad_()
    uniform = Rng(0, [0]).uniform("choice", (40_000, 3))
    chosen = own.choose(logits, uniform, 0.5, 1.0)
    torch.testing.assert_close(chosen.mean(1)[0], logits[0, 0].softmax(-1), atol=0.01, rtol=0)
    colder = own.choose(logits, uniform, 0.5, 0.5).mean(1)[0]
    torch.testing.assert_close(colder, (2 * logits[0, 0]).softmax(-1), atol=0.01, rtol=0)
    direction = torch.tensor([1.0, 2.0, 4.0])
    (found,) = torch.autograd.grad((chosen * direction).sum(), logits)
    soft = ((logits - (-uniform.log()).log()) / 0.5).softmax(-1)
    (expected,) = torch.autograd.grad((soft * direction).sum(), logits)
    torch.testing.assert_close(found, expected, check_dtype=False)


def test_levels_are_rounded_with_the_gradient_of_what_is_rounded():
    field = Real(channels=(1,), levels=4)
    output = torch.tensor([[[-3.0], [-0.2], [0.1], [0.9]]], requires_grad=True)
    middle = torch.full((1, 4, 1), 0.5, dtype=torch.float64)
    chosen = relaxation(field).choose(output, middle, 1.0, 1.0)
    assert chosen.tolist() == [[-0.75, -0.25, 0.25, 0.75]]
    chosen.sum().backward()
    torch.testing.assert_close(output.grad, 1 - output.detach().tanh() ** 2)


def test_the_mean_of_what_is_rounded_is_what_the_generator_says():
    uniform = Rng(0, [0]).uniform("choice", (40_000, 1))
    output = torch.full((1, 40_000, 1), 0.4)
    chosen = relaxation(Real(channels=(1,), levels=4)).choose(output, uniform, 1.0, 1.0)
    assert set(chosen.unique().tolist()) == {0.25, 0.75}
    assert float(chosen.mean()) == pytest.approx(float(output[0, 0, 0].tanh()), abs=0.01)


@pytest.mark.parametrize("space", ["words", "signal", "graph", "picture"])
def test_a_collapse_is_noticed(space):
    family, _ = a_gan(space)
    batch, rng = Case(space, SPACES[space], draw_samples(SPACES[space], 60, 1)).batch, Rng(0, range(60))
    assert constant(family).diagnose(batch, None, rng).warnings[0].startswith("the generator collapses")


def test_samples_as_varied_as_the_data_are_no_collapse():
    points = torch.randn(3, 200, 5, generator=torch.Generator().manual_seed(0))
    found = Health.of(points[0], points[1])
    assert not found.collapsed
    assert found.duplicates == 0
    assert found.spread == pytest.approx(1, abs=0.05)
    assert found.recall > 0.8
    one_mode = Health.of(points[0], points[1] * 0.05)
    assert one_mode.collapsed
    assert one_mode.recall < 0.1
    repeated = Health.of(points[0], points[1][torch.arange(200) // 4])
    assert repeated.collapsed
    assert repeated.duplicates == 0.75
    # Data that repeat themselves, such as short words, are none either.
    assert not Health.of(points[0][torch.arange(200) // 4], points[1][torch.arange(200) // 4]).collapsed


def test_one_item_says_nothing_of_a_collapse():
    family, trial = a_gan("words")
    assert not family.diagnose(trial.batch.take(slice(1)), None, trial.rng.take(slice(1))).values


def test_the_energy_score_is_the_least_for_the_true_distribution():
    generator = torch.Generator().manual_seed(0)

    def score(shift, scale):
        drawn = [shift + scale * torch.randn(20_000, 1, generator=generator) for _ in range(4)]
        far, apart = energy_score(torch.randn(20_000, 1, generator=generator), drawn)
        return float((far - apart).mean())

    # E|x - y| = 2 / sqrt(pi) for two standard normal numbers.
    assert score(0, 1) == pytest.approx(pi**-0.5, abs=0.02)
    assert score(0, 1) < min(score(0.5, 1), score(0, 0.5), score(0, 2), score(0, 0)) - 0.02


def test_the_held_out_figure_is_the_score_of_samples_of_the_size_of_each_item():
    family, trial = a_gan("words")
    found = family.validate(trial.batch, None, trial.rng)
    torch.testing.assert_close(found.total, found.parts["distance"] - found.parts["spread"])
    # A word of no letters is one sample.
    assert found.total[trial.batch.sizes["length"] == 0].abs().max() == 0
    assert (found.parts["distance"] <= trial.batch.sizes["length"] ** 0.5 + 1e-5).all()


def test_truncated_numbers_stay_inside_and_keep_their_order():
    uniform = torch.linspace(0.001, 0.999, 999, dtype=torch.float64)
    cut = truncated_normal(uniform, 0.5)
    assert cut.abs().max() <= 0.5
    assert (cut.diff() > 0).all()
    torch.testing.assert_close(truncated_normal(uniform, 30.0), truncated_normal(uniform, None))


def test_truncation_and_temperature_change_samples_and_impossible_ones_are_refused():
    family, _ = a_gan("record")
    drawn = {
        name: family.sample(200, rng=Rng(0, range(200)), **options).batch
        for name, options in {"all": {}, "cut": {"truncation": 0.1}, "cold": {"temperature": 0.01}}.items()
    }
    assert drawn["cut"].fields["height"].std() < drawn["all"].fields["height"].std() / 2
    assert torch.equal(drawn["cold"].fields["height"], drawn["all"].fields["height"])
    assert not torch.equal(drawn["cold"].fields["colour"], drawn["all"].fields["colour"])
    for options in ({"truncation": 0.0}, {"temperature": 0.0}, {"truncation": -1.0}):
        with pytest.raises(ValueError, match="must be above 0"):
            options_of(Sampling, "sampling", options)


def test_a_known_part_is_refused_in_one_sentence():
    family, trial = a_gan("words")
    given = {"letters": torch.ones(6, trial.batch.fields["letters"].shape[1], dtype=torch.bool)}
    with pytest.raises(ValueError, match="keeps no known part"):
        family.sample(6, rng=trial.rng, known=Partial(trial.batch, given))


def test_only_the_generator_is_averaged_and_density_is_the_value_of_the_critic():
    family, trial = a_gan("record")
    assert {name: phase.averaged for name, phase in family.phases.items()} == {"critic": False, "generator": True}
    density = family.log_density(trial.batch)
    read = family.critic(
        trial.batch.with_fields(
            {**trial.batch.fields, "colour": nn.functional.one_hot(trial.batch.fields["colour"], 3).float()}
        ),
        None,
        None,
    )
    torch.testing.assert_close(density.value.float(), read["value"].squeeze(1))
    assert density.kind is Density.CRITIC


def test_a_head_is_asked_for_by_what_the_space_says():
    assert relaxation(Real((Axis("atom", 4),), (3,), centred=True, rotates=True)).head == Head(
        3, (Axis("atom", 4),), rotates=True
    )
