"""Training with differential privacy: what every item adds, what noise, what is refused, what the card says."""

import math
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.stats import norm
from support.phases import SPACE, TinyGAN
from support.toys import Grid, Tokens, every_item, samples_of
from support.training import Stopped, resumed, run, same, saved_to, stop_after, timeless, weights
from torch import nn

from molgen import registry
from molgen.backbone import make_build
from molgen.batch import collate
from molgen.config import Part
from molgen.data.bloom import BloomFilter
from molgen.data.conditions import Conditions
from molgen.data.encode import write_store
from molgen.data.loader import Data
from molgen.data.prepare import TrainingData
from molgen.errors import UsageError
from molgen.family import Capability, Density, Loss, phases_of
from molgen.model.generative_model import GenerativeModel
from molgen.seeding import Rng
from molgen.training import private_steps
from molgen.training.config import TrainingConfig
from molgen.training.fit import fit
from molgen.training.gradient_shards import GradientShards, Shard
from molgen.training.private_steps import PrivateSteps, require_private, rounded_up
from molgen.training.trainer import Trainer

NOISE = {"noise_multiplier": 1.3, "max_grad_norm": 0.05, "accountant": "rdp"}
CONFIG = TrainingConfig(
    steps=6, batch_size=4, warmup=2, validation=0.2, check_every=3, save_every=3, log_every=1, privacy=NOISE
)
SMALL = {"recurrent": {"width": 8, "layers": 1, "embedding": 4}, "transformer": {"width": 8, "layers": 1, "heads": 1}}


def a_family(name="autoregressive", toy=Tokens, backbone="recurrent", **settings):
    torch.manual_seed(0)
    network, cls = registry.get("backbone", backbone), registry.get("family", name)
    build = make_build(network, network.Config(**SMALL[backbone]), None)
    return cls(toy().space, build, cls.Config(**settings))


def steps_of(family, config=CONFIG, items=40, **privacy):
    return PrivateSteps(family, replace(config, privacy={**config.privacy, **privacy}), items)


def shards_of(batch, rng):
    rows = [torch.tensor([place]) for place in range(len(batch))]
    return [Shard(batch.take(row), None, rng.take(row), 1) for row in rows]


# --- gradients ------------------------------------------------------------------------------------


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize(
    ("name", "backbone", "toy"),
    [
        ("autoregressive", "recurrent", Tokens),
        ("diffusion", "transformer", Tokens),
        ("vae", "transformer", Tokens),
        ("flow", "transformer", Grid),
    ],
)
def test_each_item_adds_its_own_gradient_clipped(name, backbone, toy, threads):
    family = a_family(name, toy, backbone).double().train()
    batch = collate(family.space, samples_of(toy)[:5])
    rng, limit = Rng(3, range(len(batch))), 0.3
    steps = steps_of(family, max_grad_norm=limit)
    steps.noise_multiplier = 0.0
    parameters, norms = phases_of(family)["model"].parameters(), []
    expected = [torch.zeros_like(parameter) for parameter in parameters]
    for place in range(len(batch)):
        # The item beside all others, of which the loss of each is taken alone.
        loss = family.loss(batch, None, rng).total[place]
        gradients = torch.autograd.grad(loss, parameters, materialize_grads=True, allow_unused=True)
        norms.append(math.sqrt(sum(float(gradient.square().sum()) for gradient in gradients)))
        for total, gradient in zip(expected, gradients, strict=True):
            total += gradient * (limit / max(norms[-1], limit)) / CONFIG.batch_size
    assert max(norms) > limit
    mapped = GradientShards(threads, family).map if threads > 1 else map
    means = steps.backward(family, "model", shards_of(batch, rng), 0, mapped)
    assert float(means["loss"]) == pytest.approx(float(family.loss(batch, None, rng).total.mean().detach()))
    for parameter, total in zip(parameters, expected, strict=True):
        torch.testing.assert_close(parameter.grad, total, rtol=1e-4, atol=1e-9)


