"""The memory of training, scoring and evaluating by the number of large pictures: JPEGs of 4 MiB each.

    python benchmarks/large_pictures.py --counts 50 200

The pictures are noise, each another one, so that none is left out as a copy and none is smaller than it says. Each run
is a whole process with its workers, whose memory is measured as in `evaluate_speed.py`; it must not grow with their
number, and stay below the limit.
"""

from __future__ import annotations

import argparse
import sys
from argparse import Namespace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from common import write_result
from evaluate_speed import measured
from PIL import Image

#: The most bytes that any run may take.
LIMIT = 1_500_000_000
#: Of noise in a JPEG of this quality, so many pixels take 4 MiB.
WIDTH, HEIGHT, QUALITY = 2180, 1640, 95
COMMANDS = ("train", "score", "evaluate")
#: What training learns of the pictures: small ones, in a network that takes little memory itself.
SETTINGS = (
    *("encoder=images.pixels", "family=autoregressive", "backbone=unet", "backbone.width=8", "backbone.levels=2"),
    *("encoder.height=16", "encoder.width=16", "encoder.channels=3", "encoder.resize=true", "training.steps=3"),
)


def main() -> None:
    """Measure every count, and write the result file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--counts", type=int, nargs="+", default=[50, 200])
    parser.add_argument("--commands", nargs="+", default=COMMANDS, choices=COMMANDS, help="score needs train")
    parser.add_argument("--jobs", type=int, default=2, help="worker processes")
    parser.add_argument("--result", default="large-pictures", help="name of the result file")
    args = parser.parse_args()
    with TemporaryDirectory() as folder:
        sizes = _pictures(Path(folder, "all"), max(args.counts))
        runs = {f"{count} pictures": _runs(count, args, Path(folder)) for count in args.counts}
    peak = max(run["peak bytes"] for of_count in runs.values() for run in of_count.values())
    write_result(
        args.result,
        {"bytes of a picture": float(np.mean(sizes)), "limit": LIMIT, "kept": peak <= LIMIT, "runs": runs},
        ("pillow",),
    )


def _pictures(folder: Path, count: int) -> list[int]:
    """Pictures of noise in a folder, and their sizes."""
    folder.mkdir()
    rng, sizes = np.random.default_rng(0), []
    for number in range(count):
        path = folder / f"{number:05}.jpg"
        Image.fromarray(rng.integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)).save(path, quality=QUALITY)
        sizes.append(path.stat().st_size)
    return sizes


def _runs(count: int, args: Namespace, folder: Path) -> dict[str, Any]:
    """One run of each command over so many pictures."""
    some, run = folder / f"{count}", folder / f"run-{count}"
    some.mkdir()
    for path in sorted((folder / "all").iterdir())[:count]:
        (some / path.name).hardlink_to(path)
    jobs = ["--workers", str(args.jobs), "--quiet"]
    commands = {
        "train": ["train", "--data", str(some), "-o", str(run), *SETTINGS],
        "score": ["score", str(some), "-m", str(run), "-o", str(folder / f"{count}.csv"), *jobs],
        "evaluate": ["evaluate", str(some), "--training", str(some), "-o", str(folder / f"{count}.json"), *jobs],
    }
    molgen = str(Path(sys.executable).with_name("molgen"))
    return {name: measured([molgen, *command]) for name, command in commands.items() if name in args.commands}


if __name__ == "__main__":
    main()
