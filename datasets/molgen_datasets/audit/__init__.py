"""Audits of synthetic data sets: copies, membership inference, canaries, fidelity and use.

`audit` compares a set with what its generator learned from and with items that were held out; `plant` puts canaries
into a training file.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from molgen_datasets.audit.canaries import Canaries, Planting, plant
    from molgen_datasets.audit.findings import Audit, Finding, Section
    from molgen_datasets.audit.run import audit
    from molgen_datasets.audit.settings import Settings

#: Where each name comes from; what it needs is imported when it is used.
_FROM = {
    **dict.fromkeys(("Canaries", "Planting", "plant"), "canaries"),
    **dict.fromkeys(("Audit", "Finding", "Section"), "findings"),
    "Settings": "settings",
    "audit": "run",
}

__all__ = ["Audit", "Canaries", "Finding", "Planting", "Section", "Settings", "audit", "plant"]


def __getattr__(name: str) -> Any:
    from importlib import import_module

    if name not in _FROM:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_FROM[name]}"), name)
