"""Molecules per second with decoding and validation, against torch-molecule's LSTM generator, in one run.

    python benchmarks/throughput.py --minutes 3 --count 2000

Both train for the same wall minutes on the same real molecules, the peer at its default size. Both then
draw raw samples, turn them into canonical SMILES with RDKit and so learn which are valid. The embedded
model is timed as well. The share of the machine's matrix rate counts the multiplications that the
recurrent network and its output layer must do for the tokens drawn. Needs
`pip install torch-molecule==0.2.0`, and a machine that does nothing else.
"""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from common import matrix_rate, write_result
from torch_molecule import LSTMMolecularGenerator
from training_rate import multiplications

from molgen.config import Part
from molgen.fitting import TrainingData, fit
from molgen.judging import Judge
from molgen.model import GenerativeModel
from molgen.training import TrainingConfig
from molgen_datasets.sources.moses import Moses

#: Molecules on which a training rate is measured before the real training.
TRIAL = 768


def main() -> None:
    """Train both, time both, write the result file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=3.0)
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    torch.manual_seed(0)
    smiles = list(Moses().items("train"))
    ours, our_training = train_ours(smiles, args.minutes)
    peer, peer_training = train_peer(smiles, args.minutes)
    embedded = GenerativeModel.load("moses")
    rows: dict[str, list[dict[str, float]]] = {"embedded": [], "equal minutes": [], "peer": []}
    # In turn, so that a machine whose speed drifts treats all alike.
    for repeat in range(args.repeats):
        rows["embedded"].append(time_ours(embedded, args.count, repeat))
        rows["equal minutes"].append(time_ours(ours, args.count, repeat))
        rows["peer"].append(time_peer(peer, args.count))
    figures = {name: _median(runs) for name, runs in rows.items()}
    peer_rate = figures["peer"]["molecules per second"]
    write_result(
        "throughput",
        {
            "minutes of training": args.minutes,
            "trained": {"equal minutes": our_training, "peer": peer_training},
            "medians": figures,
            "runs": rows,
            "ratio embedded / peer": figures["embedded"]["molecules per second"] / peer_rate,
            "ratio equal minutes / peer": figures["equal minutes"]["molecules per second"] / peer_rate,
        },
        ("torch-molecule",),
    )


def train_ours(smiles: list[str], minutes: float) -> tuple[GenerativeModel, dict[str, float]]:
    """Our default recurrent model, for as many steps as the minutes allow at a rate measured first."""
    with TemporaryDirectory() as folder:
        rate = _our_fit(smiles[: 20 * 96], 20, Path(folder) / "trial")[1]
        steps = int(rate * minutes * 60)
        start = time.perf_counter()
        model, _ = _our_fit(smiles[: steps * 96], steps, Path(folder) / "run")
        return model, {"molecules seen": steps * 96, "minutes": (time.perf_counter() - start) / 60}


def _our_fit(smiles: list[str], steps: int, folder: Path) -> tuple[GenerativeModel, float]:
    model = GenerativeModel("molecules.smiles", "autoregressive", Part("recurrent", {"width": 512, "layers": 2}))
    config = TrainingConfig(
        steps=steps, batch_size=96, learning_rate=4e-3, shards=2, validation=0, save_every=10**6, average=0.99
    )
    start = time.perf_counter()
    fit(model, TrainingData("moses", lambda: ((s, {}) for s in smiles)), config, folder, store=folder / "stores")
    return model, steps / (time.perf_counter() - start)


def train_peer(smiles: list[str], minutes: float) -> tuple[LSTMMolecularGenerator, dict[str, float]]:
    """The peer at its defaults, one epoch over as many molecules as the minutes allow."""
    start = time.perf_counter()
    LSTMMolecularGenerator(epochs=1).fit(smiles[:TRIAL])
    count = int(TRIAL / (time.perf_counter() - start) * minutes * 60)
    start = time.perf_counter()
    peer = LSTMMolecularGenerator(epochs=1).fit(smiles[:count])
    return peer, {"molecules seen": count, "minutes": (time.perf_counter() - start) / 60}


def time_ours(model: GenerativeModel, count: int, seed: int) -> dict[str, float]:
    """Raw draws, decoded and judged in workers; without the density of canonical forms, which the peer has not."""
    with Judge(model.domain) as judge:
        judge.submit(["C"] * 64).result()
        start = time.perf_counter()
        drawn = list(model.sample(count, seed=seed))
        drawing = time.perf_counter() - start
        verdicts = judge.submit([draw.item for draw in drawn]).result()
        seconds = time.perf_counter() - start
    steps = sum(len(draw.sample["tokens"]) + 1 for draw in drawn)
    operations = 2 * steps * multiplications(model.family)
    rate = matrix_rate(512, 512, 1536)
    return {
        "molecules per second": count / seconds,
        "valid": sum(verdict.item is not None for verdict in verdicts) / count,
        "share of the matrix rate": operations / seconds / rate,
        "share of the matrix rate while drawing": operations / drawing / rate,
    }


def time_peer(peer: LSTMMolecularGenerator, count: int) -> dict[str, float]:
    """The peer's own generation, which ends with canonical SMILES or nothing."""
    start = time.perf_counter()
    found = peer.generate(batch_size=count)
    seconds = time.perf_counter() - start
    return {"molecules per second": count / seconds, "valid": sum(map(bool, found)) / count}


def _median(runs: list[dict[str, float]]) -> dict[str, float]:
    return {name: statistics.median(run[name] for run in runs) for name in runs[0]}


if __name__ == "__main__":
    main()
