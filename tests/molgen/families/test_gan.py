"""Generator and critic against what is known: a mixture, penalties by hand, true distributions, a collapse.

Letters in shapes: B batch.
"""

from dataclasses import replace
from math import cos, pi

import numpy as np
import pytest
import torch
from support.toys import Tokens
from support.training import Stopped, resumed, run, same, saved_to, stop_after, weights
from torch import nn

from molgen import registry
from molgen.backbone import Backbone, Head, LinearHeads, make_build
from molgen.batch import Batch, Partial, collate
from molgen.config import options_of
from molgen.data.conditions import Conditions
from molgen.data.encode import write_store
from molgen.data.loader import Data
from molgen.data.statistics import measure
from molgen.families.gan import GAN, GANConfig
from molgen.families.gan.config import Sampling
from molgen.families.gan.generator import truncated_normal
from molgen.families.gan.health import Health, energy_score
from molgen.families.gan.objectives import DRIFT, OBJECTIVES, Relativistic, Wasserstein, slope
from molgen.families.gan.relaxation import relaxation
from molgen.families.parts.elements import PackedElements
from molgen.family import Density, phases_of
from molgen.seeding import Rng
from molgen.space import Axis, Categorical, Layout, Real
from molgen.testing import SPACES, Case, Skipped
from molgen.testing.batches import moved, require_close, unordered_axes
from molgen.testing.fixtures import FamilyTrial, tiny_config
from molgen.testing.random_samples import draw_samples
from molgen.training.config import TrainingConfig
from molgen.training.trainer import Trainer

PLANE = {"place": Real(channels=(2,))}
SHORT = TrainingConfig(steps=6, batch_size=16, warmup=1, validation=0.2, check_every=2, save_every=4, log_every=1)


class Plain(LinearHeads, Backbone):
    """A small network of layers over numbers without axes."""

    layouts = frozenset({Layout.RECORD})

    def __init__(self, inputs, outputs, config=None, condition=None, width=64):
        super().__init__(inputs, outputs, config, condition)
        read = sum(field.channels[0] for field in inputs.values())
        self.layers = nn.Sequential(
            nn.Linear(read, width), nn.LeakyReLU(0.2), nn.Linear(width, width), nn.LeakyReLU(0.2)
        )
        self.heads = nn.ModuleDict({name: nn.Linear(width, head.width) for name, head in outputs.items()})

    def forward(self, batch, time, condition):
        found = self.layers(torch.cat([batch.fields[name] for name in self.inputs], dim=1))
        return {name: head(found) for name, head in self.heads.items()}


def plane_gan(**settings):
    torch.manual_seed(0)
    return GAN(PLANE, make_build(Plain, None, None), GANConfig(latent=4, element_noise=1, **settings))


def a_gan(space, **settings):
    """A small one over a space of the kit, with samples."""
    trial = FamilyTrial(GAN, replace(tiny_config(GAN), **settings), Case.of(space, SPACES[space]))
    return trial.family(), trial


def ring(count, seed, centres=8, spread=0.05):
    random = np.random.default_rng(seed)
    angle = random.integers(centres, size=count) * 2 * np.pi / centres
    centre = 1.4 * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    return torch.tensor(centre + spread * random.normal(size=(count, 2)), dtype=torch.float32)


def trained(family, steps, rate, batch_size, data):
    optimisers = {
        name: torch.optim.Adam(phase.parameters(), lr=rate, betas=phase.betas)
        for name, phase in phases_of(family).items()
    }
    for step in range(steps):
        family.begin_step(step, steps)
        for name, phase in phases_of(family).items():
            for number in range(phase.steps):
                batch = Batch({"place": data(batch_size, step * 10 + number)}, {})
                optimisers[name].zero_grad()
                rng = Rng(step * 10 + number, range(batch_size)).fold(name)
                family.loss(batch, None, rng, phase=name).total.mean().backward()
                optimisers[name].step()
    return family


