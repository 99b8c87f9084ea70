"""Time, and the noise level that a field has at a time.

Time t runs from 0 (data) to 1 (noise) and is the same for all fields of a sample; in training it is uniform. A
`NoiseSchedule` gives the times at which a sampler stops: t(u) for u from 0 to 1 in even steps. The bounds on the
likelihood are integrals over u as well, because the terms are then about as large at every u.

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

#: The exponent of the sampler's noise levels (Karras et al., arXiv 2206.00364, equation 5).
RHO = 7.0
#: Times of levels further above the mean, in units of the spread, are too close to 1 to be told apart in float64.
FURTHEST = 6.0


class NoiseSchedule(ABC):
    """time(u) -> t, rising from 0 to 1, and its derivative dt_du(u)."""

    @abstractmethod
    def time(self, u: Tensor) -> Tensor:
        """The time t at each u."""

    @abstractmethod
    def dt_du(self, u: Tensor) -> Tensor:
        """The derivative of the time."""


@dataclass(frozen=True)
class LinearSchedule(NoiseSchedule):
    """t = u."""

    def time(self, u: Tensor) -> Tensor:
        """u itself."""
        return u

    def dt_du(self, u: Tensor) -> Tensor:
        """1 everywhere."""
        return torch.ones_like(u)


@dataclass(frozen=True)
class GaussianSchedule(NoiseSchedule):
    """Standard deviations sigma of noise from `lowest` (t = 0) to `highest` (t = 1), for data of unit scale.

    At a uniform time ln sigma is normal with `mean` and `spread`, cut off at both ends: sigma(t) is the quantile
    function of the levels that EDM trains at (arXiv 2206.00364, table 1). So one uniform time gives every field of a
    mixed sample the distribution that it should have. The times of sampling are those of EDM's equation 5.
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
        """The noise level at each time."""
        first, last = _ends(self)
        z = torch.special.ndtri(first + time.double() * (last - first))
        return (self.mean + self.spread * z).exp().clamp(self.lowest, self.highest)

    def time_of_sigma(self, sigma: Tensor) -> Tensor:
        """The inverse of `sigma`."""
        first, last = _ends(self)
        return ((torch.special.ndtr(self._z(sigma)) - first) / (last - first)).clamp(0, 1)

    def dlogsigma_dt(self, time: Tensor) -> Tensor:
        """d ln sigma / dt."""
        return 1 / self._dt_dlogsigma(self.sigma(time))

    def c_noise(self, time: Tensor) -> Tensor:
        """ln sigma, scaled to lie between 0 and 1: what a network reads as the time (EDM's c_noise, table 1)."""
        return (self.sigma(time) / self.lowest).log() / log(self.highest / self.lowest)

    def time(self, u: Tensor) -> Tensor:
        """The time at which sigma^(1/rho) has gone the share u of its way from the lowest to the highest (eq. 5)."""
        start, length = self._roots()
        return self.time_of_sigma((start + u.double() * length) ** RHO)

    def dt_du(self, u: Tensor) -> Tensor:
        """(dt / d ln sigma) (d ln sigma / du)."""
        start, length = self._roots()
        root = start + u.double() * length
        return self._dt_dlogsigma(root**RHO) * RHO * length / root

    def _roots(self) -> tuple[float, float]:
        """The lowest sigma^(1/rho), and how far it is to the highest."""
        start = self.lowest ** (1 / RHO)
        return start, self.highest ** (1 / RHO) - start

    def _z(self, sigma: Tensor) -> Tensor:
        return (sigma.double().log() - self.mean) / self.spread

    def _dt_dlogsigma(self, sigma: Tensor) -> Tensor:
        """The density of ln sigma at a uniform time."""
        first, last = _ends(self)
        normal = (-0.5 * self._z(sigma) ** 2).exp() / (2 * torch.pi) ** 0.5
        return normal / (self.spread * (last - first))


@lru_cache(maxsize=64)
def _ends(schedule: GaussianSchedule) -> tuple[float, float]:
    """The cumulative probabilities at which the normal distribution of ln sigma is cut off."""
    ends = torch.tensor([schedule.lowest, schedule.highest], dtype=torch.float64)
    first, last = torch.special.ndtr((ends.log() - schedule.mean) / schedule.spread).tolist()
    return first, last


def sampling_times(schedules: Collection[NoiseSchedule], steps: int) -> Tensor:
    """The times of a number of steps from 0 to 1 that suit all schedules, (steps + 1,).

    Of several schedules the times of each are merged, and of S schedules every S-th time is kept.
    """
    u = torch.linspace(0, 1, steps + 1, dtype=torch.float64)
    return torch.cat([schedule.time(u) for schedule in schedules]).sort().values[:: len(schedules)]
