"""How long it takes, and how much memory, to bring the strings of MOSES into an encoded store.

    python benchmarks/encoding.py

Measured from the strings as they are stored on the disk to the finished store, with the scan for the
vocabulary, by `molgen.training.fit`. Memory is the largest sum of the proportional set sizes (shared pages are
counted once) of the process and its workers, looked at ten times a second; it needs Linux.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

from common import write_result

LIMIT_SECONDS, LIMIT_BYTES = 60, 2 << 30
PERIOD = 0.1


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--limit", type=int, help="encode only so many strings; the result is printed, not written")
    parser.add_argument("--part", metavar="FOLDER", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.part:
        print(json.dumps(encode(Path(args.part), args.limit)))
        return 0
    result = measured(args.limit)
    if args.limit is None:
        write_result("encoding", result)
    else:
        print(json.dumps(result, indent=1))
    return 0


def encode(folder: Path, limit: int | None) -> dict[str, Any]:
    """Make the store, and say how long each part of the work took."""
    from molgen import registry
    from molgen.config import Part
    from molgen.data.encode import encode, make_encoder
    from molgen.data.prepare import TrainingData
    from molgen.data.statistics import count

    dataset = registry.get("dataset", "moses")()
    dataset.fetch(split="train")
    part = Part("molecules.smiles")
    encoder = make_encoder(part, registry.get("encoder", part.name)().state())
    data = TrainingData("moses", lambda: ((item, {}) for item in islice(dataset.items("train"), limit)), "benchmark")
    marks = [time.perf_counter()]
    encoder.prepare(item for item, _ in data.rows())
    marks.append(time.perf_counter())
    store = encode(encoder, part, data, folder, ())
    marks.append(time.perf_counter())
    count(store)
    marks.append(time.perf_counter())
    prepared, encoded, counted = (round(later - earlier, 2) for earlier, later in pairwise(marks))
    return {
        "items": len(store),
        "rejected": sum(store.rejected.values()),
        "seconds": round(prepared + encoded, 2),
        "seconds_vocabulary": prepared,
        "seconds_store": encoded,
        "seconds_statistics": counted,
        "store_bytes": sum(path.stat().st_size for path in store.path.iterdir()),
    }


def measured(limit: int | None) -> dict[str, Any]:
    """Run `encode` in a process of its own and watch the memory of it and its workers."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, __file__, "--part", folder, *(["--limit", str(limit)] if limit else [])]
        child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        peak = 0
        while child.poll() is None:
            peak = max(peak, sum(map(proportional_size, family(child.pid))))
            time.sleep(PERIOD)
        found = json.loads(child.stdout.read()) if child.stdout and child.returncode == 0 else {}
    if not found:
        raise SystemExit("encoding failed")
    return {
        "data": "moses, split train, strings as stored",
        **found,
        "peak_bytes": peak,
        "limits": {"seconds": LIMIT_SECONDS, "bytes": LIMIT_BYTES},
        "within_limits": found["seconds"] <= LIMIT_SECONDS and peak <= LIMIT_BYTES,
    }


def family(pid: int) -> list[int]:
    """A process and its descendants."""
    found = [pid]
    for task in found:
        for path in Path(f"/proc/{task}/task").glob("*/children"):
            try:
                found += [int(child) for child in path.read_text().split()]
            except OSError:
                continue
    return found


def proportional_size(pid: int) -> int:
    """Bytes of memory of one process, with its share of what it shares; 0 once it has ended."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) << 10 for line in lines if line.startswith("Pss:")), 0)


if __name__ == "__main__":
    sys.exit(main())
