"""What every network does for families, whatever it is made of."""

from dataclasses import replace

import pytest
import torch

from molgen import registry
from molgen.backbone import Backbone, Head, default_backbone, default_network, fitting_batch_size, make_build
from molgen.backbones.transformer.network import Transformer
from molgen.backbones.unet.network import UNet
from molgen.batch import Batch
from molgen.ordering import batch_to_tokens
from molgen.space import Axis, Categorical, Layout, Real
from molgen.testing.batches import CONDITION, asked_for, shake
from molgen.testing.checks import Skipped
from molgen.testing.fixtures import WIDTH, BackboneTrial, tiny_config
from molgen.testing.spaces import SPACES

NETWORKS = [
    pytest.param(name, causal, space, id=f"{name} {'causal' if causal else 'at once'} {space}")
    for name in registry.names("backbone")
    for causal in (False, True)
    for space in ("words", "bitmap", "graph", "record")
]


@pytest.mark.parametrize(("name", "causal", "space"), NETWORKS)
def test_outputs_start_from_the_bias_that_is_set(name, causal, space):
    """With the weights of the last layer at zero the output is the bias, at every place that exists."""
    cls = registry.get("backbone", name)
    trial = BackboneTrial(cls, tiny_config(cls), SPACES[space], causal)
    try:
        network = trial.network(None)
    except (Skipped, ValueError) as reason:
        pytest.skip(str(reason))
    given = {field: torch.arange(1.0, WIDTH) + number for number, field in enumerate(trial.heads)}
    with torch.no_grad():
        for field, values in given.items():
            network.heads[field].weight.zero_()
            network.output_bias(field)[:, -1] = 7
            network.set_output_bias(field, values)
        batch = batch_to_tokens(trial.space, trial.batch) if causal else trial.batch
        outputs = network(batch, None, None)
    for field, values in given.items():
        expected = torch.tensor([*values.tolist(), 7.0], dtype=torch.float64)
        found = outputs[field].flatten(0, -2).unique(dim=0)
        assert {tuple(row) for row in found.tolist()} <= {tuple(expected.tolist()), (0.0,) * WIDTH}
        assert tuple(expected.tolist()) in {tuple(row) for row in found.tolist()}


def test_a_network_without_an_output_bias_leaves_the_start_out():
    class Constant(Backbone):
        layouts = frozenset()

        def __init__(self):
            torch.nn.Module.__init__(self)
            self.outputs = {"x": Head(2)}

        def forward(self, batch, time, condition):
            return {"x": torch.zeros(len(batch), 2)}

    assert Constant().output_bias("x") is None
    Constant().set_output_bias("x", torch.ones(2))


# --- which network serves what ----------------------------------------------------------------------

NODE = Axis("node", 9, ordered=False)


def row(length, name="n"):
    return {"x": Categorical((Axis(name, length),), classes=4)}


@pytest.mark.parametrize(
    ("space", "causal", "at_once"),
    [
        ({"x": Real(), "y": Categorical(classes=2)}, "recurrent", "transformer"),
        (row(1024), "recurrent", "transformer"),
        (row(4100), "wavenet", "unet"),
        ({"x": Real((NODE,)), "at": Real((NODE,), channels=(3,))}, "recurrent", "transformer"),
        ({"x": Real((Axis("h", 28), Axis("w", 28)))}, "unet", "unet"),
        ({"bond": Categorical((NODE, NODE), classes=2, symmetric=True)}, "recurrent", "graph"),
        ({"at": Real((NODE,), channels=(3,), rotates=True)}, "transformer", "equivariant"),
        ({}, "recurrent", "transformer"),
    ],
)
def test_the_default_network_follows_layout_and_size(space, causal, at_once):
    assert default_backbone(space, causal=True).name == causal
    assert default_backbone(space, causal=False).name == at_once


def test_long_sequences_are_learned_from_few_at_a_time():
    assert [fitting_batch_size(row(n), True, 128) for n in (1024, 1025, 8192, 100_000)] == [128, 63, 8, 1]
    assert fitting_batch_size(row(8192), False, 4) == 4
    assert fitting_batch_size({"x": Real((Axis("h", 280), Axis("w", 280)))}, False, 128) == 128


def test_the_default_of_a_long_sequence_sees_all_of_it():
    """The first choice reaches the last output, and attention has few places."""
    config = default_network(row(4100), causal=True)[1]
    assert config.reach >= 4100 > replace(config, levels=config.levels - 1).reach
    config = default_network(row(5306), causal=False)[1]
    assert 64 < 5306 / 2 ** (config.levels - 1) <= 128


