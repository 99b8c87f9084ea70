"""How long all MOSES metrics take, and how much memory: the original package against `molgen evaluate`.

    python benchmarks/samples.py FOLDER
    python benchmarks/evaluate_speed.py FOLDER/training.csv --count 30000 --repeats 3

The original runs as its users run it, `get_all_metrics(samples, n_jobs=2)` with the statistics of the test sets
that its wheel holds, its code unchanged (see `originals/`). Ours runs as a command with the same number of
workers and summaries of the reference sets that lie in the cache, made by an untimed run over a few rows where
they do not; `--first` also times a run without them. Both are whole processes, start included, in turn, and write
their figures into the result. Memory is the largest sum of the
proportional set sizes of a process and its workers, looked at twice a second; it needs Linux.
Needs `pip install pandas`, and a machine that does nothing else.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from argparse import Namespace
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import fcd
import torch
from common import matrix_rate, write_result
from encoding import family, proportional_size
from originals.calling import command_for
from samples import read, write
from torch import nn

from molgen import registry
from molgen.data.cache import CACHE, cache_folder

#: Seconds between two looks at the memory; a look takes some milliseconds of a core.
PERIOD = 0.5
#: How many times faster ours has to be and is meant to be, and the memory it may take.
LEAST, AIM, LIMIT_BYTES = 2.5, 4.0, 2 << 30
#: Exit statuses of a command that has results: all of them, or some metrics failed.
FINISHED = (0, 3)
#: Width of a fingerprint, and molecules that are compared at a time.
BITS, BLOCK = 1024, 4096
#: Molecules whose features are timed one by one, and those of a run that is not timed.
TIMED, FEW = 200, 100


def main() -> None:
    """Time both, and write the result file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path, help="a file that samples.py made")
    parser.add_argument("--count", type=int, default=30_000, help="the first rows of it that are used")
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--first", action="store_true", help="also time ours with no summaries in the cache")
    parser.add_argument("--jobs", type=int, default=2, help="worker processes of either side")
    parser.add_argument(
        "--reference", nargs="+", default=["moses"], help="as for molgen evaluate; the original's stays"
    )
    parser.add_argument("--training", help="of ours, as for molgen evaluate")
    parser.add_argument("--result", default="evaluate-speed", help="name of the result file")
    args = parser.parse_args()
    rows = read(args.file)[: args.count]
    with TemporaryDirectory() as folder:
        write_result(args.result, compared(rows, args, Path(folder)), ("scipy", "pandas", "fcd"))


def compared(rows: Sequence[str], args: Namespace, folder: Path) -> dict[str, Any]:
    """Both sides, and what they cannot be faster than."""
    before = floors(rows)
    ours(rows[:FEW], args, folder, cache_folder())
    pairs = [(original(rows, args, folder), ours(rows, args, folder, cache_folder())) for _ in range(args.repeats)]
    theirs, warm = ([pair[side] for pair in pairs] for side in (0, 1))
    their_seconds, our_seconds = (statistics.median(run["seconds"] for run in runs) for runs in (theirs, warm))
    ratio, peak = their_seconds / our_seconds, max(run["peak bytes"] for run in warm)
    return {
        "samples": f"{args.file.name}, {len(rows)} rows",
        "workers": args.jobs,
        "seconds": {"original": their_seconds, "ours": our_seconds},
        "ratio": ratio,
        "limits": {"ratio": LEAST, "ratio aimed at": AIM, "peak bytes": LIMIT_BYTES},
        "within_limits": ratio >= LEAST and peak <= LIMIT_BYTES,
        "peak bytes": {"original": max(run["peak bytes"] for run in theirs), "ours": peak},
        "original": theirs,
        "ours": warm,
        **({"ours, first time": first_time(rows, args, folder)} if args.first else {}),
        "floors": {"before": before, "after": floors(rows)},
        "milliseconds of features": feature_costs(rows[:TIMED]),
    }


def first_time(rows: Sequence[str], args: Namespace, folder: Path) -> dict[str, Any]:
    """Ours in a cache that holds the data sets and nothing else."""
    cache = folder / "cache"
    cache.mkdir()
    (cache / "data").symlink_to(cache_folder() / "data")
    return ours(rows, args, folder, cache)


# --- the two sides --------------------------------------------------------------------------------


def original(rows: Sequence[str], args: Namespace, folder: Path) -> dict[str, Any]:
    """One run of the original, with what each metric took and gave."""
    command = command_for("moses_original.py", {"gen": rows, "n_jobs": args.jobs}, folder)
    return {**measured(command), **json.loads(Path(command[-1]).read_text())}


