"""The reference statistics of the MOSES test sets, from the file that the MOSES authors published.

That file is a pickle; it is read by an unpickler that can make arrays and mappings and nothing else.
"""

from __future__ import annotations

import codecs
import pickle
import zipfile
from collections import Counter, defaultdict
from collections.abc import Mapping
from typing import Any

import numpy as np

from molgen_datasets.cache import Pin, cache_folder
from molgen_datasets.sources.moses import WHEEL
from molgen_datasets.wheel import Wheel, obtain

#: The files of statistics lie in the wheel that the data set comes from.
STATISTICS = Wheel(
    project=WHEEL.project,
    version=WHEEL.version,
    size=WHEEL.size,
    members={
        "moses/dataset/data/test_stats.npz": Pin(
            16_781_400, "ded25073225a895d4ed17bf1d4223d27560e87ff4cb85786346ca1cc8efa03d3"
        ),
        "moses/dataset/data/test_scaffolds_stats.npz": Pin(
            15_949_706, "7b7aba6c1474634a019bebf16f389d554cb9dd1021dfc8c1d1e54430a9f0e7f8"
        ),
    },
)

_SAFE: Mapping[tuple[str, str], Any] = {
    ("numpy.core.multiarray", "_reconstruct"): np._core.multiarray._reconstruct,
    ("numpy.core.multiarray", "scalar"): np._core.multiarray.scalar,
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    ("_codecs", "encode"): codecs.encode,
    ("collections", "Counter"): Counter,
    ("collections", "defaultdict"): defaultdict,
}


class _ArraysOnly(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _SAFE:
            raise pickle.UnpicklingError(f"{module}.{name} is not allowed in a file of statistics")
        return _SAFE[module, name]


def fcd_statistics(split: str) -> tuple[np.ndarray, np.ndarray]:
    """Mean (512,) and covariance (512, 512) of the ChemNet activations of `test` or `test_scaffolds`."""
    folder = cache_folder() / "data" / "moses-statistics"
    name = f"{split}_stats.npz"
    if not (folder / name).exists():
        obtain(STATISTICS, [name], folder)
    with zipfile.ZipFile(folder / name) as archive, archive.open("stats.npy") as file:
        np.lib.format.read_magic(file)
        np.lib.format.read_array_header_1_0(file)
        statistics = _ArraysOnly(file, encoding="latin1").load().item()
    return statistics["FCD"]["mu"], statistics["FCD"]["sigma"]
