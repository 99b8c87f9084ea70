"""Trains the digit network of `molgen_plugins.images.networks`, and says how often it is right on the test set.

    python benchmarks/digit_classifier.py

It learns from the 50,000 training images of MNIST, each shifted by up to two pixels, for a fixed number of epochs;
the validation and the test images are looked at once, at the end. The weights are kept in float16, and every figure
is of the weights as they are kept. Takes minutes on two cores.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
import torch
from common import write_result
from safetensors.torch import save_file
from torch import Tensor
from torch.nn.functional import cross_entropy, pad

from molgen.atomic_files import replaced_file, sha256, usual_mode
from molgen_datasets.sources.mnist import MNIST
from molgen_plugins.images.networks import DIGITS, SIDE, DigitNet, digit_classes

#: How far an image is shifted at most, in pixels.
SHIFT = 2


def main() -> None:
    """Train, keep the weights, and write the result file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--learning-rate", type=float, default=2e-3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--limit", type=int, help="only so many training images, for a trial")
    parser.add_argument("--result", default="digit-classifier", help="name of the result file")
    args = parser.parse_args()
    torch.manual_seed(args.seed)
    start = time.perf_counter()
    keep(trained(*images("train", args.limit), args))
    result = {
        "epochs": args.epochs,
        "seconds of training": round(time.perf_counter() - start, 1),
        "weights": sum(parameter.numel() for parameter in DigitNet().parameters()),
        "sha256": sha256(DIGITS),
        "accuracy": {split: accuracy(split) for split in ("valid", "test")},
    }
    write_result(args.result, result)


def images(split: str, limit: int | None = None) -> tuple[Tensor, Tensor]:
    """The images of a split, uint8 (N, 28, 28), and their digits (N,)."""
    records = list(MNIST().records(split))[:limit]
    pixels = np.stack([record.item for record in records])
    return torch.from_numpy(pixels), torch.tensor([int(record.columns["label"]) for record in records])


def trained(pictures: Tensor, labels: Tensor, args: argparse.Namespace) -> DigitNet:
    """The network after all epochs, its learning rate rising for a tenth of the steps, then falling to nearly zero."""
    network = DigitNet()
    steps = args.epochs * -(-len(pictures) // args.batch_size)
    optimiser = torch.optim.AdamW(network.parameters(), args.learning_rate, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, args.learning_rate, total_steps=steps, pct_start=0.1)
    for epoch in range(args.epochs):
        total = 0.0
        for rows in torch.randperm(len(pictures)).split(args.batch_size):
            loss = cross_entropy(network(shifted(pictures[rows].float()[:, None] / 255)), labels[rows])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
            total += loss.item() * len(rows)
        print(f"epoch {epoch + 1}: loss {total / len(pictures):.4f}", flush=True)
    return network


def shifted(pictures: Tensor) -> Tensor:
    """The images of a batch, (N, 1, 28, 28), moved by the same random number of pixels in each direction."""
    wide = pad(pictures, [SHIFT] * 4)
    row, column = torch.randint(2 * SHIFT + 1, (2,)).tolist()
    return wide[..., row : row + SIDE, column : column + SIDE]


def keep(network: DigitNet) -> None:
    """Write the weights in float16 to where the package has them."""
    with replaced_file(DIGITS) as temporary, usual_mode(temporary):
        save_file({name: tensor.half() for name, tensor in network.state_dict().items()}, temporary)


def accuracy(split: str) -> float:
    """The share of the images whose likeliest digit is the right one."""
    pictures, labels = images(split)
    found = digit_classes()(list(pictures.numpy())).argmax(1)
    return float((found == labels.numpy()).mean())


if __name__ == "__main__":
    main()