def test_no_item_adds_more_than_the_limit():
    totals = [torch.zeros(3), torch.zeros(2)]
    private_steps.add_clipped(totals, [torch.tensor([3.0, 0.0, 0.0]), None], 0.5)
    assert 0.5 - 1e-5 < float(totals[0].norm()) <= 0.5
    private_steps.add_clipped(totals, [torch.zeros(3), torch.tensor([0.0, 0.1])], 0.5)
    assert totals[1].tolist() == pytest.approx([0.0, 0.1])


def test_noise_has_the_standard_deviation_that_is_accounted_for():
    wide = nn.Linear(300, 300)
    family = a_family()
    family.add_module("wide", wide)
    steps = steps_of(family, noise_multiplier=2.0, max_grad_norm=0.5)
    found = []
    for event in (7, 7, 8):
        assert steps.backward(family, "model", [], event) == {"loss": torch.zeros(())}
        found.append(wide.weight.grad.clone())
    assert float(found[0].std()) == pytest.approx(2.0 * 0.5 / CONFIG.batch_size, rel=0.01)
    assert abs(float(found[0].mean())) < 0.005
    assert torch.equal(found[0], found[1])
    assert abs(float(torch.corrcoef(torch.stack([found[0].flatten(), found[2].flatten()]))[0, 1])) < 0.02
    # Another training has other noise, whatever its seed.
    steps_of(family, noise_multiplier=2.0, max_grad_norm=0.5).backward(family, "model", [], 7)
    assert not torch.equal(wide.weight.grad, found[0])


def test_every_item_takes_part_with_the_same_probability_whatever_the_others_do():
    steps = steps_of(a_family(), items=40)
    taken = np.zeros((3000, 40))
    for event in range(len(taken)):
        taken[event, steps.rows(event)] = 1
    # 4 expected of 40: the number of a step is binomial, and that of two items is uncorrelated.
    assert taken.mean(0) == pytest.approx(0.1, abs=5 * math.sqrt(0.1 * 0.9 / 3000))
    assert taken.sum(1).var() == pytest.approx(40 * 0.1 * 0.9, rel=0.15)
    assert abs(np.corrcoef(taken[:-1, 0], taken[1:, 0])[0, 1]) < 0.1


# --- what it costs --------------------------------------------------------------------------------


@pytest.mark.parametrize("accountant", ["prv", "rdp"])
def test_epsilon_is_that_of_the_gaussian_mechanism_where_every_item_takes_part(accountant):
    """With all items in each step it is one Gaussian mechanism, whose delta is known in closed form
    (Balle & Wang, arXiv 1805.06530, theorem 8)."""
    config = replace(CONFIG, steps=25, batch_size=100)
    steps = steps_of(a_family(), config, items=100, noise_multiplier=5.0, delta=1e-5, accountant=accountant)
    found, ratio = steps.report(25)["epsilon"], math.sqrt(25) / 5.0

    def delta_at(epsilon):
        first, second = ratio / 2 - epsilon / ratio, -ratio / 2 - epsilon / ratio
        return norm.cdf(first) - math.exp(epsilon) * norm.cdf(second)

    assert delta_at(found) <= 1e-5
    assert delta_at(found - (0.05 if accountant == "prv" else 0.4)) > 1e-5


def test_epsilon_of_subsampled_steps_is_that_of_opacus():
    from opacus.accountants import RDPAccountant

    config = replace(CONFIG, steps=14062, batch_size=256)
    steps = steps_of(a_family(), config, items=60000, noise_multiplier=1.1, delta=1e-5)
    own = RDPAccountant()
    own.history = [(1.1, 256 / 60000, 14062)]
    assert steps.report(14062)["epsilon"] == rounded_up(own.get_epsilon(1e-5)) == pytest.approx(2.597)


