"""Contrastive energies against enumeration: moves, chains, the partition function, what is learned, resuming.

Letters in shapes: B batch.
"""

from collections import Counter

import numpy as np
import pytest
import torch
from support.energies import Alone, all_of, an_energy, apart, exact, keys, ones, target_of
from support.toys import Tokens
from support.training import Stopped, resumed, run, same, saved_to, stop_after, weights
from torch import nn

from molgen import registry
from molgen.backbone import Backbone, LinearHeads, make_build
from molgen.batch import Batch, Partial, separate
from molgen.data.conditions import Conditions
from molgen.data.encode import write_store
from molgen.data.loader import Data
from molgen.families.energy import Energy, EnergyConfig
from molgen.families.energy.chains import TAKEN
from molgen.families.energy.moves import FLIPS, Langevin, transition
from molgen.families.energy.replay import EMPTY, Replay
from molgen.families.parts.elements import ElementNoise
from molgen.family import Density, Known, phases_of
from molgen.seeding import Rng
from molgen.space import Axis, Categorical, Layout, Real
from molgen.testing import SPACES, family_checks, run_checks
from molgen.testing.checks import Outcome
from molgen.training.config import TrainingConfig
from molgen.training.trainer import Trainer

WIDTHS = {"gibbs": 0.0, "block": -0.5, "swap": 0.0}


class OneHot(LinearHeads, Backbone):
    """A small network of layers over classes."""

    layouts = frozenset({Layout.RECORD})

    def __init__(self, inputs, outputs, config=None, condition=None):
        super().__init__(inputs, outputs, config, condition)
        read = sum(field.classes for field in inputs.values())
        self.layers = nn.Sequential(nn.Linear(read, 32), nn.SiLU(), nn.Linear(32, 1))

    def forward(self, batch, time, condition):
        return {"energy": self.layers(torch.cat([batch.fields[name] for name in self.inputs], dim=1))}


class Contrastive(Alone):
    molgen_tiny = {**Alone.molgen_tiny, "variant": "contrastive"}  # noqa: RUF012


OTHERS = ("words", "picture", "record", "signal")


@pytest.mark.parametrize("space", ["graph", *(pytest.param(name, marks=pytest.mark.slow) for name in OTHERS)])
def test_the_kit(space):
    results = list(run_checks(family_checks(Contrastive, SPACES[space])))
    assert not [(result.check.name, result.reason) for result in results if result.outcome is Outcome.FAILED]


# --- moves ----------------------------------------------------------------------------------------


def at_rows(family, batch, row, count):
    """A target and a point with the same sample in all rows."""
    some = batch.take(ones(count) + row)
    target = target_of(family, some)
    return target, target.at(family.variant.model.state(target.elements, some))


@pytest.mark.parametrize("move", FLIPS)
@pytest.mark.parametrize("space", ["classes", "words", "graph", "picture"])
def test_moves_are_proposed_as_often_as_they_say(move, space):
    """What Metropolis and Hastings need; for swaps, that the way back is as likely."""
    family = an_energy(space, variant="contrastive", strength=2)
    batch, count = all_of(space)[-1][0], 2000
    own = FLIPS[move](WIDTHS[move])
    row = len(batch) // 3
    target, here = at_rows(family, batch, row, count)
    proposed = own.propose(target, here, ElementNoise(target.elements, Rng(1, range(count))), 0)
    found = Counter(keys(space, family.variant.model.batch(target.elements, proposed)))
    every = target_of(family, batch)
    states = family.variant.model.state(every.elements, batch)
    names = keys(space, batch)
    if move == "swap":
        for name, seen in found.items():
            there, back = at_rows(family, batch, names.index(name), count)
            returned = own.propose(there, back, ElementNoise(there.elements, Rng(1, range(count, 2 * count))), 0)
            again = Counter(keys(space, family.variant.model.batch(there.elements, returned)))[names[row]]
            assert abs(seen - again) < 5 * (seen + again) ** 0.5
        return
    point = every.at(family.variant.model.state(every.elements, batch.take(ones(len(batch)) + row)))
    log_q = own.log_q(every, point, states).exp()
    flips = sum((states[name] != point.state[name]).sum(1) for name in states)
    due = {n: q for n, q, k in zip(names, log_q.tolist(), flips.tolist(), strict=True) if move == "block" or k == 1}
    assert sum(due.values()) == pytest.approx(1, abs=1e-4)
    for name, chance in due.items():
        assert abs(found[name] / count - chance) < 5 * (chance / count) ** 0.5 + 1e-3
    assert set(found) <= set(due)


