"""Flow matching: densities and samples of a velocity that is the truth, known parts, and the kit."""

import math
from itertools import permutations

import pytest
import torch
from torch import nn

from molgen.backbone import Backbone
from molgen.batch import Batch, Partial, helmert
from molgen.families.flow import Flow, FlowConfig
from molgen.families.flow.config import EquationOptions, MatchingSampling
from molgen.families.flow.pairing import PAIRINGS, alike, exchanged
from molgen.families.flow.variant import Items
from molgen.families.parts.elements import PackedElements
from molgen.family import Density, Known
from molgen.seeding import Rng
from molgen.space import Axis, Layout, Real
from molgen.testing import SPACES, Case, Skipped
from molgen.testing.fixtures import FamilyTrial
from molgen.testing.suites import FAMILY_CHECKS

NUMBERS = {"x": Real(channels=(3,))}
POINTS = {"x": Real((Axis("atom", 4, minimum=4),), channels=(3,), centred=True, rotates=True)}
MEAN, SCALE = 0.7, 0.4


class Truth(Backbone):
    """The velocity where data are normal with `MEAN` and `SCALE`; that of centred points has no mean."""

    layouts = frozenset(Layout)

    def __init__(self, inputs, outputs, config=None, condition=None):
        super().__init__(inputs, outputs, config, condition)
        self.zero = nn.Parameter(torch.zeros((), dtype=torch.float64))
        self.mean = 0.0 if inputs["x"].centred else MEAN

    def forward(self, batch, time, condition):
        x = batch.fields["x"]
        t = time.view(-1, *(1 for _ in x.shape[1:]))
        variance = (1 - t) ** 2 * SCALE**2 + t**2
        slope = (t - (1 - t) * SCALE**2) / variance
        return {"x": slope * (x - (1 - t) * self.mean) - self.mean + self.zero}


def knows_the_truth(space, **settings):
    config = FlowConfig(variant="matching", steps=48, **settings)
    return Flow(space, lambda inputs, outputs, *_, **__: Truth(inputs, outputs), config).double().eval()