def test_noise_is_fitted_to_the_bound_that_is_asked_for():
    config = replace(CONFIG, steps=200, privacy={"epsilon": 2.0, "accountant": "rdp"})
    steps = PrivateSteps(a_family(), config, 100)
    report = steps.report(200)
    assert 1.95 < report["epsilon"] <= 2.0
    assert report["delta"] == pytest.approx(1e-3)
    assert steps.report(100)["epsilon"] < report["epsilon"]
    steps.load(steps.state_json(finished=True), 150)
    with pytest.raises(UsageError, match="does not keep epsilon to 2 over 400 steps"):
        steps.load(steps.state_json(finished=True), 400)


def test_a_bound_is_rounded_up():
    assert [rounded_up(value) for value in (2.59655, 0.0012341, 3.0, 0.0)] == [2.597, 0.001235, 3.0, 0.0]


# --- refusals -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("flow", {"variant": "matching", "pairing": "optimal"}),
        ("energy", {"variant": "contrastive"}),
        ("energy", {"variant": "matching"}),
    ],
)
def test_a_family_whose_items_depend_on_each_other_is_refused_by_name(name, settings):
    family = a_family(name, Grid, "transformer", **settings)
    with pytest.raises(UsageError, match=f"not for {type(family).__name__} with these settings: the loss of an item"):
        require_private(family)


def test_a_network_that_normalises_by_the_batch_and_a_memory_are_refused(monkeypatch):
    family = a_family()
    family.add_module("normalised", nn.BatchNorm1d(4))
    with pytest.raises(UsageError, match="BatchNorm1d"):
        require_private(family)
    family = a_family()
    monkeypatch.setattr(family, "training_state", lambda: {"replay": torch.zeros(3)})
    with pytest.raises(UsageError, match="keeps a memory"):
        require_private(family)


def test_a_loss_that_writes_down_what_it_sees_is_refused():
    class Writing(TinyGAN):
        capability = Capability(density=Density.CRITIC)

        def loss(self, batch, condition, rng, phase="critic"):
            self.seen.copy_(batch.fields["x"].mean())
            return Loss(self.critic(batch.fields["x"][:, None])[:, 0])

    family = Writing()
    family.register_buffer("seen", torch.zeros(()))
    batch = collate(SPACE, [{"x": np.array(1.5, np.float32)}])
    with pytest.raises(UsageError, match="writes into seen"):
        steps_of(family).backward(family, "critic", shards_of(batch, Rng(0, [0])), 0)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"privacy": {"delta": 1e-5}}, "either epsilon"),
        ({"privacy": {"epsilon": 1.0, "noise_multiplier": 1.0}}, "either epsilon"),
        ({"privacy": {"epsilon": 0.0}}, "epsilon must be above 0"),
        ({"privacy": {"epsilom": 1.0}}, "did you mean 'epsilon'"),
        ({"privacy": {"epsilon": 1.0, "accountant": "gdp"}}, "'prv', 'rdp'"),
        ({"privacy": NOISE, "pool": 4}, "pool must be 1"),
        ({"privacy": NOISE, "precision": "fp16"}, "no or bf16"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings, message):
    with pytest.raises((UsageError, ValueError), match=message):
        TrainingConfig(**settings)


def test_numbers_that_do_not_fit_the_items_are_refused():
    with pytest.raises(UsageError, match="at most 3"):
        steps_of(a_family(), items=3)
    with pytest.raises(UsageError, match="below 1/40"):
        steps_of(a_family(), delta=0.03)


def test_without_opacus_one_line_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "opacus", None)
    with pytest.raises(UsageError, match=r"pip install 'molgen-toolkit\[opacus\]'"):
        require_private(a_family())


# --- runs -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    rows = [(word, {}) for word in every_item(Tokens)]
    store = write_store(tmp_path_factory.mktemp("stores") / "tokens", Tokens, Tokens().space, rows)
    return Data.split(store, Conditions(), 0.2, limit=100, seed=0)


