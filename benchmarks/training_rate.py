"""How fast strings are learned from: single tokens and merged ones in one run, and tuning on a small library.

    python benchmarks/training_rate.py --steps 60
    python benchmarks/training_rate.py --tune moses --result tuning

The first trains the networks of both presets on real MOSES strings for some steps, in turn, and counts what the matrix
products must do: 2 operations per weight and token forward, twice that backward. The second tunes models on 600
molecules of ZINC250k for 200 steps, as `molgen train --from MODEL` does.
"""

from __future__ import annotations

import argparse
import statistics
import time
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from common import matrix_rate, write_result
from torch import nn

from molgen.config import Part
from molgen.data.prepare import TrainingData
from molgen.family import Family
from molgen.model.generative_model import GenerativeModel
from molgen.training.config import TrainingConfig
from molgen.training.fit import Watcher, fit
from molgen.training.trainer import Progress
from molgen_datasets.sources.moses import Moses
from molgen_datasets.sources.zinc250k import ZINC250k

#: Steps before the clock starts.
WARM_UP = 10


#: What is compared: settings of the encoder, of the network and of the training.
KINDS: dict[str, tuple[dict[str, Any], dict[str, Any], dict[str, Any]]] = {
    "single tokens": ({}, {"embedding": 96}, {"batch_size": 96, "gradient_shards": 2}),
    "merged tokens": ({"merges": 256}, {"embedding": 256}, {"batch_size": 256}),
    "merged tokens, 16 bits": ({"merges": 256}, {"embedding": 256}, {"batch_size": 256, "precision": "bf16"}),
}
#: A small library, and how it is tuned on.
LIBRARY = 600
TUNING = TrainingConfig(
    steps=200,
    batch_size=32,
    learning_rate=5e-4,
    warmup=20,
    average=0.98,
    validation=0.1,
    check_every=20,
    save_every=100,
)


def main() -> None:
    """Train, count, write the result file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--tune", nargs="+", metavar="MODEL", help="models to tune, in turn, instead")
    parser.add_argument("--result", default="training_rate", help="name of the result file")
    args = parser.parse_args()
    write_result(args.result, _tuning(args) if args.tune else _training(args))


def _training(args: argparse.Namespace) -> dict[str, Any]:
    smiles = list(islice(Moses().items("train"), (args.steps + WARM_UP) * max(map(_batch, KINDS))))
    found: dict[str, list[dict[str, float]]] = {name: [] for name in KINDS}
    for _ in range(args.repeats):
        for name in KINDS:
            found[name].append(_rate(name, smiles, args.steps))
    medians = {name: statistics.median(run["molecules per second"] for run in runs) for name, runs in found.items()}
    ratios = {name: rate / medians["single tokens"] for name, rate in medians.items()}
    return {"steps": args.steps, "medians": medians, "ratios": ratios, "runs": found}


def _batch(kind: str) -> int:
    return int(KINDS[kind][2]["batch_size"])


def _rate(kind: str, smiles: list[str], steps: int) -> dict[str, float]:
    before = matrix_rate(512, 512, 1536)
    model, seconds = _train(kind, smiles[: (steps + WARM_UP) * _batch(kind)], steps)
    after = matrix_rate(512, 512, 1536)
    tokens = np.mean([len(model.encoder.encode(s)["tokens"]) + 1 for s in smiles[:5000]])
    items = steps * _batch(kind) / seconds
    rate = 6 * multiplications(model.family) * tokens * items
    return {
        "molecules per second": items,
        "tokens per molecule": float(tokens),
        "multiplications per token": multiplications(model.family),
        "operations per second": rate,
        "share of the matrix rate in 32 bits": rate / ((before + after) / 2),
    }


def _tuning(args: argparse.Namespace) -> dict[str, Any]:
    smiles = list(islice(ZINC250k().items("train"), LIBRARY))
    found: dict[str, list[float]] = {name: [] for name in args.tune}
    for _ in range(args.repeats):
        for name in args.tune:
            found[name].append(_tuned(GenerativeModel.load(name), smiles))
    named = {Path(name).name: seconds for name, seconds in found.items()}
    medians = {name: statistics.median(seconds) for name, seconds in named.items()}
    return {"molecules": LIBRARY, "steps": TUNING.steps, "seconds": medians, "runs": named}


def _tuned(model: GenerativeModel, smiles: list[str]) -> float:
    start = time.perf_counter()
    with TemporaryDirectory() as folder:
        data = TrainingData("library", lambda: ((s, {}) for s in smiles))
        fit(model, data, TUNING, Path(folder) / "run", store=Path(folder) / "stores")
    return time.perf_counter() - start


def multiplications(family: Family) -> int:
    """Weights that take part in a matrix product at every step: of recurrent and linear layers."""
    layers = [m for m in family.modules() if isinstance(m, nn.RNNBase | nn.Linear)]
    return sum(p.numel() for layer in layers for p in layer.parameters() if p.ndim == 2)


def _train(kind: str, smiles: list[str], steps: int) -> tuple[GenerativeModel, float]:
    encoder, size, settings = KINDS[kind]
    network = Part("recurrent", {"width": 512, "layers": 2, **size})
    model = GenerativeModel(Part("molecules.smiles", encoder), "autoregressive", network)
    config = TrainingConfig(steps=steps + WARM_UP, validation=0, save_every=10**6, log_every=10**6, **settings)
    times: list[float] = []

    def note(progress: Progress) -> None:
        times.append(time.perf_counter())

    with TemporaryDirectory() as folder:
        data = TrainingData("moses", lambda: ((s, {}) for s in smiles))
        fit(model, data, config, Path(folder), store=Path(folder) / "stores", watcher=Watcher(progress=note))
    return model, times[-2] - times[WARM_UP - 2]


if __name__ == "__main__":
    main()