def excess(family):
    """Half the energy distance between samples and the ring, roughly."""
    drawn = family.sample(2000, rng=Rng(0, range(2000))).batch.fields["place"]
    real, generator = ring(2000, 997), torch.Generator().manual_seed(0)

    def score(own):
        far, apart = energy_score(real, [own[torch.randperm(2000, generator=generator)] for _ in range(8)])
        return float((far - apart).mean())

    return score(drawn) - score(ring(2000, 998))


def test_a_ring_of_eight_modes_is_covered():
    family = trained(plane_gan(penalty=0.1, penalty_end=0.01), 800, 3e-3, 128, ring)
    drawn = family.sample(2000, rng=Rng(0, range(2000))).batch.fields["place"]
    centres = 1.4 * torch.tensor([[cos(k * pi / 4), cos(k * pi / 4 - pi / 2)] for k in range(8)])
    distance, nearest = torch.cdist(drawn, centres).min(1)
    counts = torch.bincount(nearest[distance < 0.25], minlength=8)
    # A normal distribution as wide as the ring has 4 times fewer samples near each mode.
    assert counts.sum() > 1000, counts.tolist()
    assert counts.min() > 70, counts.tolist()


def test_the_wasserstein_objective_brings_samples_near_the_data():
    after = excess(trained(plane_gan(objective="wasserstein", penalty=1.0), 120, 2e-3, 64, ring))
    assert after < 0.25 * excess(plane_gan())


def quadratic(weights):
    """D whose slope is weights * x."""
    return lambda elements: (weights / 2 * elements["x"].square()).sum(1)


def test_a_penalty_is_what_is_computed_by_hand_with_its_slope_for_the_weights():
    w, x = torch.tensor([1.0, -2.0, 3.0], requires_grad=True), torch.tensor([[1.0, 2.0, 0.5], [0.0, 1.0, -1.0]])
    value, squared = slope(quadratic(w), {"x": x})
    torch.testing.assert_close(value, torch.tensor([0.5 - 4 + 0.375, -1 + 1.5]))
    torch.testing.assert_close(squared, torch.tensor([1 + 16 + 2.25, 4.0 + 9]))
    squared.sum().backward()
    torch.testing.assert_close(w.grad, 2 * w.detach() * x.square().sum(0))


def test_the_relativistic_loss_is_that_of_its_paper():
    w, gamma = torch.tensor([1.0, -2.0, 3.0]), 0.3
    real, fake = {"x": torch.tensor([[1.0, 2.0, 0.5]])}, {"x": torch.tensor([[-1.0, 0.5, 1.0]])}
    loss, parts = Relativistic().critic_loss(quadratic(w), real, fake, gamma, Rng(0, [0]))
    at_real, at_fake = -3.125, 0.5 - 0.25 + 1.5
    r1, r2 = 19.25, 1 + 1 + 9
    expected = np.log1p(np.exp(at_fake - at_real)) + gamma / 2 * (r1 + r2) + DRIFT * ((at_real + at_fake) / 2) ** 2
    assert float(loss.detach()) == pytest.approx(expected)
    assert [float(parts[name].detach()) for name in ("gap", "r1", "r2")] == pytest.approx([at_real - at_fake, r1, r2])
    generator = Relativistic().generator_loss(torch.tensor(at_real), torch.tensor(at_fake))
    assert float(generator) == pytest.approx(np.log1p(np.exp(at_real - at_fake)))


def test_the_wasserstein_penalty_is_at_a_place_between_the_pair():
    w = torch.tensor([3.0, 4.0])
    real, fake = {"x": torch.tensor([[1.0, 0.0]])}, {"x": torch.tensor([[0.0, 1.0]])}
    loss, parts = Wasserstein().critic_loss(lambda e: (e["x"] * w).sum(1), real, fake, 10.0, Rng(0, [0]))
    assert float(parts["steepness"].detach()) == pytest.approx(16.0)
    assert float(loss) == pytest.approx(4 - 3 + 160 + DRIFT * 3.5**2)
    share = float(Rng(0, [0]).uniform("between"))
    _, parts = Wasserstein().critic_loss(quadratic(w), real, fake, 10.0, Rng(0, [0]))
    length = ((3 * (1 - share)) ** 2 + (4 * share) ** 2) ** 0.5
    assert float(parts["steepness"].detach()) == pytest.approx((length - 1) ** 2, rel=1e-5)
    assert float(Wasserstein().generator_loss(torch.tensor(2.0), torch.tensor(3.0))) == -3


