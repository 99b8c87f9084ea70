"""Time, and what it means to a field.

Time t runs from 0 (data) to 1 (noise) and is the same for all fields of a sample; in training it is uniform. A
`Clock` is an even walk through the noise levels of one field: the share u of the walk that is done, from 0 to 1, and
the time it is then. Samplers and bounds take their times from it.

Everything here is in float64.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection
from dataclasses import dataclass
from functools import lru_cache
from math import log

import torch
from torch import Tensor

#: The exponent of the walk through noise levels (Karras et al., arXiv 2206.00364, equation 5).
RHO = 7.0
#: Times of levels further above the mean, in units of the spread, are too close to 1 to be told apart in float64.
FURTHEST = 6.0


class Clock(ABC):
    """pace(u) -> t, rising from 0 to 1, and its derivative rate(u) = dt/du."""

    @abstractmethod
    def pace(self, share: Tensor) -> Tensor:
        """The time at each share of the walk."""

    @abstractmethod
    def rate(self, share: Tensor) -> Tensor:
        """The derivative of the time with respect to the share."""


@dataclass(frozen=True)
class EvenClock(Clock):
    """t = u."""

    def pace(self, share: Tensor) -> Tensor:
        """The share itself."""
        return share

    def rate(self, share: Tensor) -> Tensor:
        """1 everywhere."""
        return torch.ones_like(share)


@dataclass(frozen=True)
class NoiseClock(Clock):
    """Standard deviations of noise from `lowest` (t = 0) to `highest` (t = 1), for data of unit scale.

    The logarithm of the level at a uniform time is normal with `mean` and `spread`, cut off at both ends: sigma(t)
    is the quantile function of the levels that EDM trains at (arXiv 2206.00364, table 1). So one uniform time gives
    every field of a mixed sample the distribution that it should have. The walk is that of EDM's sampler, equation 5.
    """

    lowest: float
    highest: float
    mean: float
    spread: float

    def __post_init__(self) -> None:
        if not 0 < self.lowest < self.highest or not self.spread > 0:
            raise ValueError("noise levels must rise from above 0, and their spread must be above 0")
        if log(self.highest) > self.mean + FURTHEST * self.spread:
            raise ValueError(f"the highest noise level lies more than {FURTHEST:g} spreads above the mean")

    def sigma(self, time: Tensor) -> Tensor:
        """The level at each time."""
        first, last = _ends(self)
        z = torch.special.ndtri(first + time.double() * (last - first))
        return (self.mean + self.spread * z).exp().clamp(self.lowest, self.highest)

    def time(self, sigma: Tensor) -> Tensor:
        """The inverse of `sigma`."""
        first, last = _ends(self)
        return ((torch.special.ndtr(self._z(sigma)) - first) / (last - first)).clamp(0, 1)

    def speed(self, time: Tensor) -> Tensor:
        """d ln sigma / dt."""
        return 1 / self._density(self.sigma(time))

    def position(self, time: Tensor) -> Tensor:
        """ln sigma as a share of its range, from 0 to 1: what a network reads as the time of the field (c_noise)."""
        return (self.sigma(time) / self.lowest).log() / log(self.highest / self.lowest)

    def pace(self, share: Tensor) -> Tensor:
        """The time at which the level is (a + u b)^rho, an even walk in the root of the level."""
        start, length = self._walk()
        return self.time((start + share.double() * length) ** RHO)

    def rate(self, share: Tensor) -> Tensor:
        """(dt / d ln sigma) (d ln sigma / du)."""
        start, length = self._walk()
        root = start + share.double() * length
        return self._density(root**RHO) * RHO * length / root

    def _walk(self) -> tuple[float, float]:
        start = self.lowest ** (1 / RHO)
        return start, self.highest ** (1 / RHO) - start

    def _z(self, sigma: Tensor) -> Tensor:
        return (sigma.double().log() - self.mean) / self.spread

    def _density(self, sigma: Tensor) -> Tensor:
        """The density of ln sigma at a uniform time: dt / d ln sigma."""
        first, last = _ends(self)
        normal = (-0.5 * self._z(sigma) ** 2).exp() / (2 * torch.pi) ** 0.5
        return normal / (self.spread * (last - first))


@lru_cache(maxsize=64)
def _ends(clock: NoiseClock) -> tuple[float, float]:
    """The cumulative probabilities at which the normal distribution of ln sigma is cut off."""
    ends = torch.tensor([clock.lowest, clock.highest], dtype=torch.float64)
    first, last = torch.special.ndtr((ends.log() - clock.mean) / clock.spread).tolist()
    return first, last


def grid(clocks: Collection[Clock], steps: int) -> Tensor:
    """The times of an even walk from 0 to 1 that does justice to all clocks, (steps + 1,).

    Of several clocks it visits the times of each: every C-th of their merged times.
    """
    even = torch.linspace(0, 1, steps + 1, dtype=torch.float64)
    return torch.cat([clock.pace(even) for clock in clocks]).sort().values[:: len(clocks)]
