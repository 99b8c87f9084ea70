"""The training loop: one for every family, and a resumed run is the uninterrupted one."""

import math
from dataclasses import replace

import pytest
import torch
from support.toys import Tokens, every_item
from support.training import Stopped, resumed, run, same, saved_to, stop_after, timeless, weights
from torch import nn

from molgen.backbone import make_build
from molgen.backbones.recurrent.causal import Recurrent, RecurrentConfig
from molgen.data.conditions import Conditions
from molgen.data.encode import write_store
from molgen.data.loader import Data
from molgen.families.autoregressive import Autoregressive, AutoregressiveConfig
from molgen.family import Capability, Density, Family, Loss
from molgen.training.config import TrainingConfig
from molgen.training.trainer import Trainer, TrainingError

CONFIG = TrainingConfig(
    steps=12, batch_size=8, warmup=3, validation=0.2, check_every=4, save_every=5, log_every=1, average=0.9
)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """All words of the toy, each with its length as a number to condition on."""
    rows = [(word, {"length": float(len(word))}) for word in every_item(Tokens)]
    return write_store(tmp_path_factory.mktemp("stores") / "tokens", Tokens, Tokens().space, rows, ["length"])


def data_of(store, config=CONFIG):
    conditions = Conditions.fit(store.columns)
    return Data.split(store, conditions, config.validation, limit=config.validation_limit, seed=config.seed)


def a_network(seed=0, dropout=0.0):
    torch.manual_seed(seed)
    space, condition = Tokens().space, Conditions(("length",), (2.0,), (1.0,)).space
    config = RecurrentConfig(width=8, layers=2, embedding=4, dropout=dropout)
    return Autoregressive(space, make_build(Recurrent, config, condition), AutoregressiveConfig(), condition)


class Toy(Family):
    """Two numbers that run after the data, each in a phase of its own; what happens is written down."""

    capability = Capability(density=Density.CRITIC)

    def __init__(self, phases=("critic", "generator"), start=0.0):
        super().__init__(Tokens().space, None, None)
        self.parts = nn.ModuleDict({name: nn.Linear(1, 1, bias=False) for name in phases})
        for part in self.parts.values():
            nn.init.constant_(part.weight, start)
        self.register_buffer("seen", torch.zeros((), dtype=torch.long))
        self.calls = []
        self.spoil = lambda step, loss: loss
        self.replay = torch.zeros(3)

    @property
    def phases(self):
        return self.parts

    def loss(self, batch, condition, rng, phase="critic"):
        self.calls.append((phase, self.training))
        self.seen += 1
        self.replay = self.replay + 1
        one = torch.ones(len(batch), 1)
        outputs = {name: part(one).squeeze(-1) for name, part in self.parts.items()}
        # Each phase reads all parts, but may move only its own.
        total = sum(((output - 2) ** 2 for output in outputs.values()), torch.zeros(len(batch)))
        return Loss(self.spoil(int(self.seen), total))

    def sample(self, count, condition=None, rng=None, known=None, sizes=None, **options):
        raise NotImplementedError

    def log_density(self, batch, condition=None, rng=None, **options):
        raise NotImplementedError

    def training_state(self):
        return {"replay": self.replay}

    def load_training_state(self, state):
        self.replay = state["replay"]


# --- resuming -------------------------------------------------------------------------------------


@pytest.mark.parametrize("stop", [1, 4, 7, 11])
@pytest.mark.parametrize(
    "make", [a_network, lambda seed=0: a_network(seed, dropout=0.4), lambda seed=0: Toy(start=seed)]
)
def test_a_resumed_run_is_the_uninterrupted_one_bit_for_bit(store, tmp_path, make, stop):
    data = data_of(store)
    whole = run(Trainer(make(), data, CONFIG))
    with pytest.raises(Stopped):
        run(Trainer(make(), data, CONFIG), save=saved_to(tmp_path / "resume"), show=stop_after(stop))
    torch.rand(3)
    again = resumed(Trainer(make(seed=1), data, CONFIG), tmp_path / "resume")
    assert again.state.step == stop
    run(again)
    same(again.state_tensors(), whole.state_tensors())
    same(weights(again.averaged_family), weights(whole.averaged_family))
    assert timeless(again) == timeless(whole)


