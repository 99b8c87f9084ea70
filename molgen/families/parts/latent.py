"""Latent spaces and normal distributions over them: what a sample is made of once more, by arrangement.

A latent is a row of slots, or a coarser grid, with some channels at every place; its axes are fixed, so that latents
of small and large samples can be compared and mixed. It is standard normal under the prior.

Letters in shapes: B batch, S places of a latent, D channels.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import log, pi

import torch
from torch import Tensor
from torch.nn.functional import softplus

from molgen.backbone import Head
from molgen.batch import Batch, Partial
from molgen.seeding import Rng
from molgen.space import Axis, Layout, Real, Space, layout

#: The name of the one field of a latent space.
LATENT = "latent"
#: The smallest and the largest log of a standard deviation. Nothing needs to be known more exactly, nor to be much
#: wider than the prior; and no step of training can make a divergence overflow.
SMALLEST_LOG_SCALE, LARGEST_LOG_SCALE = -7.0, 2.0
#: What is added to the log of a standard deviation that a network gives. A posterior that is narrow from the start
#: lets the decoder depend on the encoder before it has learned to do without.
FIRST_LOG_SCALE = -2.0
HALF_LOG_2_PI = 0.5 * log(2 * pi)


@dataclass(frozen=True)
class LatentConfig:
    """How large a latent is.

    Attributes:
        slots: places of a latent that is a row of its own, for all but grids and sequences of fixed size.
        channels: numbers at each place.
        coarseness: by how much a grid or sequence of fixed size is reduced along each axis; by the largest divisor of
            its size up to this one.
    """

    slots: int = 8
    channels: int = 16
    coarseness: int = 4

    def __post_init__(self) -> None:
        for name in ("slots", "channels", "coarseness"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, not {getattr(self, name)}")


def slots(space: Space, config: LatentConfig) -> Real:
    """A row of places that belong to nothing in particular: each has an identity and learns what to hold."""
    return Real((Axis("latent_slot", config.slots, variable=False),), channels=(config.channels,))


def coarse_grid(space: Space, config: LatentConfig) -> Real:
    """The grid or sequence of the samples with larger steps, and slots where its size varies between samples."""
    grid = max((field.axes for field in space.values()), key=len)
    if any(axis.variable for axis in grid):
        return slots(space, config)
    coarse = (Axis(f"latent_{axis.name}", _reduced(axis.maximum, config.coarseness), variable=False) for axis in grid)
    return Real(tuple(coarse), channels=(config.channels,))


def _reduced(length: int, coarseness: int) -> int:
    return length // max(factor for factor in range(1, coarseness + 1) if length % factor == 0)


#: The latent of each arrangement.
LATENTS: Mapping[Layout, Callable[[Space, LatentConfig], Real]] = {
    Layout.RECORD: slots,
    Layout.SEQUENCE: coarse_grid,
    Layout.SET: slots,
    Layout.GRAPH: slots,
    Layout.POINTS: slots,
    Layout.GRID: coarse_grid,
}


def latent_space(space: Space, config: LatentConfig) -> dict[str, Real]:
    """The latent space of a space: one real field over fixed axes."""
    return {LATENT: LATENTS[layout(space)](space, config)}


def as_condition(latents: Space) -> Space:
    """Latents as conditions without axes, so that a network that reads them by one vector can tell places apart."""
    found = {}
    for name, field in latents.items():
        assert isinstance(field, Real)
        found[name] = Real(channels=(*(axis.maximum for axis in field.axes), *field.channels))
    return found


def with_latents(condition: Partial | None, latents: Batch) -> Partial:
    """A condition and latents as one condition; see `as_condition`."""
    given = {name: torch.ones(len(latents), dtype=torch.bool, device=z.device) for name, z in latents.fields.items()}
    if condition is None:
        return Partial(latents, given)
    fields = {**condition.batch.fields, **latents.fields}
    return Partial(Batch(fields, condition.batch.sizes), {**condition.given, **given})


def prior(space: Space, rng: Rng) -> Batch:
    """Standard normal latents, in float64."""
    return Batch({name: rng.normal(f"prior {name}", _shape(field)) for name, field in _reals(space).items()}, {})


def _reals(space: Space) -> dict[str, Real]:
    return {name: field for name, field in space.items() if isinstance(field, Real)}


def _shape(field: Real) -> tuple[int, ...]:
    return (*(axis.maximum for axis in field.axes), *field.channels)


def posterior_heads(space: Space) -> dict[str, Head]:
    """The outputs of a network that predicts where in the latent space a sample lies."""
    return {name: Head(2 * _shape(field)[-1], field.axes) for name, field in _reals(space).items()}


def bounded_log_scale(raw: Tensor) -> Tensor:
    """The logarithm of a standard deviation from what a network gives."""
    above = SMALLEST_LOG_SCALE + softplus(raw + FIRST_LOG_SCALE - SMALLEST_LOG_SCALE)
    return LARGEST_LOG_SCALE - softplus(LARGEST_LOG_SCALE - above)


class Posterior:
    """q(z | x): independent normal numbers with means and scales that a network gives.

    Args:
        outputs: of a network with `posterior_heads`, (B, *axes, 2D) each.
    """

    def __init__(self, outputs: Mapping[str, Tensor]) -> None:
        self.means: dict[str, Tensor] = {}
        self.log_scales: dict[str, Tensor] = {}
        for name, output in outputs.items():
            # Networks may run in 16 bits; densities need more.
            mean, raw = output.to(torch.promote_types(output.dtype, torch.float32)).chunk(2, -1)
            self.means[name] = mean
            self.log_scales[name] = bounded_log_scale(raw)

    def mean(self) -> Batch:
        """The means, (B, *axes, D)."""
        return Batch(dict(self.means), {})

    def draw(self, rng: Rng, step: int = 0) -> Batch:
        """One draw for each row (Kingma & Welling, arXiv 1312.6114, equation 4); `step` counts draws of one row."""
        fields = {}
        for name, mean in self.means.items():
            noise = rng.normal(f"posterior {name}", mean.shape[1:], step).to(mean)
            fields[name] = mean + self.log_scales[name].exp() * noise
        return Batch(fields, {})

    def charge(self, free: float) -> Tensor:
        """The divergence of each row, (B,), of which a place has at least so many nats."""
        return self.divergence().clamp(min=free).sum(1)

    def divergence(self) -> Tensor:
        """KL(q(z | x) || p(z)) in nats at every place, (B, S) (arXiv 1312.6114, appendix B)."""
        found = []
        for name, mean in self.means.items():
            log_scale = self.log_scales[name]
            of_numbers = 0.5 * (mean**2 + (2 * log_scale).exp() - 1) - log_scale
            found.append(of_numbers.sum(-1).flatten(1))
        return torch.cat(found, 1)

    def log_density(self, latents: Batch) -> Tensor:
        """log q(z | x) in nats, (B,) in float64."""
        total = torch.zeros(len(latents), dtype=torch.float64, device=next(iter(latents.fields.values())).device)
        for name, z in latents.fields.items():
            log_scale = self.log_scales[name].double()
            standard = (z.double() - self.means[name].double()) * (-log_scale).exp()
            total += (-0.5 * standard**2 - log_scale - HALF_LOG_2_PI).flatten(1).sum(1)
        return total


def standard_log_density(latents: Batch) -> Tensor:
    """log p(z) of the standard normal distribution in nats, (B,) in float64."""
    of_fields = [(-0.5 * z.double() ** 2 - HALF_LOG_2_PI).flatten(1).sum(1) for z in latents.fields.values()]
    return torch.stack(of_fields).sum(0)
