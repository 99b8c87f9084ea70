"""The network over graphs: its contract, packed pairs, and what it refuses."""

import subprocess
import sys
from dataclasses import replace
from functools import partial
from itertools import permutations, product

import pytest
import torch
from support.graph_networks import (
    BOND,
    CONFIGS,
    NODE,
    SLOT,
    SMALL,
    SPACES,
    a_batch,
    a_network,
    every_config,
    some_pairs,
)
from support.networks import close, relaxed
from support.toys import Graph as ToyGraph
from support.toys import Points, Tokens

from molgen.backbone import CausalBackbone, Head
from molgen.backbones.graph.config import GraphConfig
from molgen.backbones.graph.network import Graph
from molgen.batch import Batch, Partial
from molgen.errors import UnsupportedSpace
from molgen.space import Axis, Categorical, Field, Real
from molgen.testing.batches import moved, reordered
from molgen.testing.fixtures import BackboneTrial
from molgen.testing.suites import BACKBONE_CHECKS

# --- the contract -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("space", "config", "check"),
    [
        pytest.param(space, config, check, id=f"{check.__name__}-{space}-{config}")
        for space, config, check in product(SPACES, ["transformer", "messages and all else"], BACKBONE_CHECKS)
    ],
)
def test_the_contract_holds_over_graphs_of_all_kinds(space, config, check):
    check(BackboneTrial(Graph, CONFIGS[config], SPACES[space]))


PLACED = {"colour": Categorical((NODE,), classes=3), "near": Categorical((NODE, NODE), 2, symmetric=True)}


@every_config
@pytest.mark.parametrize("name", ["everything", "directed", "two kinds of pairs"])
def test_outputs_move_with_the_nodes(name, config):
    space = SPACES[name]
    network, batch = a_network(space, config=config, condition=PLACED), a_batch(space, (4, 4))
    given = a_batch(PLACED, (4, 4), seed=1)
    everywhere = {name: tensor >= 0 for name, tensor in given.fields.items()}
    time = torch.tensor([0.2, 0.7])
    before = network(batch, time, Partial(given, everywhere))
    for order in list(permutations(range(4)))[1::4]:
        order = {"node": torch.tensor(order)}
        after = network(moved(space, batch, order), time, Partial(moved(PLACED, given, order), everywhere))
        fields = {name: reordered(field, before[name], order) for name, field in space.items()}
        close({**fields, "pooled": before["pooled"]}, after)


def test_a_condition_over_nodes_and_pairs_is_read_place_by_place():
    space = SPACES["everything"]
    network, batch = a_network(space, condition=PLACED), a_batch(space, (4,))
    given = a_batch(PLACED, (4,), seed=1)
    none = {name: torch.zeros_like(tensor, dtype=torch.bool) for name, tensor in given.fields.items()}
    pair = torch.zeros(1, 4, 4, dtype=torch.bool)
    pair[0, 0, 1] = pair[0, 1, 0] = True
    before = network(batch, None, Partial(given, none))["bond"]
    after = network(batch, None, Partial(given, {"near": pair}))["bond"]
    changed = (before - after).abs().amax(-1)[0]
    assert changed[0, 1] == changed.max() > 0


@every_config
@pytest.mark.parametrize("name", ["everything", "two kinds of pairs"])
def test_a_symmetric_field_has_one_output_for_both_orders(name, config):
    outputs = a_network(SPACES[name], config=config)(a_batch(SPACES[name]), None, None)["bond"]
    assert torch.equal(outputs, outputs.transpose(1, 2))
    assert outputs[1, 0, 1].abs().min() > 0


@every_config
def test_the_two_orders_of_a_directed_pair_differ(config):
    space = SPACES["directed"]
    outputs = a_network(space, config=config)(a_batch(space), None, None)["arc"]
    assert (outputs - outputs.transpose(1, 2)).abs().amax(-1)[1, 1, 2] > 1e-4


