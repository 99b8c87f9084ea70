"""Devices by the names that users give them."""

from __future__ import annotations

import torch

from molgen.errors import UsageError


def resolve_device(name: str = "auto") -> str:
    """The device of a name, such as `cpu`, `cuda:1` or `mps`; `auto` is a CUDA device where there is one, else the CPU.

    Raises:
        UsageError: there is no such device here.
    """
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError:
        raise UsageError(f"no device is named {name!r}; type --device auto, cpu or cuda") from None
    if (device.index or 0) >= _count(device.type):
        raise UsageError(f"there is no device {name} here; type --device auto; molgen env lists the devices")
    return name


def _count(kind: str) -> int:
    """How many devices of a kind there are; kinds without numbers to compute on, such as `meta`, have none."""
    if kind == "cpu":
        return 1
    try:
        module = torch.get_device_module(kind)
        return int(module.device_count()) if module.is_available() else 0
    except (RuntimeError, AttributeError):
        # `torch.mps` counts, and says in another place whether it is there.
        return int(torch.mps.device_count()) if kind == "mps" else 0
