"""What a classifier makes of items: how sure it is of each, how many classes there are, and in which shares.

Letters in shapes: V valid rows of a chunk, K classes, G groups.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from molgen.errors import MolgenError
from molgen.evaluation.intervals import jackknife_error, normal_interval, with_interval
from molgen.metric import GROUPS, Against, Better, Chunk, Estimate, Metric, Summary, undefined
from molgen.metrics.sample import feature_vectors

#: A sum of probabilities may be off by this much.
_ROUNDING = 1e-3


@dataclass(frozen=True)
class ClassConfig:
    """Settings of a metric of classes.

    Attributes:
        feature: the name of the domain's feature that holds the probabilities of the classes of an item.
        enough: rows that the protocol asks for; fewer give a warning.
    """

    feature: str = "classes"
    enough: int = 0


class ClassShares(Summary):
    """The sums of the probabilities of each class, and of their negative entropies, in each group of items.

    Attributes:
        counts: items, int64 (G,).
        sums: of the probabilities, float64 (G, K); (G, 0) before the first item.
        certainty: sums of sum_k p_k log p_k in nats, float64 (G,).
    """

    def __init__(self, config: Any = None) -> None:
        super().__init__(config if config is not None else ClassConfig())
        self.counts, self.certainty = np.zeros(GROUPS, np.int64), np.zeros(GROUPS)
        self.sums = np.zeros((GROUPS, 0))

    @classmethod
    def name(cls, config: Any) -> str:
        """One for each feature."""
        return f"classes-{config.feature}"

    @classmethod
    def needed(cls, config: Any) -> tuple[str, ...]:
        """The probabilities."""
        return (config.feature,)

    @property
    def count(self) -> int:
        """Items so far."""
        return int(self.counts.sum())

    @property
    def shares(self) -> np.ndarray:
        """The mean probability of each class, float64 (K,), of one item or more."""
        return np.asarray(self.sums.sum(0) / self.count)

    def add(self, chunk: Chunk) -> None:
        """Take in some rows.

        Raises:
            MolgenError: the feature does not hold probabilities.
        """
        p = feature_vectors(chunk, self.config.feature)
        if not len(p):
            return
        if (p < 0).any() or np.abs(p.sum(1) - 1).max() > _ROUNDING:
            raise MolgenError(f"the feature {self.config.feature} holds no probabilities of classes")
        if not self.sums.shape[1]:
            self.sums = np.zeros((GROUPS, p.shape[1]))
        np.add.at(self.sums, chunk.groups, p)
        self.certainty += np.bincount(chunk.groups, _negative_entropy(p), GROUPS)
        self.counts += np.bincount(chunk.groups, minlength=GROUPS)

    def arrays(self) -> dict[str, np.ndarray]:
        """All three sums."""
        return {"counts": self.counts, "sums": self.sums, "certainty": self.certainty}

    def load(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Take back what `arrays` gave."""
        self.counts, self.sums, self.certainty = arrays["counts"], arrays["sums"], arrays["certainty"]


class _OfClasses(Metric):
    """A metric of the probabilities of classes."""

    Config: ClassVar[type] = ClassConfig

    def __init__(self, config: Any = None, reference: Any = None, training: Any = None) -> None:
        super().__init__(config, reference, training)
        self._found = ClassShares(self.config)

    @classmethod
    def needed(cls, config: Any) -> tuple[str, ...]:
        """The probabilities."""
        return (config.feature,)

    def add(self, chunk: Chunk) -> None:
        """Take in some rows.

        Raises:
            MolgenError: the feature does not hold probabilities.
        """
        self._found.add(chunk)


class ClassScore(_OfClasses):
    """exp of the mean KL divergence of an item's classes from the classes of all: 1 to K, K for K sure, equal classes.

    It is the inception score (Salimans et al., NeurIPS 2016), with whatever classifier the feature is of, over all
    items at once instead of ten parts. It says nothing of variety within a class, nor of likeness to real items.
    """

    better: ClassVar[Better] = Better.HIGHER

    def estimate(self, rng: np.random.Generator) -> Estimate:
        """The score; undefined without items."""
        found = self._found
        if not found.count:
            return undefined("no valid item")

        def score(weights: np.ndarray) -> float:
            count = float(weights @ found.counts)
            if not count:
                return math.nan
            marginal = weights @ found.sums / count
            return math.exp(float(weights @ found.certainty) / count - float(_negative_entropy(marginal)))

        bounds = (1.0, float(found.sums.shape[1]))
        value = min(max(score(np.ones(GROUPS)), bounds[0]), bounds[1])  # rounding may lead out
        return with_interval(value, score, rng, found.count, bounds=bounds)


class ClassDistance(_OfClasses):
    """The total variation distance between the shares of the classes here and in the reference: 0 to 1.

    A class that a model has dropped counts with its whole share.
    """

    against: ClassVar[Against] = Against.REFERENCE
    reference: ClassVar[type[Summary] | None] = ClassShares
    better: ClassVar[Better] = Better.LOWER

    def __init__(self, config: Any = None, reference: Any = None, training: Any = None) -> None:
        super().__init__(config, reference, training)
        self._reference: ClassShares = reference

    def estimate(self, rng: np.random.Generator) -> Estimate:
        """The distance, of which a jackknife over groups gives the interval; undefined without items on one side."""
        found, reference = self._found, self._reference
        if not found.count or not reference.count:
            return undefined("no valid item" if not found.count else "no item in the reference")
        total, expected = found.sums.sum(0), reference.shares

        def without(group: int) -> float:
            rest = found.count - found.counts[group]
            return float(np.abs((total - found.sums[group]) / rest - expected).sum() / 2) if rest else math.nan

        value = float(np.abs(found.shares - expected).sum() / 2)
        error = jackknife_error(without, np.flatnonzero(found.counts).tolist())
        return normal_interval(value, error, found.count, (0.0, 1.0))


def _negative_entropy(p: np.ndarray) -> np.ndarray:
    """Sum over the last axis of p log p in nats; 0 log 0 is 0."""
    return np.asarray(np.sum(p * np.log(np.where(p > 0, p, 1.0)), axis=-1))
