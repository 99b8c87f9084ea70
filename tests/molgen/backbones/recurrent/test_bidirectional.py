"""The recurrent network that reads rows of elements from both ends."""

import pytest
import torch
from support.toys import Choices, Graph, Grid, Record, Tokens

from molgen.backbone import CausalBackbone, Head, make_build
from molgen.backbones.recurrent.bidirectional import Bidirectional
from molgen.backbones.recurrent.causal import Recurrent, RecurrentConfig
from molgen.batch import Batch, Partial
from molgen.errors import UnsupportedSpace
from molgen.space import Axis, Categorical, Real

LENGTH, SLOT = Axis("length", 5, minimum=0), Axis("slot", 3, variable=False)
WORDS = {
    "kind": Categorical(classes=2),
    "letters": Categorical((LENGTH,), classes=4),
    "loudness": Real((LENGTH,), channels=(2,)),
}
LATENT = {"latent": Real((SLOT,), channels=(2,))}
CONDITION = {"height": Real()}
HEADS = {"here": Head(4, (LENGTH,)), "slots": Head(2, (SLOT,)), "pooled": Head(3)}
every_cell = pytest.mark.parametrize("cell", ["gru", "lstm"])


def a_network(space=WORDS, heads=HEADS, *, cell="gru", condition=None, width=9, causal=False):
    torch.manual_seed(0)
    config = RecurrentConfig(cell=cell, width=width, layers=2, embedding=4)
    network = make_build(Recurrent, config, condition)(space, heads, causal)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return network.double().eval()


def a_batch(sizes, longest=None, seed=0):
    torch.manual_seed(seed)
    sizes, length = torch.tensor(sizes), max(sizes) if longest is None else longest
    exists = torch.arange(length) < sizes[:, None]
    fields = {
        "kind": torch.randint(2, (len(sizes),)),
        "letters": torch.randint(4, (len(sizes), length)) * exists,
        "loudness": torch.randn(len(sizes), length, 2, dtype=torch.float64) * exists[..., None],
    }
    return Batch(fields, {"length": sizes})


def test_one_name_gives_both_networks():
    assert isinstance(a_network(), Bidirectional)
    space = Tokens().space
    assert isinstance(a_network(space, {"letters": Head(4, space["letters"].axes)}, causal=True), CausalBackbone)


@every_cell
def test_every_head_has_its_shape(cell):
    outputs = a_network(cell=cell)(a_batch([3, 0, 5]), None, None)
    assert {name: tuple(tensor.shape) for name, tensor in outputs.items()} == {
        "here": (3, 5, 4),
        "slots": (3, 3, 2),
        "pooled": (3, 3),
    }
    assert outputs["here"][0, 3:].eq(0).all()


@every_cell
def test_padding_and_neighbours_change_nothing(cell):
    network, times = a_network(cell=cell), torch.tensor([0.1, 0.5, 0.9])
    batch = a_batch([3, 0, 2], longest=5)
    together = network(batch, times, None)
    for row in range(3):
        size = int(batch.sizes["length"][row])
        alone = batch.take(torch.tensor([row]))
        short = alone.with_fields(
            {name: tensor[:, :size] if tensor.ndim > 1 else tensor for name, tensor in alone.fields.items()}
        )
        outputs = network(short, times[row : row + 1], None)
        torch.testing.assert_close(outputs["here"][0], together["here"][row, :size])
        for name in ("slots", "pooled"):
            torch.testing.assert_close(outputs[name][0], together[name][row])


@every_cell
def test_every_place_is_told_by_all_others(cell):
    """Each output depends on every element that exists, before it and behind it."""
    network, batch = a_network(cell=cell), a_batch([4])
    batch.fields["loudness"].requires_grad_()
    for name, place in (("here", 0), ("here", 3), ("slots", 1), ("pooled", 0)):
        output = network(batch, None, None)[name][0]
        (gradient,) = torch.autograd.grad(
            (output[place] if name != "pooled" else output).sum(), batch.fields["loudness"]
        )
        assert (gradient[0].abs().sum(-1) > 0).all(), (name, place)


def test_elements_that_come_out_of_a_latent_have_the_sizes_that_the_batch_says():
    network = a_network(LATENT, {"letters": Head(4, (LENGTH,)), "kind": Head(2)})
    latents = torch.randn(2, 3, 2, dtype=torch.float64)
    together = network(Batch({"latent": latents}, {"length": torch.tensor([5, 2])}), None, None)
    alone = network(Batch({"latent": latents[1:]}, {"length": torch.tensor([2])}), None, None)
    assert together["letters"].shape == (2, 5, 4)
    assert together["letters"][1, 2:].eq(0).all()
    torch.testing.assert_close(together["letters"][1:, :2], alone["letters"])
    torch.testing.assert_close(together["kind"][1:], alone["kind"])
    # The places differ although nothing stands at them.
    assert not torch.allclose(together["letters"][0, 0], together["letters"][0, 1])


def test_classes_may_come_as_one_hot_floats():
    network, batch = a_network(), a_batch([3, 1])
    exists = torch.arange(3) < batch.sizes["length"][:, None]
    floats = torch.nn.functional.one_hot(batch.fields["letters"], 4).double() * exists[..., None]
    relaxed = batch.with_fields({**batch.fields, "letters": floats})
    for name, output in network(relaxed, None, None).items():
        torch.testing.assert_close(output, network(batch, None, None)[name])


def test_time_and_conditions_have_an_effect_and_none_is_no_condition():
    network, batch = a_network(condition=CONDITION), a_batch([3, 1])
    plain = network(batch, None, None)
    given = Partial(Batch({"height": torch.ones(2, dtype=torch.float64)}, {}), {"height": torch.tensor([True, False])})
    for name, output in network(batch, None, given).items():
        assert not torch.allclose(output[0], plain[name][0])
        torch.testing.assert_close(output[1], plain[name][1])
    for name, output in network(batch, torch.tensor([0.5, 0.0]), None).items():
        assert not torch.allclose(output[0], plain[name][0])
        torch.testing.assert_close(output[1], plain[name][1])


@every_cell
def test_every_parameter_learns(cell):
    network = a_network(cell=cell, condition=CONDITION)
    given = Partial(Batch({"height": torch.ones(3)}, {}), {"height": torch.tensor([True, False, True])})
    times = torch.tensor([0.1, 0.2, 0.3])
    sum(output.square().sum() for output in network(a_batch([3, 1, 5]), times, given).values()).backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


@pytest.mark.parametrize("toy", [Graph, Grid])
def test_what_is_no_row_is_refused(toy):
    with pytest.raises(ValueError, match="reads record, sequence, not a"):
        a_network(toy().space, {"pooled": Head(1)})


def test_heads_over_grids_are_refused_by_name():
    with pytest.raises(UnsupportedSpace, match="length by slot"):
        a_network(WORDS, {"x": Head(1, (LENGTH, SLOT))})


@pytest.mark.parametrize("toy", [Record, Choices])
def test_records_are_read(toy):
    space = toy().space
    fields = {
        name: torch.ones(2, dtype=torch.double if isinstance(f, Real) else torch.long) for name, f in space.items()
    }
    outputs = a_network(space, {"slots": Head(2, (SLOT,)), "pooled": Head(1)})(Batch(fields, {}), None, None)
    assert outputs["slots"].shape == (2, 3, 2)
