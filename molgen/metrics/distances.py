"""Euclidean distances between feature vectors.

Letters in shapes: D features of an item, N and M items of samples.
"""

from __future__ import annotations

import numpy as np

from molgen.errors import MolgenError

#: Items whose distances to all of a sample are in memory together.
BLOCK = 512
#: Squared distances that differ by less than this share of the squared lengths are equal but for rounding.
ROUNDING = 1e-12


def squared_distances(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """The squared Euclidean distances between vectors (N, D) and (M, D), float64 (N, M).

    Raises:
        MolgenError: the vectors differ in width.
    """
    if first.shape[1] != second.shape[1]:
        raise MolgenError(f"{first.shape[1]} features against {second.shape[1]}")
    first, second = first.astype(np.float64, copy=False), second.astype(np.float64, copy=False)
    products = first @ second.T
    products *= -2
    products += np.einsum("nd,nd->n", first, first)[:, None]
    products += np.einsum("nd,nd->n", second, second)
    return np.maximum(products, 0, out=products)


def nearest(queries: np.ndarray, points: np.ndarray, neighbours: int = 1, same: bool = False) -> np.ndarray:
    """The squared distances from queries (N, D) to their k nearest points among (M, D), ascending, float64 (N, k).

    Args:
        queries: the vectors that neighbours are sought for.
        points: where they are sought; at least k of them, and one more where `same`.
        neighbours: k, from 1.
        same: the queries are the points, and none is its own neighbour.
    """
    points, found = points.astype(np.float64), np.empty((len(queries), neighbours))
    for start in range(0, len(queries), BLOCK):
        distances = squared_distances(queries[start : start + BLOCK], points)
        places = np.arange(len(distances))
        if same:
            distances[places, start + places] = np.inf
        if neighbours == 1:
            found[start + places, 0] = distances.min(1)
        else:
            found[start + places] = np.sort(np.partition(distances, neighbours - 1, 1)[:, :neighbours], 1)
    return found


def rounding(first: np.ndarray, second: np.ndarray) -> float:
    """The difference below which squared distances between vectors (N, D) and (M, D) are the same."""
    return ROUNDING * max(float(np.square(side, dtype=np.float64).sum(1).max()) for side in (first, second))
