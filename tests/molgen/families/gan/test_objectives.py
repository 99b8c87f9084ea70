"""Losses and penalties of the critic against what is computed by hand, and their settings.

Letters in shapes: B batch.
"""

import numpy as np
import pytest
import torch
from support.small_gans import a_gan, plane_gan
from torch import nn

from molgen.batch import Batch
from molgen.families.gan import GANConfig
from molgen.families.gan.objectives import DRIFT, OBJECTIVES, Relativistic, Wasserstein, slope
from molgen.families.gan.relaxation import relaxation
from molgen.families.parts.elements import PackedElements
from molgen.seeding import Rng
from molgen.space import Axis, Categorical, Real


def quadratic(weights):
    """D whose slope is weights * x."""
    return lambda elements: (weights / 2 * elements["x"].square()).sum(1)


def test_a_penalty_is_what_is_computed_by_hand_with_its_slope_for_the_weights():
    w, x = torch.tensor([1.0, -2.0, 3.0], requires_grad=True), torch.tensor([[1.0, 2.0, 0.5], [0.0, 1.0, -1.0]])
    value, squared = slope(quadratic(w), {"x": x})
    torch.testing.assert_close(value, torch.tensor([0.5 - 4 + 0.375, -1 + 1.5]))
    torch.testing.assert_close(squared, torch.tensor([1 + 16 + 2.25, 4.0 + 9]))
    squared.sum().backward()
    torch.testing.assert_close(w.grad, 2 * w.detach() * x.square().sum(0))


def test_the_relativistic_loss_is_that_of_its_paper():
    w, gamma = torch.tensor([1.0, -2.0, 3.0]), 0.3
    real, fake = {"x": torch.tensor([[1.0, 2.0, 0.5]])}, {"x": torch.tensor([[-1.0, 0.5, 1.0]])}
    loss, parts = Relativistic().critic_loss(quadratic(w), real, fake, gamma, Rng(0, [0]))
    at_real, at_fake = -3.125, 0.5 - 0.25 + 1.5
    r1, r2 = 19.25, 1 + 1 + 9
    expected = np.log1p(np.exp(at_fake - at_real)) + gamma / 2 * (r1 + r2) + DRIFT * ((at_real + at_fake) / 2) ** 2
    assert float(loss.detach()) == pytest.approx(expected)
    assert [float(parts[name].detach()) for name in ("gap", "r1", "r2")] == pytest.approx([at_real - at_fake, r1, r2])
    generator = Relativistic().generator_loss(torch.tensor(at_real), torch.tensor(at_fake))
    assert float(generator) == pytest.approx(np.log1p(np.exp(at_real - at_fake)))


def test_the_wasserstein_penalty_is_at_a_place_between_the_pair():
    w = torch.tensor([3.0, 4.0])
    real, fake = {"x": torch.tensor([[1.0, 0.0]])}, {"x": torch.tensor([[0.0, 1.0]])}
    loss, parts = Wasserstein().critic_loss(lambda e: (e["x"] * w).sum(1), real, fake, 10.0, Rng(0, [0]))
    assert float(parts["steepness"].detach()) == pytest.approx(16.0)
    assert float(loss) == pytest.approx(4 - 3 + 160 + DRIFT * 3.5**2)
    share = float(Rng(0, [0]).uniform("between"))
    _, parts = Wasserstein().critic_loss(quadratic(w), real, fake, 10.0, Rng(0, [0]))
    length = ((3 * (1 - share)) ** 2 + (4 * share) ** 2) ** 0.5
    assert float(parts["steepness"].detach()) == pytest.approx((length - 1) ** 2, rel=1e-5)
    assert float(Wasserstein().generator_loss(torch.tensor(2.0), torch.tensor(3.0))) == -3


class Weighted(nn.Module):
    """A critic that adds up all numbers of full tensors with fixed weights."""

    def __init__(self, **weights):
        super().__init__()
        self.weights = weights

    def forward(self, batch, time, condition):
        parts = [(batch.fields[name] * own).flatten(1).sum(1) for name, own in self.weights.items()]
        return {"value": torch.stack(parts).sum(0)[:, None]}


