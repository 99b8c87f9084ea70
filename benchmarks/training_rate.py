"""The share of the machine's matrix-multiply rate that training reaches.

    python benchmarks/training_rate.py --steps 60

Trains the embedded model's configuration on real MOSES strings for some steps and counts what the
matrix products must do: 2 operations per weight and token forward, twice that backward.
"""

from __future__ import annotations

import argparse
import time
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory

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

#: Steps before the clock starts.
WARM_UP = 10


def main() -> None:
    """Train, count, write the result file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--batch-size", type=int, default=96)
    parser.add_argument("--shards", type=int, default=2)
    args = parser.parse_args()
    smiles = list(islice(Moses().items("train"), (args.steps + WARM_UP) * args.batch_size))
    before = matrix_rate(512, 512, 1536)
    model, seconds = _train(smiles, args)
    after = matrix_rate(512, 512, 1536)
    tokens = np.mean([len(model.encoder.encode(s)["tokens"]) + 1 for s in smiles])
    items = args.steps * args.batch_size / seconds
    rate = 6 * multiplications(model.family) * tokens * items
    write_result(
        "training_rate",
        {
            "molecules per second": items,
            "tokens per molecule": float(tokens),
            "multiplications per token": multiplications(model.family),
            "operations per second": rate,
            "matrix rate": {"before": before, "after": after},
            "share of the matrix rate": rate / ((before + after) / 2),
        },
    )


def multiplications(family: Family) -> int:
    """Weights that take part in a matrix product at every step: of recurrent and linear layers."""
    layers = [m for m in family.modules() if isinstance(m, nn.RNNBase | nn.Linear)]
    return sum(p.numel() for layer in layers for p in layer.parameters() if p.ndim == 2)


def _train(smiles: list[str], args: argparse.Namespace) -> tuple[GenerativeModel, float]:
    model = GenerativeModel("molecules.smiles", "autoregressive", Part("recurrent", {"width": 512, "layers": 2}))
    config = TrainingConfig(
        steps=args.steps + WARM_UP,
        batch_size=args.batch_size,
        gradient_shards=args.shards,
        validation=0,
        save_every=10**6,
        log_every=10**6,
    )
    times: list[float] = []

    def note(progress: Progress) -> None:
        times.append(time.perf_counter())

    with TemporaryDirectory() as folder:
        data = TrainingData("moses", lambda: ((s, {}) for s in smiles))
        fit(model, data, config, Path(folder), store=Path(folder) / "stores", watcher=Watcher(progress=note))
    return model, times[-2] - times[WARM_UP - 2]


if __name__ == "__main__":
    main()
