"""The U-Net: grids and rows at several resolutions, over grids of other axes, whatever the padding."""

from dataclasses import replace
from itertools import product

import pytest
import torch
from support.networks import cropped, relaxed
from support.slopes import require_second_slopes
from support.toys import Grid, Points, Tokens

from molgen.backbone import Head
from molgen.backbones.unet.config import UNetConfig
from molgen.backbones.unet.network import UNet
from molgen.batch import Batch, Partial, mask
from molgen.errors import UnsupportedSpace
from molgen.space import Axis, Categorical, Field, Real, axes
from molgen.testing.batches import padded

SMALL = UNetConfig(width=8, levels=3, blocks=1, heads=2)
CONDITION = {"height": Real(), "kind of all": Categorical(classes=2)}
ROW, COLUMN = Axis("row", 7), Axis("column", 5, minimum=0)


def fixed(name, length):
    return Axis(name, length, variable=False)


HIGH, WIDE = fixed("high", 6), fixed("wide", 9)
SPACES = {
    "Tokens": Tokens().space,
    "Grid": Grid().space,
    "signal": {"x": Real((Axis("n", 13, minimum=0),), channels=(2,))},
    "colours": {"x": Real((HIGH, WIDE), channels=(3,), levels=4)},
    "two fields of one size each": {
        "x": Real((ROW, COLUMN)),
        "kind": Categorical((ROW, COLUMN), classes=3),
        "label": Categorical(classes=2),
        "light": Real(channels=(2,)),
    },
    "two grids": {
        "fine": Real((Axis("n", 12),), channels=(2,)),
        "coarse": Categorical((Axis("m", 3, minimum=0),), classes=3),
    },
}
every_space = pytest.mark.parametrize("space", SPACES.values(), ids=SPACES.keys())


def a_network(space, heads=None, condition=None, config=SMALL, dtype=torch.float64):
    """A small network with weights far from their start, so that no part is without effect."""
    torch.manual_seed(0)
    heads = heads or {**{name: Head(4, field.axes) for name, field in space.items()}, "pooled": Head(2)}
    network = UNet.make(space, heads, config, condition)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return network.to(dtype).eval()


def a_batch(space, sizes, extra=0, seed=0):
    """Random samples of the given sizes of all variable axes, as far as these allow, with more padding."""
    torch.manual_seed(seed)
    variable = [axis for axis in axes(space).values() if axis.variable]
    own = {a.name: torch.tensor([min(max(size, a.minimum), a.maximum) for size in sizes]) for a in variable}
    lengths = {
        axis.name: min(int(own[axis.name].max()) + extra, axis.maximum) if axis.variable else axis.maximum
        for axis in axes(space).values()
    }
    return Batch({name: _values(field, own, lengths, len(sizes)) for name, field in space.items()}, own)


def _values(field, sizes, lengths, rows):
    shape = [lengths[axis.name] for axis in field.axes]
    exists = mask(field, sizes, shape, rows)
    if isinstance(field, Real):
        numbers = torch.randn(rows, *shape, *field.channels, dtype=torch.float64)
        return numbers * exists.reshape(*exists.shape, *(1 for _ in field.channels))
    return torch.randint(field.classes, (rows, *shape)) * exists


def close(first, second, tolerance=1e-10):
    assert first.keys() == second.keys()
    for name in first:
        torch.testing.assert_close(first[name], second[name], rtol=tolerance, atol=tolerance)


# --- places -----------------------------------------------------------------------------------------


@every_space
@pytest.mark.parametrize("config", [SMALL, replace(SMALL, levels=1, heads=0), replace(SMALL, growth=1, blocks=2)])
def test_every_head_has_its_shape(space, config):
    batch = a_batch(space, [1, 5, 2])
    outputs = a_network(space, config=config)(batch, None, None)
    for name, field in space.items():
        assert outputs[name].shape == (3, *batch.fields[name].shape[1 : 1 + len(field.axes)], 4)
    assert outputs["pooled"].shape == (3, 2)