def slope_of(space, batch, critic):
    elements = PackedElements.of_batch(space, batch)
    read = {
        name: relaxation(field).read(elements.pack(name, batch.fields[name]), torch.ones(()))
        for name, field in space.items()
    }
    return slope(lambda values: critic(elements.unpack_batch(values), None, None)["value"].squeeze(1), read)[1]


def test_a_pair_has_one_slope_and_points_none_along_their_common_shift():
    node = Axis("node", 3, ordered=False)
    pairs = {"bonds": Categorical((node, node), classes=2, symmetric=True)}
    batch = Batch({"bonds": torch.zeros(1, 3, 3, dtype=torch.long)}, {"node": torch.tensor([3])})
    w = torch.zeros(3, 3, 2)
    w[1, 0, 1], w[0, 1, 1], w[2, 1, 0] = 2.0, 3.0, 1.0
    assert float(slope_of(pairs, batch, Weighted(bonds=w))) == pytest.approx(5**2 + 1)
    points = {"places": Real((node,), channels=(1,), centred=True)}
    batch = Batch({"places": torch.zeros(1, 3, 1)}, {"node": torch.tensor([3])})
    w = torch.tensor([[1.0], [2.0], [6.0]])
    assert float(slope_of(points, batch, Weighted(places=w))) == pytest.approx(float((w - 3).square().sum()))


def test_the_penalty_has_slopes_through_attention():
    family, trial = a_gan("words")
    family.double()
    elements = PackedElements.of_batch(trial.space, trial.batch)
    parameter = family.critic.get_parameter(
        next(n for n, p in family.critic.named_parameters() if "read" in n and p.ndim > 1)
    )

    def penalty():
        return family.loss(trial.batch, None, trial.rng).parts["r1"].sum()

    (found,) = torch.autograd.grad(penalty(), parameter)
    place = np.unravel_index(int(found.abs().argmax()), found.shape)
    ends = []
    for step in (1e-5, -2e-5):
        with torch.no_grad():
            parameter[place] += step
        ends.append(float(penalty().detach()))
    assert len(elements) == 6
    assert float(found[place]) == pytest.approx((ends[0] - ends[1]) / 2e-5, rel=1e-4)


@pytest.mark.parametrize(
    "settings",
    [
        {"latent": -1},
        {"element_noise": 0},
        {"critic_steps": 0},
        {"validation_samples": 1},
        {"penalty": -1.0},
        {"penalty_end": float("nan")},
        {"softness": 0.0},
        {"generator_rate": 0.0},
        {"penalty_fall": 0.0},
    ],
)
def test_settings_without_meaning_are_refused(settings):
    with pytest.raises(ValueError, match=next(iter(settings))):
        GANConfig(**settings)


def test_an_unknown_objective_is_refused_with_those_that_there_are():
    with pytest.raises(ValueError, match="relativistic, wasserstein"):
        plane_gan(objective="hinge")


def test_each_objective_has_its_own_number_of_steps_unless_one_is_asked_for():
    steps = {name: plane_gan(objective=name).phases["critic"].steps for name in OBJECTIVES}
    assert steps == {"relativistic": 1, "wasserstein": 5}
    assert plane_gan(objective="wasserstein", critic_steps=2).phases["critic"].steps == 2


def test_the_penalty_falls_along_half_a_cosine():
    config = GANConfig(penalty=4.0, penalty_end=2.0, penalty_fall=0.5)
    assert [config.penalty_at(step, 100, 1.0) for step in (0, 25, 50, 99)] == pytest.approx([4, 3, 2, 2])
    assert GANConfig().penalty_at(30, 100, 1.5) == 1.5
    family = plane_gan(penalty=4.0, penalty_end=2.0)
    family.begin_step(100, 100)
    assert family.penalty == pytest.approx(2.0)