class Weighted(nn.Module):
    """A critic that adds up all numbers of full tensors with fixed weights."""

    def __init__(self, **weights):
        super().__init__()
        self.weights = weights

    def forward(self, batch, time, condition):
        parts = [(batch.fields[name] * own).flatten(1).sum(1) for name, own in self.weights.items()]
        return {"value": torch.stack(parts).sum(0)[:, None]}


def slope_of(space, batch, critic):
    elements = PackedElements.of_batch(space, batch)
    read = {
        name: relaxation(field).read(elements.pack(name, batch.fields[name]), torch.ones(()))
        for name, field in space.items()
    }
    return slope(lambda values: critic(elements.unpack_batch(values), None, None)["value"].squeeze(1), read)[1]


def test_a_pair_has_one_slope_and_points_none_along_their_common_shift():
    node = Axis("node", 3, ordered=False)
    pairs = {"bonds": Categorical((node, node), classes=2, symmetric=True)}
    batch = Batch({"bonds": torch.zeros(1, 3, 3, dtype=torch.long)}, {"node": torch.tensor([3])})
    w = torch.zeros(3, 3, 2)
    w[1, 0, 1], w[0, 1, 1], w[2, 1, 0] = 2.0, 3.0, 1.0
    assert float(slope_of(pairs, batch, Weighted(bonds=w))) == pytest.approx(5**2 + 1)
    points = {"places": Real((node,), channels=(1,), centred=True)}
    batch = Batch({"places": torch.zeros(1, 3, 1)}, {"node": torch.tensor([3])})
    w = torch.tensor([[1.0], [2.0], [6.0]])
    assert float(slope_of(points, batch, Weighted(places=w))) == pytest.approx(float((w - 3).square().sum()))


def test_the_penalty_has_slopes_through_attention():
    family, trial = a_gan("words")
    family.double()
    elements = PackedElements.of_batch(trial.space, trial.batch)
    parameter = family.critic.get_parameter(
        next(n for n, p in family.critic.named_parameters() if "read" in n and p.ndim > 1)
    )

    def penalty():
        return family.loss(trial.batch, None, trial.rng).parts["r1"].sum()

    (found,) = torch.autograd.grad(penalty(), parameter)
    place = np.unravel_index(int(found.abs().argmax()), found.shape)
    ends = []
    for step in (1e-5, -2e-5):
        with torch.no_grad():
            parameter[place] += step
        ends.append(float(penalty().detach()))
    assert len(elements) == 6
    assert float(found[place]) == pytest.approx((ends[0] - ends[1]) / 2e-5, rel=1e-4)


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


def constant(family):
    """Let a generator give the same whatever it reads."""
    with torch.no_grad():
        for head in family.generator.network.heads.values():
            head.weight.zero_()
        for name, own in family.generator.relaxations.items():
            # So large that neither Gumbel noise nor rounding matters.
            family.generator.network.set_output_bias(name, torch.arange(1, own.head.width + 1) * 50.0)
    return family


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


@pytest.mark.parametrize(
    "settings",
    [
        {"latent": -1},
        {"element_noise": 0},
        {"critic_steps": 0},
        {"validation_samples": 1},
        {"penalty": -1.0},
        {"penalty_end": float("nan")},
        {"softness": 0.0},
        {"generator_rate": 0.0},
        {"penalty_fall": 0.0},
    ],
)
def test_settings_without_meaning_are_refused(settings):
    with pytest.raises(ValueError, match=next(iter(settings))):
        GANConfig(**settings)


def test_an_unknown_objective_is_refused_with_those_that_there_are():
    with pytest.raises(ValueError, match="relativistic, wasserstein"):
        plane_gan(objective="hinge")