@every_space
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 2e-5), (torch.float64, 1e-10)])
def test_padding_and_neighbours_change_nothing(space, dtype, tolerance):
    network, times = a_network(space, dtype=dtype), torch.tensor([0.1, 0.5, 0.9, 0.2])
    batch = a_batch(space, [1, 5, 3, 0], extra=3)
    together = network(batch, times, None)
    for row in range(4):
        alone = network(cropped(space, batch.take(torch.tensor([row]))), times[row : row + 1], None)
        for name, output in alone.items():
            padded = torch.zeros_like(together[name][row])
            padded[tuple(slice(length) for length in output.shape[1:])] = output[0]
            torch.testing.assert_close(together[name][row], padded, rtol=tolerance, atol=tolerance)


def test_what_lies_in_the_padding_is_never_read():
    space = SPACES["two fields of one size each"]
    network, batch = a_network(space), a_batch(space, [2, 4], extra=2)
    before = network(batch, None, None)
    for name in ("x", "kind"):
        outside = ~mask(space[name], batch.sizes, batch.fields[name].shape[1:], 2)
        batch.fields[name][outside] = 2
    close(before, network(batch, None, None))


@every_space
def test_classes_may_come_as_one_hot_floats(space):
    network, batch = a_network(space), a_batch(space, [1, 3, 2])
    close(network(batch, None, None), network(relaxed(space, batch), None, None))


@pytest.mark.parametrize("heads", [0, 2])
def test_attention_among_the_coarsest_places_sees_everything(heads):
    space = {"x": Real((fixed("row", 56), fixed("column", 56)))}
    network = a_network(space, config=replace(SMALL, heads=heads))
    fields = torch.zeros(2, 56, 56, dtype=torch.float64)
    fields[1, 28, 25] = 1
    outputs = network(Batch({"x": fields}, {}), None, None)["x"]
    changed = (outputs[0] - outputs[1]).abs().amax(-1) > 1e-12
    assert changed[20:36, 18:32].all()
    assert changed.all() == bool(heads)


def test_what_is_equal_elsewhere_has_another_output():
    space = {"x": Real((fixed("n", 24),))}
    outputs = a_network(space)(Batch({"x": torch.zeros(1, 24, dtype=torch.float64)}, {}), None, None)["x"][0]
    assert torch.cdist(outputs, outputs).fill_diagonal_(1).min() > 1e-4


# --- grids over each other --------------------------------------------------------------------------

PIXELS = {"x": Real((fixed("row", 28), fixed("column", 28)), channels=(1,), levels=2)}
LATENT = {"z": Real((fixed("latent_row", 7), fixed("latent_column", 7)), channels=(3,))}


def test_an_encoder_leads_to_a_coarser_grid_and_builds_nothing_finer():
    network = a_network(PIXELS, {"z": Head(6, LATENT["z"].axes)})
    assert network(a_batch(PIXELS, [0, 0]), None, None)["z"].shape == (2, 7, 7, 6)
    assert (list(network.down), list(network.up)) == (["0", "1"], [])


def test_a_decoder_leads_to_a_finer_grid_and_reads_nothing_finer():
    network = a_network(LATENT, {"x": Head(2, PIXELS["x"].axes)})
    assert network(a_batch(LATENT, [0, 0]), None, None)["x"].shape == (2, 28, 28, 2)
    assert (list(network.down), list(network.up)) == ([], ["0", "1"])


