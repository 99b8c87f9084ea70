"""log p(x) along the probability-flow ODE: dx / d ln sigma = x - D(x; sigma) (Song et al., arXiv 2011.13456).

The change of log p along a solution is minus the divergence of this velocity (the instantaneous change of variables of
Chen et al., arXiv 1806.07366), and at the highest noise level p is normal. At the lowest level p is that of data with
noise of this level. The steps are fixed, so that no row depends on another.

Letters in shapes: B batch, E elements of all fields, R random directions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
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
from molgen.space import Real

#: Steps of the integration by default.
STEPS = 64


@dataclass(frozen=True)
class Velocity:
    """x - D(x; sigma) and its divergence.

    Attributes:
        denoiser, noise, condition: what D is made from.
        schedule: of all fields.
        directions: for the divergence, (R, B, E) of 1 and -1 (Hutchinson); None computes it exactly.
    """

    denoiser: Denoiser
    noise: ElementNoise
    condition: Partial | None
    schedule: GaussianSchedule
    directions: Tensor | None

    def __call__(self, x: Tensor, log_sigma: float) -> tuple[Tensor, Tensor]:
        """The velocity, (B, E), and estimates of its divergence, (R, B), at one noise level."""
        with torch.enable_grad():
            x = x.detach().requires_grad_()
            velocity = self._velocity(x, log_sigma)
            divergence = self._exact(velocity, x) if self.directions is None else self._estimates(velocity, x)
        return velocity.detach(), divergence

    def _velocity(self, x: Tensor, log_sigma: float) -> Tensor:
        elements = self.noise.elements
        sigma = torch.full((len(x),), log_sigma, dtype=torch.float64, device=x.device).exp()
        time = self.schedule.time_of_sigma(sigma)
        denoised = self.denoiser(elements.split(x), time, elements, self.condition)
        return torch.where(elements.join(elements.exists), x - elements.join(denoised), 0.0)

    def _exact(self, velocity: Tensor, x: Tensor) -> Tensor:
        parts = [torch.autograd.grad(velocity[:, k].sum(), x, retain_graph=True)[0][:, k] for k in range(x.shape[1])]
        return torch.stack(parts).sum(0, keepdim=True) if parts else x.new_zeros(1, len(x))

    def _estimates(self, velocity: Tensor, x: Tensor) -> Tensor:
        assert self.directions is not None
        parts = [
            (torch.autograd.grad((velocity * v).sum(), x, retain_graph=True)[0] * v).sum(1) for v in self.directions
        ]
        return torch.stack(parts)


def ode_log_density(
    denoiser: Denoiser, noise: ElementNoise, condition: Partial | None, scoring: Scoring, x0: Mapping[str, Tensor]
) -> tuple[Tensor, Tensor]:
    """log p(x_0), (B,) in nats, and its error, (B,): how much half the steps change it, and that of the directions.

    Raises:
        UnsupportedSpace: a field has classes or levels.
    """
    schedule, steps = _common_schedule(denoiser), scoring.steps or STEPS
    velocity = Velocity(denoiser, noise, condition, schedule, _directions(noise, scoring.samples, denoiser))
    x = noise.elements.join(x0).to(denoiser.dtype)
    fine, coarse = (_integrated(velocity, x, count) for count in (steps, max(1, steps // 2)))
    spread = fine.var(0) / len(fine) if len(fine) > 1 else torch.zeros_like(fine[0])
    return fine.mean(0), (spread + (fine.mean(0) - coarse.mean(0)) ** 2).sqrt()


def _common_schedule(denoiser: Denoiser) -> GaussianSchedule:
    for name, field in denoiser.space.items():
        if not isinstance(field, Real) or field.levels is not None:
            raise UnsupportedSpace(f"the probability-flow ODE is for numbers without levels, not for {name!r}")
    (schedule,) = denoiser.schedules
    assert isinstance(schedule, GaussianSchedule)
    return schedule


def _directions(noise: ElementNoise, count: int, denoiser: Denoiser) -> Tensor | None:
    if not count:
        return None
    rows = [noise.elements.join(noise.uniforms("direction", number)) for number in range(count)]
    return torch.where(torch.stack(rows) < 0.5, -1.0, 1.0).to(denoiser.dtype)


def _integrated(velocity: Velocity, x: Tensor, steps: int) -> Tensor:
    """log p(x) for each direction, (R, B) in float64, by the classical Runge-Kutta method."""
    first, last = log(velocity.schedule.lowest), log(velocity.schedule.highest)
    length, change = (last - first) / steps, torch.zeros((), dtype=torch.float64, device=x.device)
    for number in range(steps):
        x, divergence = _runge_kutta(velocity, x, first + number * length, length)
        change = change + length * divergence.double()
    elements = velocity.noise.elements
    variance = 1 + velocity.schedule.highest**2
    normal = -(x.double() ** 2) / (2 * variance) - log(2 * pi * variance) / 2
    return torch.where(elements.join(elements.exists), normal, 0.0).sum(1) + change


def _runge_kutta(
    velocity: Callable[[Tensor, float], tuple[Tensor, Tensor]], x: Tensor, start: float, length: float
) -> tuple[Tensor, Tensor]:
    """x after a step, and the mean divergence along it."""
    v1, d1 = velocity(x, start)
    v2, d2 = velocity(x + length / 2 * v1, start + length / 2)
    v3, d3 = velocity(x + length / 2 * v2, start + length / 2)
    v4, d4 = velocity(x + length * v3, start + length)
    return x + length / 6 * (v1 + 2 * v2 + 2 * v3 + v4), (d1 + 2 * d2 + 2 * d3 + d4) / 6
