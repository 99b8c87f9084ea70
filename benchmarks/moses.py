"""MOSES distribution metrics of a model's raw samples, with two honest baselines.

    python benchmarks/moses.py --model moses --count 30000 --seed 0

Definitions are those of the benchmark (Polykovskiy et al., Front. Pharmacol. 2020): Valid over all
raw draws; Unique@10k over the first 10,000 valid ones; Novelty over the unique valid ones, against
the training strings as stored; Filters over the valid ones; FCD of the valid ones to the published
statistics of the test sets. Needs `pip install fcd`. Baselines: real training molecules, and a
token n-gram, the domain's simplest model.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

import fcd
import numpy as np
from common import write_result
from moses_reference import fcd_statistics
from ngram import NGram

from molgen import registry
from molgen.judging import Judge, Verdict
from molgen.model import GenerativeModel
from molgen_datasets.sources.moses import Moses


def main() -> None:
    """Measure a model, or a baseline, and write its result file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="moses", help="a model, or the baselines `training` and `ngram`")
    parser.add_argument("--count", type=int, default=30_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--batch-size", type=int, default=512)
    parser.add_argument("--result", help="name of the result file")
    args = parser.parse_args()
    start = time.perf_counter()
    samples, about = draw(args)
    domain = registry.get("domain", "molecules")()
    with Judge(domain, filters=True) as judge:
        verdicts = judge.submit(samples).result()
    about["seconds of drawing and judging"] = round(time.perf_counter() - start, 1)
    train = set(Moses().items("train"))
    figures = metrics(verdicts, train)
    result = {"model": about, "samples": len(samples), "metrics": figures}
    write_result(args.result or f"moses-{args.model}", result, ("fcd",))


def draw(args: argparse.Namespace) -> tuple[list[object], dict[str, object]]:
    """Raw samples of what was asked for, and what it is."""
    if args.model == "training":
        return _training_rows(args.count, args.seed), {"name": "a resample of the training set", "seed": args.seed}
    if args.model == "ngram":
        model = NGram(order=6).fit(Moses().items("train"))
        return model.sample(args.count, args.seed), {"name": "a 6-gram of SMILES tokens", "seed": args.seed}
    loaded = GenerativeModel.load(args.model)
    drawn = loaded.sample(args.count, seed=args.seed, batch_size=args.batch_size)
    samples = [one.item for one in drawn]
    about = {"name": Path(args.model).name, "weights": loaded.digest, "seed": args.seed, "temperature": 1.0}
    return samples, about


def _training_rows(count: int, seed: int) -> list[object]:
    rows = list(Moses().items("train"))
    return [rows[k] for k in np.random.default_rng(seed).choice(len(rows), count, replace=False)]


def metrics(verdicts: Sequence[Verdict], train: set[str]) -> dict[str, float | None]:
    """The MOSES metrics of this benchmark, and how far the samples are from the test sets."""
    valid = [verdict for verdict in verdicts if verdict.item is not None]
    smiles = [str(verdict.item) for verdict in valid]
    unique = set(smiles)
    figures: dict[str, float | None] = {
        "Valid": len(valid) / len(verdicts),
        "Unique@1k": _unique(smiles, 1_000),
        "Unique@10k": _unique(smiles, 10_000),
        "Novelty": len(unique - train) / len(unique),
        "Filters": sum(bool(verdict.passes) for verdict in valid) / len(valid),
    }
    return figures | frechet(smiles)


def _unique(smiles: Sequence[str], count: int) -> float | None:
    """The share of distinct ones among the first `count`, or None where there are fewer."""
    return len(set(smiles[:count])) / count if len(smiles) >= count else None


def frechet(smiles: Iterable[str]) -> dict[str, float]:
    """FCD (Preuer et al., J. Chem. Inf. Model. 2018) to both MOSES test sets."""
    activations = fcd.get_predictions(fcd.load_ref_model(), list(smiles))
    mean, covariance = activations.mean(0), np.cov(activations.T)
    return {
        name: float(fcd.calculate_frechet_distance(mean, covariance, *fcd_statistics(split)))
        for name, split in (("FCD/Test", "test"), ("FCD/TestSF", "test_scaffolds"))
    }


if __name__ == "__main__":
    main()
