"""The MOSES metrics of a model's raw samples, with two honest baselines.

    python benchmarks/moses.py --model moses --count 30000 --seed 0

The definitions are those of the benchmark (Polykovskiy et al., Front. Pharmacol. 2020), by the metrics of `molgen
evaluate`, against both test sets. The first run summarises these, once. Baselines: real training molecules, and a
token n-gram, the domain's simplest model.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from baselines import ngram, resampled
from common import write_result
from comparing import figures_of

from molgen import registry
from molgen.config import Part
from molgen.model.generative_model import GenerativeModel
from molgen_datasets.sources.moses import Moses

#: What may stand in place of a model, and what it is.
BASELINES = {
    "training": ("a resample of the training set", resampled),
    "ngram": ("a 6-gram of SMILES tokens", ngram),
}


def main() -> None:
    """Measure a model, or a baseline, and write its result file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="moses", help=f"a model, or one of {', '.join(BASELINES)}")
    parser.add_argument("--count", type=int, default=30_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--batch-size", type=int, default=512)
    parser.add_argument("--precision", default="float32", help="in which networks multiply: float32 or bf16")
    parser.add_argument("--without-grammar", action="store_true", help="whatever the model gives a probability to")
    parser.add_argument("--result", help="name of the result file")
    args = parser.parse_args()
    start = time.perf_counter()
    samples, about = draw(args)
    about["seconds of drawing"] = round(time.perf_counter() - start, 1)
    data = Moses()
    figures = figures_of(samples, registry.get("domain", data.domain)(), data, ("moses",), data.references)
    result = {"model": about, "samples": len(samples), "metrics": figures}
    write_result(args.result or f"moses-{Path(args.model).name}", result, ("fcd",))


def draw(args: argparse.Namespace) -> tuple[list[object], dict[str, object]]:
    """Raw samples of what was asked for, and what it is."""
    if args.model in BASELINES:
        name, baseline = BASELINES[args.model]
        return baseline(Moses(), args.count, args.seed), {"name": name, "seed": args.seed}
    loaded = GenerativeModel.load(args.model)
    if args.without_grammar:
        encoder = loaded.config.encoder
        loaded = loaded.with_encoder(Part(encoder.name, {**encoder.settings, "grammar": False}))
    loaded.precision = args.precision
    drawn = loaded.sample(args.count, seed=args.seed, batch_size=args.batch_size)
    samples = [one.item for one in drawn]
    about = {"name": Path(args.model).name, "weights": loaded.digest, "seed": args.seed, "temperature": 1.0}
    about["precision"] = args.precision
    about["encoder"] = loaded.config.encoder.to_json()
    return samples, about


if __name__ == "__main__":
    main()
