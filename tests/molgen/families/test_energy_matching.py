"""Energy matching against what is known: the loss by hand, the shortest ways, a mixture, its phases.

Letters in shapes: B batch.
"""

import pytest
import torch
from support.energies import Alone, all_of, an_energy
from torch import nn

from molgen.backbone import Backbone, LinearHeads, make_build
from molgen.batch import Batch, Partial
from molgen.families.energy import Energy, EnergyConfig
from molgen.families.energy.sites import proposal
from molgen.families.parts.elements import ElementNoise, PackedElements
from molgen.family import Density
from molgen.seeding import Rng
from molgen.space import Axis, Categorical, Layout, Real
from molgen.testing import SPACES, family_checks, run_checks
from molgen.testing.checks import Outcome

PLANE = {"place": Real(channels=(2,))}


class Matching(Alone):
    molgen_tiny = {**Alone.molgen_tiny, "variant": "matching"}  # noqa: RUF012


@pytest.mark.parametrize(
    "space", ["graph", *(pytest.param(name, marks=pytest.mark.slow) for name in ("words", "weather", "picture"))]
)
def test_the_kit(space):
    results = list(run_checks(family_checks(Matching, SPACES[space])))
    assert not [(result.check.name, result.reason) for result in results if result.outcome is Outcome.FAILED]


class Bowl(LinearHeads, Backbone):
    """V(x) = a |x|^2 / 2."""

    layouts = frozenset({Layout.RECORD})

    def __init__(self, inputs, outputs, config=None, condition=None):
        super().__init__(inputs, outputs, config, condition)
        self.a = nn.Parameter(torch.tensor(0.5))

    def forward(self, batch, time, condition):
        return {"energy": self.a * (batch.fields["place"] ** 2).sum(1, keepdim=True) / 2}