@every_config
def test_graphs_of_the_same_nodes_differ_by_what_is_joined(config):
    """A path of two bonds beside two lone nodes, and two bonds that share no node."""
    bonds = torch.zeros(2, 5, 5, dtype=torch.long)
    for row, pairs in enumerate([((0, 1), (1, 2)), ((0, 1), (2, 3))]):
        for i, j in pairs:
            bonds[row, i, j] = bonds[row, j, i] = 1
    network = a_network({"bond": BOND}, config=config)
    pooled = network(Batch({"bond": bonds}, {"node": torch.tensor([5, 5])}), None, None)["pooled"]
    assert (pooled[0] - pooled[1]).abs().max() > 1e-4


@every_config
def test_float32_is_as_good_as_it_can_be(config):
    space = SPACES["everything"]
    batch = a_batch(space)
    exact = a_network(space, config=config)(batch, None, None)
    single = batch.with_fields({n: t.float() if t.is_floating_point() else t for n, t in batch.fields.items()})
    found = a_network(space, config=config, dtype=torch.float32)(single, None, None)
    close({name: tensor.double() for name, tensor in found.items()}, exact, 2e-4)


# --- other axes ------------------------------------------------------------------------------------


@every_config
@pytest.mark.parametrize("layers", [1, 2])
def test_an_encoder_writes_slots_and_every_weight_of_it_learns(config, layers):
    space = SPACES["everything"]
    network = a_network(space, {"latent": Head(6, (SLOT,))}, config=replace(config, layers=layers))
    batch = a_batch(space, (6, 5, 6, 5))
    outputs = network(batch, torch.rand(4), None)["latent"]
    assert outputs.shape == (4, 3, 6)
    assert (outputs[:, 0] - outputs[:, 1]).abs().amax(-1).min() > 1e-4
    (outputs**2).sum().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


@every_config
def test_a_decoder_writes_nodes_and_pairs_of_the_sizes_that_the_batch_says(config):
    node = replace(NODE, ordered=True)
    latent = {"latent": Real((SLOT,), channels=(4,))}
    heads = {"kind": Head(3, (node,)), "bond": Head(2, (node, node))}
    network = a_network(latent, heads, config=config)
    batch = Batch(a_batch(latent).fields, {"node": torch.tensor([0, 6, 2, 5])})
    outputs = network(batch, None, None)
    assert {name: tuple(tensor.shape) for name, tensor in outputs.items()} == {"kind": (4, 6, 3), "bond": (4, 6, 6, 2)}
    assert outputs["kind"][2, 2:].abs().sum() == outputs["bond"][2, 2:].abs().sum() == 0
    assert torch.cdist(outputs["kind"][1], outputs["kind"][1]).fill_diagonal_(1).min() > 1e-4
    assert (outputs["bond"][1, 0, 1] - outputs["bond"][1, 2, 3]).abs().max() > 1e-4
    assert (outputs["kind"][1] - outputs["kind"][3]).abs().amax(-1)[:5].min() > 1e-4


# --- packed pairs -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "stored"), [("pairs alone", 15), ("directed", 36)])
def test_pairs_are_stored_once_where_both_orders_are_one(name, stored):
    places = some_pairs(SPACES[name], a_batch(SPACES[name]))
    assert places.exists.shape == (4, stored)
    values = torch.randn(4, stored, 2)
    full = places.spread(values)
    for place, (i, j) in enumerate(places.ends.T.tolist()):
        assert torch.equal(full[:, i, j], values[:, place])
        if name == "pairs alone":
            assert torch.equal(full[:, j, i], values[:, place])
    if name == "pairs alone":
        assert full.diagonal(dim1=1, dim2=2).abs().sum() == 0


@pytest.mark.parametrize("name", ["pairs alone", "directed", "two kinds of pairs"])
def test_nodes_are_joined_where_a_class_is_not_0(name):
    space = SPACES[name]
    batch = a_batch(space)
    (field,) = set(space) & {"bond", "arc"}
    joined = batch.fields[field] > 0
    either = (joined | joined.transpose(1, 2)) & ~torch.eye(6, dtype=torch.bool)
    for own in (batch, relaxed(space, batch)):
        assert torch.equal(some_pairs(space, own).adjacency, either.double())


def test_weights_of_two_fields_join_as_independent_events():
    space = {"bond": BOND, "hint": replace(BOND, classes=2)}
    fields = {name: torch.rand(1, 3, 3, field.classes, dtype=torch.float64) for name, field in space.items()}
    fields = {name: (x + x.transpose(1, 2)).softmax(-1) for name, x in fields.items()}
    found = some_pairs(space, Batch(fields, {"node": torch.tensor([3])})).adjacency[0]
    expected = 1 - fields["bond"][0, ..., 0] * fields["hint"][0, ..., 0]
    torch.testing.assert_close(found, expected * (1 - torch.eye(3)))