@pytest.mark.parametrize("move", FLIPS)
def test_moves_are_in_detailed_balance(move):
    """A step from states that follow p leads to states that follow p: counted forth and back."""
    family, count = an_energy("classes", variant="contrastive", strength=3), 6000
    (batch, _), (expected, _) = all_of("classes")[0], exact(family, "classes")
    names = keys("classes", batch)
    chances = torch.tensor([expected[name] for name in names])
    rows = torch.multinomial(chances, count, replacement=True, generator=torch.Generator().manual_seed(0))
    some = batch.take(rows)
    target = target_of(family, some)
    here = target.at(family.variant.model.state(target.elements, some))
    noise = ElementNoise(target.elements, Rng(3, range(count)))
    there, taken = transition(target, here, FLIPS[move](WIDTHS[move]), noise, 0)
    after = [names.index(key) for key in keys("classes", family.variant.model.batch(target.elements, there.state))]
    flow = torch.zeros(len(names), len(names))
    flow.index_put_((rows, torch.tensor(after)), torch.ones(count), accumulate=True)
    assert ((flow - flow.T).abs() <= 5 * (flow + flow.T) ** 0.5).all()
    assert 0.3 < taken.float().mean() <= 1


def test_steps_of_numbers_are_normal_about_their_mean():
    family, count = an_energy("numbers", variant="contrastive"), 4000
    move, batch = Langevin(-1.0), family.variant.model
    some = Batch({"height": torch.zeros(count) + 0.3, "position": torch.zeros(count, 2) - 0.5}, {})
    target = target_of(family, some)
    here = target.at(batch.state(target.elements, some))
    there = move.propose(target, here, ElementNoise(target.elements, Rng(0, range(count))), 0)
    for name in there:
        away = there[name] - move._mean(target, here, name)
        assert away.mean().abs() < 0.1
        assert away.std().item() == pytest.approx((2 * np.exp(-1.0)) ** 0.5, rel=0.05)
    some_q = move.log_q(target, here, there)
    assert some_q.mean().item() == pytest.approx(-3 / 2, abs=0.1)  # three numbers, half a nat each


# --- chains ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("space", ["words", "graph", "record"])
def test_samples_are_as_frequent_as_their_energy_says(space):
    family = an_energy(space, variant="contrastive", strength=2, steps=18)
    count, sizes = 800, {}
    batch = all_of(space)[-1][0]
    if batch.sizes:
        sizes = {name: size[:1].expand(count) for name, size in batch.sizes.items()}
    drawn = family.sample(count, rng=Rng(0, range(count)), sizes=sizes or None).batch
    if space == "record":  # classes beside a number, which is integrated over
        expected = Counter()
        target = target_of(family, batch)
        log_p = target.log_p(target.at(family.variant.model.state(target.elements, batch)))
        for colour, chance in zip(batch.fields["colour"].tolist(), log_p.softmax(0).tolist(), strict=True):
            expected[str(colour)] += chance
        found = [str(colour) for colour in drawn.fields["colour"].tolist()]
        mean = (batch.fields["height"].double() * log_p.softmax(0)).sum().item()
        assert drawn.fields["height"].mean().item() == pytest.approx(mean, abs=0.15)
    else:
        every = set(keys(space, batch))
        expected = {key: chance for key, chance in exact(family, space)[0].items() if key in every}
        found = keys(space, drawn)
    noise = sum((chance / count) ** 0.5 for chance in expected.values()) / 2
    assert apart(found, expected) < 2 * noise


def test_a_temperature_sharpens_and_known_parts_condition():
    family, count = an_energy("classes", variant="contrastive", strength=3, steps=18), 600
    cold, _ = exact(family, "classes", temperature=0.5)
    found = keys("classes", family.sample(count, rng=Rng(0, range(count)), temperature=0.5).batch)
    assert apart(found, cold) < 0.08
    assert family.capability.known is Known.EXACT
    given = Batch({"colour": ones(count) + 1, "member": ones(count)}, {})
    known = Partial(given, {"colour": torch.ones(count, dtype=torch.bool)})
    drawn = family.sample(count, rng=Rng(1, range(count)), known=known).batch
    assert (drawn.fields["colour"] == 1).all()
    expected, _ = exact(family, "classes")
    rest = {key: chance for key, chance in expected.items() if "'colour': 1" in key}
    total = sum(rest.values())
    assert apart(keys("classes", drawn), {key: chance / total for key, chance in rest.items()}) < 0.07


