"""What the original packages miss in today's libraries, put back so that their code runs unchanged.

Nothing here touches a formula. To be called once, in a process that does nothing else.
"""

from __future__ import annotations

import multiprocessing
import sys
from collections.abc import Callable, Iterator, Mapping
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import scipy
import scipy.linalg


def apply() -> None:
    """Put back what molsets 0.3.1, fcd_torch 1.0.7 and guacamol 0.5.5 use and current releases lack."""
    np.NaN = np.nan  # type: ignore[attr-defined]  # gone in numpy 2
    scipy.histogram = np.histogram  # type: ignore[attr-defined]  # gone in scipy 1.12; guacamol imports it
    scipy.linalg.sqrtm = _checked(scipy.linalg.sqrtm)  # with NaN, as of no molecules, today's never ends
    pd.DataFrame.append = _append  # type: ignore[attr-defined]  # gone in pandas 2
    # Plots of training logs; the metrics draw nothing.
    _module("matplotlib", pyplot=_module("matplotlib.pyplot"))
    _module("rdkit.six", iteritems=_iteritems)  # gone since RDKit needs Python 3
    # Its workers inherit what this function changed; a fresh interpreter would not.
    multiprocessing.set_start_method("fork")


def _checked(function: Callable[..., np.ndarray]) -> Callable[..., np.ndarray]:
    def checked(matrix: np.ndarray, *args: Any, **options: Any) -> np.ndarray:
        return function(np.asarray_chkfinite(matrix), *args, **options)

    return checked


def _append(self: pd.DataFrame, other: pd.DataFrame, sort: bool = False) -> pd.DataFrame:
    return pd.concat([self, other], sort=sort)


def _iteritems(mapping: Mapping[Any, Any]) -> Iterator[tuple[Any, Any]]:
    return iter(mapping.items())


def _module(name: str, **members: Any) -> ModuleType:
    module = sys.modules[name] = ModuleType(name)
    vars(module).update(members)
    return module
