"""The transformer along the autoregressive walk: an exact density, the same step by step as all at once."""

from itertools import product

import numpy as np
import pytest
import torch
from toys import CATEGORICAL_TOYS, Graph, Record, Tokens, samples_of

from molgen.backbone import Head, make_build
from molgen.backbones.attention import FIRST_ROOM
from molgen.backbones.transformer import Transformer
from molgen.backbones.transformer_config import TransformerConfig
from molgen.batch import Batch, Partial, collate, mask, pack_field, separate, unpack
from molgen.families.autoregressive import Autoregressive, AutoregressiveConfig
from molgen.family import UnsupportedSpace
from molgen.seeding import Rng
from molgen.space import Axis, Categorical, Real, axes
from molgen.walk import choices

CONDITION = {"height": Real(), "kind": Categorical(classes=2)}
SPACES = {toy.__name__: toy().space for toy in CATEGORICAL_TOYS} | {
    "empty allowed": {"x": Categorical((Axis("n", 3, minimum=0),), classes=2)},
    "pairs first": {
        "bonds": Categorical((Axis("n", 3),) * 2, classes=2, symmetric=True),
        "atoms": Categorical((Axis("n", 3),), classes=2),
    },
    "directed pairs": {"x": Categorical((Axis("n", 2),) * 2, classes=2)},
    "label, frame and word": {
        "label": Categorical(classes=2),
        "frame": Categorical((Axis("m", 2, variable=False),), classes=2),
        "x": Categorical((Axis("n", 2, minimum=0),), classes=2),
    },
    "word with columns": {"x": Categorical((Axis("n", 2), Axis("m", 2, variable=False)), classes=2)},
}
LONG = {"x": Categorical((Axis("n", 3 * FIRST_ROOM, minimum=0),), classes=3)}
every_space = pytest.mark.parametrize("space", SPACES.values(), ids=SPACES.keys())


def a_model(space, *, condition=None, dtype=torch.float64):
    """A small network with weights far from their start, so that no part is without effect."""
    torch.manual_seed(0)
    config = TransformerConfig(width=16, layers=2, heads=2)
    family = Autoregressive(space, make_build(Transformer, config, condition), AutoregressiveConfig(), condition)
    with torch.no_grad():
        for parameter in family.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return family.to(dtype).eval()


def asked(rows, height=1.5, kind=1, given=True):
    batch = Batch({"height": torch.full((rows,), height), "kind": torch.full((rows,), kind)}, {})
    return Partial(batch, {name: torch.full((rows,), given) for name in CONDITION})


def every_sample(space):
    """All samples of a space of classes, as one batch for each size."""
    ending = [axis for axis in axes(space).values() if axis.variable]
    for size in range(ending[0].minimum, ending[0].maximum + 1) if ending else [0]:
        lengths = {name: size if axis.variable else axis.maximum for name, axis in axes(space).items()}
        free = {name: _free(field, [lengths[axis.name] for axis in field.axes]) for name, field in space.items()}
        places = [range(space[name].classes) for name, count in free.items() for _ in range(count)]
        values = torch.tensor(list(product(*places)), dtype=torch.long)
        packed = dict(zip(free, values.split(list(free.values()), dim=1), strict=True))
        yield unpack(space, packed, {axis.name: torch.full((len(values),), size) for axis in ending}, lengths)


def _free(field, shape):
    """How many free elements a field of this shape has."""
    sizes = {axis.name: torch.tensor([length]) for axis, length in zip(field.axes, shape, strict=True)}
    return int(pack_field(field, torch.zeros(1, *shape), mask(field, sizes, shape, 1)).mask.sum())


def log_densities(family, space, condition=None):
    return torch.cat(
        [family.log_density(batch, condition and condition(len(batch))).value for batch in every_sample(space)]
    )


def a_long_batch(rows=5):
    sizes = torch.tensor([3 * FIRST_ROOM, 0, 2 * FIRST_ROOM, 1, FIRST_ROOM])[:rows]
    inside = torch.arange(int(sizes.max())) < sizes[:, None]
    return Batch({"x": torch.randint(3, inside.shape) * inside}, {"n": sizes})


# --- the density ------------------------------------------------------------------------------------


@every_space
@pytest.mark.parametrize("condition", [None, lambda rows: asked(rows), lambda rows: asked(rows, given=False)])
def test_the_probabilities_of_all_samples_sum_to_one(space, condition):
    family = a_model(space, condition=CONDITION)
    assert log_densities(family, space, condition).exp().sum().item() == pytest.approx(1, abs=1e-9)


