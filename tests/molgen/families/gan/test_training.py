"""Generators learn a mixture of modes, go on as if nothing had stopped them, and say that they collapse."""

from math import cos, pi

import numpy as np
import pytest
import torch
from support.small_gans import constant, plane_gan
from support.toys import Tokens
from support.training import Stopped, resumed, run, same, saved_to, stop_after, weights

from molgen import registry
from molgen.backbone import make_build
from molgen.batch import Batch, collate
from molgen.data.conditions import Conditions
from molgen.data.encode import write_store
from molgen.data.loader import Data
from molgen.data.statistics import measure
from molgen.families.gan import GAN, GANConfig
from molgen.families.gan.health import energy_score
from molgen.family import phases_of
from molgen.seeding import Rng
from molgen.training.config import TrainingConfig
from molgen.training.trainer import Trainer


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
