"""What every benchmark shares: the result file, with the command and the machine that made it."""

from __future__ import annotations

import json
import math
import os
import platform
import shlex
import sys
import time
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from molgen.atomic_files import write_text

RESULTS = Path(__file__).parent / "results"


def _portable(word: str) -> str:
    """An argument or a setting without the folder in which this machine keeps a file."""
    return f"FOLDER/{Path(word).name}" if Path(word).is_absolute() else word


def write_result(name: str, values: Mapping[str, Any], packages: tuple[str, ...] = ()) -> Path:
    """Write `results/NAME.json` and return its path.

    Args:
        name: of the file.
        values: the figures.
        packages: whose versions matter beside torch, numpy and rdkit.
    """
    record = {
        "command": shlex.join(["python", os.path.relpath(sys.argv[0]), *map(_portable, sys.argv[1:])]),
        "date": time.strftime("%Y-%m-%d"),
        "machine": machine(),
        "versions": {p: _version(p) for p in ("molgen-toolkit", "torch", "numpy", "rdkit", *packages)},
        **values,
    }
    path, text = RESULTS / f"{name}.json", json.dumps(_plain(record), indent=1, allow_nan=False)
    write_text(path, text + "\n")
    print(text)
    return path


def _plain(value: Any) -> Any:
    """The same without this machine's folders, and with null for numbers that JSON lacks."""
    if isinstance(value, Mapping):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(one) for one in value]
    if isinstance(value, str):
        return _portable(value)
    return None if isinstance(value, float) and not math.isfinite(value) else value


def machine() -> dict[str, Any]:
    """The processor with the instructions that torch uses of it, and how many of its cores this process may use."""
    return {
        "processor": _processor(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "cores": len(os.sched_getaffinity(0)),
        "python": platform.python_version(),
    }


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor()


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def matrix_rate(rows: int, inner: int, columns: int, seconds: float = 2.0) -> float:
    """Multiplications and additions per second of float32 matrix products of one shape, on all threads."""
    left, right = torch.randn(rows, inner), torch.randn(inner, columns)
    left @ right
    count, start = 0, time.perf_counter()
    while (elapsed := time.perf_counter() - start) < seconds:
        left @ right
        count += 1
    return 2 * rows * inner * columns * count / elapsed
