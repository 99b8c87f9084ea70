"""Causal convolutions over sequences and grids: what they see, and what one step costs."""

import pytest
import torch
from support.orderings import CONDITION, a_model, asked, slice_by_slice

from molgen.backbone import Head, make_build
from molgen.backbones.unet.config import UNetConfig
from molgen.backbones.unet.network import UNet
from molgen.backbones.unet.pixelcnn import CausalGrid
from molgen.backbones.unet.wavenet import CausalConvolutions
from molgen.batch import Batch
from molgen.errors import UnsupportedSpace
from molgen.ordering import TokenBatch, batch_to_tokens
from molgen.seeding import Rng
from molgen.space import Axis, Categorical, Real

ROW, COLUMN = Axis("row", 6, variable=False), Axis("column", 7, variable=False)
PICTURE = {"x": Categorical((ROW, COLUMN), classes=3)}
COLOURS = {"x": Real((ROW, COLUMN), channels=(3,), levels=4)}
TWO = {"depth": Categorical((ROW, COLUMN), classes=2), "light": Real((ROW, COLUMN), channels=(2,), levels=3)}
WORD = {"x": Categorical((Axis("n", 20, variable=False),), classes=3)}
#: Reaches 14 rows and places back.
DEEP = UNetConfig(width=8, levels=3, blocks=2, heads=0)


def a_network(space, config=DEEP, condition=None):
    torch.manual_seed(0)
    heads = {name: Head(4, field.axes) for name, field in space.items()}
    network = make_build(UNet, config, condition)(space, heads, causal=True)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return network.double().eval()


def random_choices(space, rows=1):
    fields = {
        name: torch.randint(field.classes, (rows, *(axis.maximum for axis in field.axes)))
        if isinstance(field, Categorical)
        else (2 * torch.randint(field.levels, (rows, *(a.maximum for a in field.axes), *field.channels)) + 1)
        / field.levels
        - 1
        for name, field in space.items()
    }
    return batch_to_tokens(space, Batch(fields, {}))


def influence(space, network):
    """Which choice changes the output of which slice: bool, (T, T), the choices first."""
    made = random_choices(space)
    found = []
    with torch.no_grad():
        before = network(made, None, None)
        for place in range(len(made.ordering)):
            ids = made.ids.clone()
            ids[0, place] = (ids[0, place] + 1) % 2
            after = network(TokenBatch(made.ordering, ids, made.mask), None, None)
            changed = torch.zeros(len(made.ordering), dtype=torch.bool)
            for name, steps in made.ordering.steps.items():
                changed[steps] = (before[name] - after[name])[0].abs().amax(-1) > 1e-12
            found.append(changed)
    return torch.stack(found)


@pytest.mark.parametrize("space", [PICTURE, COLOURS, TWO], ids=["classes", "channels", "two fields"])
def test_every_slice_sees_all_rows_above_and_nothing_that_comes_later(space):
    seen = influence(space, a_network(space))
    assert not seen.tril().any()
    row = torch.tensor([step.index[0] for step in batch_to_tokens(space, random_batch(space)).ordering.slices])
    above = row[:, None] < row
    assert seen[above].all()


def random_batch(space):
    return Batch({name: torch.zeros(1, 6, 7, *field.channels_shape).long() for name, field in space.items()}, {})


def test_a_grid_has_no_blind_spot():
    """Every choice before every slice is in sight, those above and to the right among them."""
    seen = influence(PICTURE, a_network(PICTURE))
    assert torch.equal(seen, torch.ones_like(seen).triu(1))


def test_what_was_chosen_before_at_the_same_place_is_in_sight_at_once():
    """Blocks that reach one place back would not see it: between the fields lies a whole row."""
    shallow = UNetConfig(width=8, levels=1, blocks=1, heads=0)
    seen = influence(TWO, a_network(TWO, shallow))
    slices = batch_to_tokens(TWO, random_batch(TWO)).ordering.slices
    for t, step in enumerate(slices):
        for earlier in range(t):
            if slices[earlier].index[:2] == step.index[:2]:
                assert seen[earlier, t]