@pytest.mark.parametrize("length", [4100, 5306])
def test_the_default_of_a_long_sequence_encodes_it_into_slots(length):
    space, slots = row(length), (Axis("slot", 8, variable=False),)
    backbone, config = default_network(space, causal=False)
    build = make_build(backbone, config, None, space)
    batch = Batch({"x": torch.zeros(2, 60, dtype=torch.long)}, {"n": torch.tensor([60, 7])})
    latent = build(space, {"z": Head(3, slots)})(batch, None, None)["z"]
    assert latent.shape == (2, 8, 3)
    decoder = build({"z": Real(slots, channels=(3,))}, {"x": Head(4, space["x"].axes)})
    assert decoder(Batch({"z": latent}, batch.sizes), None, None)["x"].shape == (2, 60, 4)


class SetsOnly(Transformer):
    """What a third party may write: it reads one layout."""

    layouts = frozenset({Layout.SET})


SET = {"x": Real((NODE,))}


@pytest.mark.parametrize(
    ("inputs", "outputs", "found"),
    [
        (SET, {"scalar": Head(1)}, SetsOnly),
        ({"noise": Real()}, {"x": Head(2, (NODE,))}, Transformer),
        (row(7), {"x": Head(2, (NODE,))}, Transformer),
        (row(4100), {"scalar": Head(1)}, UNet),
        ({"noise": Real()}, {"x": Head(2, (Axis("h", 8), Axis("w", 6)))}, UNet),
    ],
)
def test_inputs_of_another_layout_get_the_network_that_fits(inputs, outputs, found):
    build = make_build(SetsOnly, Transformer.Config(width=12, layers=1, heads=2), None, SET)
    assert type(build(inputs, outputs)) is found


def test_a_network_that_cannot_read_the_samples_is_refused():
    build = make_build(SetsOnly, Transformer.Config(width=12, layers=1, heads=2), None, row(7))
    with pytest.raises(ValueError, match="SetsOnly reads set, not a sequence"):
        build(row(7), {"x": Head(1)})


@pytest.mark.parametrize("name", ["graph", "recurrent", "transformer", "unet"])
def test_nothing_to_read_is_no_obstacle(name):
    """A network without inputs writes what follows from conditions and sizes; rows do not see each other."""
    axis, cls = Axis("n", 6), registry.get("backbone", name)
    torch.manual_seed(0)
    heads = {"x": Head(2, (axis,)), "fixed": Head(2, (Axis("m", 3, variable=False),))}
    network = cls.make({}, heads, tiny_config(cls), CONDITION)
    shake(network)
    condition = asked_for(3)
    outputs = network(Batch({}, {"n": torch.tensor([2, 5, 3])}), None, condition)
    assert outputs["x"].shape == (3, 5, 2)
    assert not torch.allclose(outputs["x"][0, :2], outputs["x"][1, :2])
    alone = network(Batch({}, {"n": torch.tensor([3])}), None, condition.take(torch.tensor([2])))
    torch.testing.assert_close(alone["x"][0], outputs["x"][2, :3], atol=1e-5, rtol=1e-4)
    fixed = cls.make({}, {"fixed": heads["fixed"]}, tiny_config(cls), CONDITION)
    assert fixed(Batch({}, {}), None, condition)["fixed"].shape == (3, 3, 2)
    with pytest.raises(ValueError, match="as many rows as its condition"):
        fixed(Batch({}, {}), None, None)


# --- states from before -----------------------------------------------------------------------------

OLD_NAMES = {
    "transformer": {"incidence.to_indices.": "incidence.hear.", "incidence.to_tokens.": "incidence.tell."},
    "graph": {
        "exchange.pair_projections.": "exchange.say.",
        "exchange.message_projections.": "exchange.hear.",
        "triangles.projection.": "triangles.say.",
        "triangles.output.": "triangles.hear.",
        ".node_projections.": ".say.",
    },
}


@pytest.mark.parametrize("name", OLD_NAMES)
def test_states_with_former_names_load(name):
    cls = registry.get("backbone", name)
    config = tiny_config(cls)
    if name == "graph":
        config = replace(config, triangles=2)
    state = BackboneTrial(cls, config, SPACES["graph"]).network().state_dict()
    former = dict(state)
    for new, old in OLD_NAMES[name].items():
        assert any(new in key for key in state)
        former = {key.replace(new, old): tensor for key, tensor in former.items()}
    assert former.keys() != state.keys()
    other = BackboneTrial(cls, config, SPACES["graph"]).network(seed=1)
    other.load_state_dict(former)
    assert all(torch.equal(tensor, state[key]) for key, tensor in other.state_dict().items())