class Plain(LinearHeads, Backbone):
    """A small smooth network of layers."""

    layouts = frozenset({Layout.RECORD})

    def __init__(self, inputs, outputs, config=None, condition=None, width=64):
        super().__init__(inputs, outputs, config, condition)
        self.layers = nn.Sequential(nn.Linear(2, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU())
        self.out = nn.Linear(width, 1)

    def forward(self, batch, time, condition):
        return {"energy": self.out(self.layers(batch.fields["place"]))}


def plane(network, **settings):
    torch.manual_seed(0)
    return Energy(PLANE, make_build(network, None, None), EnergyConfig(variant="matching", **settings))


def test_the_loss_is_that_of_the_slope():
    family, rows = plane(Bowl, penalty=0.25).eval(), 5
    batch = Batch({"place": torch.randn(rows, 2, generator=torch.Generator().manual_seed(1))}, {})
    rng = Rng(3, range(rows))
    found = family.loss(batch, None, rng)
    x0, elements = batch.fields["place"], PackedElements.of_batch(PLANE, batch)
    n = ElementNoise(elements, rng).normal("place", "noise").float()
    time = rng.uniform("time").float()[:, None]
    due = ((0.5 * ((1 - time) * x0 + time * n) - (n - x0)) ** 2).mean(1)
    torch.testing.assert_close(found.parts["place"], due)
    torch.testing.assert_close(found.parts["level"], 0.25 * (0.25 * (x0**2).sum(1)) ** 2 / 2)
    (gradient,) = torch.autograd.grad(found.parts["place"].sum(), family.parameters())
    by_hand = (2 * (0.5 * ((1 - time) * x0 + time * n) - (n - x0)) * ((1 - time) * x0 + time * n)).mean(1).sum()
    torch.testing.assert_close(gradient, by_hand)
    density = family.log_density(batch)
    assert density.kind is Density.UNNORMALISED
    torch.testing.assert_close(density.value, -(0.25 * (x0**2).sum(1)).double() / 0.01)


def test_noise_goes_the_shortest_way_to_items_that_ask_the_same():
    family = an_energy("weather", variant="matching")
    batch = Batch({"hours": torch.randn(8, 6, 2)}, {"hour": torch.tensor([3, 6, 3, 6, 3, 3, 6, 4])})
    elements, x0 = family.variant._relaxed(batch)
    n = family.variant._noise(elements, Rng(0, range(8)), "noise")
    order = family.variant._pairs(elements, x0, n, [batch.sizes["hour"]])
    assert sorted(order.tolist()) == list(range(8))
    assert torch.equal(batch.sizes["hour"][order], batch.sizes["hour"])

    def length(rows):
        return ((x0["hours"] - n["hours"][rows]) ** 2).sum().item()

    assert length(order) < length(torch.arange(8))
    assert length(order) <= length(torch.tensor([2, 1, 0, 3, 4, 5, 6, 7]))
    assert an_energy("weather", variant="matching").capability.coupled
    assert not an_energy("weather", variant="matching", pairing="independent").capability.coupled


def test_it_learns_a_mixture():
    family = plane(Plain, steps=40, mixing=30, temperature=0.02, contrast_from=0.8, chain_steps=10)
    centres = torch.tensor([[1.5, 0.0], [-1.5, 0.0], [0.0, 1.5]])
    optimiser = torch.optim.Adam(family.parameters(), lr=5e-3)
    family.train()
    for step in range(200):
        rng = Rng(0, range(96)).fold(f"step {step}")
        places = centres[(rng.uniform("centre") * 3).long()] + 0.1 * rng.normal("place", (2,)).float()
        family.begin_step(step, 200)
        optimiser.zero_grad()
        loss = family.loss(Batch({"place": places}, {}), None, rng)
        loss.total.mean().backward()
        optimiser.step()
    assert "contrast" in loss.parts
    family.eval()
    drawn = family.sample(400, rng=Rng(0, range(400))).batch.fields["place"]
    distance, nearest = torch.cdist(drawn, centres).min(1)
    assert (distance < 0.6).float().mean() > 0.8
    assert (torch.bincount(nearest, minlength=3) > 70).all()
    # V is least about the data.
    far = family.log_density(Batch({"place": 2 * centres}, {})).value
    assert (family.log_density(Batch({"place": centres}, {})).value > far).all()
    known = Partial(Batch({"place": centres[:1]}, {}), {"place": torch.tensor([True])})
    assert torch.equal(family.sample(1, known=known).batch.fields["place"], centres[:1])


def test_contrast_belongs_to_the_last_part_of_training():
    family = plane(Bowl, contrast_from=0.5, chain_steps=2).train()
    batch, rng = Batch({"place": torch.ones(4, 2)}, {}), Rng(0, range(4))
    for step, expected in ((0, False), (4, False), (5, True), (9, True)):
        family.begin_step(step, 10)
        assert ("contrast" in family.loss(batch, None, rng).parts) is expected
    assert "contrast" not in family.validate(batch, None, rng).parts or family.training


NODE = Axis("node", 4, ordered=False)
FIELDS = {
    "classes": Categorical((NODE,), classes=5),
    "bonds": Categorical((NODE, NODE), classes=3, symmetric=True),
    "levels": Real((NODE,), channels=(2,), levels=8),
    "numbers": Real((NODE,), channels=(3,), centred=True),
}


@pytest.mark.parametrize("name", FIELDS)
def test_samples_come_back_from_their_numbers(name):
    field = FIELDS[name]
    site, sizes = proposal(field), {"node": torch.tensor([4, 2, 3])}
    hard = PackedElements.of({name: field}, sizes, {"node": 4}, 3, torch.device("cpu"))
    soft = PackedElements.of({name: site.relaxed}, sizes, {"node": 4}, 3, torch.device("cpu"))
    state = site.start(ElementNoise(hard, Rng(0, range(3))).uniform(name, "start"))
    numbers = site.relax(state)
    assert numbers.shape == soft.exists[name].shape
    assert torch.equal(site.harden(numbers + 0.01), state) or torch.is_floating_point(state)
    assert torch.equal(site.state(site.values(state)), state)
    if not torch.is_floating_point(state):
        many = site.start(torch.rand(1, 4000, generator=torch.Generator().manual_seed(0), dtype=torch.float64))
        assert site.relax(many).std().item() == pytest.approx(1, abs=0.1)


def test_options_are_refused_in_one_sentence():
    family = an_energy("words", variant="matching")
    batch = all_of("words")[1][0]
    with pytest.raises(
        ValueError, match="the density of energy matching, which is not annealed, has no option annealing"
    ):
        family.log_density(batch, annealing=3)
    with pytest.raises(ValueError, match="temperature must be above 0"):
        family.sample(1, temperature=0.0)
    with pytest.raises(ValueError, match="pairing must be one of optimal, independent"):
        plane(Bowl, pairing="best")
