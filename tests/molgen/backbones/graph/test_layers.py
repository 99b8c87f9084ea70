"""The layers of the network over graphs, against the same sums by hand."""

from dataclasses import replace
from itertools import product

import pytest
import torch
from support.graph_networks import (
    SMALL,
    SPACES,
    a_batch,
    a_network,
    both_layers,
    every_config,
    some_pairs,
)
from support.networks import close, relaxed
from support.slopes import require_second_slopes

from molgen.backbones.graph.convolution import Convolution
from molgen.backbones.graph.layers import GraphContext, PairAttention, Triangles
from molgen.batch import Batch
from molgen.layers.attention import rotation
from molgen.testing.batches import shake


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
    found = layer(x, [own], GraphContext(turns, tokens, [places]))
    messages = places.spread(layer.pair_projections[0](own))
    for row in range(2):
        expected = _by_hand(layer, x[row], messages[row], tokens[row])
        torch.testing.assert_close(found[row][tokens[row]], expected[tokens[row]])


def _by_hand(layer, x, messages, exists):
    """The first and the last token are no nodes."""
    queries, keys, values = layer.attention.read(x).view(5, 3, 2, 2).unbind(1)
    inside = [t for t in range(1, 4) if exists[t]]
    present = [t for t in range(5) if exists[t]]
    found = []
    for t in range(5):
        read, summed = [], []
        for head in range(2):
            logits = {s: queries[t, head] @ keys[s, head] / 2**0.5 for s in present}
            for s in present:
                if 1 <= t <= 3 and 1 <= s <= 3:
                    logits[s] = logits[s] + messages[t - 1, s - 1, head]
            total = sum(value.exp() for value in logits.values())
            weights = {s: value.exp() / total for s, value in logits.items()}
            read.append(sum(weights[s] * values[s, head] for s in present))
            summed.append(sum(weights[s] * _message(messages, t, s, inside) for s in inside))
        summed.append(sum(_message(messages, t, s, inside) for s in inside) / len(inside) ** 0.5)
        found.append(layer.attention.write(torch.cat(read)) + layer.message_projections[0](torch.cat(summed)))
    return torch.stack(found)


def _message(messages, t, s, inside):
    told = messages[..., 2:]
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
        read = [joined[row, i, j] * (x[row, i] + layer.gine.lin(full[row, i, j])).relu() for i in range(6)]
        expected = layer.gine.nn((1 + layer.gine.eps) * x[row, j] + sum(read))
        torch.testing.assert_close(found[row, j], expected[0] if expected.ndim > 1 else expected)


@pytest.mark.parametrize("name", ["pairs alone", "directed"])
def test_pairs_hear_along_their_triangles(name):
    places = some_pairs(SPACES[name], a_batch(SPACES[name], (6, 3, 0, 1)))
    layer = a_layer(Triangles, places.group, replace(SMALL, pair_width=3, triangles=2))
    own = torch.randn(4, places.exists.shape[1], 3).double()
    found = layer(own, places)
    first, second = (places.spread(layer.projection(own)) * places.spread(places.exists[..., None])).chunk(2, -1)
    for row, count in enumerate((6, 3, 0, 1)):
        for place, (i, j) in enumerate(places.ends.T.tolist()):
            if max(i, j) < count:
                total = sum(first[row, i, k] * second[row, k, j] for k in range(count))
                if places.group.symmetric:
                    total = total + sum(first[row, j, k] * second[row, k, i] for k in range(count))
                torch.testing.assert_close(found[row, place], layer.output(total / count**0.5))


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
    require_second_slopes(network, batch)


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
