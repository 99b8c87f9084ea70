"""Which versions of molgen and of what it stands on are installed."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version

from molgen.registry import DISTRIBUTION

#: The distributions whose versions matter when something behaves differently elsewhere.
PACKAGES = (
    "torch",
    "numpy",
    "rdkit",
    "accelerate",
    "fcd",
    "hydra-core",
    "omegaconf",
    "pyarrow",
    "rich",
    "safetensors",
    "scipy",
    "tensorboard",
)


def versions() -> dict[str, str]:
    """The versions of molgen, of Python and of the packages whose version matters, as records name them."""
    found = {"molgen": _version(DISTRIBUTION), "python": platform.python_version()}
    found |= {name: _version(name) for name in PACKAGES}
    return {name: known for name, known in found.items() if known is not None}


def _version(distribution: str) -> str | None:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None
