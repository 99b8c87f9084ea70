"""The share of molecules that a medicinal chemist would look at.

Letters in shapes: V valid rows of a portion.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from molgen.evaluation.intervals import GroupedMean
from molgen.metric import Better, Chunk, Estimate, Metric


class Filters(Metric):
    """The share of valid molecules that pass the filters of MOSES, repeats included.

    Source: Polykovskiy et al., Frontiers in Pharmacology 11:565644, 2020; see `filters.violation`.
    """

    needs: ClassVar[tuple[str, ...]] = ("passes",)
    better: ClassVar[Better] = Better.HIGHER
    enough: ClassVar[int] = 30_000

    def __init__(self, config: Any = None, reference: Any = None, training: Any = None) -> None:
        super().__init__(config, reference, training)
        self._share = GroupedMean((0.0, 1.0))

    def add(self, chunk: Chunk) -> None:
        """Take in some rows."""
        if len(chunk.items):
            self._share.add(chunk.groups, np.asarray(chunk.features["passes"], bool))

    def estimate(self, rng: np.random.Generator) -> Estimate:
        """The share; undefined where no row is valid."""
        return self._share.estimate(rng)
