"""What every network that runs causally guarantees, over every space that it takes."""

from itertools import product

import pytest
import torch
from support.orderings import (
    CONDITION,
    NETWORKS,
    SPACES,
    a_model,
    asked,
    every_sample,
    log_densities,
    slice_by_slice,
    takes,
)

from molgen.backbone import Head, make_build
from molgen.backbones.unet.config import UNetConfig
from molgen.backbones.unet.wavenet import CausalConvolutions
from molgen.batch import collate, separate
from molgen.errors import UnsupportedSpace
from molgen.ordering import batch_to_tokens
from molgen.seeding import Rng
from molgen.space import Axis, Real

PAIRS = [(network, name) for network, name in product(NETWORKS, SPACES) if takes(network, SPACES[name])]
every_pair = pytest.mark.parametrize(
    ("network", "space"), [(network, SPACES[name]) for network, name in PAIRS], ids=[" ".join(pair) for pair in PAIRS]
)


@every_pair
def test_the_probabilities_of_all_samples_sum_to_one_under_every_condition(network, space):
    family = a_model(space, network, condition=CONDITION)
    conditions = [None, asked, lambda rows: asked(rows, height=-2.0, kind=0), lambda rows: asked(rows, given=False)]
    values = [log_densities(family, space, condition) for condition in conditions]
    for value in values:
        assert value.exp().sum().item() == pytest.approx(1, abs=1e-9)
    assert not torch.allclose(values[0], values[1])
    assert not torch.allclose(values[1], values[2])
    torch.testing.assert_close(values[0], values[3])


@every_pair
def test_padding_and_neighbours_change_no_density(network, space):
    family = a_model(space, network)
    samples = [sample for batch in every_sample(space) for sample in separate(space, batch)]
    samples = samples[:: max(3, len(samples) // 20)]
    together = family.log_density(collate(space, samples)).value
    alone = torch.cat([family.log_density(collate(space, [sample])).value for sample in samples])
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-10)


@every_pair
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-10)])
def test_step_by_step_equals_all_at_once(network, space, dtype, tolerance):
    family = a_model(space, network, dtype=dtype, condition=CONDITION)
    batch = list(every_sample(space))[-1]
    made, condition = batch_to_tokens(space, batch), asked(len(batch))
    whole, steps = family.backbone(made, None, condition), slice_by_slice(family.backbone, made, condition)
    for name, output in whole.items():
        torch.testing.assert_close(steps[name], output, rtol=tolerance, atol=tolerance)


@every_pair
def test_the_state_of_some_rows_goes_on_as_in_the_whole(network, space):
    family, batch, rows = a_model(space, network, condition=CONDITION), list(every_sample(space))[-1], [3, 1, 1]
    made, backbone = batch_to_tokens(space, batch), family.backbone
    for kept in {0, len(made.ordering) // 2, len(made.ordering) - 1}:
        state, part, before = backbone.start(asked(len(batch)), len(batch)), None, None
        for t, step in enumerate(made.ordering.slices):
            part = state.take(torch.tensor(rows)) if t == kept else part
            whole, state = backbone.step(step, state, before)
            if part is not None:
                own, part = backbone.step(step, part, before and (before[0], before[1][rows]))
                torch.testing.assert_close(own, whole[rows])
            before = (step, made.ids[:, t])


@every_pair
def test_every_parameter_learns(network, space):
    family = a_model(space, network, condition=CONDITION)
    for given, batch in product((True, False), every_sample(space)):
        loss = family.loss(batch, asked(len(batch), given=given), Rng(0, range(len(batch))))
        loss.total.sum().backward()
    for name, parameter in family.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
        assert parameter.grad.abs().sum() > 0, name


@every_pair
def test_a_sample_carries_its_own_log_density(network, space):
    family = a_model(space, network, condition=CONDITION)
    drawn = family.sample(100, condition=asked(100), rng=Rng(0, range(100)))
    expected = family.log_density(drawn.batch, asked(100)).value
    torch.testing.assert_close(drawn.log_density.value, expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize("network", NETWORKS)
def test_numbers_without_levels_are_refused_by_name(network):
    """By the networks: the family gives them the cells of such numbers."""
    axis = Axis("n", 3)
    with pytest.raises(UnsupportedSpace, match="a Real field without levels"):
        make_build(*NETWORKS[network], None)({"x": Real((axis,))}, {"x": Head(2, (axis,))}, causal=True)


def test_a_network_for_the_walk_alone_says_so():
    build = make_build(CausalConvolutions, UNetConfig(), None)
    space = SPACES["one size"]
    assert isinstance(build(space, {"x": Head(2)}, causal=True), CausalConvolutions)
    with pytest.raises(ValueError, match="CausalConvolutions runs causally only"):
        build(space, {"x": Head(2)})