def test_a_sequence_is_seen_as_far_back_as_the_blocks_reach():
    reach = 1 + 2 * (2**2 - 1)
    seen = influence(WORD, a_network(WORD, UNetConfig(width=8, levels=2, blocks=2, heads=0)))
    distance = torch.arange(20) - torch.arange(20)[:, None]
    assert torch.equal(seen, (distance >= 1) & (distance <= reach))


def test_what_is_told_by_fields_without_axes_is_known_everywhere():
    space = {"label": Categorical(classes=2), **PICTURE}
    seen = influence(space, a_network(space))
    assert seen[0, 1:].all()


@pytest.mark.parametrize(("rows", "columns"), [(6, 7), (12, 7)])
def test_a_step_costs_one_place_and_a_row_is_computed_once(rows, columns):
    space = {"x": Categorical((Axis("row", rows, variable=False), Axis("column", columns, variable=False)), classes=3)}
    family = a_model(space, "unet", condition=CONDITION)
    places = {"along": 0, "down": 0}

    def count(part):
        def hook(module, inputs, output):
            places[part] += output[0].numel() // output.shape[-1]

        return hook

    block = family.backbone.blocks[0]
    block.along.read.register_forward_hook(count("along"))
    block.down.norm.register_forward_hook(count("down"))
    family.sample(1, asked(1), Rng(0, range(1)))
    assert places == {"along": rows * columns, "down": rows * columns}


def test_a_state_that_was_kept_can_be_gone_on_from_again():
    family = a_model(PICTURE, "unet")
    made = random_choices(PICTURE, rows=2)
    slices, kept, before = made.ordering.slices, family.backbone.start(None, 2), None
    for t in range(9):
        _, kept = family.backbone.step(slices[t], kept, before)
        before = (slices[t], made.ids[:, t])
    other = (before[0], (before[1] + 1) % 3)
    first, _ = family.backbone.step(slices[9], kept, before)
    second, _ = family.backbone.step(slices[9], kept, other)
    again, _ = family.backbone.step(slices[9], kept, before)
    torch.testing.assert_close(first, again)
    assert not torch.allclose(first, second)


@pytest.mark.parametrize("space", [PICTURE, TWO, WORD], ids=["grid", "two fields", "sequence"])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-10)])
def test_step_by_step_equals_all_at_once_in_deep_networks(space, dtype, tolerance):
    network, made = a_network(space, condition=CONDITION).to(dtype), random_choices(space, rows=3)
    whole, steps = network(made, None, asked(3)), slice_by_slice(network, made, asked(3))
    for name, output in whole.items():
        torch.testing.assert_close(steps[name], output, rtol=tolerance, atol=tolerance)


def test_the_layout_chooses_the_network():
    assert isinstance(a_network(PICTURE), CausalGrid)
    assert isinstance(a_network(WORD), CausalConvolutions)


def test_levels_begin_as_vectors_along_a_line():
    space = {"x": Real((ROW, COLUMN), levels=64)}
    torch.manual_seed(0)
    network = make_build(UNet, UNetConfig(width=32), None)(space, {"x": Head(64, (ROW, COLUMN))}, causal=True)
    for vectors in (network.choice.weight[1:65], network.above.weight[:64]):
        distances = torch.cdist(vectors, vectors)
        assert distances[0, 63] > 2 * distances[0, 1]
        steps = torch.stack([distances.diagonal(k).mean() for k in range(1, 64)])
        assert (steps[8::8] > steps[:-8:8]).all()


@pytest.mark.parametrize(
    ("space", "message"),
    [
        ({**PICTURE, "y": Categorical((ROW,))}, "some over row and column, some over row"),
        ({"x": Categorical((ROW, COLUMN, Axis("page", 2, variable=False)))}, "row and column and page"),
        ({"x": Categorical((ROW, Axis("m", 3, variable=False, ordered=False)))}, "no unordered axis, here 'm'"),
        ({"label": Categorical(classes=2)}, "not a record"),
        ({"x": Categorical((Axis("n", 3),) * 2, symmetric=True), "y": Categorical((Axis("n", 3),))}, "not a graph"),
        ({"x": Real((ROW, COLUMN))}, "without levels"),
    ],
)
def test_spaces_without_convolutions_are_refused(space, message):
    with pytest.raises(UnsupportedSpace, match=message):
        a_network(space)
