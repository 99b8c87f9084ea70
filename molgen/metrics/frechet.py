"""The Fréchet distance between two sets in a space of features, each taken for a normal distribution.

Letters in shapes: V valid rows of a chunk, D features of an item.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from molgen.errors import MolgenError
from molgen.evaluation.intervals import jackknife_error, normal_interval
from molgen.metric import Against, Better, Chunk, Estimate, Metric, PublishedStatistics, Summary, undefined
from molgen.metrics.sample import FeatureConfig, feature_vectors

#: Most groups of items for the interval, fewest, and the bytes of their covariances that decide between.
MOST_FOLDS, FEWEST_FOLDS, FOLD_BYTES = 32, 8, 1 << 27


class Moments(Summary):
    """The mean and the covariance of a feature, whatever the chunks, in float64.

    Portions are merged about their own means (Chan, Golub & LeVeque, Am. Stat. 37(3), 1983), so that
    nothing cancels where features are far from zero.

    Attributes:
        count: items so far.
        mean: float64 (D,); empty before the first item.
        scatter: the sum of outer products about the mean, float64 (D, D).
    """

    def __init__(self, config: Any = None) -> None:
        super().__init__(config if config is not None else FeatureConfig())
        self.count, self.mean, self.scatter = 0, np.zeros(0), np.zeros((0, 0))

    @classmethod
    def name(cls, config: Any) -> str:
        """One for each feature."""
        return f"moments-{config.feature}"

    @classmethod
    def needed(cls, config: Any) -> tuple[str, ...]:
        """The feature."""
        return (config.feature,)

    @property
    def covariance(self) -> np.ndarray:
        """The unbiased covariance, float64 (D, D), of two items or more."""
        return self.scatter / (self.count - 1)

    def add(self, chunk: Chunk) -> None:
        """Take in some rows."""
        self.include(feature_vectors(chunk, self.config.feature))

    def include(self, rows: np.ndarray) -> None:
        """Take in vectors (V, D)."""
        if len(rows):
            mean = rows.mean(0)
            centred = rows - mean
            self._merge(len(rows), mean, centred.T @ centred)

    def merge(self, other: Moments) -> None:
        """Take in the items of others."""
        if other.count:
            self._merge(other.count, other.mean, other.scatter)

    def _merge(self, count: int, mean: np.ndarray, scatter: np.ndarray) -> None:
        if not self.count:
            self.count, self.mean, self.scatter = count, mean, scatter.copy()
            return
        total, shift = self.count + count, mean - self.mean
        self.scatter += scatter
        self.scatter += np.outer(shift * (self.count * count / total), shift)
        self.mean = self.mean + shift * (count / total)
        self.count = total

    def include_published(self, published: PublishedStatistics) -> bool:
        """Take in the moments of the feature."""
        if self.config.feature not in published.moments:
            return False
        mean, covariance = (array.astype(np.float64) for array in published.moments[self.config.feature])
        self._merge(published.rows, mean, covariance * (published.rows - 1))
        return True

    def arrays(self) -> dict[str, np.ndarray]:
        """The count, the mean and the scatter."""
        return {"count": np.array([self.count]), "mean": self.mean, "scatter": self.scatter}

    def load(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Take back what `arrays` gave."""
        self.count, self.mean = int(arrays["count"][0]), arrays["mean"].astype(np.float64)
        self.scatter = arrays["scatter"] if "scatter" in arrays else _symmetric(arrays["triangle"], len(self.mean))


def _symmetric(triangle: np.ndarray, size: int) -> np.ndarray:
    """A symmetric matrix, float64 (size, size), from its upper triangle, row by row: summaries that ship hold half."""
    matrix = np.zeros((size, size))
    matrix[np.triu_indices(size)] = triangle
    return matrix + np.triu(matrix, 1).T


class Normal:
    """A normal distribution that others are compared with.

    Args:
        mean: (D,).
        covariance: (D, D).
    """

    def __init__(self, mean: np.ndarray, covariance: np.ndarray) -> None:
        self._mean, self._trace = mean, float(np.trace(covariance))
        values, directions = np.linalg.eigh(covariance)
        self._root = (directions * np.sqrt(values.clip(0))) @ directions.T

    def distance(self, mean: np.ndarray, covariance: np.ndarray) -> float:
        """The squared Fréchet distance to another normal distribution, of mean (D,) and covariance (D, D).

        It is |m - m'|^2 + tr(C + C' - 2 (C C')^(1/2)) (Dowson & Landau, J. Multivar. Anal. 12(3), 1982).
        C C' has the eigenvalues of the symmetric R C R with R^2 = C', which are real and not negative
        whatever the rounding; the product itself has no such warranty where a covariance is singular.
        """
        shift = mean - self._mean
        product = self._root @ covariance @ self._root
        roots = np.sqrt(np.linalg.eigvalsh((product + product.T) / 2).clip(0))
        return max(0.0, float(shift @ shift + self._trace + np.trace(covariance) - 2 * roots.sum()))


class FrechetDistance(Metric):
    """The squared Fréchet distance of a feature between the items and the reference.

    With Inception's features it is FID (Heusel et al., NeurIPS 2017), with ChemNet's FCD (Preuer et al.,
    J. Chem. Inf. Model. 58(9), 2018). It falls with the number of items on either side, so compare values
    of equal numbers only.
    """

    Config: ClassVar[type] = FeatureConfig
    against: ClassVar[Against] = Against.REFERENCE
    reference: ClassVar[type[Summary] | None] = Moments
    better: ClassVar[Better] = Better.LOWER

    def __init__(self, config: Any = None, reference: Any = None, training: Any = None) -> None:
        super().__init__(config, reference, training)
        self._reference: Moments = reference
        folds = FOLD_BYTES // max(1, 8 * len(self._reference.mean) ** 2)
        self._folds = [Moments(self.config) for _ in range(min(max(folds, FEWEST_FOLDS), MOST_FOLDS))]

    @classmethod
    def needed(cls, config: Any) -> tuple[str, ...]:
        """The feature."""
        return (config.feature,)

    def add(self, chunk: Chunk) -> None:
        """Take in some rows.

        Raises:
            MolgenError: the feature is not as wide as that of the reference, or not finite.
        """
        rows = feature_vectors(chunk, self.config.feature)
        if len(rows) and self._reference.count and rows.shape[1] != len(self._reference.mean):
            raise MolgenError(f"{rows.shape[1]} features against {len(self._reference.mean)} of the reference")
        places = chunk.groups % len(self._folds)
        for number, fold in enumerate(self._folds):
            fold.include(rows[places == number])

    def estimate(self, rng: np.random.Generator) -> Estimate:
        """The distance; undefined where either side has fewer than 2 items."""
        count, known, width = sum(fold.count for fold in self._folds), self._reference.count, len(self._reference.mean)
        if min(count, known) < 2:
            return undefined(f"fewer than 2 {'valid items' if count < 2 else 'items in the reference'}", count)
        normal = Normal(self._reference.mean, self._reference.covariance)
        note = f"no more items than {width} features, which raises the value" if min(count, known) <= width else ""

        def distance(left_out: int | None = None) -> float:
            moments = self._moments(left_out)
            return normal.distance(moments.mean, moments.covariance) if moments.count > 1 else math.nan

        error = jackknife_error(distance, [number for number, fold in enumerate(self._folds) if fold.count])
        return normal_interval(distance(), error, count, (0.0, math.inf), note)

    def _moments(self, left_out: int | None) -> Moments:
        """The moments of all folds but one."""
        moments = Moments(self.config)
        for number, fold in enumerate(self._folds):
            if number != left_out:
                moments.merge(fold)
        return moments
