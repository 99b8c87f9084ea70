"""Moments of feature networks over test splits, which take minutes to find and half a megabyte to keep.

A file holds the mean and the upper triangle of the unbiased covariance, row by row, as float32, and the digest of the
items that they were found of: for other items it stands for nothing. `benchmarks/shipped_moments.py` makes the files.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from safetensors import safe_open
from safetensors.numpy import save_file

from molgen.metric import PublishedStatistics

_FOLDER = Path(__file__).parent


def path_of(name: str, split: str) -> Path:
    """Where the moments of a split of a data set lie."""
    return _FOLDER / f"{name}-{split}.safetensors"


def write(path: Path, digest: str, feature: str, rows: int, mean: np.ndarray, covariance: np.ndarray) -> None:
    """Keep the moments of a feature.

    Args:
        path: of the file.
        digest: of the items.
        feature: its name.
        rows: how many items there are, all of them valid.
        mean: (D,).
        covariance: unbiased, (D, D).
    """
    triangle = covariance[np.triu_indices(len(mean))]
    arrays = {"mean": mean.astype(np.float32), "triangle": triangle.astype(np.float32)}
    save_file(arrays, path, {"digest": digest, "feature": feature, "rows": str(rows)})


def read(path: Path, digest: str) -> PublishedStatistics | None:
    """The moments in a file, float64, if there is one and it is of the items with this digest."""
    if not path.is_file():
        return None
    with safe_open(path, framework="numpy") as file:
        facts = file.metadata()
        if facts["digest"] != digest:
            return None
        mean = file.get_tensor("mean").astype(np.float64)
        upper = np.zeros((len(mean), len(mean)))
        upper[np.triu_indices(len(mean))] = file.get_tensor("triangle")
    return PublishedStatistics(int(facts["rows"]), moments={facts["feature"]: (mean, upper + np.triu(upper, 1).T)})
