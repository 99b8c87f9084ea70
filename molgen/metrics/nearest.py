"""How near items come to the training items, in the space of a feature."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from molgen.evaluation.intervals import GroupedMean, with_interval
from molgen.metric import Against, Better, Estimate, Summary, undefined
from molgen.metrics.distances import nearest, rounding
from molgen.metrics.sample import SampledMetric, Subsample


class NearestTraining(SampledMetric):
    """The median distance from an item to the nearest training item of a sample, in the space of a feature.

    The note gives the control: the same median between the training items of the sample, which new items
    like them would have. Less means copies; more means items unlike all training items.
    """

    against: ClassVar[Against] = Against.TRAINING
    training: ClassVar[type[Summary] | None] = Subsample

    def __init__(self, config: Any = None, reference: Any = None, training: Any = None) -> None:
        super().__init__(config, reference, training)
        self._training: Subsample = training

    def estimate(self, rng: np.random.Generator) -> Estimate:
        """The median; undefined where there is no item on one side."""
        items, known = self.sample.vectors, self._training.vectors
        if not len(items) or not len(known):
            return undefined("no training item" if len(items) else "no valid item")
        distances = np.sqrt(nearest(items, known)[:, 0])
        order = np.argsort(distances)
        groups = self.sample.groups[order]

        def median(weights: np.ndarray) -> float:
            passed = np.cumsum(weights[groups])
            return float(distances[order[np.searchsorted(passed, passed[-1] / 2)]]) if passed[-1] else np.nan

        value = float(np.median(distances))
        return with_interval(value, median, rng, len(items), bounds=(0.0, np.inf), note=self._note(known))

    def _note(self, known: np.ndarray) -> str:
        between = np.median(np.sqrt(nearest(known, known, same=True))) if len(known) > 1 else np.nan
        sampled = f" ({self._training.note(len(known))})" if len(known) < self._training.count else ""
        return f"control: {between:.4g} between training items{sampled}"


class CloserToTraining(SampledMetric):
    """The share of items that are nearer to the training items than to the reference, and half of the ties.

    Both sides are samples of the same size, so a model of what the two have in common gives 0.5, and more
    means that it repeats its training items.
    """

    against: ClassVar[Against] = Against.BOTH
    reference: ClassVar[type[Summary] | None] = Subsample
    training: ClassVar[type[Summary] | None] = Subsample
    better: ClassVar[Better] = Better.LOWER

    def __init__(self, config: Any = None, reference: Any = None, training: Any = None) -> None:
        super().__init__(config, reference, training)
        self._reference: Subsample = reference
        self._training: Subsample = training

    def estimate(self, rng: np.random.Generator) -> Estimate:
        """The share; undefined where there is no item on one side."""
        items = self.sample.vectors
        size = min(len(self._reference.vectors), len(self._training.vectors))
        if not len(items) or not size:
            return undefined("nothing to compare with" if len(items) else "no valid item")
        reference, training = self._reference.vectors[:size], self._training.vectors[:size]
        excess = (nearest(items, reference) - nearest(items, training))[:, 0]
        excess[np.abs(excess) <= rounding(items, np.concatenate([reference, training]))] = 0
        share = GroupedMean((0.0, 1.0))
        share.add(self.sample.groups, np.heaviside(excess, 0.5))
        return share.estimate(rng, note=f"nearest of {size:,} training and {size:,} reference items")
