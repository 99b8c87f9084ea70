"""The transformer along the autoregressive walk: its cache, and walks longer than the first room of it."""

import numpy as np
import pytest
import torch
from support.orderings import CONDITION, a_model, asked, slice_by_slice
from support.toys import Graph, Tokens, samples_of

from molgen.batch import Batch, collate, separate
from molgen.layers.attention import FIRST_ROOM
from molgen.ordering import batch_to_tokens
from molgen.seeding import Rng
from molgen.space import Axis, Categorical

LONG = {"x": Categorical((Axis("n", 3 * FIRST_ROOM, minimum=0),), classes=3)}


def a_long_batch(rows=5):
    sizes = torch.tensor([3 * FIRST_ROOM, 0, 2 * FIRST_ROOM, 1, FIRST_ROOM])[:rows]
    inside = torch.arange(int(sizes.max())) < sizes[:, None]
    return Batch({"x": torch.randint(3, inside.shape) * inside}, {"n": sizes})


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-10)])
def test_step_by_step_equals_all_at_once_over_a_long_walk(dtype, tolerance):
    family = a_model(LONG, "transformer", dtype=dtype, condition=CONDITION)
    made, condition = batch_to_tokens(LONG, a_long_batch()), asked(5)
    whole, steps = family.backbone(made, None, condition), slice_by_slice(family.backbone, made, condition)
    torch.testing.assert_close(steps["x"], whole["x"], rtol=tolerance, atol=tolerance)


def test_the_state_of_some_rows_goes_on_as_in_the_whole():
    family = a_model(LONG, "transformer", condition=CONDITION)
    made, rows = batch_to_tokens(LONG, a_long_batch()), torch.tensor([3, 1, 1])
    state, part, before = family.backbone.start(asked(5), 5), None, None
    for t, step in enumerate(made.ordering.slices[: FIRST_ROOM + 5]):
        whole, state = family.backbone.step(step, state, before)
        if part is not None:
            own, part = family.backbone.step(step, part, (before[0], before[1][rows]))
            torch.testing.assert_close(own, whole[rows])
        part = state.take(rows) if t == 7 else part
        before = (step, made.ids[:, t])


def test_a_state_that_was_kept_can_be_gone_on_from_again():
    """Two ways on from one state, taken in turns, do not write over each other."""
    family = a_model(LONG, "transformer")
    first, second, third = batch_to_tokens(LONG, a_long_batch()).ordering.slices[:3]
    _, kept = family.backbone.step(first, family.backbone.start(None, 2), None)
    ways = [(first, torch.tensor([0, 1])), (first, torch.tensor([2, 2]))]
    states = [family.backbone.step(second, kept, way)[1] for way in ways]
    outputs = [family.backbone.step(third, state, (second, torch.tensor([1, 1])))[0] for state in states]
    for way, output in zip(ways, outputs, strict=True):
        _, state = family.backbone.step(first, family.backbone.start(None, 2), None)
        _, state = family.backbone.step(second, state, way)
        expected, _ = family.backbone.step(third, state, (second, torch.tensor([1, 1])))
        torch.testing.assert_close(output, expected)
    assert not torch.allclose(*outputs)


def test_what_a_step_returns_cannot_be_trained():
    family = a_model(Tokens().space, "transformer")
    slices = batch_to_tokens(Tokens().space, collate(Tokens().space, samples_of(Tokens))).ordering.slices
    output, _ = family.backbone.step(slices[0], family.backbone.start(None, 2), None)
    assert not output.requires_grad


@pytest.mark.parametrize("space", [Graph().space, LONG], ids=["graph", "long"])
def test_a_seed_gives_the_same_samples_in_batches_of_any_size(space):
    family = a_model(space, "transformer", dtype=torch.float32)
    whole = separate(space, family.sample(120, rng=Rng(5, range(120))).batch)
    parts = [family.sample(40, rng=Rng(5, range(k, k + 40))).batch for k in range(0, 120, 40)]
    alone = [sample for part in parts for sample in separate(space, part)]
    for sample, other in zip(whole, alone, strict=True):
        assert all(np.array_equal(sample[name], other[name]) for name in space)
