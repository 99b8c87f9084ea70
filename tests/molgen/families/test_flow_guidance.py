"""Guidance of flows by conditions, whose weight is chosen after training."""

import pytest
import torch

from molgen.families.flow import Flow, FlowConfig
from molgen.families.flow.config import DiscreteSampling
from molgen.families.parts.elements import PackedElements
from molgen.seeding import Rng
from molgen.testing import SPACES, Case
from molgen.testing.batches import CONDITION, asked_for, require_same_batch
from molgen.testing.fixtures import FamilyTrial

OVER = {"matching": "numbers", "discrete": "words"}


@pytest.fixture(params=OVER)
def trial(request):
    config = FlowConfig(variant=request.param, steps=3, samples=2)
    return FamilyTrial(Flow, config, Case.of(OVER[request.param], SPACES[OVER[request.param]]))


def test_a_weight_of_one_is_the_condition_and_of_zero_is_none(trial):
    flow, rng = trial.family(CONDITION), Rng(0, range(8))
    # Sizes are drawn under the condition whatever the weight.
    sizes = {name: size[:1].expand(8) for name, size in trial.batch.sizes.items()} or None

    def draw(asked, **options):
        return flow.sample(8, asked, rng, sizes=sizes, **options).batch

    require_same_batch(trial.space, draw(asked_for(8), guidance=0.0), draw(None), "a weight of 0")
    require_same_batch(trial.space, draw(asked_for(8), guidance=1.0), draw(asked_for(8)), "a weight of 1")
    with pytest.raises(ValueError, match="guidance must be finite"):
        draw(asked_for(8), guidance=float("nan"))


@pytest.mark.parametrize("weight", [0.5, 3.0])
def test_between_and_beyond_lies_a_straight_line(trial, weight):
    flow, rows = trial.family(CONDITION).double(), len(trial.batch)
    elements, asked = PackedElements.of_batch(trial.space, trial.batch), asked_for(rows)
    x = elements.pack_batch(trial.batch)

    def at(weight, asked):
        if trial.config.variant == "matching":
            return flow.variant._joined(elements.join(x).double(), 0.5, elements, asked, weight)
        found = flow.variant._guided(x, 0.5, elements, asked, DiscreteSampling(guidance=weight))["letters"]
        own = flow.variant.path("letters").predict(torch.zeros_like(found), x["letters"], torch.full((rows, 1), 0.5))
        # What an element says of itself, and a constant, aside.
        rest = found - own
        return torch.where(elements.exists["letters"][..., None], rest - rest.mean(-1, keepdim=True), 0.0)

    free, given = at(1.0, None), at(1.0, asked)
    assert not torch.allclose(free, given, atol=1e-3)
    assert torch.allclose(at(weight, asked), free + weight * (given - free), atol=1e-9)
