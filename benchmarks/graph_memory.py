"""Time and memory for each sample of the networks over graphs, by the number of atoms.

    python benchmarks/graph_memory.py --nodes 9 20 38

A step of training is measured, forward and backward, on random graphs that all have one size: seconds, and the bytes
that are kept for the gradient beside the weights. `pair tokens` is the backbone `transformer`, in which each pair is a
token; `unpacked` has bonds that are not declared symmetric, so that both orders are stored.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

import torch
from common import write_result
from torch import Tensor

from molgen.backbone import Backbone, Head
from molgen.backbones.graph.config import GraphConfig
from molgen.backbones.graph.network import Graph
from molgen.backbones.transformer.config import TransformerConfig
from molgen.backbones.transformer.network import Transformer
from molgen.batch import Batch
from molgen.space import Axis, Categorical

ELEMENTS, ORDERS = 10, 5
#: How many of the pairs have a bond, times the number of atoms.
BONDS_OF_AN_ATOM = 2.2
WIDTH, PAIR_WIDTH, HEADS = 128, 32, 8


def main() -> None:
    """Measure every network at every size, write the result file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nodes", type=int, nargs="+", default=[9, 20, 38])
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--rows", type=int, default=64, help="graphs of a step; the pair tokens get as few as fit")
    parser.add_argument("--steps", type=int, default=3)
    args = parser.parse_args()
    figures = {
        f"{nodes} atoms": {name: measured(make, nodes, args) for name, make in networks(args.layers).items()}
        for nodes in args.nodes
    }
    write_result("graph_memory", {"width": WIDTH, "pair width": PAIR_WIDTH, "layers": args.layers, "sizes": figures})


def networks(layers: int) -> dict[str, Callable[[int], Backbone]]:
    """What makes a network for graphs of a size."""

    def graph(symmetric: bool = True, **settings: Any) -> Callable[[int], Backbone]:
        config = GraphConfig(width=WIDTH, pair_width=PAIR_WIDTH, layers=layers, heads=HEADS, **settings)
        return lambda nodes: _network(Graph, config, nodes, symmetric)

    tokens = TransformerConfig(width=WIDTH, layers=layers, heads=HEADS, most_elements=10**6)
    return {
        "graph": graph(),
        "graph with features": graph(features=("cycles", "random_walk", "spectral")),
        "message passing": graph(layer="message_passing"),
        "unpacked": graph(symmetric=False),
        "pair tokens": lambda nodes: _network(Transformer, tokens, nodes, True),
    }


def _network(cls: type[Backbone], config: Any, nodes: int, symmetric: bool) -> Backbone:
    axis = Axis("atom", nodes, ordered=False)
    space = {"atoms": Categorical((axis,), ELEMENTS), "bonds": Categorical((axis, axis), ORDERS, symmetric)}
    heads = {name: Head(field.classes, field.axes) for name, field in space.items()}
    torch.manual_seed(0)
    return cls.make(space, heads, config)


def measured(make: Callable[[int], Backbone], nodes: int, args: argparse.Namespace) -> dict[str, float]:
    """Seconds of a training step and of a pass forward, and kept bytes, for each graph."""
    network = make(nodes)
    rows = args.rows if isinstance(network, Graph) else max(1, min(args.rows, 10**5 // nodes**3))
    batch = graphs(nodes, rows)
    kept = kept_bytes(network, batch)
    forward = _seconds(lambda: _loss(network, batch).detach(), args.steps)
    step = _seconds(lambda: _loss(network, batch).backward(), args.steps)
    with torch.no_grad():
        sampling = _seconds(lambda: _loss(network, batch), args.steps)
    return {
        "rows": rows,
        "kept bytes per graph": kept / rows,
        "milliseconds per graph, forward and backward": 1000 * step / rows,
        "milliseconds per graph, forward": 1000 * forward / rows,
        "milliseconds per graph, forward without gradients": 1000 * sampling / rows,
    }


def graphs(nodes: int, rows: int) -> Batch:
    """Random graphs with about as many bonds as molecules have."""
    generator = torch.Generator().manual_seed(0)
    joined = torch.rand(rows, nodes, nodes, generator=generator) < BONDS_OF_AN_ATOM / nodes
    bonds = (torch.randint(1, ORDERS, (rows, nodes, nodes), generator=generator) * joined).tril(-1)
    atoms = torch.randint(ELEMENTS, (rows, nodes), generator=generator)
    return Batch({"atoms": atoms, "bonds": bonds + bonds.transpose(1, 2)}, {"atom": torch.full((rows,), nodes)})


def kept_bytes(network: Backbone, batch: Batch) -> int:
    """The memory of what a pass forward keeps for the gradient, beside the weights."""
    weights = {parameter.untyped_storage().data_ptr() for parameter in network.parameters()}
    kept: dict[int, Tensor] = {}

    def keep(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        loss = _loss(network, batch)
    total = sum(tensor.untyped_storage().nbytes() for place, tensor in kept.items() if place not in weights)
    del loss
    return total


def _loss(network: Backbone, batch: Batch) -> Tensor:
    outputs = network(batch, torch.full((len(batch),), 0.5), None)
    return torch.stack([output.square().mean() for output in outputs.values()]).sum()


def _seconds(work: Callable[[], Any], steps: int) -> float:
    work()
    start = time.perf_counter()
    for _ in range(steps):
        work()
    return (time.perf_counter() - start) / steps


if __name__ == "__main__":
    main()
