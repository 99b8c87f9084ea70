"""A run that was stopped and goes on ends in the weights of one that was not, whatever the family."""

from typing import ClassVar

import numpy as np
import pytest
import torch
from support.toys import Tokens, Toy
from support.training import Stopped, resumed, run, same, saved_to, stop_after, timeless, weights

from molgen.data.conditions import Conditions
from molgen.data.encode import write_store
from molgen.data.loader import Data
from molgen.families.flow import Flow, FlowConfig
from molgen.families.latent import Latent, LatentConfig
from molgen.space import Axis, Real
from molgen.testing import Case
from molgen.testing.fixtures import FamilyTrial
from molgen.training.config import TrainingConfig
from molgen.training.trainer import Trainer

CONFIG = TrainingConfig(
    steps=6, batch_size=4, warmup=2, validation=0.25, check_every=2, save_every=2, log_every=1, average=0.9
)
SMALL = {"rounds": 1, "bins": 4, "draws": 2, "width": 8, "layers": 1, "heads": 2, "steps": 2, "samples": 2}


class Series(Toy):
    """Short rows of numbers."""

    space: ClassVar = {"x": Real((Axis("n", 4, minimum=2),), channels=(2,))}

    def examples(self):
        random = np.random.default_rng(0)
        return [random.normal(size=(2 + number % 3, 2)).astype(np.float32) for number in range(16)]

    def encode(self, item):
        return {"x": item}

    def decode(self, sample):
        return sample["x"]


def flow(toy, **settings):
    return lambda: FamilyTrial(Flow, FlowConfig(**SMALL, **settings), Case.of("a toy", toy.space)), toy


def latent(toy, prior, **settings):
    return lambda: FamilyTrial(
        Latent, LatentConfig(prior=prior, prior_settings=settings), Case.of("a toy", toy.space)
    ), toy


MADE = {
    "flow, couplings": flow(Series),
    "flow, autoregressive": flow(Tokens, variant="autoregressive"),
    "flow, matching": flow(Series, variant="matching"),
    "flow, optimal pairs": flow(Series, variant="matching", pairing="optimal"),
    "flow, discrete": flow(Tokens, variant="discrete"),
    "latent, flow": latent(Tokens, "flow", rounds=1, bins=4),
    "latent, gan": latent(Series, "gan", latent=2, critic_steps=1, validation_samples=2),
}


@pytest.mark.parametrize(("make", "toy"), MADE.values(), ids=MADE.keys())
def test_a_resumed_run_is_the_uninterrupted_one_bit_for_bit(tmp_path, make, toy):
    store = write_store(tmp_path / "store", toy, toy.space, [(item, {}) for item in toy().examples() * 2])

    def trainer(seed=0):
        torch.manual_seed(seed)
        return Trainer(make().family(seed=seed), Data.split(store, Conditions(), 0.25, limit=100, seed=0), CONFIG)

    whole = run(trainer())
    with pytest.raises(Stopped):
        run(trainer(), save=saved_to(tmp_path / "resume"), show=stop_after(5))
    again = run(resumed(trainer(seed=1), tmp_path / "resume"))
    assert timeless(again) == timeless(whole)
    same(again.state_tensors(), whole.state_tensors())
    same(weights(again.averaged_family), weights(whole.averaged_family))