def test_the_time_of_all_sessions_of_a_run_is_added_up(store, tmp_path):
    data, sessions = data_of(store), []
    with pytest.raises(Stopped):
        run(Trainer(Toy(), data, CONFIG), save=saved_to(tmp_path / "resume"), show=stop_after(5))
    again = resumed(Trainer(Toy(), data, CONFIG), tmp_path / "resume")
    first = again.state.seconds
    assert first > 0
    run(again, show=lambda progress: sessions.append(again.state.seconds))
    assert sessions == sorted(sessions)
    assert sessions[0] > first


def test_dropout_is_on_in_training_and_another_seed_is_another_run(store):
    data = data_of(store)
    runs = [
        run(Trainer(a_network(dropout=dropout), data, replace(CONFIG, seed=seed, validation=0.2)))
        for dropout, seed in ((0.0, 0), (0.4, 0), (0.4, 1))
    ]
    finals = [weights(trainer.raw_family)["backbone.choice.weight"] for trainer in runs]
    assert not torch.equal(finals[0], finals[1])
    assert not torch.equal(finals[1], finals[2])


def test_training_leaves_the_random_numbers_of_others_alone(store):
    torch.manual_seed(0)
    expected = torch.rand(3)
    family = a_network(dropout=0.4)
    trainer = Trainer(family, data_of(store), CONFIG)
    torch.manual_seed(0)
    run(trainer)
    assert torch.equal(torch.rand(3), expected)


def test_saves_come_on_time_and_at_the_end(store):
    steps = []
    run(Trainer(Toy(), data_of(store), CONFIG), save=lambda trainer: steps.append(trainer.state.step))
    assert steps == [5, 10, 12]


# --- the loop -------------------------------------------------------------------------------------


def test_training_lowers_the_loss(store):
    trainer = Trainer(a_network(), data_of(store), replace(CONFIG, steps=60, learning_rate=1e-2, check_every=30))
    losses = []
    run(trainer, show=lambda progress: losses.append(progress.loss))
    assert sum(losses[-10:]) < sum(losses[:10])


def test_two_phases_are_trained_in_turn_each_moving_its_own(store):
    family = Toy()
    first = weights(family)
    trainer = Trainer(
        family, data_of(store), replace(CONFIG, steps=1, warmup=0, learning_rate=0.1, weight_decay=0, validation=0)
    )
    run(trainer)
    assert family.calls == [("critic", True), ("generator", True)]
    for name in ("critic", "generator"):
        moved = weights(family)[f"parts.{name}.weight"] - first[f"parts.{name}.weight"]
        assert moved.item() == pytest.approx(0.1, rel=1e-4)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_stops_before_the_step(store, value):
    family = Toy(phases=("critic",))
    family.spoil = lambda call, loss: loss * value if call == 4 else loss
    seen = []
    trainer = Trainer(family, data_of(store), replace(CONFIG, validation=0))
    with pytest.raises(TrainingError, match=f"loss is {value} at step 3"):
        run(trainer, show=lambda progress: seen.append(weights(family)["parts.critic.weight"]))
    assert trainer.state.step == 3
    assert torch.equal(weights(family)["parts.critic.weight"], seen[-1])


def test_a_gradient_that_is_not_finite_stops_before_the_step(store):
    family = Toy(phases=("critic",))
    # The square root of zero has an infinite slope and the value zero.
    family.spoil = lambda call, loss: (loss - loss.detach()).sqrt() if call == 2 else loss
    trainer = Trainer(family, data_of(store), replace(CONFIG, validation=0))
    with pytest.raises(TrainingError, match="gradient"):
        run(trainer)
    assert torch.isfinite(weights(family)["parts.critic.weight"]).all()


def test_the_average_follows_its_formula_and_buffers_of_whole_numbers_are_copied(store):
    family, seen = Toy(), []
    trainer = Trainer(family, data_of(store), CONFIG)
    run(trainer, show=lambda progress: seen.append(weights(family)))
    expected = seen[0]["parts.critic.weight"]
    for count, current in enumerate(seen[1:], start=1):
        decay = min(CONFIG.average, (1 + count) / (10 + count))
        expected = decay * expected + (1 - decay) * current["parts.critic.weight"]
    averaged = weights(trainer.averaged_family)
    torch.testing.assert_close(averaged["parts.critic.weight"], expected)
    assert averaged["seen"] >= seen[-1]["seen"]