@pytest.mark.parametrize(
    ("fine", "coarse", "level", "patch"),
    [
        ((28, 28), (7, 7), 2, (1, 1)),
        ((28, 28), (14, 14), 1, (1, 1)),
        ((28, 28), (4, 4), 0, (7, 7)),
        ((28, 28), (14, 7), 1, (1, 2)),
        ((32, 32), (2, 2), 2, (4, 4)),
        ((27, 27), (9, 9), 0, (3, 3)),
        ((12, 12), (2, 1), 1, (3, 6)),
        ((2, 3), (1, 1), 0, (2, 3)),
        ((24,), (8,), 0, (1, 3)),
        ((24,), (6,), 2, (1, 1)),
        ((1, 8), (1, 2), 2, (1, 1)),
    ],
)
def test_sizes_that_divide_each_other_fit_both_ways(fine, coarse, level, patch):
    small = Real(tuple(fixed(f"small{k}", length) for k, length in enumerate(coarse)), channels=(2,))
    large = Real(tuple(fixed(f"large{k}", length) for k, length in enumerate(fine)))
    down = a_network({"x": large}, {"z": Head(4, small.axes), "all": Head(1)})
    outputs = down(a_batch({"x": large}, [0, 0]), None, None)
    assert outputs["z"].shape == (2, *coarse, 4)
    grid = down.pyramid.grids[small.axes]
    assert (grid.level, grid.patch) == (level, patch)
    up = a_network({"z": small}, {"x": Head(2, large.axes)})
    assert up(a_batch({"z": small}, [0, 0]), None, None)["x"].shape == (2, *fine, 2)


@pytest.mark.parametrize("levels", [1, 2, 3])
def test_a_coarse_place_belongs_to_its_own_patch(levels):
    """What changes at a fine place reaches the coarse places around its patch first, and the other way round."""
    config = UNetConfig(width=8, levels=levels, blocks=1, heads=0)
    coarse, fine = (fixed("small", 12),), (fixed("large", 48),)
    for inside, outside, stride in ((fine, coarse, 1 / 4), (coarse, fine, 4)):
        network = a_network({"x": Real(inside)}, {"y": Head(3, outside)}, config=config)
        fields = torch.zeros(2, inside[0].maximum, dtype=torch.float64)
        place = inside[0].maximum // 2
        fields[1, place] = 1
        outputs = network(Batch({"x": fields}, {}), None, None)["y"]
        changed = (outputs[0] - outputs[1]).abs().amax(-1).nonzero()[:, 0].double()
        own = (place + 0.5) * stride
        assert changed.min() <= own <= changed.max() + 1
        assert (changed.min() + changed.max() + 1) / 2 == pytest.approx(own, abs=max(stride, 2**levels / 2))
        assert len(changed) < outside[0].maximum


def test_a_head_reaches_as_far_as_the_batch_says_and_else_as_its_axis():
    """A latent of fixed size, and samples of 3 and 10 places out of 12; one more axis of which nobody knows."""
    latent, text = {"z": Real((fixed("slot", 3),), channels=(2,))}, Axis("text", 12)
    network = a_network(latent, {"text": Head(5, (text,)), "fixed": Head(1, (fixed("beat", 6),))})
    batch = a_batch(latent, [0, 0])
    outputs = network(Batch(batch.fields, {"text": torch.tensor([3, 10])}), None, None)
    assert {name: tuple(tensor.shape) for name, tensor in outputs.items()} == {"text": (2, 10, 5), "fixed": (2, 6, 1)}
    assert outputs["text"][0, 3:].abs().sum() == 0
    assert outputs["text"][0, 2].abs().min() > 0
    with pytest.raises(ValueError, match="the sizes of the axis 'text'"):
        network(batch, None, None)


def test_noise_without_axes_becomes_a_grid():
    noise = {"noise": Real(channels=(5,)), "label": Categorical(classes=3)}
    network = a_network(noise, {"x": Head(2, (HIGH, WIDE))})
    outputs = network(a_batch(noise, [0, 0]), None, None)["x"]
    assert outputs.shape == (2, 6, 9, 2)
    assert (outputs[0] - outputs[1]).abs().amax(-1).min() > 1e-4


# --- time and condition -----------------------------------------------------------------------------


