"""What a sample repeats of the training molecules, by the Tanimoto similarity of Morgan fingerprints.

The fingerprints have radius 2 and 2,048 bits. They count no environment twice and know no stereochemistry:
different molecules, such as chains of different lengths, may have the same one.

None of this says that a model keeps its training molecules private; the interval says how sure the figure
is for this sample, not how much other training molecules would change it.

Letters in shapes: V valid rows of a portion, N fingerprints, B bytes of each.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from molgen.metric import Against, Better, Summary
from molgen_plugins.molecules.fingerprints.nearest import Neighbours
from molgen_plugins.molecules.metrics.similarity import FingerprintMean, Fingerprints, sampled

#: How much less similar neighbours are looked for than a threshold asks: far more than rounding.
_SLACK = 1e-3


class LongFingerprints(Fingerprints):
    """All fingerprints of 2,048 bits of a set, packed: uint8 (N, 256)."""

    feature: ClassVar[str] = "fingerprint2048"


@dataclass(frozen=True)
class NearCopiesConfig:
    """Settings of `NearCopies`.

    Attributes:
        threshold: the similarity from which an item counts as a copy; 1 asks for the same fingerprint.
    """

    threshold: float = 0.9

    def __post_init__(self) -> None:
        if not 0 < self.threshold <= 1:
            raise ValueError(f"threshold must be more than 0 and at most 1, not {self.threshold}")


class NearCopies(FingerprintMean):
    """The share of the valid items that are almost a training item: the most similar one reaches the threshold.

    A large training set has a near copy of many molecules that it does not hold, so compare with what the
    same threshold gives for held-out molecules.
    """

    Config: ClassVar[type] = NearCopiesConfig
    feature: ClassVar[str] = LongFingerprints.feature
    against: ClassVar[Against] = Against.TRAINING
    training: ClassVar[type[Summary] | None] = LongFingerprints
    better: ClassVar[Better] = Better.LOWER

    def __init__(self, config: Any = None, reference: Any = None, training: Any = None) -> None:
        super().__init__(config, reference, training)
        known: np.ndarray = training.fingerprints
        self.missing = "" if len(known) else "no valid training item"
        self._neighbours = Neighbours(known) if len(known) else None

    def numbers(self, fingerprints: np.ndarray) -> np.ndarray:
        """Whether each item is almost a training item."""
        assert self._neighbours is not None
        similarity, _ = self._neighbours.search(fingerprints, floor=max(0.0, self.config.threshold - _SLACK))
        return similarity >= self.config.threshold


class CloserToTraining(FingerprintMean):
    """The share of the valid items that are more similar to a training item than to any of the reference; ties half.

    Both sides are of the same size: of the larger set, as many items are drawn at random as the smaller one has.
    So molecules that were drawn like both sets, held-out ones for example, give 0.5, and copies of training
    molecules and small changes to them give more. A reference that was not drawn like the training set, such
    as one of other scaffolds, gives more than 0.5 for everything that is like the training set.

    Source: the share of records closer to the training data than to a holdout (Platzer and Reutterer,
    Frontiers in Big Data 4:679939, 2021), with ties counted half.
    """

    feature: ClassVar[str] = LongFingerprints.feature
    against: ClassVar[Against] = Against.BOTH
    reference: ClassVar[type[Summary] | None] = LongFingerprints
    training: ClassVar[type[Summary] | None] = LongFingerprints
    better: ClassVar[Better] = Better.LOWER

    def __init__(self, config: Any = None, reference: Any = None, training: Any = None) -> None:
        super().__init__(config, reference, training)
        self._size = min(len(reference.fingerprints), len(training.fingerprints))
        self.missing = "" if self._size else "nothing to compare with"
        sides = (reference.fingerprints, training.fingerprints) if self._size else ()
        # A copy, so that a large set is not kept for the sake of a small part of it.
        self._sides = [Neighbours(side[sampled(np.arange(len(side)), self._size)]) for side in sides]

    def numbers(self, fingerprints: np.ndarray) -> np.ndarray:
        """1 for an item that is closer to the training set, 0 for the reference, 0.5 for neither."""
        reference, training = (side.search(fingerprints)[0] for side in self._sides)
        return np.heaviside(training - reference, 0.5)

    def note(self) -> str:
        """The size of both sides."""
        return f"nearest of {self._size:,} training and {self._size:,} reference items" if self._size else ""
