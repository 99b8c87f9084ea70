"""The network over graphs: nodes and pairs, both kinds of layer, packed pairs, other axes, what it refuses."""

import subprocess
import sys
from dataclasses import replace
from functools import partial
from itertools import permutations, product

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import one_hot
from toys import Graph as ToyGraph
from toys import Points, Tokens

from molgen.backbone import CausalBackbone, Head
from molgen.backbones.attention import rotation
from molgen.backbones.graph import Graph
from molgen.backbones.graph_config import GraphConfig
from molgen.backbones.graph_convolution import Convolution
from molgen.backbones.graph_layers import Frame, PairAttention, Triangles
from molgen.backbones.graph_pairs import pairs_of
from molgen.batch import Batch, Partial, collate
from molgen.family import UnsupportedSpace
from molgen.space import Axis, Categorical, Field, Real
from molgen.testing.backbone_trial import BackboneTrial
from molgen.testing.batches import in_float64, moved, reordered, shake
from molgen.testing.collection import BACKBONE_CHECKS
from molgen.testing.drawing import draw_samples

SMALL = GraphConfig(width=24, pair_width=8, layers=2, heads=3)
ALL_FEATURES = ("cycles", "random_walk", "spectral")
CONFIGS = {
    "transformer": SMALL,
    "message passing": replace(SMALL, layer="message_passing"),
    "features": replace(SMALL, features=ALL_FEATURES),
    "messages and all else": replace(SMALL, layer="message_passing", features=ALL_FEATURES, triangles=3),
}
every_config = pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS.keys())
both_layers = pytest.mark.parametrize("config", [SMALL, CONFIGS["message passing"]], ids=["transformer", "messages"])

NODE, PART = Axis("node", 6, minimum=0, ordered=False), Axis("part", 3, ordered=False)
SLOT = Axis("slot", 3, variable=False)
BOND = Categorical((NODE, NODE), classes=3, symmetric=True)
SPACES = {
    "everything": {
        "kind": Categorical((NODE,), classes=3),
        "charge": Real((NODE,)),
        "bond": BOND,
        "total": Real(),
    },
    "directed": {"kind": Categorical((NODE,), classes=2), "arc": Categorical((NODE, NODE), classes=2)},
    "two kinds of pairs": {"bond": BOND, "distance": Real((NODE, NODE))},
    "pairs alone": {"bond": BOND},
    "numbers of pairs": {"distance": Real((NODE, NODE))},
    "two graphs": {"bond": BOND, "near": Categorical((PART, PART), classes=2)},
    "ordered nodes": {"link": Categorical((Axis("place", 5),) * 2, classes=2, symmetric=True)},
}
every_space = pytest.mark.parametrize("space", SPACES.values(), ids=SPACES.keys())


def a_network(space, heads=None, *, condition=None, config=SMALL, dtype=torch.float64):
    """A small network with weights far from their start, so that no part is without effect."""
    torch.manual_seed(0)
    heads = heads or {name: Head(4, field.axes) for name, field in space.items()} | {"pooled": Head(2)}
    network = Graph.make(space, heads, config, condition)
    shake(network)
    return network.to(dtype).eval()


def a_batch(space, sizes=(0, 6, 4, 5), seed=0):
    """Random samples; `sizes` are of the first axis that varies."""
    samples = [draw_samples(space, 2, seed + k, {"node": size})[1] for k, size in enumerate(sizes)]
    return in_float64(collate(space, samples))


def relaxed(space, batch):
    """The same batch with classes as one-hot floats."""
    classes = {name: field.classes for name, field in space.items() if isinstance(field, Categorical)}
    fields = {name: one_hot(batch.fields[name], count).double() for name, count in classes.items()}
    return batch.with_fields({**batch.fields, **fields})


def close(first, second, tolerance=1e-10):
    assert first.keys() == second.keys()
    for name in first:
        torch.testing.assert_close(first[name], second[name], rtol=0, atol=tolerance)


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


