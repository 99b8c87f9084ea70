"""How far items are from each other: by the bits, the numbers or the cells of a feature of their domain.

Letters in shapes: N items of a set, Q queries, P points, D numbers of an item, B bytes.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from molgen.metrics.columns import Cells, Column, columns_of
from molgen.metrics.distances import ROUNDING, squared_distances

#: Queries that are compared with all points at a time.
BLOCK = 512


class Measure(ABC):
    """Compares vectors. What `compare` gives grows with the distance, and is cheaper to find than it.

    Attributes:
        name: of the distance, for people.
    """

    name: str

    @abstractmethod
    def compare(self, queries: np.ndarray, points: np.ndarray) -> np.ndarray:
        """What grows with the distances between (Q, D) and (P, D), float64 (Q, P)."""

    @abstractmethod
    def distance(self, compared: np.ndarray) -> np.ndarray:
        """The distances that comparisons stand for, of the same shape."""

    def tolerance(self, queries: np.ndarray, points: np.ndarray) -> float:
        """Comparisons that differ by no more are equal but for rounding."""
        return 0.0


class Tanimoto(Measure):
    """One minus the Tanimoto similarity of bits; two items without any bit are equal."""

    name = "one minus the Tanimoto similarity"

    def compare(self, queries: np.ndarray, points: np.ndarray) -> np.ndarray:
        """The distance itself: counts are exact in float32, so that equal fractions are equal."""
        shared = (queries @ points.T).astype(np.float64)
        either = queries.sum(1, dtype=np.float64)[:, None] + points.sum(1, dtype=np.float64) - shared
        return 1.0 - np.divide(shared, either, out=np.ones_like(shared), where=either > 0)

    def distance(self, compared: np.ndarray) -> np.ndarray:
        """The same."""
        return compared


class Euclidean(Measure):
    """The Euclidean distance of numbers."""

    name = "the Euclidean distance"

    def compare(self, queries: np.ndarray, points: np.ndarray) -> np.ndarray:
        """Squared distances; those of equal vectors are zero, whatever rounding makes of them."""
        found = squared_distances(queries, points)
        found[found <= self.tolerance(queries, points)] = 0.0
        return found

    def distance(self, compared: np.ndarray) -> np.ndarray:
        """Their roots."""
        return np.sqrt(compared)

    def tolerance(self, queries: np.ndarray, points: np.ndarray) -> float:
        """A share of the squared lengths."""
        lengths = (float(np.square(side, dtype=np.float64).sum(1).max(initial=0)) for side in (queries, points))
        return 16 * ROUNDING * max(lengths)


def vectors(values: Sequence[Any]) -> tuple[Measure, list[np.ndarray]]:
    """How a feature is compared, and the vectors of each set.

    Args:
        values: the feature in each set, the training set first: bytes of bits, uint8 (N, B); numbers (N, ...); or
            mappings from columns to cells, N of them.
    """
    if isinstance(values[0], np.ndarray) and values[0].dtype == np.uint8:
        return Tanimoto(), [np.unpackbits(part, axis=1).astype(np.float32) for part in values]
    if isinstance(values[0], np.ndarray):
        return Euclidean(), [np.asarray(part, np.float32).reshape(len(part), -1) for part in values]
    return Euclidean(), cell_vectors(values)


# --- cells ----------------------------------------------------------------------------------------


def cell_vectors(tables: Sequence[Sequence[Cells]]) -> list[np.ndarray]:
    """The rows of tables as numbers, so that distances are those of Gower, with squares.

    A column of numbers counts by its share of the range that it has in the first table, with a further number that
    says where it is empty; two different classes are 1 apart, a number and a gap about as far.

    Source: Gower, Biometrics 27(4), 1971.

    Args:
        tables: rows of cells, the training set first: it says what the columns are.

    Returns:
        float32 (N, D) of each table.
    """
    others = [row for table in tables[1:] for row in table]
    sizes = np.cumsum([len(table) for table in tables])[:-1]
    parts = [part for column in columns_of(tables[0], others) for part in _of_column(column)]
    if not parts:
        return [np.zeros((len(table), 1), np.float32) for table in tables]
    return np.split(np.stack(parts, axis=1).astype(np.float32), sizes)


def _of_column(column: Column) -> Iterator[np.ndarray]:
    codes = np.concatenate([column.real, column.drawn])
    if column.numbers is None:
        for code in range(int(codes.max(initial=0)) + 1):
            yield (codes == code) * np.sqrt(0.5)
        return
    low, high = np.nanmin(column.numbers[0]), np.nanmax(column.numbers[0])
    values = (np.concatenate(column.numbers) - low) / ((high - low) or 1.0)
    gaps = np.isnan(values)
    yield np.where(gaps, 0.5, values)
    if gaps.any():
        yield gaps * np.sqrt(0.75)


# --- neighbours -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Nearest:
    """The nearest points of some queries.

    Attributes:
        first, second: distances to the nearest point and the next one, float64 (Q,); infinite where there is none.
    """

    first: np.ndarray
    second: np.ndarray

    @property
    def ratio(self) -> np.ndarray:
        """The nearest distance by the next one, 1 where both are zero, (Q,)."""
        return np.divide(self.first, self.second, out=np.ones_like(self.first), where=self.second > 0)


def blocks(measure: Measure, queries: np.ndarray, points: np.ndarray) -> Iterator[tuple[slice, np.ndarray]]:
    """Comparisons of all queries with all points, some queries at a time."""
    for start in range(0, len(queries), BLOCK):
        rows = slice(start, min(start + BLOCK, len(queries)))
        yield rows, measure.compare(queries[rows], points)


def nearest(measure: Measure, queries: np.ndarray, points: np.ndarray) -> Nearest:
    """The nearest two points of each query."""
    found = np.full((len(queries), 2), np.inf)
    for rows, compared in blocks(measure, queries, points):
        found[rows] = lowest_two(compared)
    return Nearest(*measure.distance(found).T)


def lowest_two(compared: np.ndarray) -> np.ndarray:
    """The two lowest of each row, ascending, (Q, 2); infinite where there is none."""
    if compared.shape[1] < 2:
        return np.pad(compared, ((0, 0), (0, 2 - compared.shape[1])), constant_values=np.inf)
    return np.sort(np.partition(compared, 1, axis=1)[:, :2], axis=1)


def quantiles(values: np.ndarray, levels: Sequence[float]) -> list[float]:
    """Quantiles of what is finite, NaN where nothing is."""
    known = values[np.isfinite(values)]
    return [float(value) for value in np.quantile(known, levels)] if len(known) else [float("nan")] * len(levels)
