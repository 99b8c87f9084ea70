"""Densities along an ordinary differential equation dx / dt = v(x, t), whose steps are fixed, so that no row depends on
another.

The change of log p along a solution is minus the divergence of v (the instantaneous change of variables of Chen et al.,
arXiv 1806.07366).

Letters in shapes: B batch, E elements of all fields, R random directions.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from molgen.families.parts.elements import ElementNoise

#: v(x, t): the velocities of rows (B, E) at one time.
Velocity = Callable[[Tensor, float], Tensor]


def directions(noise: ElementNoise, count: int, dtype: torch.dtype) -> Tensor | None:
    """Random directions of 1 and -1 from which a divergence is estimated, (R, B, E); None for none."""
    if not count:
        return None
    rows = [noise.elements.join(noise.uniforms("direction", number)) for number in range(count)]
    return torch.where(torch.stack(rows) < 0.5, -1.0, 1.0).to(dtype)


def with_divergence(velocity: Velocity, x: Tensor, time: float, along: Tensor | None) -> tuple[Tensor, Tensor]:
    """The velocity, (B, E), and its divergence: exact, (1, B), or estimated by each direction, (R, B) (Hutchinson)."""
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        found = velocity(x, time)
        divergence = _exact(found, x) if along is None else _estimates(found, x, along)
    return found.detach(), divergence


def _exact(velocity: Tensor, x: Tensor) -> Tensor:
    parts = [torch.autograd.grad(velocity[:, k].sum(), x, retain_graph=True)[0][:, k] for k in range(x.shape[1])]
    return torch.stack(parts).sum(0, keepdim=True) if parts else x.new_zeros(1, len(x))


def _estimates(velocity: Tensor, x: Tensor, along: Tensor) -> Tensor:
    parts = [(torch.autograd.grad((velocity * v).sum(), x, retain_graph=True)[0] * v).sum(1) for v in along]
    return torch.stack(parts)


def integrate(
    velocity: Velocity, x: Tensor, span: tuple[float, float], steps: int, along: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Where x is at the end of a span of time, (B, E), and the integral of the divergence, (R, B) in float64.

    By the classical Runge-Kutta method.
    """
    first, last = span
    length, change = (last - first) / steps, torch.zeros((), dtype=torch.float64, device=x.device)
    for number in range(steps):
        x, divergence = _runge_kutta(velocity, x, first + number * length, length, along)
        change = change + length * divergence.double()
    return x, change


def _runge_kutta(
    velocity: Velocity, x: Tensor, start: float, length: float, along: Tensor | None
) -> tuple[Tensor, Tensor]:
    """x after a step, and the mean divergence along it."""
    v1, d1 = with_divergence(velocity, x, start, along)
    v2, d2 = with_divergence(velocity, x + length / 2 * v1, start + length / 2, along)
    v3, d3 = with_divergence(velocity, x + length / 2 * v2, start + length / 2, along)
    v4, d4 = with_divergence(velocity, x + length * v3, start + length, along)
    return x + length / 6 * (v1 + 2 * v2 + 2 * v3 + v4), (d1 + 2 * d2 + 2 * d3 + d4) / 6


def mean_and_error(fine: Tensor, coarse: Tensor) -> tuple[Tensor, Tensor]:
    """The mean over directions, (B,), of values (R, B), and its error: by the directions, and by half as many steps."""
    spread = fine.var(0) / len(fine) if len(fine) > 1 else torch.zeros_like(fine[0])
    return fine.mean(0), (spread + (fine.mean(0) - coarse.mean(0)) ** 2).sqrt()