def some_pairs(space, batch):
    """The pairs of the only group of a space, whose nodes follow one other token."""
    (group,) = a_network(space).pairs
    length = next(iter(batch.fields.values())).shape[1]
    nodes = torch.arange(length) < batch.sizes["node"][:, None]
    like = torch.zeros((), dtype=torch.float64)
    return pairs_of(group, space, batch, slice(1, 1 + length), nodes, {"node": length}, like)


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


# --- layers -----------------------------------------------------------------------------------------


def a_layer(cls, *arguments):
    torch.manual_seed(0)
    layer = cls(*arguments)
    shake(layer)
    return layer.double()


def test_attention_is_biased_by_pairs_and_hears_them():
    """Token by token and head by head, with two tokens beside those of the nodes."""
    space, config = SPACES["pairs alone"], replace(SMALL, width=4, heads=2, pair_width=3)
    batch = a_batch(space, (3, 2))
    places = some_pairs(space, batch)
    layer = a_layer(PairAttention, [places.group], config)
    tokens = torch.cat([torch.ones(2, 1, dtype=torch.bool), places.nodes, torch.ones(2, 1, dtype=torch.bool)], 1)
    turns = rotation(torch.zeros(5, 0), 2, torch.zeros((), dtype=torch.float64))
    x, own = torch.randn(2, 5, 4).double(), torch.randn(2, places.exists.shape[1], 3).double()
    found = layer(x, [own], Frame(turns, tokens, [places]))
    said = places.spread(layer.say[0](own))
    for row in range(2):
        expected = _by_hand(layer, x[row], said[row], tokens[row])
        torch.testing.assert_close(found[row][tokens[row]], expected[tokens[row]])


def _by_hand(layer, x, said, exists):
    """The first and the last token are no nodes."""
    queries, keys, values = layer.attention.read(x).view(5, 3, 2, 2).unbind(1)
    inside = [t for t in range(1, 4) if exists[t]]
    present = [t for t in range(5) if exists[t]]
    found = []
    for t in range(5):
        heard, summed = [], []
        for head in range(2):
            logits = {s: queries[t, head] @ keys[s, head] / 2**0.5 for s in present}
            for s in present:
                if 1 <= t <= 3 and 1 <= s <= 3:
                    logits[s] = logits[s] + said[t - 1, s - 1, head]
            total = sum(value.exp() for value in logits.values())
            weights = {s: value.exp() / total for s, value in logits.items()}
            heard.append(sum(weights[s] * values[s, head] for s in present))
            summed.append(sum(weights[s] * _told(said, t, s, inside) for s in inside))
        summed.append(sum(_told(said, t, s, inside) for s in inside) / len(inside) ** 0.5)
        found.append(layer.attention.write(torch.cat(heard)) + layer.hear[0](torch.cat(summed)))
    return torch.stack(found)


def _told(said, t, s, inside):
    told = said[..., 2:]
    if 1 <= t <= 3:
        return told[t - 1, s - 1]
    return sum(told[s - 1, u - 1] for u in inside) / len(inside)


@pytest.mark.parametrize("name", ["pairs alone", "directed"])
@pytest.mark.parametrize("hard", [True, False])
def test_messages_pass_along_joined_pairs(name, hard):
    space = SPACES[name]
    batch = a_batch(space, (6, 2, 0, 4))
    places = some_pairs(space, batch if hard else relaxed(space, batch))
    layer = a_layer(Convolution, 5, 3)
    x, own = torch.randn(4, 6, 5).double(), torch.randn(4, places.exists.shape[1], 3).double()
    found, full = layer(x, own, places), places.spread(own)
    joined = places.spread((places.joined * places.exists)[..., None])
    for row, j in product(range(4), range(6)):
        if j >= batch.sizes["node"][row]:
            assert found[row, j].abs().sum() == 0
            continue
        heard = [joined[row, i, j] * (x[row, i] + layer.gine.lin(full[row, i, j])).relu() for i in range(6)]
        expected = layer.gine.nn((1 + layer.gine.eps) * x[row, j] + sum(heard))
        torch.testing.assert_close(found[row, j], expected[0] if expected.ndim > 1 else expected)


