"""How like the columns of a table are to those of another: one by one, and in pairs.

The similarities are those of SDMetrics (Synthetic Data Metrics, DataCebo 2023): KSComplement and TVComplement of a
column, CorrelationSimilarity and ContingencySimilarity of a pair; all of them are 1 where two tables agree. An item
says its columns by a feature of its domain: a mapping from names to a number, a text, or None where nothing is known.

Letters in shapes: R rows of the reference, V rows of the sample, K classes.
"""

from __future__ import annotations

import json
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any, ClassVar

import numpy as np

from molgen.evaluation.intervals import with_interval
from molgen.metric import (
    Against,
    Better,
    Chunk,
    Estimate,
    Metric,
    Summary,
    groups_of,
    pack_strings,
    undefined,
    unpack_strings,
)

#: Classes into which numbers are cut beside a column of classes: of equal width over the reference.
BINS = 10

Cells = Mapping[str, float | str | None]


@dataclass(frozen=True)
class Column:
    """A column of two tables.

    Attributes:
        name: of the column.
        real, drawn: the classes of both by number, a missing value among them, int (R,) and (V,).
        numbers: of both, NaN where a value is missing; None where the column holds classes.
    """

    name: str
    real: np.ndarray
    drawn: np.ndarray
    numbers: tuple[np.ndarray, np.ndarray] | None = None


def columns_of(real: Sequence[Cells], drawn: Sequence[Cells], classes: int = 12) -> list[Column]:
    """The columns of a reference and of a sample.

    Args:
        real: the rows of the reference, which say what there is.
        drawn: the rows of the sample.
        classes: a column with no more different values holds classes, be they numbers or not.
    """
    names = dict.fromkeys(name for row in real for name in row)
    return [_column(name, [[row.get(name) for row in rows] for rows in (real, drawn)], classes) for name in names]


def _column(name: str, cells: Sequence[Sequence[float | str | None]], classes: int) -> Column:
    kept = {cell for cell in cells[0] if cell is not None}
    if len(kept) > classes and not any(isinstance(cell, str) for cell in kept):
        real, drawn = (np.array([_number(cell) for cell in own]) for own in cells)
        edges = np.linspace(np.nanmin(real), np.nanmax(real), BINS + 1)[1:-1]
        first, second = (np.where(np.isnan(x), BINS, np.searchsorted(edges, x, side="right")) for x in (real, drawn))
        return Column(name, first, second, (real, drawn))
    codes = {cell: number for number, cell in enumerate(dict.fromkeys([*cells[0], *cells[1]]))}
    first, second = (np.array([codes[cell] for cell in own], int) for own in cells)
    return Column(name, first, second)


def _number(cell: float | str | None) -> float:
    return float("nan") if cell is None or isinstance(cell, str) else float(cell)


def column_similarity(column: Column, weights: np.ndarray) -> float:
    """KSComplement of numbers: one minus the largest distance of the distribution functions; of classes TVComplement.

    Args:
        column: of both tables.
        weights: how often each row of the sample counts, (V,).
    """
    if column.numbers is None:
        return _overlap([column.real], [column.drawn], weights)
    real, drawn = column.numbers
    there = ~np.isnan(drawn)
    real, drawn, weights = np.sort(real[~np.isnan(real)]), drawn[there], weights[there]
    if not weights.sum():
        return 0.0
    order, points = np.argsort(drawn), np.concatenate([real, drawn])
    below = np.concatenate([[0.0], np.cumsum(weights[order])]) / weights.sum()
    own = below[np.searchsorted(drawn[order], points, side="right")]
    return 1.0 - float(np.abs(own - np.searchsorted(real, points, side="right") / len(real)).max())


def missing_similarity(column: Column, weights: np.ndarray) -> float | None:
    """One minus the difference of the shares of missing numbers; None where the reference lacks none."""
    if column.numbers is None or not np.isnan(column.numbers[0]).any():
        return None
    real, drawn = (np.isnan(numbers) for numbers in column.numbers)
    return 1.0 - abs(float(real.mean()) - float(np.average(drawn, weights=weights)))


def pair_similarity(first: Column, second: Column, weights: np.ndarray) -> float | None:
    """CorrelationSimilarity of two columns of numbers, else ContingencySimilarity, with numbers in `BINS` classes.

    None where numbers of the reference have no correlation, since one of them never changes.
    """
    if first.numbers is None or second.numbers is None:
        return _overlap([first.real, second.real], [first.drawn, second.drawn], weights)
    one, other = (
        _correlation(a, b, w)
        for a, b, w in zip(first.numbers, second.numbers, (np.ones(len(first.real)), weights), strict=True)
    )
    return None if one is None else 1.0 - abs(one - (other or 0.0)) / 2


def _correlation(x: np.ndarray, y: np.ndarray, weights: np.ndarray) -> float | None:
    there = ~np.isnan(x) & ~np.isnan(y) & (weights > 0)
    if there.sum() < 2 or not np.ptp(x[there]) or not np.ptp(y[there]):
        return None
    covariance = np.cov(x[there], y[there], aweights=weights[there])
    return float(covariance[0, 1] / np.sqrt(covariance[0, 0] * covariance[1, 1]))