def test_the_learning_rate_warms_up_and_falls_to_zero(store):
    config = replace(CONFIG, steps=10, warmup=4, learning_rate=1.0)
    trainer = Trainer(Toy(), data_of(store), config)
    rates = []
    run(trainer, show=lambda progress: rates.append(trainer.optimisers["critic"].param_groups[0]["lr"]))
    assert rates == pytest.approx([min(1, (k + 1) / 4) * (1 - k / 10) for k in range(10)])


def test_only_matrices_decay(store):
    trainer = Trainer(a_network(), data_of(store), CONFIG)
    for group in trainer.optimisers["model"].param_groups:
        assert all((parameter.ndim >= 2) == (group["weight_decay"] > 0) for parameter in group["params"])


def test_gradients_are_clipped(store):
    family = Toy(phases=("critic",))
    family.spoil = lambda call, loss: 1e6 * loss
    run(Trainer(family, data_of(store), replace(CONFIG, steps=1, clip=0.5, validation=0)))
    assert family.parts["critic"].weight.grad.norm().item() == pytest.approx(0.5, rel=1e-3)


def test_the_held_out_loss_is_of_the_averaged_weights_in_evaluation(store):
    family = Toy(phases=("critic",))
    trainer = Trainer(family, data_of(store), CONFIG)
    run(trainer)
    assert [step for step, _ in trainer.state.history] == [4, 8, 12]
    expected = (weights(trainer.averaged_family)["parts.critic.weight"] - 2) ** 2
    assert trainer.state.history[-1][1] == pytest.approx(expected.item(), rel=1e-5)
    assert set(trainer.averaged_family.calls) <= {("critic", False), ("critic", True)}
    assert ("critic", False) in trainer.averaged_family.calls


def test_patience_ends_the_run_and_resuming_adds_nothing(store, tmp_path):
    config = replace(CONFIG, learning_rate=0.0, check_every=1, patience=2, steps=50)
    trainer = run(Trainer(Toy(), data_of(store), config), save=saved_to(tmp_path / "resume"))
    assert trainer.state.step == 3
    again = run(resumed(Trainer(Toy(), data_of(store), config), tmp_path / "resume"))
    assert timeless(again) == timeless(trainer)


def test_progress_and_metrics_are_passed_on(store):
    shown, logged = [], []
    run(
        Trainer(a_network(), data_of(store), CONFIG),
        show=shown.append,
        log=lambda step, values: logged.append((step, values)),
    )
    assert [progress.step for progress in shown] == list(range(1, 13))
    assert all(progress.items_per_second > 0 and math.isfinite(progress.loss) for progress in shown)
    assert [step for step, values in logged if "validation_loss" in values] == [4, 8, 12]
    assert [step for step, values in logged if "loss" in values] == list(range(1, 13))


# --- averaging ------------------------------------------------------------------


def test_averaging_may_begin_late(store):
    trainer = Trainer(Toy(), data_of(store), replace(CONFIG, average_from=0.5))
    equal = []
    run(
        trainer,
        show=lambda progress: equal.append(
            torch.equal(*(weights(f)["parts.critic.weight"] for f in (trainer.raw_family, trainer.averaged_family)))
        ),
    )
    assert equal == [True] * 6 + [False] * 6


# --- precision, and numbers that are none ---------------------------------------------------------


def test_runs_of_different_precision_follow_each_other(store):
    for precision in ("no", "bf16", "no"):
        trainer = run(Trainer(Toy(), data_of(store), replace(CONFIG, steps=1, precision=precision)))
        assert trainer.accelerator.mixed_precision == precision


def test_weights_that_are_not_finite_are_never_saved(store):
    family, saved = Toy(phases=("critic",)), []
    trainer = Trainer(family, data_of(store), replace(CONFIG, steps=1, validation=0))
    moved = family.parts["critic"].weight.data
    trainer.optimisers["critic"].optimizer.register_step_post_hook(lambda *args: moved.fill_(math.inf))
    with pytest.raises(TrainingError, match=r"weight parts\.critic\.weight is not finite after step 1"):
        run(trainer, save=saved.append)
    assert not saved


def test_the_largest_seed_trains(store):
    run(Trainer(Toy(), data_of(store), replace(CONFIG, steps=1, seed=2**63 - 1)))
