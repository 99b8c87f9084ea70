"""Trains the digit network of `molgen_plugins.audio.networks`, and says how often it is right on the test set.

    python benchmarks/spoken_digit_classifier.py

It learns digits and speakers from takes 5 to 49 of the Free Spoken Digit Dataset, at three lengths, each delayed by up
to eight frames, for a fixed number of epochs; the test set, takes 0 to 4, is looked at once, at the end. The weights
are kept in float16, and every figure is of the weights as they are kept. Takes minutes on one core.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
import torch
from common import write_result
from safetensors.torch import save_file
from torch import Tensor
from torch.nn.functional import cross_entropy

from molgen.atomic_files import replaced_file, sha256, usual_mode
from molgen.domain import Invalid
from molgen_datasets.sources.fsdd import DIGITS, FSDD, SPEAKERS
from molgen_plugins.audio.networks import WEIGHTS, SpokenDigitNet, digit_classes, levels_of, speaker_classes
from molgen_plugins.audio.shaping import resampled
from molgen_plugins.audio.sound import Sound, canonical

#: How many times as long a recording is made, by playing it faster or slower.
LENGTHS = (0.9, 1.0, 1.1)
#: Frames by which a recording is delayed at most, and mel bands that are silenced at most.
DELAY, SILENCED = 8, 6


def main() -> None:
    """Train, keep the weights, and write the result file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--learning-rate", type=float, default=3e-3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--result", default="spoken-digit-classifier", help="name of the result file")
    args = parser.parse_args()
    torch.manual_seed(args.seed)
    start = time.perf_counter()
    keep(trained(*recordings("train", LENGTHS), args))
    result = {
        "epochs": args.epochs,
        "seconds of training": round(time.perf_counter() - start, 1),
        "weights": sum(parameter.numel() for parameter in SpokenDigitNet().parameters()),
        "sha256": sha256(WEIGHTS),
        "accuracy on the test set": accuracy(),
    }
    write_result(args.result, result)


def recordings(split: str, lengths: tuple[float, ...] = (1.0,)) -> tuple[Tensor, Tensor]:
    """The levels of a split at each length, (N, F, M), and their digits and speakers, (N, 2)."""
    found, classes = [], []
    for sound, digit, speaker in sounds(split):
        for length in lengths:
            played = Sound(resampled(sound, round(sound.rate * length)).samples, sound.rate) if length != 1 else sound
            found.append(levels_of(played))
            classes.append((digit, speaker))
    return torch.from_numpy(np.stack(found)), torch.tensor(classes)


def sounds(split: str) -> list[tuple[Sound, int, int]]:
    """The recordings of a split with the numbers of their digits and speakers."""
    found = []
    for record in FSDD().records(split):
        sound = canonical(record.item)
        assert not isinstance(sound, Invalid)
        found.append((sound, DIGITS.index(record.columns["digit"]), SPEAKERS.index(record.columns["speaker"])))
    return found


def trained(levels: Tensor, classes: Tensor, args: argparse.Namespace) -> SpokenDigitNet:
    """The network after all epochs, its learning rate rising for a tenth of the steps, then falling to nearly zero."""
    network = SpokenDigitNet()
    steps = args.epochs * -(-len(levels) // args.batch_size)
    optimiser = torch.optim.AdamW(network.parameters(), args.learning_rate, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, args.learning_rate, total_steps=steps, pct_start=0.1)
    for epoch in range(args.epochs):
        total = 0.0
        for rows in torch.randperm(len(levels)).split(args.batch_size):
            digit, speaker = network(disturbed(levels[rows]))
            loss = cross_entropy(digit, classes[rows, 0]) + 0.5 * cross_entropy(speaker, classes[rows, 1])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
            total += loss.item() * len(rows)
        print(f"epoch {epoch + 1}: loss {total / len(levels):.4f}", flush=True)
    return network


def disturbed(levels: Tensor) -> Tensor:
    """The levels of a batch, (N, F, M), all delayed by the same frames, with the same bands silenced."""
    delay, first, bands = (int(torch.randint(most + 1, ())) for most in (DELAY, levels.shape[2] - SILENCED, SILENCED))
    found = torch.nn.functional.pad(levels, (0, 0, delay, 0), value=-1.0)[:, : levels.shape[1]].clone()
    found[:, :, first : first + bands] = -1.0
    return found


def keep(network: SpokenDigitNet) -> None:
    """Write the weights in float16 to where the package has them."""
    with replaced_file(WEIGHTS) as temporary, usual_mode(temporary):
        save_file({name: tensor.half() for name, tensor in network.state_dict().items()}, temporary)


def accuracy() -> dict[str, float]:
    """The share of the test recordings whose likeliest digit, and whose likeliest speaker, is the right one."""
    found = sounds("test")
    heard = [sound for sound, _, _ in found]
    digits, speakers = (np.array([row[place] for row in found]) for place in (1, 2))
    return {
        "digit": float((digit_classes()(heard).argmax(1) == digits).mean()),
        "speaker": float((speaker_classes()(heard).argmax(1) == speakers).mean()),
    }


if __name__ == "__main__":
    main()
