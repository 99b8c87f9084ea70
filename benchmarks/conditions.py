"""What a model was asked for against what it gave: numeric conditions at three places of their distribution.

    molgen train +experiment=qm9_graph_autoregressive 'conditions=[gap,logp,qed]' --output runs/qm9-conditions
    python benchmarks/conditions.py runs/qm9-conditions --dataset qm9 --result qm9-graph-conditions

Each condition is asked for by itself, at the 10th, 50th and 90th percentile of its training values. A property that the
domain computes is measured on the molecules that come out; of a column of the data set, such as an orbital energy, a
network that learned it from the training split gives it, whose error on the test split is part of the result. The
figure is the mean absolute difference over valid molecules, beside that of molecules for which nothing was asked.
"""

from __future__ import annotations

import argparse
import math
import random
from argparse import Namespace
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from common import write_result
from families import about, options
from property_network import PropertyNetwork

from molgen import registry
from molgen.dataset import Dataset
from molgen.domain import Domain, Invalid
from molgen.model.generative_model import GenerativeModel

PERCENTILES = (10, 50, 90)
#: Test items, at most, on which the network that measures is tested.
TESTED = 5000
#: The values of molecules.
Measure = Callable[[Sequence[str]], np.ndarray]


def main() -> None:
    """Ask, measure, and write the result file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="folder of a run, or of a model, with numeric conditions")
    parser.add_argument("--dataset", required=True)
    parser.add_argument("--count", type=int, default=1000, help="raw draws for each number asked for")
    parser.add_argument("--guidance", type=float, nargs="+", default=[1.0], help="strengths, where the family has them")
    parser.add_argument("--sampling", nargs="*", default=[], metavar="NAME=VALUE", help="options of sampling")
    parser.add_argument("--training", type=int, default=50_000, help="molecules for percentiles and for the network")
    parser.add_argument("--epochs", type=int, default=8, help="of the network")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--result", required=True, help="name of the result file")
    args = parser.parse_args()
    model, data = GenerativeModel.load(args.run), registry.get("dataset", args.dataset)()
    found = {name: of_condition(model, data, name, args) for name in model.conditions.names}
    write_result(args.result, {"model": about(args.run, model), "conditions": found}, ("torch-geometric",))


def of_condition(model: GenerativeModel, data: Dataset, name: str, args: Namespace) -> dict[str, Any]:
    """One condition: how it is measured, and each number asked for with what came out."""
    measure, said = measure_of(model.domain, data, name, args)
    known = column(model.domain, data, "train", name, args.training)[1]
    asked = [float(value) for value in np.percentile(known, PERCENTILES)]
    free = measure(valid(model, {}, args, 1.0)[0])
    rows = [
        {
            "asked": value,
            "guidance": strength,
            **figures(model, name, value, strength, measure, args),
            "mean absolute difference, nothing asked": float(np.abs(free - value).mean()),
        }
        for value in asked
        for strength in (args.guidance if model.family.capability.guidance else [1.0])
    ]
    return {**said, "standard deviation in training": float(np.std(known)), "asked for": rows}


def figures(
    model: GenerativeModel, name: str, value: float, strength: float, measure: Measure, args: Namespace
) -> dict[str, Any]:
    """What came out when one number was asked for."""
    molecules, share = valid(model, {name: value}, args, strength)
    obtained = measure(molecules)
    return {
        "valid": share,
        "unique of the valid": len(set(molecules)) / max(1, len(molecules)),
        "obtained": float(obtained.mean()),
        "standard deviation": float(obtained.std()),
        "mean absolute difference": float(np.abs(obtained - value).mean()),
    }


def valid(
    model: GenerativeModel, condition: dict[str, float], args: Namespace, strength: float
) -> tuple[list[str], float]:
    """The valid ones among raw draws, canonical, and their share."""
    chosen = options(args.sampling) | ({"guidance": strength} if condition and strength != 1 else {})
    drawn = model.sample(args.count, seed=args.seed, condition=condition, **chosen)
    # A string that was drawn is an item before anybody has asked whether it stands for a molecule.
    checked = [one.item if isinstance(one.item, Invalid) else model.domain.canonical(one.item) for one in drawn]
    good = [item for item in checked if not isinstance(item, Invalid)]
    return good, len(good) / args.count


# --- measuring ------------------------------------------------------------------------------------


def measure_of(domain: Domain, data: Dataset, name: str, args: Namespace) -> tuple[Measure, dict[str, Any]]:
    """How values of a condition are found, and what is to be said of that."""
    computed = domain.descriptors().properties.get(name)
    if computed is not None:
        return lambda items: np.array([computed(item) for item in items]), {"measured": "computed"}
    network = PropertyNetwork(*column(domain, data, "train", name, args.training), args.epochs, args.seed)
    items, values = column(domain, data, "test", name, TESTED)
    error = float(np.abs(network.predict(items) - np.array(values)).mean())
    return network.predict, {"measured": "by a network", "error of the network on the test split": error}


def column(
    domain: Domain, data: Dataset, split: str, name: str, limit: int | None = None
) -> tuple[list[str], list[float]]:
    """Items of a split with their values of a condition, of their column or as computed; some at random if limited."""
    computed = domain.descriptors().properties.get(name)
    rows = [(one.item, one.columns.get(name, "")) for one in data.records(split) if not isinstance(one.item, Invalid)]
    some = random.Random(0).sample(rows, min(limit or len(rows), len(rows)))
    known = [(domain.canonical(item), text) for item, text in some]
    good = [(item, text) for item, text in known if not isinstance(item, Invalid)]
    valued = [(item, computed(item) if computed else float(text)) for item, text in good]
    finite = [(item, value) for item, value in valued if math.isfinite(value)]
    return [item for item, _ in finite], [value for _, value in finite]


if __name__ == "__main__":
    main()