def ours(rows: Sequence[str], args: Namespace, folder: Path, cache: Path) -> dict[str, Any]:
    """One run of the command."""
    samples, output = folder / "samples.csv", folder / "figures.json"
    write(samples, rows)
    command = [str(Path(sys.executable).with_name("molgen")), "evaluate", str(samples), "--metrics", "moses"]
    command += [word for name in args.reference for word in ("--reference", name)]
    command += ["--training", args.training] if args.training else []
    command += ["--workers", str(args.jobs), "--output", str(output), "--overwrite", "--quiet"]
    figures = measured(command, {CACHE: str(cache)})
    found = json.loads(output.read_text())
    (one,) = found["files"]
    return {
        **figures,
        "parts": {**found["seconds"], **one["seconds"]},
        "metrics": {figure["label"]: figure["value"] for figure in one["figures"]},
        "seconds by metric": {figure["label"]: figure["seconds"] for figure in one["figures"]},
        "errors": {figure["label"]: figure["error"] for figure in one["figures"] if figure["error"]},
    }


def measured(command: Sequence[str], environment: Mapping[str, str] | None = None) -> dict[str, float]:
    """Wall and processor seconds and the largest memory of a command and all its processes.

    Raises:
        RuntimeError: the command failed.
    """
    used, start, peak = _processor(), time.perf_counter(), 0
    child = subprocess.Popen(command, env={**os.environ, **(environment or {})})
    while child.poll() is None:
        peak = max(peak, sum(map(proportional_size, family(child.pid))))
        try:
            child.wait(PERIOD)
        except subprocess.TimeoutExpired:
            continue
    seconds = time.perf_counter() - start
    if child.returncode not in FINISHED:
        raise RuntimeError(f"{command[1]} ended with {child.returncode}")
    return {"seconds": seconds, "processor seconds": _processor() - used, "peak bytes": peak}


def _processor() -> float:
    spent = resource.getrusage(resource.RUSAGE_CHILDREN)
    return spent.ru_utime + spent.ru_stime


# --- what takes the time --------------------------------------------------------------------------


def floors(rows: Sequence[str]) -> dict[str, Any]:
    """Seconds that the arithmetic of the two largest parts takes at the rate of this machine's matrix products."""
    sizes = registry.get("dataset", "moses")().splits
    network, recurrence = chemnet_products()
    pairs = len(rows) * (sizes["test"] + sizes["test_scaffolds"])
    wide, narrow = matrix_rate(2048, 512, BLOCK), matrix_rate(BLOCK, BITS, BLOCK)
    return {
        "matrix rate": {"of the recurrence": wide, "of fingerprints": narrow},
        "ChemNet, all its products": 2 * network * len(rows) / wide,
        "ChemNet, the recurrent products of its last layer alone": 2 * recurrence * len(rows) / wide,
        "pairs for SNN": pairs,
        "SNN, as matrix products": 2 * BITS * pairs / narrow,
        "IntDiv, as matrix products of half the pairs": BITS * len(rows) ** 2 / narrow,
    }


def chemnet_products() -> tuple[int, int]:
    """Multiplications of ChemNet for one molecule: of all its layers, and of the last one's state with its weights."""
    found: list[tuple[int, int]] = []

    def note(layer: nn.Module, inputs: tuple[torch.Tensor, ...], outputs: Any) -> None:
        if isinstance(layer, nn.LSTM):
            steps, weights = inputs[0].shape[1], (layer.weight_ih_l0.numel(), layer.weight_hh_l0.numel())
            found.append((steps * sum(weights), steps * weights[1]))
        elif isinstance(layer, nn.Conv1d):
            found.append((outputs.shape[2] * layer.weight.numel(), 0))

    model = fcd.load_ref_model()
    handles = [layer.register_forward_hook(note) for layer in model]
    with torch.no_grad():
        model(torch.zeros(1, model_channels(model), 350))
    for handle in handles:
        handle.remove()
    return sum(products for products, _ in found), found[-1][1]


def model_channels(model: nn.Module) -> int:
    """The tokens that the network tells apart."""
    return next(layer.in_channels for layer in model.modules() if isinstance(layer, nn.Conv1d))


def feature_costs(rows: Sequence[str]) -> dict[str, float]:
    """Milliseconds for a molecule of its canonical form and of each feature, with the reading of its string."""
    domain = registry.get("domain", "molecules")()
    molecules = [item for item in map(domain.canonical, rows) if isinstance(item, str)]
    functions = {"canonical form": domain.canonical, **domain.descriptors().features}
    return {name: _milliseconds(function, molecules) for name, function in functions.items()}


def _milliseconds(function: Any, items: Sequence[str]) -> float:
    function("C")
    start = time.process_time()
    for item in items:
        function(item)
    return 1000 * (time.process_time() - start) / max(1, len(items))


if __name__ == "__main__":
    main()
