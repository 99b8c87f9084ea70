"""Molecules per second and validity of graph models, against torch-molecule's, in one run.

    python benchmarks/graph_sampling.py --minutes 5 --count 1000 --peer-count 32

All train for the same wall minutes on the same molecules of QM9, the peers at their default size and number of
steps. Each then draws raw samples and turns them into canonical SMILES with RDKit; the peers draw fewer, because they
take seconds for each. Needs `pip install torch-molecule==0.2.0`, and a machine that does nothing else.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
from common import write_result
from equal_minutes import time_ours, time_peer, train_ours, train_peer
from torch_molecule import DeFoGMolecularGenerator, DigressMolecularGenerator, GDSSMolecularGenerator

from molgen.config import Part
from molgen.model.generative_model import GenerativeModel
from molgen.training.config import TrainingConfig
from molgen_datasets.sources.qm9 import QM9

TRAINING = TrainingConfig(
    batch_size=64, learning_rate=2e-3, gradient_shards=2, validation=0, save_every=10**6, average=0.99
)
PEERS = {"DiGress": DigressMolecularGenerator, "DeFoG": DeFoGMolecularGenerator, "GDSS": GDSSMolecularGenerator}
#: Name -> family, network, options of sampling.
OURS: Mapping[str, tuple[Part, Part, Mapping[str, Any]]] = {
    "autoregressive": (Part("autoregressive"), Part("recurrent", {"width": 384, "layers": 1}), {}),
    "diffusion, 50 steps": (Part("diffusion", {"categorical": "marginal"}), Part("graph"), {"steps": 50}),
}


def main() -> None:
    """Train all, time all, write the result file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--peer-count", type=int, default=32)
    parser.add_argument("--peers", nargs="+", default=list(PEERS), choices=PEERS)
    parser.add_argument("--result", default="graph-sampling", help="name of the result file")
    args = parser.parse_args()
    torch.manual_seed(0)
    smiles = list(QM9().items("train"))
    random.Random(0).shuffle(smiles)
    ours = {name: our_figures(name, smiles, args) for name in OURS}
    peers = {name: peer_figures(name, smiles, args) for name in args.peers}
    ratios = {
        f"{one} / {other}": ours[one]["molecules per second"] / peers[other]["molecules per second"]
        for one in ours
        for other in peers
    }
    result = {"minutes of training": args.minutes, "ours": ours, "peers": peers, "ratios": ratios}
    write_result(args.result, result, ("torch-molecule", "torch-geometric"))


def our_figures(name: str, smiles: list[str], args: argparse.Namespace) -> dict[str, Any]:
    """One of ours: what training took, and what sampling gave."""
    family, backbone, options = OURS[name]
    make = partial(GenerativeModel, "molecules.graph", family, backbone)
    model, training = train_ours(make, TRAINING, smiles, args.minutes)
    figures, _, _ = time_ours(model, args.count, 0, **options)
    return {**figures, "training": training}


def peer_figures(name: str, smiles: list[str], args: argparse.Namespace) -> dict[str, Any]:
    """One of the peers, likewise."""
    peer, training = train_peer(partial(PEERS[name], epochs=1), smiles, args.minutes)
    return {**time_peer(peer, args.peer_count), "training": training}


if __name__ == "__main__":
    main()