@pytest.mark.parametrize("space", ["words", "graph"])
def test_annealing_gives_the_partition_function(space):
    """Of every size; densities then sum to the probability of each size."""
    family = an_energy(space, variant="contrastive", strength=3)
    _, partitions = exact(family, space)
    total = 0.0
    for (batch, _), log_z in zip(all_of(space), partitions, strict=True):
        rng = Rng(0, range(len(batch)))
        plain = family.log_density(batch, rng=rng)
        density = family.log_density(batch, rng=rng, annealing=12, chains=100)
        assert (plain.kind, density.kind) == (Density.UNNORMALISED, Density.ESTIMATE)
        error = density.standard_error[0].item()
        assert error < 0.3
        assert (plain.value - density.value)[0].item() == pytest.approx(log_z, abs=4 * error + 1e-4)
        alone = family.log_density(batch.take(ones(1)), rng=rng.take(ones(1)), annealing=12, chains=100)
        torch.testing.assert_close(alone.value, density.value[:1], atol=1e-4, rtol=0)
        total += density.value.exp().sum().item()
    assert total == pytest.approx(1, abs=0.2)


def test_chains_start_from_samples_of_another_model():
    class Warm(Alone):
        molgen_trained = {"start": ("autoregressive",)}  # noqa: RUF012

    family = an_energy("words", variant="contrastive", cls=Warm)
    variant = family.variant
    batch = all_of("words")[-1][0]
    target = target_of(family, batch)
    state = variant._started(target.elements, None, Rng(0, range(len(batch))))
    sizes = dict(batch.sizes)
    own = variant.start.family.sample(len(batch), None, Rng(0, range(len(batch))).fold("start"), sizes=sizes).batch
    assert torch.equal(variant.model.batch(target.elements, state).fields["letters"], own.fields["letters"])
    assert not any(p.requires_grad for p in variant.start.parameters())
    expected = {k: v for k, v in exact(family, "words")[0].items() if k in set(keys("words", batch))}
    count = 1000
    drawn = family.sample(count, rng=Rng(0, range(count)), sizes={"length": ones(count) + 3}, steps=24).batch
    assert apart(keys("words", drawn), expected) < 0.12


# --- learning -------------------------------------------------------------------------------------


def test_it_learns_what_depends_on_what():
    torch.manual_seed(0)
    settings = {"chains": 96, "chain_steps": 5, "penalty": 1e-4}
    family = Energy(SPACES["classes"], make_build(OneHot, None, None), EnergyConfig(variant="contrastive", **settings))
    truth = torch.tensor([0.32, 0.02, 0.02, 0.3, 0.3, 0.04])
    ((batch, _),) = all_of("classes")
    family.initialise(batch.take(torch.multinomial(truth, 4000, replacement=True)), None)

    def divergence():
        log_p = torch.tensor([exact(family, "classes")[0][key] for key in keys("classes", batch)]).log()
        return (truth * (truth.log() - log_p)).sum().item()

    optimiser = torch.optim.Adam(family.parameters(), lr=0.01, betas=(0.0, 0.99))
    family.train()
    for step in range(65):
        rng = Rng(0, range(96)).fold(f"step {step}")
        rows = rng.categorical(truth.expand(96, -1), "data")
        optimiser.zero_grad()
        loss = family.loss(batch.take(rows), None, rng)
        loss.total.mean().backward()
        optimiser.step()
    family.eval()
    assert divergence() < 0.05
    assert loss.parts.keys() >= {"data", "chains", "size", "taken", "old"}
    assert family.variant.replay.ages.max() > 40
    found = family.validate(batch.take(rows), None, rng)
    assert abs(found.total.mean().item()) < 0.3  # items follow p, so chains gain nothing
    found = family.diagnose(batch.take(rows), None, rng)
    assert abs(found.values["energy_gap"]) < 0.5
    assert found.warnings == ()


def test_moves_go_as_far_as_are_taken():
    family = an_energy("picture", variant="contrastive", strength=4)
    chains, batch = family.variant.chains, all_of("picture")[0][0]
    target = target_of(family, batch)
    state = family.variant.model.state(target.elements, batch)
    for width, goes in ((-4.0, 1), (6.0, -1)):  # nearly nothing is proposed, and nearly everything
        chains.width_block.fill_(width)
        found = chains.run(target, state, Rng(0, range(len(batch))), 6)
        taken, made = found.taken["block"]
        assert (taken.mean() / made - TAKEN) * goes > 0
        chains.adapt(found)
        assert (chains.width_block - width) * goes > 0