@every_space
def test_conditions_have_an_effect(space):
    family = a_model(space, condition=CONDITION)
    conditions = [None, asked, lambda rows: asked(rows, height=-2.0, kind=0), lambda rows: asked(rows, given=False)]
    values = [log_densities(family, space, condition) for condition in conditions]
    assert not torch.allclose(values[0], values[1])
    assert not torch.allclose(values[1], values[2])
    torch.testing.assert_close(values[0], values[3])


@every_space
def test_padding_and_neighbours_change_no_density(space):
    family = a_model(space)
    samples = [sample for batch in every_sample(space) for sample in separate(space, batch)][::3]
    together = family.log_density(collate(space, samples)).value
    alone = torch.cat([family.log_density(collate(space, [sample])).value for sample in samples])
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-10)


@every_space
def test_every_parameter_learns(space):
    family = a_model(space, condition=CONDITION)
    for given, batch in product((True, False), every_sample(space)):
        loss = family.loss(batch, asked(len(batch), given=given), Rng(0, range(len(batch))))
        loss.total.sum().backward()
    for name, parameter in family.named_parameters():
        assert torch.isfinite(parameter.grad).all(), name
        assert parameter.grad.abs().sum() > 0, name


def test_numbers_are_refused_by_name():
    with pytest.raises(UnsupportedSpace, match="a Real field"):
        make_build(Transformer, TransformerConfig(), None)(Record().space, {"height": Head(1)}, causal=True)


# --- step by step -----------------------------------------------------------------------------------


@pytest.mark.parametrize("space", [*SPACES.values(), LONG], ids=[*SPACES, "long"])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-10)])
def test_step_by_step_equals_all_at_once(space, dtype, tolerance):
    family = a_model(space, dtype=dtype, condition=CONDITION)
    batch = a_long_batch() if space is LONG else list(every_sample(space))[-1]
    made, condition = choices(space, batch), asked(len(batch))
    whole = family.backbone(made, None, condition)
    state, previous = family.backbone.start(condition, len(batch)), None
    seen = dict.fromkeys(space, 0)
    for t, step in enumerate(made.walk.slices):
        output, state = family.backbone.step(step, state, previous)
        torch.testing.assert_close(output, whole[step.field][:, seen[step.field]], rtol=tolerance, atol=tolerance)
        seen[step.field] += 1
        previous = (step, made.ids[:, t])


def test_the_state_of_some_rows_goes_on_as_in_the_whole():
    family = a_model(LONG, condition=CONDITION)
    made, rows = choices(LONG, a_long_batch()), torch.tensor([3, 1, 1])
    state, part, before = family.backbone.start(asked(5), 5), None, None
    for t, step in enumerate(made.walk.slices[: FIRST_ROOM + 5]):
        whole, state = family.backbone.step(step, state, before)
        if part is not None:
            own, part = family.backbone.step(step, part, (before[0], before[1][rows]))
            torch.testing.assert_close(own, whole[rows])
        part = state.take(rows) if t == 7 else part
        before = (step, made.ids[:, t])


def test_a_state_that_was_kept_can_be_gone_on_from_again():
    """Two ways on from one state, taken in turns, do not write over each other."""
    family = a_model(LONG)
    first, second, third = choices(LONG, a_long_batch()).walk.slices[:3]
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
    family = a_model(Tokens().space)
    slices = choices(Tokens().space, collate(Tokens().space, samples_of(Tokens))).walk.slices
    output, _ = family.backbone.step(slices[0], family.backbone.start(None, 2), None)
    assert not output.requires_grad


# --- sampling ---------------------------------------------------------------------------------------


@every_space
def test_a_sample_carries_its_own_log_density(space):
    family = a_model(space, condition=CONDITION)
    drawn = family.sample(100, condition=asked(100), rng=Rng(0, range(100)))
    expected = family.log_density(drawn.batch, asked(100)).value
    torch.testing.assert_close(drawn.log_density.value, expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize("space", [Graph().space, LONG], ids=["graph", "long"])
def test_a_seed_gives_the_same_samples_in_batches_of_any_size(space):
    family = a_model(space, dtype=torch.float32)
    whole = separate(space, family.sample(120, rng=Rng(5, range(120))).batch)
    parts = [family.sample(40, rng=Rng(5, range(k, k + 40))).batch for k in range(0, 120, 40)]
    alone = [sample for part in parts for sample in separate(space, part)]
    for sample, other in zip(whole, alone, strict=True):
        assert all(np.array_equal(sample[name], other[name]) for name in space)