@every_space
def test_time_is_of_rows_or_of_fields(space):
    network, batch = a_network(space), a_batch(space, [1, 3, 2])
    time = torch.tensor([0.0, 0.25, 1.0])
    close(network(batch, None, None), network(batch, torch.zeros(3), None))
    close(network(batch, time, None), network(batch, dict.fromkeys(space, time), None))
    before, after = network(batch, None, None)["pooled"], network(batch, time, None)["pooled"]
    assert ((before - after).abs().amax(-1) > 1e-6).tolist() == [False, True, True]


def asked(rows, height, given=True):
    batch = Batch({"height": torch.full((rows,), height), "kind of all": torch.ones(rows, dtype=torch.long)}, {})
    return Partial(batch, {name: torch.full((rows,), given) for name in CONDITION})


@every_space
def test_conditions_have_an_effect(space):
    network, batch = a_network(space, condition=CONDITION), a_batch(space, [1, 3, 2])
    none, low, high, absent = (
        network(batch, None, condition)["pooled"]
        for condition in (None, asked(3, 1.0), asked(3, 2.0), asked(3, 1.0, given=False))
    )
    torch.testing.assert_close(none, absent)
    assert (low - none).abs().amax(-1).min() > 1e-6
    assert (low - high).abs().amax(-1).min() > 1e-6


PLACED = {"colour": Categorical((ROW, COLUMN), classes=3), "dark": Real((ROW, COLUMN), channels=(2,))}


def test_a_condition_over_axes_of_the_sample_is_read_place_by_place():
    space = {"x": Real((ROW, COLUMN))}
    network = a_network(space, condition=PLACED, config=replace(SMALL, levels=1, heads=0))
    batch, given = a_batch(space, [7, 5]), a_batch(PLACED, [7, 5], seed=1)
    nothing = {name: torch.zeros(2, 7, 5, dtype=torch.bool) for name in PLACED}
    corner = {name: mask.clone() for name, mask in nothing.items()}
    corner["colour"][:, 0, 0] = True
    before, after = (network(batch, None, Partial(given, mask))["x"] for mask in (nothing, corner))
    torch.testing.assert_close(before, network(batch, None, None)["x"])
    changed = (before - after).abs().amax(-1) > 1e-12
    assert changed[:, :3, :3].all()
    assert not changed[:, 4:].any()


def test_a_condition_may_reach_further_than_the_batch_or_less():
    space = {"x": Real((ROW, COLUMN))}
    network, batch = a_network(space, condition=PLACED), a_batch(space, [3, 4])
    given = a_batch(PLACED, [3, 4], extra=3, seed=1)
    everywhere = Partial(
        given, {name: torch.ones(2, *t.shape[1:3], dtype=torch.bool) for name, t in given.fields.items()}
    )
    short = cropped(PLACED, given)
    fitting = Partial(short, {name: torch.ones(2, *t.shape[1:3], dtype=torch.bool) for name, t in short.fields.items()})
    close(network(batch, None, everywhere), network(batch, None, fitting))


# --- gradients --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "condition"),
    [*product(SPACES, [None, CONDITION]), ("two fields of one size each", PLACED)],
)
def test_every_parameter_learns(name, condition):
    space = SPACES[name]
    network = a_network(space, condition=condition)
    batch, time = a_batch(space, [1, 3, 2]), torch.tensor([0.1, 0.2, 0.3])
    for given in (True, False):
        about = _given(condition, given) if condition else None
        outputs = network(batch, time, about)
        sum((output**2).sum() for output in outputs.values()).backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
        assert parameter.grad.abs().sum() > 0, name


def _given(condition, given):
    batch = a_batch(condition, [1, 3, 2], seed=1)
    shapes = {name: batch.fields[name].shape[: 1 + len(field.axes)] for name, field in condition.items()}
    return Partial(batch, {name: torch.full(shape, given) for name, shape in shapes.items()})