@pytest.mark.parametrize("name", ["pairs alone", "directed"])
def test_pairs_hear_along_their_triangles(name):
    places = some_pairs(SPACES[name], a_batch(SPACES[name], (6, 3, 0, 1)))
    layer = a_layer(Triangles, places.group, replace(SMALL, pair_width=3, triangles=2))
    own = torch.randn(4, places.exists.shape[1], 3).double()
    found = layer(own, places)
    first, second = (places.spread(layer.say(own)) * places.spread(places.exists[..., None])).chunk(2, -1)
    for row, count in enumerate((6, 3, 0, 1)):
        for place, (i, j) in enumerate(places.ends.T.tolist()):
            if max(i, j) < count:
                total = sum(first[row, i, k] * second[row, k, j] for k in range(count))
                if places.group.symmetric:
                    total = total + sum(first[row, j, k] * second[row, k, i] for k in range(count))
                torch.testing.assert_close(found[row, place], layer.hear(total / count**0.5))


def test_only_joined_pairs_are_edges_unless_gradients_flow_through_them():
    space = SPACES["pairs alone"]
    batch = a_batch(space, (6, 2))
    hard, soft = some_pairs(space, batch), some_pairs(space, relaxed(space, batch))
    assert hard.edges.index.shape[1] == (batch.fields["bond"] > 0).sum()
    assert soft.edges.index.shape[1] == 6 * 5 + 2 * 1


@every_config
def test_gradients_reach_weights_of_classes_twice(config):
    space = SPACES["everything"]
    network, batch = a_network(space, config=config), relaxed(space, a_batch(space, (4, 3)))
    leaves = {name: tensor.requires_grad_() for name, tensor in batch.fields.items()}
    with sdpa_kernel(SDPBackend.MATH):
        pooled = network(batch, None, None)["pooled"].sum()
        slopes = torch.autograd.grad(pooled, list(leaves.values()), create_graph=True)
        sum((slope**2).sum() for slope in slopes).backward()
    for name, leaf in leaves.items():
        assert torch.isfinite(leaf.grad).all(), name
        assert leaf.grad.abs().sum() > 0, name


@every_config
def test_slopes_are_those_of_small_differences(config):
    """Also at pairs that are not joined: a relaxation must be able to join them."""
    space = SPACES["pairs alone"]
    network, batch = a_network(space, config=config), relaxed(space, a_batch(space, (4,)))
    sizes = dict(batch.sizes)

    def pooled(bond):
        return network(Batch({"bond": bond}, sizes), None, None)["pooled"]

    bond = batch.fields["bond"].requires_grad_()
    assert torch.autograd.gradcheck(pooled, bond, fast_mode=True, eps=1e-7, atol=1e-5)
    (slope,) = torch.autograd.grad(pooled(bond).sum(), bond)
    apart = bond.detach()[0, ..., 0].bool() & ~torch.eye(4, dtype=torch.bool)
    assert apart.any()
    assert slope[0][apart].abs().amax(-1).amax(-1).min() > 0


@both_layers
def test_dropout_acts_in_training_only(config):
    space = SPACES["everything"]
    network, batch = a_network(space, config=replace(config, dropout=0.5)), a_batch(space)
    close(network(batch, None, None), network(batch, None, None))
    network.train()
    assert not torch.equal(*(network(batch, None, None)["pooled"] for _ in range(2)))


@every_config
def test_it_runs_in_16_bits(config):
    space = SPACES["directed"]
    network, batch = a_network(space, config=config, dtype=torch.float32), a_batch(space)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        outputs = network(batch, None, None)
        sum(output.float().square().sum() for output in outputs.values()).backward()
    exact = network(batch, None, None)
    for name, output in outputs.items():
        assert (output.float() - exact[name]).abs().max() < 0.1 * exact[name].abs().max(), name


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
    with pytest.raises(UnsupportedSpace, match="shares axes with the sample, but not 'slot'"):
        Graph(space, {"out": Head(1)}, SMALL, {"c": Real((NODE, SLOT))})


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
        "import sys; from molgen.backbones.graph import *; from molgen.space import *; "
        "axis = Axis('n', 2); space = {'x': Categorical((axis, axis))}; "
        "Graph(space, {'x': Head(1)}, GraphConfig()); assert 'torch_geometric' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
