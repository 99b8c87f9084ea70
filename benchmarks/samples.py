"""Five files of samples on which the metrics are compared with the original packages, and timed.

    python benchmarks/samples.py FOLDER --count 30000 --seed 0

`training.csv` holds training molecules of MOSES, `model.csv` raw draws of the embedded model, `ngram.csv` raw
draws of a 6-gram, many of them invalid, `small.csv` the first rows of it, and `invalid.csv` nothing valid.
Files that are there already stay; the model takes minutes.
"""

from __future__ import annotations

import argparse
import csv
from argparse import Namespace
from collections.abc import Iterable
from pathlib import Path

from molgen.atomic_files import replaced_file

#: Rows of the small file: fewer than the width of ChemNet's features, so that their covariance is singular.
SMALL = 500
#: What is put behind a training molecule to make it none: a branch that nothing closes.
BREAK = "("
NAMES = ("training", "model", "ngram", "small", "invalid")


def main() -> None:
    """Make the files that are missing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--count", type=int, default=30_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--model", default="moses")
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    for name in NAMES:
        if not (path := args.folder / f"{name}.csv").exists():
            write(path, make(name, args))
            print(f"{path}: {len(read(path)):,} rows", flush=True)


def make(name: str, args: Namespace) -> list[str]:
    """The rows of one file; `small` and `invalid` are made from the files before them."""
    if name == "small":
        return read(args.folder / "ngram.csv")[:SMALL]
    if name == "invalid":
        return [smiles + BREAK for smiles in read(args.folder / "training.csv")]
    from moses import draw

    model = args.model if name == "model" else name
    samples, _ = draw(Namespace(model=model, count=args.count, seed=args.seed, batch_size=512, without_grammar=False))
    return [item if isinstance(item, str) else "" for item in samples]


def write(path: Path, rows: Iterable[str]) -> None:
    """Write raw strings with their row numbers, so that an empty string is a row as well."""
    with replaced_file(path) as temporary, temporary.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("row", "smiles"))
        writer.writerows(enumerate(rows))


def read(path: Path) -> list[str]:
    """The raw strings of a file."""
    with path.open(newline="") as file:
        return [row["smiles"] for row in csv.DictReader(file)]


if __name__ == "__main__":
    main()