def _overlap(real: Sequence[np.ndarray], drawn: Sequence[np.ndarray], weights: np.ndarray) -> float:
    """One minus half the sum of the differences of the shares of all joint classes."""
    shape = [1 + int(max(a.max(initial=0), b.max(initial=0))) for a, b in zip(real, drawn, strict=True)]
    size = int(np.prod(shape))
    own = np.bincount(np.ravel_multi_index(tuple(real), shape), minlength=size) / len(real[0])
    other = np.bincount(np.ravel_multi_index(tuple(drawn), shape), weights, size) / weights.sum()
    return 1.0 - float(np.abs(own - other).sum()) / 2


def of_columns(columns: Sequence[Column], weights: np.ndarray) -> dict[str, float]:
    """`column_similarity` by name, and `missing_similarity` of each column of numbers with gaps."""
    found: dict[str, float | None] = {column.name: column_similarity(column, weights) for column in columns}
    found |= {f"{column.name} missing": missing_similarity(column, weights) for column in columns}
    return {name: value for name, value in found.items() if value is not None}


def of_pairs(columns: Sequence[Column], weights: np.ndarray) -> dict[str, float]:
    """`pair_similarity` of every two columns, by both names."""
    found = {f"{a.name} and {b.name}": pair_similarity(a, b, weights) for a, b in combinations(columns, 2)}
    return {name: value for name, value in found.items() if value is not None}


@dataclass(frozen=True)
class FidelityConfig:
    """Settings of the fidelity of columns.

    Attributes:
        feature: the name of the domain's feature that says the columns of an item.
        classes: a column with no more different values in the reference holds classes.
    """

    feature: str = "columns"
    classes: int = 12


class Rows(Summary):
    """The columns of all items of a set, row by row."""

    def __init__(self, config: Any = None) -> None:
        super().__init__(config if config is not None else FidelityConfig())
        self.rows: list[Cells] = []

    @classmethod
    def name(cls, config: Any) -> str:
        """One for each feature."""
        return f"rows-{config.feature}"

    @classmethod
    def needed(cls, config: Any) -> tuple[str, ...]:
        """The columns."""
        return (config.feature,)

    def add(self, chunk: Chunk) -> None:
        """Take in some rows."""
        self.rows += chunk.features[self.config.feature]

    def arrays(self) -> dict[str, np.ndarray]:
        """A line of JSON for each row."""
        return {"rows": pack_strings([json.dumps(row) for row in self.rows])}

    def load(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Take back what `arrays` gave."""
        self.rows = [json.loads(row) for row in unpack_strings(arrays["rows"])]


class _Fidelity(Metric):
    """The mean of similarities between the tables of a reference and of the items."""

    Config: ClassVar[type] = FidelityConfig
    against: ClassVar[Against] = Against.REFERENCE
    reference: ClassVar[type[Summary] | None] = Rows
    better: ClassVar[Better] = Better.HIGHER

    def __init__(self, config: Any = None, reference: Any = None, training: Any = None) -> None:
        super().__init__(config, reference, training)
        self._real: list[Cells] = reference.rows if reference is not None else []
        self._drawn: list[Cells] = []
        self._numbers: list[np.ndarray] = []

    @classmethod
    def needed(cls, config: Any) -> tuple[str, ...]:
        """The columns."""
        return (config.feature,)

    @abstractmethod
    def similarities(self, columns: Sequence[Column], weights: np.ndarray) -> dict[str, float]:
        """Those that the metric is the mean of, by name."""

    def add(self, chunk: Chunk) -> None:
        """Take in some rows."""
        self._drawn += chunk.features[self.config.feature]
        self._numbers.append(chunk.rows)

    def estimate(self, rng: np.random.Generator) -> Estimate:
        """The mean over all columns or pairs, with the interval of resampled rows."""
        if not self._drawn or not self._real:
            return undefined("no valid item" if self._real else "no item in the reference")
        columns = columns_of(self._real, self._drawn, self.config.classes)
        groups = groups_of(np.concatenate(self._numbers))

        def mean(weights: np.ndarray) -> float:
            own = weights[groups].astype(float)
            found = list(self.similarities(columns, own).values()) if own.sum() else []
            return float(np.mean(found)) if found else float("nan")

        value = mean(np.ones(groups.max() + 1))
        if np.isnan(value):
            return undefined("the reference has no two columns to compare", len(self._drawn))
        return with_interval(value, mean, rng, len(self._drawn), bounds=(0.0, 1.0))


class ColumnFidelity(_Fidelity):
    """The mean similarity of columns: KSComplement of numbers, TVComplement of classes and of gaps."""

    def similarities(self, columns: Sequence[Column], weights: np.ndarray) -> dict[str, float]:
        """Of each column."""
        return of_columns(columns, weights)


class PairFidelity(_Fidelity):
    """The mean similarity of pairs of columns: CorrelationSimilarity of numbers, ContingencySimilarity else."""

    def similarities(self, columns: Sequence[Column], weights: np.ndarray) -> dict[str, float]:
        """Of every two columns."""
        return of_pairs(columns, weights)
