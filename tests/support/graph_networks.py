"""Small networks over graphs, and batches for them."""

from dataclasses import replace

import pytest
import torch

from molgen.backbone import Head
from molgen.backbones.graph.config import GraphConfig
from molgen.backbones.graph.network import Graph
from molgen.backbones.graph.pairs import pairs_of
from molgen.batch import collate
from molgen.space import Axis, Categorical, Real
from molgen.testing.batches import in_float64, shake
from molgen.testing.random_samples import draw_samples

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


def some_pairs(space, batch):
    """The pairs of the only group of a space, whose nodes follow one other token."""
    (group,) = a_network(space).pairs
    length = next(iter(batch.fields.values())).shape[1]
    nodes = torch.arange(length) < batch.sizes["node"][:, None]
    like = torch.zeros((), dtype=torch.float64)
    return pairs_of(group, space, batch, slice(1, 1 + length), nodes, {"node": length}, like)
