"""What `molgen dataset create` costs beside the sampling itself, and how that grows with the set.

    python benchmarks/synthetic.py --rate 20000 --counts 100000 200000 --scale 10000 --placing 1000000 10000000

- `--rate`: processor seconds for so many draws of the embedded model: by the sampler alone, and by the engine in one
  process, with its inspecting process beside it; filters are validity and uniqueness.
- `--counts`: whole runs of the command: seconds, the largest memory of all its processes, bytes on disk.
- `--scale`: the same with 1 and 2 local workers and with Ray; the sets must be the same bytes.
- `--placing`: seconds and memory of what needs all rows at once, for candidates that were not drawn: which are the
  first with their key, and where each goes.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from common import write_result
from evaluate_speed import measured

from molgen.atomic_files import sha256

#: Validity and uniqueness alone.
FILTERS = ("filters.alerts=none",)
#: Makes parts of keys in a process of its own, whose memory is measured.
PLACING = """
import sys, time, resource
from pathlib import Path
import numpy as np, pyarrow as pa
from pyarrow import parquet as pq
from molgen_datasets.synthetic import assemble
from molgen_datasets.synthetic.draw import KEY, GROUP, BITS
from molgen_datasets.synthetic.folder import Folder
from molgen_datasets.synthetic.plan import MOST
from molgen_datasets.synthetic.recipe import recipe_from
folder, count = Folder(sys.argv[1]), int(sys.argv[2])
rng, rows = np.random.default_rng(0), [MOST] * (count // MOST)
folder.part(0).parent.mkdir(parents=True)
schema = pa.schema([(KEY, pa.binary(16)), (GROUP, pa.binary(8)), (BITS, pa.binary())])
for number, size in enumerate(rows):
    raw = rng.integers(0, 2**63, (size, 2), dtype=np.uint64)
    raw[: size // 50] = rng.integers(0, count // 10, (size // 50, 2), dtype=np.uint64) % 1000  # repeats
    keys = pa.Array.from_buffers(pa.binary(16), size, [None, pa.py_buffer(raw.tobytes())])
    empty = [pa.nulls(size, field.type) for field in list(schema)[1:]]
    pq.write_table(pa.table([keys, *empty], schema=schema), folder.part(number))
recipe = recipe_from({"model": "moses", "count": count, "splits": {"shares": {"train": 0.9, "test": 0.1}}})
start = time.perf_counter()
kept = assemble.distinct(folder, rows)
middle = time.perf_counter()
assemble.place(recipe, {}, folder, rows, kept)
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
print(middle - start, time.perf_counter() - middle, peak, int(kept.sum()), folder.places.stat().st_size)
"""


def main() -> None:
    """Measure what is asked for, and write the result file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rate", type=int, default=0)
    parser.add_argument("--counts", type=int, nargs="*", default=[])
    parser.add_argument("--scale", type=int, default=0)
    parser.add_argument("--placing", type=int, nargs="*", default=[])
    parser.add_argument("--result", default="synthetic", help="name of the result file")
    args = parser.parse_args()
    found: dict[str, Any] = {}
    with TemporaryDirectory() as folder:
        if args.placing:
            found["placing"] = {f"{count:,} rows": placing(Path(folder), count) for count in args.placing}
        if args.rate:
            found["rate"] = rate(Path(folder), args.rate)
        if args.counts:
            found["sets"] = {f"{count:,} items": whole(Path(folder), count) for count in args.counts}
        if args.scale:
            found["workers"] = workers(Path(folder), args.scale)
    write_result(args.result, found, packages=("ray", "pyarrow"))


def rate(folder: Path, draws: int) -> dict[str, float]:
    """Processor seconds of the sampler alone and of the engine for the same number of draws, each of one thread."""
    import torch

    from molgen.model.generative_model import GenerativeModel
    from molgen_datasets.synthetic import create

    torch.set_num_threads(1)
    model = GenerativeModel.load("moses")
    list(model.sample(1024, seed=1))
    start, wall = time.process_time(), time.perf_counter()
    list(model.sample(draws, seed=0))
    alone, alone_wall = time.process_time() - start, time.perf_counter() - wall
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    start, wall = time.process_time(), time.perf_counter()
    recipe = {"model": "moses", "count": int(0.85 * draws), "filters": {"alerts": "none"}}
    made = create(recipe, folder / "rate", engine="serial", device="cpu")
    engine, engine_wall = time.process_time() - start, time.perf_counter() - wall
    inspecting = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - children.ru_utime
    drawn = made["tally"]["drawn"]
    return {
        "draws of the engine": drawn,
        "sampler alone, processor microseconds of a draw": 1e6 * alone / draws,
        "engine's own process, processor microseconds of a draw": 1e6 * engine / drawn,
        "inspecting process, processor microseconds of a draw": 1e6 * inspecting / drawn,
        "overhead in the process that samples": engine / drawn / (alone / draws) - 1,
        "sampler alone, draws per second": draws / alone_wall,
        "engine with its inspecting process, draws per second": drawn / engine_wall,
    }


def whole(folder: Path, count: int) -> dict[str, Any]:
    """One run of the command."""
    output = folder / f"set-{count}"
    figures = measured(command(output, count, "--workers", "1"))
    size = sum(path.stat().st_size for path in (output / "data").iterdir())
    return {**figures, "items per second": count / figures["seconds"], "bytes of an item": size / count}


def workers(folder: Path, count: int) -> dict[str, Any]:
    """The same set by one worker, by two, and by two of Ray."""
    found, hashes = {}, set()
    ways = {"1 worker": ["--workers", "1"], "2 workers": ["--workers", "2"]}
    ways["Ray, 2 workers"] = ["--engine", "ray", "--workers", "2"]
    for number, (name, options) in enumerate(ways.items()):
        output = folder / f"workers-{number}"
        found[name] = measured(command(output, count, *options))
        hashes.add(sha256(output / "data"))
    return {**found, "the same bytes": len(hashes) == 1}


def command(output: Path, count: int, *options: str) -> Sequence[str]:
    """The command that makes a set of the embedded model."""
    molgen = str(Path(sys.executable).with_name("molgen"))
    settings = ["-m", "moses", "-n", str(count), "-o", str(output), "--device", "cpu", "-q"]
    return [molgen, "dataset", "create", *FILTERS, *settings, *options]


def placing(folder: Path, count: int) -> dict[str, float]:
    """Seconds and memory of what needs all rows at once."""
    path = folder / f"placing-{count}"
    done = subprocess.run([sys.executable, "-c", PLACING, str(path), str(count)], capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(done.stderr)
    repeats, places, peak, kept, size = map(float, done.stdout.split())
    return {
        "seconds for repeats": repeats,
        "seconds for places": places,
        "peak bytes": peak,
        "rows that are the first of their key": kept,
        "bytes of places on disk": size,
    }


if __name__ == "__main__":
    main()