SHORT = TrainingConfig(steps=6, batch_size=8, warmup=1, validation=0.2, check_every=3, save_every=3, log_every=1)


def a_trainer(data):
    torch.manual_seed(0)
    transformer = registry.get("backbone", "transformer")
    build = make_build(transformer, transformer.Config(width=16, layers=1, heads=2), Conditions().space)
    config = EnergyConfig(variant="contrastive", chains=20, chain_steps=3, restart=0.2)
    return Trainer(Energy(Tokens.space, build, config), data, SHORT)


def test_a_run_goes_on_with_its_chains_bit_for_bit(tmp_path):
    random = np.random.default_rng(0)
    items = ["".join(random.choice(list("abc"), size=random.integers(1, 4))) for _ in range(60)]
    store = write_store(tmp_path / "words", Tokens, Tokens.space, [(item, {}) for item in items])
    data = Data.split(store, Conditions(), 0.2, limit=10, seed=0)
    whole = run(a_trainer(data))
    parts = a_trainer(data)
    with pytest.raises(Stopped):
        run(parts, save=saved_to(tmp_path / "state"), show=stop_after(4))
    again = run(resumed(a_trainer(data), tmp_path / "state"))
    same(weights(whole.raw_family), weights(again.raw_family))
    same(weights(whole.averaged_family), weights(again.averaged_family))
    chains = whole.raw_family.training_state()
    assert chains.keys() == {"ages", "x.letters", "size.length"}
    same(chains, again.raw_family.training_state())
    # Without its chains it would be another run.
    other = resumed(a_trainer(data), tmp_path / "state")
    other.raw_family.variant.replay = Replay(Tokens.space, {}, 20)
    assert not torch.equal(run(other).raw_family.training_state()["x.letters"], chains["x.letters"])


def test_the_memory_of_chains():
    condition = {"asked": Real(), "path": Categorical((Axis("stop", 3),), classes=4)}
    replay = Replay(SPACES["words"], condition, 4)
    assert replay.state() == {}
    places = replay.choose(3, Rng(5, [1, 2, 3]))
    assert len(set(places.tolist())) == 3
    assert torch.equal(places, replay.choose(3, Rng(5, [8, 9, 7])))  # whatever items there are
    batch = Batch({"letters": torch.tensor([[1, 2], [0, 0], [2, 0]])}, {"length": torch.tensor([2, 0, 1])})
    asked = Partial(
        Batch(
            {"asked": torch.tensor([0.5, 1.0, 2.0]), "path": torch.tensor([[1, 2], [3, 0], [0, 0]])},
            {"stop": torch.tensor([2, 1, 1])},
        ),
        {
            "asked": torch.tensor([True, False, True]),
            "path": torch.tensor([[True, True], [True, False], [False, False]]),
        },
    )
    replay.put(places, batch, asked)
    found, given = replay.take(places)
    assert [one["letters"].tolist() for one in separate(SPACES["words"], found)] == [[1, 2], [], [2]]
    assert given.batch.fields["asked"].tolist() == [0.5, 1.0, 2.0]
    assert given.given["path"].tolist() == [[True, True, False], [True, False, False], [False] * 3]
    assert given.batch.sizes["stop"].tolist() == [2, 1, 1]
    replay.put(places[:1], batch.take(ones(1)), None)
    assert not replay.take(places[:1])[1].given["asked"].any()
    other = Replay(SPACES["words"], condition, 4)
    other.load(replay.state())
    same(other.state(), replay.state())
    grown = other.choose(6, Rng(0, range(6)))
    assert sorted(grown.tolist()) == list(range(6))
    assert (other.ages[4:] == EMPTY).all()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"moves": ("swap",)}, "moves need gibbs or block as well"),
        ({"restart": 1.5}, "restart must be from 0 to 1"),
        ({"penalty": -1.0}, "penalty must be at least 0"),
    ],
)
def test_a_wrong_setting_is_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        EnergyConfig(variant="contrastive", **settings)


def test_options_and_trained_models_that_do_not_fit_are_refused():
    family = an_energy("words", variant="contrastive")
    with pytest.raises(ValueError, match="chains must be at least 2"):
        family.log_density(all_of("words")[1][0], annealing=3, chains=1)
    with pytest.raises(ValueError, match=r"family\.base is for family\.variant=residual, not contrastive"):
        Energy(SPACES["words"], make_build(None, None, None), EnergyConfig(variant="contrastive"), base=family)
    assert phases_of(family)["model"].betas == (0.0, 0.99)
