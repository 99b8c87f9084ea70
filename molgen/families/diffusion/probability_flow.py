"""log p(x) along the probability-flow ODE: dx / d ln sigma = x - D(x; sigma) (Song et al., arXiv 2011.13456).

At the highest noise level p is normal. At the lowest level p is that of data with noise of this level.

Letters in shapes: B batch, E elements of all fields, R random directions.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import log, pi

import torch
from torch import Tensor

from molgen.batch import Partial
from molgen.errors import UnsupportedSpace
from molgen.families.diffusion.config import Scoring
from molgen.families.diffusion.denoiser import Denoiser
from molgen.families.diffusion.schedule import GaussianSchedule
from molgen.families.parts.elements import ElementNoise
from molgen.families.parts.ode import directions, integrate, mean_and_error
from molgen.space import Real

#: Steps of the integration by default.
STEPS = 64


@dataclass(frozen=True)
class Velocity:
    """x - D(x; sigma), (B, E), at one ln sigma.

    Attributes:
        denoiser, noise, condition: what D is made from.
        schedule: of all fields.
    """

    denoiser: Denoiser
    noise: ElementNoise
    condition: Partial | None
    schedule: GaussianSchedule

    def __call__(self, x: Tensor, log_sigma: float) -> Tensor:
        """The velocity of rows."""
        elements = self.noise.elements
        sigma = torch.full((len(x),), log_sigma, dtype=torch.float64, device=x.device).exp()
        time = self.schedule.time_of_sigma(sigma)
        denoised = self.denoiser(elements.split(x), time, elements, self.condition)
        return torch.where(elements.join(elements.exists), x - elements.join(denoised), 0.0)


def ode_log_density(
    denoiser: Denoiser, noise: ElementNoise, condition: Partial | None, scoring: Scoring, x0: Mapping[str, Tensor]
) -> tuple[Tensor, Tensor]:
    """log p(x_0), (B,) in nats, and its error, (B,): how much half the steps change it, and that of the directions.

    Raises:
        UnsupportedSpace: a field has classes or levels.
    """
    schedule, steps = _common_schedule(denoiser), scoring.steps or STEPS
    velocity = Velocity(denoiser, noise, condition, schedule)
    along = directions(noise, scoring.samples, denoiser.dtype)
    x = noise.elements.join(x0).to(denoiser.dtype)
    fine, coarse = (_log_density(velocity, x, count, along) for count in (steps, max(1, steps // 2)))
    return mean_and_error(fine, coarse)


def _common_schedule(denoiser: Denoiser) -> GaussianSchedule:
    for name, field in denoiser.space.items():
        if not isinstance(field, Real) or field.levels is not None:
            raise UnsupportedSpace(f"the probability-flow ODE is for numbers without levels, not for {name!r}")
    (schedule,) = denoiser.schedules
    assert isinstance(schedule, GaussianSchedule)
    return schedule


def _log_density(velocity: Velocity, x: Tensor, steps: int, along: Tensor | None) -> Tensor:
    """log p(x) for each direction, (R, B) in float64."""
    schedule, elements = velocity.schedule, velocity.noise.elements
    x, change = integrate(velocity, x, (log(schedule.lowest), log(schedule.highest)), steps, along)
    variance = 1 + schedule.highest**2
    normal = -(x.double() ** 2) / (2 * variance) - log(2 * pi * variance) / 2
    return torch.where(elements.join(elements.exists), normal, 0.0).sum(1) + change
