"""Learning from own draws that are no items: the slope is that of their probability, and training lowers it."""

from __future__ import annotations

from itertools import pairwise, product

import numpy as np
import pytest
import torch
from toys import Tokens, every_item, samples_of

from molgen.batch import collate
from molgen.config import Part
from molgen.domain import Domain, Invalid
from molgen.errors import UsageError
from molgen.fitting import TrainingData, fit
from molgen.mistakes import Mistakes, weights_of
from molgen.model import GenerativeModel
from molgen.seeding import Rng
from molgen.statistics import Statistics
from molgen.training import TrainingConfig

SPACE = Tokens().space


class NoTwins(Domain):
    """Words in which no letter follows itself."""

    def examples(self):
        return ["ab", "c"]

    def canonical(self, item):
        twins = any(first == second for first, second in pairwise(item))
        return Invalid("twins") if twins else item


def a_family():
    torch.manual_seed(0)
    model = GenerativeModel(Part("tokens"), "autoregressive", Part("recurrent", {"width": 8, "layers": 1}))
    return model.build().double()


@pytest.fixture(autouse=True)
def _toys(fake_distribution):
    from toys import register

    register(fake_distribution)


def is_twin(word):
    return isinstance(NoTwins().canonical(word), Invalid)


def slopes(value, family):
    return torch.cat([g.flatten() for g in torch.autograd.grad(value, list(family.parameters()))])


def test_the_weights_have_the_slope_of_the_probability_on_average():
    logits = torch.tensor([0.3, -0.4, 0.9], dtype=torch.float64, requires_grad=True)
    log_p = torch.log_softmax(logits, 0)
    invalid = torch.tensor([1.0, 0.0, 0.0], dtype=torch.float64)
    exact = torch.autograd.grad(log_p.exp()[0], logits, retain_graph=True)[0]
    found = torch.zeros(3, dtype=torch.float64)
    for drawn in product(range(3), repeat=3):
        rows = list(drawn)
        probability = log_p[rows].sum().exp().detach()
        surrogate = (weights_of(invalid[rows]) * -log_p[rows]).sum()
        found += probability * torch.autograd.grad(surrogate, logits, retain_graph=True)[0]
    torch.testing.assert_close(found, exact)


def test_draws_of_a_family_have_the_slope_of_its_probability_of_mistakes():
    family, words = a_family(), every_item(Tokens)
    batch = collate(SPACE, samples_of(Tokens, words))
    log_p = -family.loss(batch, None, Rng(0, range(len(words)))).total
    twins = torch.tensor([is_twin(word) for word in words])
    exact = slopes(3.0 * log_p.exp()[twins].sum(), family)
    found, runs = [], 40
    mistakes = Mistakes(family, Tokens(), NoTwins(), Statistics(), weight=3.0)
    for run in range(runs):
        drawn = mistakes.draw(400, None, Rng(run, range(400)))
        found.append(slopes(drawn.loss(family.loss, "model"), family))
    mistakes.close()
    assert mistakes.share == pytest.approx(log_p.exp()[twins].sum().item(), abs=0.08)
    mean, error = torch.stack(found).mean(0), torch.stack(found).std(0) / runs**0.5
    assert ((mean - exact).abs() <= 4.5 * error + 1e-9).all()


@pytest.mark.parametrize("shards", [1, 2])
def test_training_lowers_the_probability_of_mistakes(shards, tmp_path, monkeypatch):
    found = {}
    for weight in (0.0, 20.0):
        torch.manual_seed(0)
        model = GenerativeModel(Part("tokens"), "autoregressive", Part("recurrent", {"width": 8, "layers": 1}))
        monkeypatch.setattr(type(model), "domain", property(lambda self: NoTwins()))
        rows = [(word, {}) for word in ("ab", "aa", "ba", "c", "abc", "bb")] * 8
        config = TrainingConfig(
            steps=60, batch_size=16, learning_rate=0.02, warmup=1, average=0.9, mistakes=weight, shards=shards
        )
        data = TrainingData("words", lambda rows=rows: iter(rows))
        fit(model, data, config, tmp_path / str(weight), store=tmp_path / "stores")
        words = every_item(Tokens)
        p = np.exp([scored.log_density for scored in model.log_density(words)])
        found[weight] = sum(p[k] for k, word in enumerate(words) if is_twin(word))
    assert found[20.0] < 0.3 * found[0.0]


def test_a_family_without_an_exact_density_is_refused(tmp_path):
    torch.manual_seed(0)
    model = GenerativeModel(Part("tokens"), "diffusion", Part("transformer", {"width": 16, "layers": 1, "heads": 2}))
    with pytest.raises(UsageError, match="exact density"):
        Mistakes(model.build(), Tokens(), NoTwins(), Statistics(), 1.0)


@pytest.mark.parametrize("settings", [{"mistakes": -1.0}, {"mistakes": float("inf")}, {"mistakes": 1, "batch_size": 1}])
def test_settings_without_meaning_are_refused(settings):
    with pytest.raises(ValueError, match="mistakes"):
        TrainingConfig(**settings)
