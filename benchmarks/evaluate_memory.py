"""The memory of `molgen evaluate` by the number of rows: a million molecules stream through in bounded memory.

    python benchmarks/evaluate_memory.py --counts 100000 1000000

The rows are the first training molecules of MOSES, each run is a whole process with its workers, and its memory is
measured as in `evaluate_speed.py`. The metrics are those of the MOSES suite that need no network and no pairs, so that
the longest run takes minutes; what they keep of a molecule is its key, a few numbers and its scaffold.
"""

from __future__ import annotations

import argparse
import json
import sys
from argparse import Namespace
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from common import write_result
from evaluate_speed import FEW, measured
from samples import write

from molgen_datasets.sources.moses import Moses

METRICS = ("Valid", "Unique@1k", "Unique@10k", "Novelty", "Scaf", "logP", "weight")


def main() -> None:
    """Measure every number of rows, and write the result file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--counts", type=int, nargs="+", default=[100_000, 1_000_000])
    parser.add_argument("--metrics", nargs="+", default=METRICS)
    parser.add_argument("--reference", default="moses", help="as for molgen evaluate")
    parser.add_argument("--jobs", type=int, default=2, help="worker processes")
    parser.add_argument("--result", default="evaluate-memory", help="name of the result file")
    args = parser.parse_args()
    with TemporaryDirectory() as folder:
        run(FEW, args, Path(folder))  # makes the summaries of the reference, where they are not in the cache
        rows = {f"{count} rows": run(count, args, Path(folder)) for count in args.counts}
    write_result(args.result, {"metrics": list(args.metrics), "reference": args.reference, "runs": rows})


def run(count: int, args: Namespace, folder: Path) -> dict[str, Any]:
    """One run of the command over so many rows."""
    samples, output = folder / "samples.csv", folder / "figures.json"
    write(samples, molecules(count))
    command = [str(Path(sys.executable).with_name("molgen")), "evaluate", str(samples)]
    command += ["--metrics", ",".join(args.metrics), "--reference", args.reference, "--workers", str(args.jobs)]
    figures = measured([*command, "--output", str(output), "--overwrite", "--quiet"])
    (one,) = json.loads(output.read_text())["files"]
    values = {figure["label"]: figure["value"] for figure in one["figures"]}
    return {**figures, "peak bytes of a row": figures["peak bytes"] / count, "values": values}


def molecules(count: int) -> Iterator[str]:
    """The first training molecules."""
    return islice(Moses().items("train"), count)


if __name__ == "__main__":
    main()