def test_the_density_of_the_truth_is_the_truth():
    x = torch.randn(5, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    flow = knows_the_truth(NUMBERS)
    found = flow.log_density(Batch({"x": x}, {}))
    expected = torch.distributions.Normal(MEAN, SCALE).log_prob(x).sum(1)
    assert found.kind is Density.EXACT
    assert torch.allclose(found.value, expected, atol=1e-4)
    assert float(found.standard_error.max()) < 1e-3
    # The Jacobian is a multiple of the identity, so that random directions are exact too.
    guess = flow.log_density(Batch({"x": x}, {}), rng=Rng(0, range(5)), directions=2)
    assert guess.kind is Density.ESTIMATE
    assert torch.allclose(guess.value, expected, atol=1e-4)


def test_of_many_numbers_the_density_is_estimated_unless_it_is_to_be_exact():
    x = torch.randn(2, 80, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    flow, batch = knows_the_truth({"x": Real(channels=(80,))}), Batch({"x": x}, {})
    expected = torch.distributions.Normal(MEAN, SCALE).log_prob(x).sum(1)
    assert flow.capability.density is Density.ESTIMATE
    for found, kind in (
        (flow.log_density(batch, rng=Rng(0, range(2))), Density.ESTIMATE),
        (flow.log_density(batch, directions=0, steps=24), Density.EXACT),
    ):
        assert found.kind is kind
        assert torch.allclose(found.value, expected, atol=1e-2)


def test_centred_points_have_a_density_of_their_free_elements():
    free = torch.randn(5, 3, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    places = torch.einsum("mn,bmc->bnc", helmert(4), free)
    found = knows_the_truth(POINTS).log_density(Batch({"x": places}, {"atom": torch.full((5,), 4)}))
    expected = torch.distributions.Normal(0.0, SCALE).log_prob(free).sum((1, 2))
    assert torch.allclose(found.value, expected, atol=1e-4)
    assert found.dims.tolist() == [9] * 5


def test_samples_follow_the_truth():
    drawn = knows_the_truth(NUMBERS).sample(2000, rng=Rng(0, range(2000))).batch.fields["x"]
    assert torch.allclose(drawn.mean(0), torch.full((3,), MEAN).double(), atol=0.04)
    assert torch.allclose(drawn.std(0), torch.full((3,), SCALE).double(), atol=0.03)
    points = knows_the_truth(POINTS).sample(800, rng=Rng(0, range(800))).batch.fields["x"]
    assert float(points.mean(1).abs().max()) < 1e-9
    assert float(points.square().sum((1, 2)).mean()) == pytest.approx(9 * SCALE**2, rel=0.05)


def test_known_numbers_are_kept_to_the_last_bit():
    values = torch.tensor([[0.3, -1.0, 2.0]], dtype=torch.float64).repeat(6, 1)
    known = Partial(Batch({"x": values}, {}), {"x": torch.tensor([True, False] * 3)})
    drawn = knows_the_truth(NUMBERS).sample(6, rng=Rng(0, range(6)), known=known).batch.fields["x"]
    assert torch.equal(drawn[::2], values[::2])
    assert not torch.isclose(drawn[1::2], values[1::2]).any()


def test_optimal_pairs_have_the_least_distances_among_items_that_are_alike():
    random = torch.Generator().manual_seed(0)
    x, n = torch.randn(5, 2, generator=random), torch.randn(5, 2, generator=random)
    groups = torch.tensor([0, 0, 1, 0, 1])
    found = exchanged(x, n, groups)
    rows = torch.tensor([0, 1, 3])
    least = min((x[rows] - n[rows[list(order)]]).square().sum() for order in permutations(range(3)))
    assert torch.isclose((x[rows] - found[rows]).square().sum(), least)
    assert sorted(map(tuple, found[[2, 4]].tolist())) == sorted(map(tuple, n[[2, 4]].tolist()))


def test_items_of_another_size_or_another_condition_are_not_alike():
    space = {"x": Real((Axis("n", 3),))}
    batch = Batch({"x": torch.zeros(6, 3)}, {"n": torch.tensor([3, 3, 2, 3, 3, 3])})
    values, given = torch.tensor([1.0, 1, 1, 2, 7, 8]), torch.tensor([True, True, True, True, False, False])
    condition = Partial(Batch({"y": values}, {}), {"y": given})
    items = Items(batch, PackedElements.of_batch(space, batch), condition, Rng(0, range(6)))
    found = alike(items)
    same = found[:, None] == found
    pairs = [(i, j) for i in range(6) for j in range(i) if same[i, j]]
    assert pairs == [(1, 0), (5, 4)]


def test_optimal_pairs_make_paths_that_cross_less():
    """The loss of the best velocity is the part of it that x_t does not tell: less for pairs that lie together."""
    losses = {}
    for pairing in PAIRINGS:
        torch.manual_seed(0)
        flow = knows_the_truth(NUMBERS, pairing=pairing)
        x = MEAN + SCALE * torch.randn(64, 3, dtype=torch.float64)
        losses[pairing] = flow.loss(Batch({"x": x}, {}), None, Rng(0, range(64))).total.mean().item()
        assert flow.capability.coupled is (pairing == "optimal")
    assert losses["optimal"] < 0.8 * losses["independent"]


@pytest.mark.parametrize("pairing", PAIRINGS)
@pytest.mark.parametrize("check", FAMILY_CHECKS, ids=lambda check: check.__name__)
def test_the_kit(check, pairing):
    config = FlowConfig(variant="matching", steps=4, pairing=pairing)
    space = {"hours": Real((Axis("hour", 2),))}
    trial = FamilyTrial(Flow, config, Case.of("numbers", space))
    try:
        check(trial)
    except Skipped as reason:
        pytest.skip(str(reason))


def test_a_flow_learns_a_curve():
    """A velocity that is learned gives points on the curve that the data lie on."""
    torch.manual_seed(0)
    angle = 2 * math.pi * torch.rand(256)
    x = torch.stack([angle.cos(), angle.sin()], 1) * 1.4
    trial = FamilyTrial(Flow, FlowConfig(variant="matching", steps=10), Case.of("ring", {"x": Real(channels=(2,))}))
    flow = trial.family().train()
    optimiser = torch.optim.Adam(flow.parameters(), lr=1e-2)
    for step in range(100):
        optimiser.zero_grad()
        flow.loss(Batch({"x": x}, {}), None, Rng(step, range(256))).total.mean().backward()
        optimiser.step()
    drawn = flow.eval().sample(200, rng=Rng(0, range(200))).batch.fields["x"]
    assert float((drawn.norm(dim=1) - 1.4).abs().mean()) < 0.35


def test_what_it_declares_and_refuses():
    flow = knows_the_truth(NUMBERS)
    assert flow.capability.known is Known.REPLACEMENT
    assert flow.capability.density is Density.EXACT
    assert not flow.loss_unit
    words = FamilyTrial(Flow, FlowConfig(variant="matching"), Case.of("words", SPACES["words"])).family()
    assert words.capability.density is Density.LOWER_BOUND
    with pytest.raises(ValueError, match="draws must be at least 1, not 0"):
        EquationOptions(draws=0)
    with pytest.raises(ValueError, match="steps must be 0 or more"):
        MatchingSampling(steps=-1)
    with pytest.raises(ValueError, match="directions must be 0"):
        EquationOptions(directions=-1)
