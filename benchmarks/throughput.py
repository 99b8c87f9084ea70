"""Molecules per second with decoding and validation, against torch-molecule's LSTM generator, in one run.

    python benchmarks/throughput.py --minutes 0.4

Both train for the same wall minutes on the same real molecules, the peer at its default size; how long does not change
how fast they draw by much. Both then draw raw samples, turn them into canonical SMILES with RDKit and so learn which
are valid. Another model, the embedded one by default, is timed as well, with and without its grammar, and in 16 bits as
`molgen generate --precision bf16` has it; the peer cannot draw in them, as torch refuses its probabilities, whose sum
is not 1 then. The first run of a model meets every beginning of a string for the first time. The share of the machine's
matrix rate counts the multiplications that the recurrent network and its output layer must do for the tokens drawn.
Needs `pip install torch-molecule==0.2.0`, and a machine that does nothing else for five minutes.
"""

from __future__ import annotations

import argparse
from functools import partial

import torch
from common import matrix_rate, write_result
from equal_minutes import medians, time_ours, time_peer, train_ours, train_peer
from torch_molecule import LSTMMolecularGenerator
from training_rate import multiplications

from molgen.config import Part
from molgen.model.generative_model import GenerativeModel
from molgen.training.config import TrainingConfig
from molgen_datasets.sources.moses import Moses

TRAINING = TrainingConfig(
    batch_size=256,
    learning_rate=2e-3,
    schedule="cosine",
    precision="bf16",
    validation=0,
    save_every=10**6,
    average=0.99,
)


def main() -> None:
    """Train both, time both, write the result file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=3.0)
    parser.add_argument("--count", type=int, default=4096, help="draws of ours in each run (default: 4096)")
    parser.add_argument("--peer-count", type=int, default=1500, help="draws of the peer in each run (default: 1500)")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--batch-size", type=int, default=1024, help="of ours (default: 1024)")
    parser.add_argument("--model", default="moses", help="a folder or an embedded model (default: moses)")
    args = parser.parse_args()
    torch.manual_seed(0)
    smiles = list(Moses().items("train"))
    ours, our_training = train_ours(our_model, TRAINING, smiles, args.minutes)
    peer, peer_training = train_peer(partial(LSTMMolecularGenerator, epochs=1), smiles, args.minutes)
    embedded = GenerativeModel.load(args.model)
    free = embedded.with_encoder(Part("molecules.smiles", {**embedded.config.encoder.settings, "grammar": False}))
    short, free_short = GenerativeModel.load(args.model), free.with_encoder(free.config.encoder)
    short.precision = free_short.precision = "bf16"
    timed = {
        "embedded": embedded,
        "embedded without grammar": free,
        "embedded, 16 bits": short,
        "embedded without grammar, 16 bits": free_short,
        "equal minutes": ours,
    }
    rows: dict[str, list[dict[str, float]]] = {name: [] for name in (*timed, "peer")}
    # In turn, so that a machine whose speed drifts treats all alike.
    for repeat in range(args.repeats):
        for name, model in timed.items():
            rows[name].append(with_share(model, args.count, repeat, args.batch_size))
        rows["peer"].append(time_peer(peer, args.peer_count))
    figures = {name: medians(runs) for name, runs in rows.items()}
    rates = {name: own["molecules per second"] for name, own in figures.items()}
    write_result(
        "throughput",
        {
            "minutes of training": args.minutes,
            "trained": {"equal minutes": our_training, "peer": peer_training},
            "medians": figures,
            "runs": rows,
            "ratio embedded / peer": rates["embedded"] / rates["peer"],
            "ratio embedded, 16 bits / peer": rates["embedded, 16 bits"] / rates["peer"],
            "ratio equal minutes / peer": rates["equal minutes"] / rates["peer"],
        },
        ("torch-molecule",),
    )


def our_model() -> GenerativeModel:
    """The size of the embedded model."""
    encoder, size = Part("molecules.smiles", {"merges": 256}), {"width": 512, "layers": 2, "embedding": 256}
    return GenerativeModel(encoder, "autoregressive", Part("recurrent", size))


def with_share(model: GenerativeModel, count: int, seed: int, batch_size: int) -> dict[str, float]:
    """The figures of ours, with the share of the machine's matrix rate that was reached."""
    figures, drawn, drawing = time_ours(model, count, seed, batch_size=batch_size)
    steps = sum(len(draw.sample["tokens"]) + 1 for draw in drawn)
    operations = 2 * steps * multiplications(model.family)
    rate = matrix_rate(512, 512, 1536)
    return {
        **figures,
        "share of the matrix rate": operations * figures["molecules per second"] / count / rate,
        "share of the matrix rate while drawing": operations / drawing / rate,
    }


if __name__ == "__main__":
    main()