@pytest.fixture
def known(monkeypatch):
    """All trainings draw one secret."""
    monkeypatch.setattr(private_steps.secrets, "randbits", lambda bits: 5)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.usefixtures("known")
def test_a_resumed_run_is_the_uninterrupted_one_and_all_its_steps_count(data, tmp_path, monkeypatch, threads):
    config = replace(CONFIG, gradient_shards=threads)
    whole = run(Trainer(a_family(), data, config))
    with pytest.raises(Stopped):
        run(Trainer(a_family(), data, config), save=saved_to(tmp_path / "resume"), show=stop_after(4))
    monkeypatch.setattr(private_steps.secrets, "randbits", lambda bits: 6)
    again = resumed(Trainer(a_family(), data, config), tmp_path / "resume")
    assert "secret" in again.state_json()["privacy"]
    run(again)
    same(again.state_tensors(), whole.state_tensors())
    same(weights(again.averaged_family), weights(whole.averaged_family))
    assert timeless(again) == timeless(whole)
    assert again.private.report(again.state.step) == whole.private.report(6)
    assert whole.private.report(6)["optimiser steps"] == 6
    assert whole.state_json()["privacy"] == {"noise_multiplier": 1.3}


def test_every_optimiser_step_of_every_phase_draws_its_own_items_and_counts():
    steps = steps_of(TinyGAN())
    places = [("critic", 0), ("critic", 1), ("generator", 0)]
    events = [steps.event(step, name, number) for step in range(2) for name, number in places]
    assert events == list(range(6))
    assert len({tuple(steps.rows(event)) for event in events}) > 3
    assert steps.report(10)["optimiser steps"] == 30


ITEMS = [f"C{'C' * (k % 5)}{'NOFSP'[k // 5 % 5]}C{'C' * (k // 25)}" for k in range(50)]


def fitted(folder, model=None, **settings):
    backbone = Part("recurrent", SMALL["recurrent"])
    model = model or GenerativeModel(
        Part("molecules.smiles", {"max_length": 20}), "autoregressive", backbone, ["weight"]
    )
    keys = BloomFilter.of(ITEMS, len(ITEMS))
    rows = [(item, {"weight": float(len(item))}) for item in ITEMS]
    data = TrainingData("some", lambda: iter(rows), "a", keys=keys)
    return fit(model, data, replace(CONFIG, **settings), folder, store=folder.parent / "store")


def test_a_private_model_carries_no_items_and_says_how_private_it_is(tmp_path):
    model = fitted(tmp_path / "private")
    assert model.keys == {}
    assert (model.conditions.ranges, model.conditions.marginals) == ({}, {})
    saved = GenerativeModel.load(tmp_path / "private" / "model")
    found, card = saved.info["privacy"], (tmp_path / "private" / "model" / "README.md").read_text()
    assert found["epsilon"] == rounded_up(PrivateSteps(model.family, CONFIG, 40).account.epsilon(1.3, 6))
    assert found["delta"] == pytest.approx(0.1 / 40)
    assert "rdp of opacus" in found["accountant"]
    for what in ("counts and scales", "how many items", "held out"):
        assert what in found["not covered"]
    assert f"| epsilon | {found['epsilon']} |" in card
    assert "| not covered |" in card
    text = (tmp_path / "private" / "resume" / "config.json").read_text()
    assert '"noise_multiplier"' in text
    assert '"secret"' not in text


def test_what_came_before_or_after_a_private_training_is_not_called_private(tmp_path):
    first = fitted(tmp_path / "first", privacy={})
    assert "privacy" not in first.info
    assert list(first.keys) == ["some"]
    tuned = fitted(tmp_path / "tuned", first)
    assert "what the model had learned before" in tuned.info["privacy"]["not covered"]
    again = fitted(tmp_path / "again", tuned, privacy={})
    assert "privacy" not in again.info
    assert "privacy: epsilon" in again.info["training"]["before"]
