"""Where the numbers of the training data lie: quantiles of each channel, from a random sample of the values.

Letters in shapes: N values, C channels, J cut points.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

#: Numbers that the sample of one field holds, and the fewest values of a channel.
MOST_NUMBERS, FEWEST_VALUES = 1 << 17, 1 << 12
#: Values of each channel that are kept in order: 512 parts of equal mass.
CUTS = 513


@dataclass(frozen=True)
class Quantiles:
    """Values in order that cut those of each channel into parts of equal mass.

    Attributes:
        count: values of each channel in the data.
        cuts: of each channel its smallest value, those between, and its largest one; equal ones are ties.
        gaps: the smallest distance between two distinct values of each channel: how finely they are recorded; 0 where
            all are equal.
    """

    count: int
    cuts: tuple[tuple[float, ...], ...]
    gaps: tuple[float, ...]

    @classmethod
    def of(cls, values: np.ndarray, count: int | None = None) -> Quantiles:
        """Those of some values, (N, C), which stand for `count` values."""
        ranked = np.sort(values.astype(np.float64), axis=0)
        places = np.round(np.linspace(0, len(ranked) - 1, min(CUTS, len(ranked)))).astype(int)
        cuts = tuple(tuple(map(_short, ranked[places, channel])) for channel in range(values.shape[1]))
        gaps = tuple(_smallest_gap(ranked[:, channel]) for channel in range(values.shape[1]))
        return cls(len(values) if count is None else count, cuts, gaps)

    def to_json(self) -> dict[str, Any]:
        """The same as JSON values."""
        return {"count": self.count, "cuts": [list(cuts) for cuts in self.cuts], "gaps": list(self.gaps)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Quantiles:
        """What `to_json` gave."""
        return cls(int(data["count"]), tuple(map(tuple, data["cuts"])), tuple(data["gaps"]))


def _short(value: float) -> float:
    # The digits of a float32, which is what samples hold.
    return float(f"{value:.9g}")


def _smallest_gap(ranked: np.ndarray) -> float:
    steps = np.diff(ranked)
    steps = steps[steps > 0]
    return _short(float(steps.min())) if steps.size else 0.0


class ValueSample:
    """A random sample of the values of one field, of bounded size, whatever the batches in which they come.

    Each value has a random key, and those with the smallest keys stay (Vitter, ACM TOMS 11, 1985, on reservoirs).
    """

    def __init__(self, channels: int) -> None:
        self.most = max(FEWEST_VALUES, MOST_NUMBERS // max(channels, 1))
        self.count = 0
        self._random = np.random.Generator(np.random.Philox(0))
        self._keys, self._values = [np.zeros(0)], [np.zeros((0, channels), dtype=np.float32)]
        self._held, self._largest_key = 0, 1.0

    def add(self, values: np.ndarray) -> None:
        """Take notice of more values, (N, C)."""
        self.count += len(values)
        keys = self._random.random(len(values))
        kept = keys < self._largest_key
        self._keys.append(keys[kept])
        self._values.append(values[kept].astype(np.float32))
        self._held += int(kept.sum())
        # Now and then, since it copies all that is held.
        if self._held > 2 * self.most:
            self._thin()

    def _thin(self) -> None:
        """Keep no more than the sample."""
        keys, values = np.concatenate(self._keys), np.concatenate(self._values)
        if len(keys) > self.most:
            smallest = np.argpartition(keys, self.most)[: self.most]
            keys, values = keys[smallest], values[smallest]
            self._largest_key = float(keys.max())
        self._keys, self._values, self._held = [keys], [values], len(keys)

    def quantiles(self) -> Quantiles:
        """Those of all values so far."""
        self._thin()
        return Quantiles.of(self._values[0], self.count)
