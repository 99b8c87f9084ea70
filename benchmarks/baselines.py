"""Two honest baselines of a data set, by the metrics of its domain: real training items, and the simplest model.

    python benchmarks/baselines.py --dataset qm9 --metrics graph --result baselines-qm9
    python benchmarks/baselines.py --dataset mnist --set binarise=true --metrics digits --result baselines-mnist

A model is good where it comes near the first; it has learned something where it leaves the second behind.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import numpy as np
from common import write_result
from comparing import TRAINING, figures_of
from families import options
from ngram import NGram

from molgen import registry
from molgen.config import Part, settings_of
from molgen.dataset import Dataset
from molgen.domain import Item

#: Draws items: (data, count, seed) -> items.
Baseline = Callable[[Dataset, int, int], list[Item]]


def main() -> None:
    """Measure both, and write the result file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", required=True)
    parser.add_argument("--set", nargs="*", default=[], metavar="NAME=VALUE", help="settings of the data set")
    parser.add_argument("--metrics", required=True, help="suites and metrics with commas between them")
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--result", required=True, help="name of the result file")
    args = parser.parse_args()
    cls, config = settings_of("dataset", Part(args.dataset, options(args.set)))
    data, found = cls(config), {}
    domain = registry.get("domain", data.domain)()
    for name, draw in {"a resample of the training set": resampled, **SIMPLEST[data.domain]}.items():
        items = draw(data, args.count, args.seed)
        found[name] = figures_of(items, domain, data, args.metrics.split(","), data.references)
    result = {"count": args.count, "seed": args.seed, "settings": options(args.set), "metrics": found}
    write_result(args.result, result, ("fcd",))


def resampled(data: Dataset, count: int, seed: int) -> list[Item]:
    """Training items, none of them twice."""
    rows = list(data.items(TRAINING))
    return [rows[k] for k in np.random.default_rng(seed).choice(len(rows), count, replace=False)]


def ngram(data: Dataset, count: int, seed: int) -> list[Item]:
    """Strings of a 6-gram."""
    return list(NGram(order=6).fit(data.items(TRAINING)).sample(count, seed))


def pixels(data: Dataset, count: int, seed: int) -> list[Item]:
    """Images whose pixels are drawn from those at the same place of training images, independently of each other."""
    images, source = np.stack(list(data.items(TRAINING))), np.random.default_rng(seed)
    flat = images.reshape(len(images), -1)
    drawn = [column[source.integers(len(flat), size=count)] for column in flat.T]
    return list(np.stack(drawn, axis=1).reshape(count, *images.shape[1:]))


#: The simplest model of each domain, with what it is called.
SIMPLEST: dict[str, dict[str, Baseline]] = {
    "molecules": {"a 6-gram of SMILES tokens": ngram},
    "images": {"independent pixels": pixels},
}


if __name__ == "__main__":
    main()