def kept_bytes(symmetric, nodes, config):
    """The memory of what one sample keeps for the gradient beside the weights, in bytes."""
    axis = Axis("node", nodes, ordered=False)
    space = {"bond": Categorical((axis, axis), classes=4, symmetric=symmetric)}
    network = Graph.make(space, {"bond": Head(4, (axis, axis))}, config)
    own = {parameter.untyped_storage().data_ptr() for parameter in network.parameters()}
    batch = Batch({"bond": torch.zeros(1, nodes, nodes, dtype=torch.long)}, {"node": torch.tensor([nodes])})
    kept = {}

    def keep(tensor):
        kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        outputs = network(batch, None, None)
    assert outputs["bond"].requires_grad
    return sum(tensor.untyped_storage().nbytes() for place, tensor in kept.items() if place not in own)


def bytes_of_a_layer(symmetric, nodes):
    config = GraphConfig(width=16, pair_width=32, heads=8, layers=1)
    less, more = (kept_bytes(symmetric, nodes, replace(config, layers=layers)) for layers in (1, 3))
    return (more - less) / 2


def test_pairs_take_the_memory_that_is_stated():
    """Second differences over the number of nodes leave only what grows with its square."""
    of_order = {}
    for symmetric in (True, False):
        small, middle, large = (bytes_of_a_layer(symmetric, nodes) for nodes in (20, 30, 40))
        of_order[symmetric] = (large - 2 * middle + small) / (2 * 10**2)
    stored, spread = 4 * 18 * 32, 4 * (32 + 5 * 8)
    assert of_order[True] == pytest.approx(stored / 2 + spread, rel=0.05)
    assert of_order[False] == pytest.approx(stored + spread, rel=0.05)


# --- what it refuses, and the other ways ------------------------------------------------------------


def test_what_it_cannot_read_is_refused():
    space = SPACES["everything"]
    with pytest.raises(UnsupportedSpace, match="not over node by slot; choose another backbone, such as transformer"):
        Graph(space, {"out": Head(1, (NODE, SLOT))}, SMALL)
    with pytest.raises(UnsupportedSpace, match="not equivariant"):
        Graph(space, {"out": Head(3, rotates=True)}, SMALL)
    with pytest.raises(ValueError, match="not a points"):
        Graph(Points().space, {"out": Head(1)}, SMALL)
    with pytest.raises(UnsupportedSpace, match="no field of kind Field"):
        Graph({"x": Field((NODE, NODE))}, {"out": Head(1)}, SMALL)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"width": 25}, "width 25 must be a multiple"),
        ({"pair_width": 0}, "pair_width must be"),
        ({"layers": 0}, "layers must be"),
        ({"dropout": 1.0}, "dropout must be"),
        ({"triangles": -1}, "triangles must be"),
        ({"features": ("cycles", "cycles")}, "twice"),
        ({"layer": "gine"}, "no layer 'gine'; known: transformer, message_passing"),
        ({"features": ("rings",)}, "no feature 'rings'; known: cycles, random_walk, spectral"),
    ],
)
def test_settings_without_meaning_are_refused(setting, message):
    with pytest.raises(ValueError, match=message):
        Graph(SPACES["pairs alone"], {"out": Head(1)}, replace(SMALL, **setting))


def test_one_name_serves_both_ways():
    for toy, head in ((ToyGraph, "atoms"), (Tokens, "letters")):
        make = partial(Graph.make, toy().space, {head: Head(4, toy().space[head].axes)}, SMALL)
        assert isinstance(make(causal=True), CausalBackbone)
        assert isinstance(make(), Graph)


def test_only_who_passes_messages_imports_torch_geometric():
    script = (
        "import sys; from molgen.backbones.graph.network import *; from molgen.space import *; "
        "axis = Axis('n', 2); space = {'x': Categorical((axis, axis))}; "
        "Graph(space, {'x': Head(1)}, GraphConfig()); assert 'torch_geometric' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
