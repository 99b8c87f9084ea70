"""The first `molgen evaluate --reference NAME` on a machine: seconds from an empty cache, once the data are there.

    python benchmarks/evaluate_first.py --references moses qm9 zinc250k

The rows are the first training molecules of each set. Each run is a whole process with its workers and starts with a
cache that holds the files of the data set and nothing else; a second run shows what the figures themselves take.
"""

from __future__ import annotations

import argparse
import os
import sys
from argparse import Namespace
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from common import write_result
from evaluate_speed import measured
from samples import write

from molgen import registry
from molgen.data.cache import CACHE, cache_folder

#: What each kind of run may take on two cores, in seconds.
LIMITS = {"first": 90.0, "first with a report": 180.0}


def main() -> None:
    """Measure every reference, and write the result file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--references", nargs="+", default=["moses", "qm9", "zinc250k"])
    parser.add_argument("--count", type=int, default=10_000, help="molecules that are evaluated")
    parser.add_argument("--jobs", type=int, default=2, help="worker processes")
    parser.add_argument("--no-report", action="store_true", help="leave out the runs with a report")
    parser.add_argument("--result", default="evaluate-first", help="name of the result file")
    args = parser.parse_args()
    runs = {name: _runs(name, args) for name in args.references}
    write_result(args.result, {"rows": args.count, "limits": LIMITS, "runs": runs}, ("fcd",))


def _runs(name: str, args: Namespace) -> dict[str, Any]:
    """The runs against one data set."""
    dataset = registry.get("dataset", name)()
    data = dataset.fetch()
    found = {}
    for kind in [*LIMITS][: 1 if args.no_report else 2]:
        with TemporaryDirectory() as folder:
            cache = Path(folder, "cache")
            (cache / "data").mkdir(parents=True)
            (cache / "data" / data.name).symlink_to(data)
            samples = Path(folder, "samples.csv")
            write(samples, islice(dataset.items("train"), args.count))
            found[kind] = _run(name, samples, cache, args, report=kind != "first")
            if kind == "first":
                found["second"] = _run(name, samples, cache, args, report=False)
    return found


def _run(name: str, samples: Path, cache: Path, args: Namespace, report: bool) -> dict[str, Any]:
    command = [str(Path(sys.executable).with_name("molgen")), "evaluate", str(samples), "--reference", name]
    command += ["--workers", str(args.jobs), "--output", str(samples.with_suffix(".json")), "--overwrite", "--quiet"]
    if report:
        command += ["--report", str(samples.with_suffix(".html"))]
    before = os.environ.get(CACHE, str(cache_folder()))
    os.environ[CACHE] = str(cache)
    try:
        return measured(command)
    finally:
        os.environ[CACHE] = before


if __name__ == "__main__":
    main()
