"""What the latent of a sample is: numbers at fixed places, or numbers and a vector at each of its points.

Points in space are described by latents that turn and move with them, as in GeoLDM (Xu et al., arXiv 2305.01140): so
the encoder and the decoder can be equivariant, and a density is the same for all ways to hold a sample. Such a latent
has the size of the sample, which the prior draws.

Letters in shapes: B batch, N points, E packed elements, S places of a latent, C channels.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Protocol

import torch
from torch import Tensor, nn

from molgen.backbone import Head
from molgen.batch import Batch, Partial
from molgen.data.statistics import Statistics
from molgen.errors import UnsupportedSpace
from molgen.families.parts.elements import ElementNoise, PackedElements, arrange
from molgen.families.parts.latent import (
    HALF_LOG_2_PI,
    LATENT,
    LatentConfig,
    Posterior,
    bounded_log_scale,
    latent_space,
    posterior_heads,
    prior,
    standard_log_density,
)
from molgen.families.parts.sizes import SizeModel
from molgen.seeding import Rng
from molgen.space import Real, Space

#: The field of the vectors of a latent at points, and the output that has their scale.
PLACES, SCALE = "latent places", "scale of latent places"


class Encoded(Protocol):
    """q(z | x) of some samples; see `Posterior`."""

    def mean(self) -> Batch:
        """The means."""

    def draw(self, rng: Rng, step: int = 0) -> Batch:
        """One draw for each row."""

    def divergence(self) -> Tensor:
        """KL(q(z | x) || p(z)) at every place, (B, S)."""

    def charge(self, free: float) -> Tensor:
        """The divergence of each row with so many nats at least at each place, (B,)."""

    def log_density(self, latents: Batch) -> Tensor:
        """log q(z | x), (B,)."""


class Latents(nn.Module, ABC):
    """The latent space with its prior, and q(z | x) from what a network gives.

    Attributes:
        space: the fields of a latent.
        heads: of the network.
    """

    space: dict[str, Real]
    heads: dict[str, Head]

    @abstractmethod
    def __init__(self, space: Space, config: LatentConfig, condition: Space) -> None:
        super().__init__()

    @abstractmethod
    def posterior(self, outputs: Mapping[str, Tensor], batch: Batch) -> Encoded:
        """q(z | x) of the samples that the outputs are about."""

    @abstractmethod
    def draw(
        self, count: int, condition: Partial | None, rng: Rng, sizes: Mapping[str, Tensor] | None, device: torch.device
    ) -> Batch:
        """Latents of the prior, of given sizes where it has sizes."""

    @abstractmethod
    def log_prior(self, latents: Batch, condition: Partial | None) -> Tensor:
        """log p(z | condition) in nats, (B,) in float64."""

    def log_size(self, sizes: Mapping[str, Tensor], condition: Partial | None) -> Tensor | None:
        """The part of it that is of the size, where latents have one."""
        return None

    def set_statistics(self, statistics: Statistics) -> None:
        """Take over the frequencies of sizes."""


class FixedLatents(Latents):
    """Independent standard normal numbers at fixed places, see `parts.latent`."""

    def __init__(self, space: Space, config: LatentConfig, condition: Space) -> None:
        super().__init__(space, config, condition)
        self.space = latent_space(space, config)
        self.heads = posterior_heads(self.space)

    def posterior(self, outputs: Mapping[str, Tensor], batch: Batch) -> Posterior:
        """Independent normal numbers."""
        return Posterior(outputs)

    def draw(
        self, count: int, condition: Partial | None, rng: Rng, sizes: Mapping[str, Tensor] | None, device: torch.device
    ) -> Batch:
        """Standard normal numbers; the decoder keeps to the sizes."""
        return prior(self.space, rng)

    def log_prior(self, latents: Batch, condition: Partial | None) -> Tensor:
        """The standard normal density."""
        return standard_log_density(latents)


class PointLatents(Latents):
    """At each point channels that do not turn, and a vector; the vectors have a common centre.

    The prior is p(size | condition), and standard normal numbers for the free elements.

    Raises:
        UnsupportedSpace: samples are no points over one axis.
    """

    def __init__(self, space: Space, config: LatentConfig, condition: Space) -> None:
        super().__init__(space, config, condition)
        turning = next(
            (one for one in space.values() if isinstance(one, Real) and one.rotates and len(one.axes) == 1), None
        )
        if turning is None:
            raise UnsupportedSpace("decoder=points is for points in space, and no field over one axis rotates here")
        self.space = {
            LATENT: Real(turning.axes, channels=(config.channels,)),
            PLACES: Real(turning.axes, channels=(3,), centred=turning.centred, rotates=True),
        }
        self.heads = {
            LATENT: Head(2 * config.channels, turning.axes),
            PLACES: Head(3, turning.axes, rotates=True),
            SCALE: Head(1),
        }
        self.sizes = SizeModel(self.space, condition)

    def posterior(self, outputs: Mapping[str, Tensor], batch: Batch) -> PointPosterior:
        """Normal numbers, with one scale for all vectors of a sample."""
        return PointPosterior(self.space, outputs, batch.sizes)

    def draw(
        self, count: int, condition: Partial | None, rng: Rng, sizes: Mapping[str, Tensor] | None, device: torch.device
    ) -> Batch:
        """A size, and standard normal elements."""
        drawn = self.sizes.sample(count, condition, rng, sizes)
        elements = PackedElements.of_sizes(self.space, drawn, count, device)
        noise = ElementNoise(elements, rng)
        values = {name: torch.where(elements.exists[name], noise.normal(name, "prior"), 0.0) for name in self.space}
        return elements.unpack_batch(values)

    def log_prior(self, latents: Batch, condition: Partial | None) -> Tensor:
        """log p(size | condition), and the standard normal density of the free elements."""
        elements = PackedElements.of_batch(self.space, latents)
        zeros = {name: torch.zeros_like(own, dtype=torch.float64) for name, own in elements.exists.items()}
        return _normal(elements, latents, zeros, zeros) + self.log_size(latents.sizes, condition)

    def log_size(self, sizes: Mapping[str, Tensor], condition: Partial | None) -> Tensor:
        """log p(size | condition)."""
        return self.sizes.log_probability(sizes, condition)

    def set_statistics(self, statistics: Statistics) -> None:
        """Take over the frequencies of sizes."""
        self.sizes.initialise(statistics)


class PointPosterior:
    """q(z | x) of `PointLatents`: normal numbers around means that turn with the sample."""

    def __init__(self, space: Mapping[str, Real], outputs: Mapping[str, Tensor], sizes: Mapping[str, Tensor]) -> None:
        wide = {
            name: own.to(torch.promote_types(own.dtype, torch.float32)) if own.is_floating_point() else own
            for name, own in outputs.items()
        }
        self.elements = PackedElements.of_batch(space, Batch({name: wide[name] for name in space}, dict(sizes)))
        both = self._arranged(space[LATENT], LATENT, wide[LATENT])
        self.means = {LATENT: both[..., 0], PLACES: self._arranged(space[PLACES], PLACES, wide[PLACES])[..., 0]}
        scale = bounded_log_scale(wide[SCALE])
        self.log_scales = {
            LATENT: bounded_log_scale(both[..., 1]),
            PLACES: scale.expand(-1, self.means[PLACES].shape[1]),
        }

    def _arranged(self, field: Real, name: str, output: Tensor) -> Tensor:
        return arrange(field, output, self.elements.places[name])

    def mean(self) -> Batch:
        """The means, (B, N, C) and (B, N, 3)."""
        return self.elements.unpack_batch(self.means)

    def draw(self, rng: Rng, step: int = 0) -> Batch:
        """One draw for each row; `step` counts draws of one row."""
        noise, found = ElementNoise(self.elements, rng), {}
        for name, mean in self.means.items():
            moved = mean + self.log_scales[name].exp() * noise.normal(name, "posterior", step).to(mean)
            found[name] = torch.where(self.elements.exists[name], moved, 0.0)
        return self.elements.unpack_batch(found)

    def divergence(self) -> Tensor:
        """KL(q(z | x) || p(z | size)) in nats at every place, (B, S), 0 where there is none."""
        parts = []
        for name, mean in self.means.items():
            log_scale = self.log_scales[name]
            numbers = 0.5 * (mean**2 + (2 * log_scale).exp() - 1) - log_scale
            parts.append(self._by_place(name, torch.where(self.elements.exists[name], numbers, 0.0)).sum(-1))
        return torch.cat(parts, 1)

    def charge(self, free: float) -> Tensor:
        """The divergence of each row, (B,), of which a place has at least so many nats."""
        exists = torch.cat([self._by_place(name, self.elements.exists[name]).any(-1) for name in self.means], 1)
        return torch.where(exists, self.divergence().clamp(min=free), 0.0).sum(1)

    def _by_place(self, name: str, values: Tensor) -> Tensor:
        field = self.elements.space[name]
        return values.reshape(len(values), -1, field.channels_shape[0])

    def log_density(self, latents: Batch) -> Tensor:
        """log q(z | x) in nats, (B,) in float64."""
        return _normal(self.elements, latents, self.means, self.log_scales)


def _normal(
    elements: PackedElements, latents: Batch, means: Mapping[str, Tensor], log_scales: Mapping[str, Tensor]
) -> Tensor:
    total = torch.zeros(len(elements), dtype=torch.float64, device=elements.device)
    for name, z in elements.pack_batch(latents).items():
        log_scale = log_scales[name].double()
        standard = (z.double() - means[name].double()) * (-log_scale).exp()
        numbers = -0.5 * standard**2 - log_scale - HALF_LOG_2_PI
        total = total + torch.where(elements.exists[name], numbers, 0.0).sum(1)
    return total
