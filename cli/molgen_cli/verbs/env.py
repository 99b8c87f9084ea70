"""`molgen env`: versions and devices, to paste into the report of a problem."""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import sys
from importlib.metadata import distributions, packages_distributions
from pathlib import Path
from typing import Any

import molgen
from molgen.registry import DISTRIBUTION
from molgen.versions import PACKAGES, _version
from molgen_cli.console import show, warn


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the verb."""
    parser.add_argument("--format", choices=("table", "json"), default="table", help="how to print (default: table)")


def run(args: argparse.Namespace) -> int:
    """Print the report, and each problem as a line on stderr."""
    found = report()
    show(json.dumps(found, indent=2) if args.format == "json" else _lines(found))
    for problem in found["problems"]:
        warn(problem)
    return 0


def report() -> dict[str, Any]:
    """What distinguishes this installation from others, as JSON values."""
    return {
        "molgen": _version(DISTRIBUTION),
        "location": str(Path(molgen.__file__ or "").parent),
        "python": platform.python_version(),
        "executable": sys.executable,
        "platform": platform.platform(),
        "packages": {name: _version(name) for name in PACKAGES},
        "cpus": os.cpu_count(),
        "usable_cpus": _usable_cpus(),
        **_torch(),
        "environment": {name: os.environ[name] for name in sorted(os.environ) if _concerns_us(name)},
        "problems": [_namesake_problem(name) for name in namesakes()],
    }


def namesakes() -> list[str]:
    """Other distributions that put a package `molgen` here, as in `molgen 0.2.0`."""
    owners = {_normalise(name) for name in packages_distributions().get("molgen", ())}
    installed = {_normalise(distribution.name): distribution.version for distribution in distributions()}
    owners |= {"molgen"} & installed.keys()  # a distribution without a list of files still has its name
    return [f"{name} {installed.get(name, '')}".rstrip() for name in sorted(owners - {DISTRIBUTION})]


def _namesake_problem(namesake: str) -> str:
    name = namesake.partition(" ")[0]
    return (
        f"another package, {namesake}, has the import name 'molgen' too, and the command where it is called 'molgen', "
        f"so each overwrites files of the other; type: pip uninstall {name}, "
        f"then: pip install --force-reinstall --no-deps {DISTRIBUTION}"
    )


def _normalise(name: str | None) -> str:
    return re.sub(r"[-_.]+", "-", name or "").lower()


def _usable_cpus() -> int | None:
    """CPUs that this process may use: fewer than the machine has, inside a container or a job."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def _concerns_us(name: str) -> bool:
    return name.startswith("MOLGEN_") or name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "CUDA_VISIBLE_DEVICES")


def _torch() -> dict[str, Any]:
    """Threads and devices as torch sees them; a torch that cannot be imported is itself a finding."""
    try:
        import torch

        return {"threads": torch.get_num_threads(), "cuda": torch.version.cuda, "devices": _devices()}
    except Exception as error:
        return {"threads": None, "cuda": None, "devices": [f"torch cannot be imported: {error}"]}


def _devices() -> list[str]:
    import torch

    found = ["cpu"]
    if torch.cuda.is_available():
        found += [f"cuda:{i} {torch.cuda.get_device_name(i)}" for i in range(torch.cuda.device_count())]
    if torch.backends.mps.is_available():
        found.append("mps")
    if torch.xpu.is_available():
        found += [f"xpu:{i} {torch.xpu.get_device_name(i)}" for i in range(torch.xpu.device_count())]
    return found


def _lines(found: dict[str, Any]) -> str:
    nested = ("packages", "environment", "problems")
    flat = {name: value for name, value in found.items() if name not in nested}
    flat |= {"devices": ", ".join(found["devices"]), **found["packages"], **found["environment"]}
    width = max(map(len, flat))
    return "\n".join(f"{name:<{width}}  {'-' if value is None else value}" for name, value in flat.items())
