"""What is wrong with sounds by themselves: samples at full scale, and time in which nothing sounds.

Letters in shapes: V valid rows of a portion.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from molgen.evaluation.intervals import GroupedMean
from molgen.metric import Better, Chunk, Estimate, Metric


class _Share(Metric):
    """The mean over valid sounds of a share; the one in the reference is what to compare it with."""

    def __init__(self, config: Any = None, reference: Any = None, training: Any = None) -> None:
        super().__init__(config, reference, training)
        self._share = GroupedMean((0.0, 1.0))

    def add(self, chunk: Chunk) -> None:
        """Take in some rows."""
        if len(chunk.items):
            self._share.add(chunk.groups, np.asarray(chunk.features[self.needs[0]], float))

    def estimate(self, rng: np.random.Generator) -> Estimate:
        """The mean share; undefined where no row is valid."""
        return self._share.estimate(rng)


class Clipped(_Share):
    """The mean share of samples at full scale, where sounds are cut off; see `properties.clipped`."""

    needs: ClassVar[tuple[str, ...]] = ("clipped",)
    better: ClassVar[Better] = Better.LOWER


class Silent(_Share):
    """The mean share of time that is quieter than -60 dB below full scale; see `properties.silence`."""

    needs: ClassVar[tuple[str, ...]] = ("silence",)