@every_space
def test_gradients_reach_the_inputs_twice(space):
    """As penalties on gradients need it, with the attention kernel that has second derivatives."""
    network, batch = a_network(space), relaxed(space, a_batch(space, [1, 3, 2]))
    require_second_slopes(network, batch)


def test_dropout_acts_in_training_only():
    space = SPACES["signal"]
    network, batch = a_network(space, config=replace(SMALL, dropout=0.5)), a_batch(space, [1, 3, 2])
    close(network(batch, None, None), network(batch, None, None))
    network.train()
    assert not torch.equal(*(network(batch, None, None)["pooled"] for _ in range(2)))


def test_a_fresh_network_is_calm():
    """Blocks start as the identity, so neither time nor depth makes the first outputs large."""
    torch.manual_seed(0)
    network = UNet.make(PIXELS, {"x": Head(2, PIXELS["x"].axes)}, replace(SMALL, blocks=4))
    outputs = [network(a_batch(PIXELS, [0]), torch.tensor([t]), None)["x"] for t in (0.0, 1.0)]
    close({"x": outputs[0]}, {"x": outputs[1]}, 1e-5)
    assert outputs[0].abs().max() < 3


@pytest.mark.parametrize(("finest", "own"), [(25, 8), (13, 5), (53, 9), (28, 28)])
def test_sizes_need_not_divide_each_other(finest, own):
    """Over a row of any length and another one of any length, both ways, padding changes nothing."""
    space = {"x": Real((Axis("n", finest),)), "y": Real((Axis("m", own),))}
    heads = {**{name: Head(2, field.axes) for name, field in space.items()}, "pooled": Head(2)}
    network = a_network(space, heads)
    sizes = [2, own - 1, 1]
    batch = a_batch(space, sizes)
    outputs, more = network(batch, None, None), network(padded(space, batch, 3), None, None)
    for name in heads:
        if name in space:
            more[name] = more[name][:, : outputs[name].shape[1]]
        torch.testing.assert_close(more[name], outputs[name], rtol=0, atol=1e-10)
    alone = network(batch.take(slice(0, 1)), None, None)
    torch.testing.assert_close(alone["pooled"][0], outputs["pooled"][0], rtol=0, atol=1e-10)
    whole = network(a_batch(space, [finest]), None, None)
    assert whole["x"].shape == (1, finest, 2)
    assert whole["y"].shape == (1, own, 2)


# --- what it refuses --------------------------------------------------------------------------------

PAGE = fixed("page", 2)


@pytest.mark.parametrize(
    ("space", "heads", "message"),
    [
        (PIXELS, {"z": Head(1, (fixed("a", 7),))}, "all of its fields alike"),
        ({"x": Real((HIGH, WIDE, PAGE))}, {"all": Head(1)}, "rows, or grids of two axes"),
        (PIXELS, {"z": Head(1, (PAGE, PAGE))}, "no pairs of elements"),
        (PIXELS, {"z": Head(1, (PAGE, Axis("m", 2, ordered=False)))}, "no unordered axis"),
        ({"x": Real()}, {"all": Head(1)}, "over ordered axes"),
        (PIXELS, {"force": Head(3, PIXELS["x"].axes, rotates=True)}, "not equivariant"),
    ],
)
def test_spaces_that_do_not_fit_are_refused(space, heads, message):
    with pytest.raises(UnsupportedSpace, match=message):
        a_network(space, heads)


def test_kinds_that_it_cannot_read_are_refused():
    with pytest.raises(ValueError, match="not a points"):
        a_network(Points().space)
    with pytest.raises(UnsupportedSpace, match="no field of kind Field"):
        a_network({"x": Field((HIGH, WIDE))})


@pytest.mark.parametrize("setting", [{"width": 0}, {"levels": 0}, {"dropout": 1.0}, {"heads": 3}])
def test_settings_without_meaning_are_refused(setting):
    with pytest.raises(ValueError, match=next(iter(setting))):
        replace(SMALL, **setting)