def test_each_objective_has_its_own_number_of_steps_unless_one_is_asked_for():
    steps = {name: plane_gan(objective=name).phases["critic"].steps for name in OBJECTIVES}
    assert steps == {"relativistic": 1, "wasserstein": 5}
    assert plane_gan(objective="wasserstein", critic_steps=2).phases["critic"].steps == 2


def test_the_penalty_falls_along_half_a_cosine():
    config = GANConfig(penalty=4.0, penalty_end=2.0, penalty_fall=0.5)
    assert [config.penalty_at(step, 100, 1.0) for step in (0, 25, 50, 99)] == pytest.approx([4, 3, 2, 2])
    assert GANConfig().penalty_at(30, 100, 1.5) == 1.5
    family = plane_gan(penalty=4.0, penalty_end=2.0)
    family.begin_step(100, 100)
    assert family.penalty == pytest.approx(2.0)


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


@pytest.fixture(scope="module")
def words(tmp_path_factory):
    random = np.random.default_rng(0)
    items = ["".join(random.choice(list("abc"), size=random.integers(1, 4))) for _ in range(120)]
    store = write_store(
        tmp_path_factory.mktemp("stores") / "words", Tokens, Tokens.space, [(item, {}) for item in items]
    )
    return Data.split(store, Conditions(), 0.2, limit=40, seed=0)


def words_gan(seed=0):
    torch.manual_seed(seed)
    transformer = registry.get("backbone", "transformer")
    build = make_build(transformer, transformer.Config(width=16, layers=1, heads=2), None)
    return GAN(Tokens.space, build, GANConfig(latent=4, critic_steps=2, penalty_end=0.1, validation_samples=2))


@pytest.mark.parametrize("shards", [1, 2])
def test_a_resumed_run_is_the_uninterrupted_one(words, tmp_path, shards):
    """With gradient shards too, whose threads share the choice of the kernel of attention."""
    config = TrainingConfig(
        steps=6,
        batch_size=16,
        warmup=2,
        validation=0.2,
        check_every=3,
        save_every=4,
        average=0.9,
        gradient_shards=shards,
    )
    whole = run(Trainer(words_gan(), words, config))
    with pytest.raises(Stopped):
        run(Trainer(words_gan(), words, config), save=saved_to(tmp_path / "resume"), show=stop_after(3))
    again = run(resumed(Trainer(words_gan(1), words, config), tmp_path / "resume"))
    same(again.state_tensors(), whole.state_tensors())
    same(weights(again.averaged_family), weights(whole.averaged_family))


def test_a_collapse_is_said_while_training(words):
    shown, logged = [], {}
    config = TrainingConfig(
        steps=2, batch_size=16, warmup=1, validation=0.2, check_every=2, average=0.0, learning_rate=1e-9, log_every=1
    )
    trainer = Trainer(constant(words_gan()), words, config)
    run(trainer, warn=shown.append, log=lambda step, values: logged.update(values))
    assert len(shown) == 1
    assert {
        "duplicates",
        "recall",
        "spread",
        "validation_loss",
        "validation_gap",
        "critic_r1",
        "generator_size",
    } <= set(logged)


def test_sizes_follow_the_data_and_what_is_asked_for(words):
    family = words_gan()
    samples = [{"letters": np.zeros(2, dtype=np.int64)}] * 8
    batch = collate(Tokens.space, samples)
    family.set_statistics(measure(Tokens.space, [batch]))
    drawn = family.sample(400, rng=Rng(0, range(400))).batch.sizes["length"]
    assert (drawn == 2).float().mean() > 0.9
    asked = torch.tensor([1, 2, 3] * 4)
    assert torch.equal(family.sample(12, rng=Rng(0, range(12)), sizes={"length": asked}).batch.sizes["length"], asked)


def test_a_head_is_asked_for_by_what_the_space_says():
    assert relaxation(Real((Axis("atom", 4),), (3,), centred=True, rotates=True)).head == Head(
        3, (Axis("atom", 4),), rotates=True
    )
