"""Discrete flow matching: a network that knows the truth gives exact bounds and the right samples; and the kit."""

from itertools import product

import pytest
import torch
from torch import nn

from molgen.backbone import Backbone
from molgen.batch import Batch, Partial
from molgen.errors import UnsupportedSpace
from molgen.families.flow import Flow, FlowConfig
from molgen.families.flow.config import DiscreteSampling, PathOptions
from molgen.families.flow.discrete import NOISES
from molgen.family import Density, Known
from molgen.seeding import Rng
from molgen.space import Axis, Categorical, Layout
from molgen.testing import SPACES, Case, Skipped
from molgen.testing.fixtures import FamilyTrial
from molgen.testing.suites import FAMILY_CHECKS

PAIRS = {"x": Categorical((Axis("n", 2, variable=False),), classes=3)}
EVERY = torch.tensor(list(product(range(3), repeat=2)))
PROBABILITIES = torch.tensor([0.25, 0.02, 0.03, 0.05, 0.2, 0.02, 0.03, 0.1, 0.3], dtype=torch.float64)


class Truth(Backbone):
    """For each element the logits of x_0 that the other element implies; one parameter says where the network is."""

    layouts = frozenset(Layout)

    def __init__(self, inputs, outputs, config=None, condition=None):
        super().__init__(inputs, outputs, config, condition)
        self.place = nn.Parameter(torch.zeros((), dtype=torch.float64))
        self.path = None

    def forward(self, batch, time, condition):
        x, pi = batch.fields["x"], self.path.pi
        t = time.double()[:, None, None]
        # q(x_t | x_0) of each element for each class of x_0.
        same = torch.nn.functional.one_hot(x, len(pi))[..., :3]
        q = (1 - t) * same + t * pi[x][..., None]
        joint = PROBABILITIES.view(3, 3)
        return {"x": torch.stack([q[:, 1] @ joint.T, q[:, 0] @ joint], 1).clamp(min=1e-30).log() + self.place}


def knows_the_truth(noise):
    flow = Flow(
        PAIRS, lambda inputs, outputs, *_, **__: Truth(inputs, outputs), FlowConfig(variant="discrete", noise=noise)
    )
    path = flow.variant.path("x")
    if path.counted:
        path.noise.copy_(torch.tensor([0.5, 0.2, 0.3]))
    flow.variant.network.path = path
    return flow.eval()


@pytest.fixture(params=NOISES)
def truth(request):
    return knows_the_truth(request.param)


def test_the_bound_of_the_truth_is_the_truth_for_masks_and_below_it_for_others(truth):
    rows = EVERY.repeat(100, 1)
    found = truth.log_density(Batch({"x": rows}, {}), rng=Rng(0, range(len(rows))), samples=64)
    values = found.value.view(100, 9)
    error, apart = values.std(0) / 10, values.mean(0) - PROBABILITIES.log()
    assert found.kind is Density.LOWER_BOUND
    assert bool((apart < 4 * error).all())
    assert bool((apart > (0 if truth.variant.path("x").masked else -1) - 4 * error).all())
    assert float(error.median()) < 0.1
    assert found.standard_error.mean().item() == pytest.approx(values.std(0).mean().item(), rel=0.3)


@pytest.mark.parametrize(
    "options",
    [{"steps": 100}, {"steps": 100, "stochasticity": 4.0}, {"steps": 60, "distortion": 2.0}],
    ids=["plain", "stochastic", "distorted"],
)
def test_samples_of_the_truth_come_as_often_as_they_should(truth, options):
    count = 3000
    drawn = truth.sample(count, rng=Rng(1, range(count)), **options).batch.fields["x"]
    shares = torch.bincount(drawn[:, 0] * 3 + drawn[:, 1], minlength=9) / count
    assert torch.allclose(shares.double(), PROBABILITIES, atol=0.035)


def test_the_state_at_each_time_is_that_of_the_path(truth):
    path = truth.variant.path("x")
    u = (torch.arange(4000, dtype=torch.float64)[:, None] + 0.5) / 4000
    x = path.corrupt(torch.ones(4000, 1, dtype=torch.long), torch.full((4000, 1), 0.4, dtype=torch.float64), u)
    expected = 0.4 * path.pi
    expected[1] += 0.6
    shares = torch.bincount(x.flatten(), minlength=len(expected)) / 4000
    assert torch.allclose(shares.double(), expected, atol=1e-3)


def test_target_guidance_and_temperature_sharpen(truth):
    def likeliest(**options):
        drawn = truth.sample(1000, rng=Rng(2, range(1000)), steps=30, **options).batch.fields["x"]
        return float((drawn == drawn[:, :1]).all(1).float().mean())

    assert likeliest(temperature=0.3) > likeliest() + 0.05
    assert likeliest(target_guidance=0.5) != likeliest()


def test_known_classes_condition_the_rest():
    truth, count = knows_the_truth("masked"), 2000
    values, given = (torch.tensor([row]).repeat(count, 1) for row in ([1, 0], [True, False]))
    known = Partial(Batch({"x": values}, {}), {"x": given})
    drawn = truth.sample(count, rng=Rng(3, range(count)), known=known, steps=50).batch.fields["x"]
    assert bool((drawn[:, 0] == 1).all())
    shares = torch.bincount(drawn[:, 1], minlength=3) / count
    expected = PROBABILITIES.view(3, 3)[1]
    assert torch.allclose(shares.double(), expected / expected.sum(), atol=0.04)


@pytest.mark.parametrize("check", FAMILY_CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("over", ["words", "graph"])
def test_the_kit(over, check):
    noise = {"words": "masked", "graph": "marginal"}[over]
    config = FlowConfig(variant="discrete", noise=noise, steps=4, samples=4)
    trial = FamilyTrial(Flow, config, Case.of(over, SPACES[over]))
    try:
        check(trial)
    except Skipped as reason:
        pytest.skip(str(reason))


def test_what_it_declares_and_refuses():
    truth = knows_the_truth("masked")
    assert truth.capability.known is Known.REPLACEMENT
    assert truth.capability.guidance
    assert truth.loss_unit == "nats"
    with pytest.raises(UnsupportedSpace, match="'height' has numbers"):
        Flow(SPACES["numbers"], None, FlowConfig(variant="discrete"))
    with pytest.raises(ValueError, match="noise must be one of masked"):
        knows_the_truth("nothing")
    with pytest.raises(ValueError, match="stochasticity must be 0 or more"):
        DiscreteSampling(stochasticity=-1.0)
    with pytest.raises(ValueError, match="even number"):
        PathOptions(samples=3)
