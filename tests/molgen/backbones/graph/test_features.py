"""What is counted of a graph, against counting one by one."""

from itertools import combinations, permutations, product
from math import factorial

import pytest
import torch
from support.graph_networks import CONFIGS, a_network
from torch.nn.functional import one_hot

from molgen.backbones.graph.features import (
    FEATURES,
    TIMES,
    Cycles,
    RandomWalk,
    Spectral,
    cycle_counts,
    heat_kernels,
    walk_probabilities,
)
from molgen.batch import Batch
from molgen.space import Axis, Categorical

#: How many nodes the graphs of these tests have, in matrices of one more.
SIZES = (1, 2, 6, 6, 6, 5, 6)
EXISTS = torch.arange(7) < torch.tensor(SIZES)[:, None]


def graphs(soft):
    """Graphs without, with some and with all pairs joined, by random weights or fully."""
    torch.manual_seed(0)
    share = torch.tensor([1.0, 1.0, 0.3, 0.5, 0.7, 1.0, 0.0])[:, None, None]
    joined = (torch.rand(7, 7, 7, dtype=torch.float64) < share).double()
    joined = (joined * torch.rand_like(joined) if soft else joined).tril(-1)
    return (joined + joined.transpose(1, 2)) * EXISTS[:, None] * EXISTS[:, :, None]


def cycles_one_by_one(a):
    """Over all closed sequences of distinct nodes; each cycle is one in two directions."""
    found = torch.zeros(3, len(a), dtype=a.dtype)
    for length in (3, 4, 5):
        nodes = torch.tensor(list(permutations(range(len(a)), length)))
        found[length - 3].index_add_(0, nodes[:, 0], a[nodes, nodes.roll(-1, 1)].prod(1) / 2)
    return found.T


