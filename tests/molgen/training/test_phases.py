"""Families that train in several phases, and what a family watches while it trains."""

from dataclasses import replace
from typing import ClassVar

import numpy as np
import pytest
import torch
from support.phases import MODES, SPACE, TinyGAN, WithReplay
from support.toys import Toy
from support.training import Stopped, resumed, run, same, saved_to, stop_after, weights
from torch import nn

from molgen.data.conditions import Conditions
from molgen.data.encode import write_store
from molgen.data.loader import Data
from molgen.family import Phase
from molgen.seeding import Rng
from molgen.training.config import TrainingConfig
from molgen.training.trainer import Trainer

MIXED = TrainingConfig(
    steps=12, batch_size=32, warmup=3, validation=0.2, check_every=4, save_every=5, log_every=1, average=0.9
)


class Mixture(Toy):
    """Numbers around two modes."""

    space: ClassVar = SPACE

    def examples(self):
        return [-2.0, 2.0]

    def encode(self, item):
        return {"x": np.array(item, dtype=np.float32)}

    def decode(self, sample):
        return float(sample["x"])


@pytest.fixture(scope="module")
def mixture(tmp_path_factory):
    random = np.random.default_rng(0)
    values = random.choice(MODES, 400) + 0.2 * random.normal(size=400)
    return write_store(tmp_path_factory.mktemp("stores") / "mixture", Mixture, SPACE, [(x, {}) for x in values])


def of_mixture(store):
    return Data.split(store, Conditions(), 0.2, limit=100, seed=0)


def seeded(cls, seed=0):
    torch.manual_seed(seed)
    return cls()


@pytest.mark.parametrize("stop", [1, 7])
@pytest.mark.parametrize("cls", [TinyGAN, WithReplay])
def test_a_resumed_run_of_several_phases_is_the_uninterrupted_one(mixture, tmp_path, cls, stop):
    data = of_mixture(mixture)
    whole = run(Trainer(seeded(cls), data, MIXED))
    with pytest.raises(Stopped):
        run(Trainer(seeded(cls), data, MIXED), save=saved_to(tmp_path / "resume"), show=stop_after(stop))
    again = run(resumed(Trainer(seeded(cls, 1), data, MIXED), tmp_path / "resume"))
    same(again.state_tensors(), whole.state_tensors())
    same(weights(again.averaged_family), weights(whole.averaged_family))


def test_a_gan_learns_both_modes(mixture):
    config = replace(MIXED, steps=250, learning_rate=1e-2, warmup=10, check_every=125, batch_size=64, clip=100.0)
    trainer, logged = Trainer(seeded(TinyGAN), of_mixture(mixture), config), {}
    run(trainer, log=lambda step, values: logged.setdefault(step, {}).update(values))
    drawn = trainer.finished_family().sample(500, rng=Rng(0, range(500))).batch.fields["x"]
    near = [float(((drawn - mode).abs() < 1).float().mean()) for mode in MODES]
    assert min(near) > 0.25
    assert sum(near) > 0.85
    names = {"critic_loss", "critic_penalty", "generator_loss", "validation_loss", "validation_slope", "spread"}
    assert names <= set(logged[250])
    assert logged[250]["loss"] == pytest.approx(logged[250]["critic_loss"] + logged[250]["generator_loss"])


def test_each_phase_has_its_steps_its_settings_and_random_numbers_of_its_own(mixture):
    family = seeded(TinyGAN)
    trainer = Trainer(family, of_mixture(mixture), replace(MIXED, steps=3, validation=0, check_every=10))
    stepped = []
    for name, optimiser in trainer.optimisers.items():
        optimiser.optimizer.register_step_post_hook(lambda *args, name=name: stepped.append(name))
    run(trainer)
    assert stepped == ["critic", "critic", "generator"] * 3
    noises = [tuple(noise.tolist()) for noise in family.drawn if len(noise) == 32]
    assert len(set(noises)) == len(noises)
    rates = {name: optimiser.param_groups[0]["lr"] for name, optimiser in trainer.optimisers.items()}
    assert rates["generator"] == pytest.approx(rates["critic"] / 2)
    assert all(group["betas"] == (0.0, 0.9) for o in trainer.optimisers.values() for group in o.param_groups)
    assert all(group["weight_decay"] == 0 for o in trainer.optimisers.values() for group in o.param_groups)


def test_only_parameters_of_phases_that_ask_for_it_are_averaged(mixture):
    family = seeded(WithReplay)
    trainer = run(Trainer(family, of_mixture(mixture), MIXED))
    raw, averaged = weights(family), weights(trainer.averaged_family)
    copied = {name for name in raw if torch.equal(raw[name], averaged[name])}
    assert copied == {name for name in raw if not name.startswith("generator")}
    assert raw["memory"].any()


def test_parameters_of_other_phases_get_no_gradients(mixture):
    family = seeded(TinyGAN)
    wanted = []
    family.register_forward_pre_hook(
        lambda module, args, kwargs: wanted.append(
            (kwargs["phase"], {name.split(".")[0] for name, p in module.named_parameters() if p.requires_grad})
        ),
        with_kwargs=True,
    )
    run(Trainer(family, of_mixture(mixture), replace(MIXED, steps=1, validation=0)))
    assert wanted == [("critic", {"critic"}), ("critic", {"critic"}), ("generator", {"generator"})]
    assert all(parameter.requires_grad for parameter in family.parameters())


def test_a_sentence_of_the_family_is_shown_once(mixture):
    family, shown = seeded(TinyGAN), []
    with torch.no_grad():
        family.generator[-1].weight.zero_()
    config = replace(MIXED, learning_rate=0.0, check_every=2)
    run(Trainer(family, of_mixture(mixture), config), warn=shown.append)
    assert shown == ["samples are all alike"]


def test_a_phase_takes_a_step():
    with pytest.raises(ValueError, match="at least one step"):
        Phase((nn.Linear(1, 1),), steps=0)