@pytest.mark.parametrize("soft", [False, True])
def test_cycles_are_those_that_one_finds_one_by_one(soft):
    a = graphs(soft)
    expected = torch.stack([cycles_one_by_one(each) for each in a])
    torch.testing.assert_close(cycle_counts(a), expected, rtol=1e-10, atol=1e-10)
    found = Cycles(7)(a, EXISTS)
    torch.testing.assert_close(found.nodes.sinh(), expected, rtol=1e-8, atol=1e-10)
    torch.testing.assert_close(found.whole.sinh(), expected.sum(1) / torch.tensor([3, 4, 5]), rtol=1e-8, atol=1e-10)
    if not soft:
        complete = torch.tensor([factorial(4) // factorial(4 - k) / 2 for k in (2, 3, 4)])
        torch.testing.assert_close(expected[5, 0], complete.double())


def test_of_weights_the_counts_are_expected_numbers_of_cycles():
    """Over all 1024 graphs of 5 nodes, whose pairs are joined independently."""
    a = graphs(True)[5:6, :5, :5]
    pairs = torch.tensor(list(combinations(range(5), 2))).T
    joined = torch.tensor(list(product([0.0, 1.0], repeat=10)), dtype=torch.float64)
    weight = torch.where(joined == 1, a[0][pairs[0], pairs[1]], 1 - a[0][pairs[0], pairs[1]]).prod(1)
    every = torch.zeros(1024, 5, 5, dtype=torch.float64)
    every[:, pairs[0], pairs[1]] = every[:, pairs[1], pairs[0]] = joined
    expected = (weight[:, None, None] * cycle_counts(every)).sum(0)
    torch.testing.assert_close(cycle_counts(a)[0], expected)


def test_walks_are_the_sums_over_all_their_ways():
    a = graphs(False)[3:4, :6, :6]
    found = walk_probabilities(a, 3)[0]
    degree = a[0].sum(-1)
    for i, j in product(range(6), repeat=2):
        for steps in (1, 2, 3):
            total = 0.0
            for way in product(range(6), repeat=steps - 1):
                nodes = (i, *way, j)
                if all(a[0][nodes[k], nodes[k + 1]] for k in range(steps)):
                    total += 1 / torch.stack([degree[node] for node in nodes[:-1]]).prod()
            assert found[i, j, steps - 1] == pytest.approx(float(total), abs=1e-12)


def test_a_walk_on_weights_goes_somewhere_or_stops():
    total = walk_probabilities(graphs(True), 4).sum(2)
    assert total.min() >= 0
    assert total.max() <= 1 + 1e-12
    found = RandomWalk(7)(graphs(False), EXISTS)
    torch.testing.assert_close(found.nodes[..., 0], walk_probabilities(graphs(False), 2).diagonal(dim1=1, dim2=2)[:, 1])
    torch.testing.assert_close(found.pairs, found.pairs.transpose(1, 2))


@pytest.mark.parametrize("soft", [False, True])
def test_heat_follows_the_eigenvectors_of_the_laplacian(soft):
    a = graphs(soft)
    values, vectors = torch.linalg.eigh(torch.diag_embed(a.sum(-1)) - a)
    found, last = heat_kernels(a, TIMES)
    for k in range(TIMES + 1):
        heat = (-(0.5 * 2**k) * values).exp()
        expected = vectors @ torch.diag_embed(heat) @ vectors.transpose(1, 2)
        torch.testing.assert_close(found[..., k] if k < TIMES else last, expected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_trace_of_late_heat_is_the_number_of_components(dtype):
    """The path of most nodes is where heat is slowest."""
    longest = torch.zeros(1, 40, 40).diagonal_scatter(torch.ones(1, 39), 1, 1, 2)
    cases = [(graphs(False), EXISTS), (longest + longest.transpose(1, 2), torch.ones(1, 40, dtype=torch.bool))]
    for a, exists in cases:
        expected = [components(each[own][:, own]) for each, own in zip(a, exists, strict=True)]
        found = Spectral(a.shape[1])(a.to(dtype), exists).whole[:, -1].expm1()
        torch.testing.assert_close(found, torch.tensor(expected, dtype=dtype), rtol=0, atol=2e-3)


def components(a):
    reached = torch.eye(len(a), dtype=torch.bool) | (a > 0)
    for _ in range(len(a)):
        reached = (reached.double() @ reached.double()) > 0
    return len({tuple(row) for row in reached.tolist()})


@pytest.mark.parametrize("name", FEATURES)
def test_features_have_their_widths_and_move_with_the_nodes(name):
    feature, a = FEATURES[name](7), graphs(True)
    order = torch.randperm(7, generator=torch.Generator().manual_seed(1))
    found, after = feature(a, EXISTS), feature(a[:, order][:, :, order], EXISTS[:, order])
    assert [part.shape[-1] for part in found] == list(feature.widths)
    torch.testing.assert_close(after.nodes, found.nodes[:, order])
    torch.testing.assert_close(after.pairs, found.pairs[:, order][:, :, order])
    torch.testing.assert_close(after.whole, found.whole)


@pytest.mark.parametrize("name", FEATURES)
def test_padding_changes_no_feature(name):
    feature, a = FEATURES[name](7), graphs(True)
    found, less = feature(a[:1], EXISTS[:1]), feature(a[:1, :1, :1], EXISTS[:1, :1])
    torch.testing.assert_close(found.nodes[:, :1], less.nodes)
    torch.testing.assert_close(found.pairs[:, :1, :1], less.pairs)
    torch.testing.assert_close(found.whole, less.whole)


@pytest.mark.parametrize("name", FEATURES)
@pytest.mark.parametrize("soft", [False, True])
def test_gradients_flow_through_features(name, soft):
    """Also where nothing is joined, and where eigenvalues are equal."""
    feature, a = FEATURES[name](7), graphs(soft).requires_grad_()
    sum((part**2).sum() for part in feature(a, EXISTS)).backward()
    assert torch.isfinite(a.grad).all()
    assert a.grad[2].abs().sum() > 0


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("kind", ["ids", "probabilities", "hard with slopes", "logits", "noised"])
def test_features_of_relaxed_classes_are_finite_with_their_slopes(kind, dtype):
    """Also of floats that are no shares of one, as noise and the last layer of a generator give them."""
    space = {"bond": Categorical((Axis("node", 30, ordered=False),) * 2, classes=3, symmetric=True)}
    network = a_network(space, config=CONFIGS["features"], dtype=dtype)
    torch.manual_seed(0)
    raw = torch.randn(2, 30, 30, 3, dtype=dtype)
    raw = ((raw + raw.transpose(1, 2)) / 2).requires_grad_()
    soft, hard = raw.softmax(-1), one_hot(raw.argmax(-1), 3).to(dtype)
    values = {
        "ids": hard + 0 * raw,
        "probabilities": soft,
        "hard with slopes": hard + soft - soft.detach(),
        "logits": raw,
        "noised": hard + raw,
    }[kind]
    outputs = network(Batch({"bond": values}, {"node": torch.tensor([30, 7])}), None, None)
    sum(output.square().sum() for output in outputs.values()).backward()
    for found in [*outputs.values(), raw.grad]:
        assert torch.isfinite(found).all()
    if kind != "ids":
        assert 0 < raw.grad.abs().max() < 1e5
