"""The generator: from random numbers to the packed elements of all fields at once.

Letters in shapes: B batch, E packed elements, K classes.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from molgen.backbone import Build
from molgen.batch import Batch, Partial
from molgen.data.statistics import Statistics
from molgen.families.gan.config import GANConfig, Sampling
from molgen.families.gan.relaxation import relaxation
from molgen.families.parts.elements import ElementNoise, PackedElements
from molgen.seeding import Rng
from molgen.space import Real, Space

#: Packed elements of each field as a critic reads them: (B, E), or (B, E, K) for classes.
Elements = Mapping[str, Tensor]


class Generator(nn.Module):
    """forward(elements, rng, condition) -> generated elements of these sizes, in the form that a critic reads.

    The network reads random numbers at every place, which tell elements without an order apart, and one random vector
    for the whole sample.

    Args:
        space: of the samples.
        build: makes the network.
        config: the settings.
    """

    def __init__(self, space: Space, build: Build, config: GANConfig) -> None:
        super().__init__()
        self.softness = config.softness
        self.relaxations = {name: relaxation(field) for name, field in space.items()}
        self.inputs = {name: own.noise(config.element_noise) for name, own in self.relaxations.items()}
        if config.latent:
            self.inputs[_other_name("latent", space)] = Real(channels=(config.latent,))
        self.chances = {name: own.chances for name, own in self.relaxations.items() if own.chances}
        self.network = build(self.inputs, {name: own.head for name, own in self.relaxations.items()})

    def forward(
        self, elements: PackedElements, rng: Rng, condition: Partial | None = None, sampling: Sampling | None = None
    ) -> dict[str, Tensor]:
        """Generate.

        Args:
            elements: which there are.
            rng: random numbers for the rows.
            condition: what is asked for.
            sampling: how to depart from the distribution that is trained.
        """
        sampling = sampling or Sampling()
        outputs = self.network(self._noise(elements, rng, sampling.truncation), None, condition)
        uniform, chosen = self._uniform(elements, rng), {}
        for name, own in self.relaxations.items():
            # Networks may run in 16 bits; Gumbel noise needs more.
            output = outputs[name].to(torch.promote_types(outputs[name].dtype, torch.float32))
            parameters = own.arrange(output, elements.places[name])
            chosen[name] = own.choose(parameters, uniform.get(name), self.softness, sampling.temperature)
        return chosen

    def read(self, elements: PackedElements, batch: Batch) -> dict[str, Tensor]:
        """The elements of a batch in the form of those that are generated."""
        return {
            name: own.read(elements.pack(name, batch.fields[name]), self._like)
            for name, own in self.relaxations.items()
        }

    def values(self, chosen: Elements) -> dict[str, Tensor]:
        """Generated elements as those of samples, (B, E)."""
        return {name: own.values(chosen[name]) for name, own in self.relaxations.items()}

    def initialise(self, statistics: Statistics) -> None:
        """Start outputs from the frequencies of classes and the means of levels."""
        for name, own in self.relaxations.items():
            bias = own.bias(name, statistics)
            if bias is not None:
                self.network.set_output_bias(name, bias)

    @property
    def _like(self) -> Tensor:
        return next(self.parameters())

    def _noise(self, elements: PackedElements, rng: Rng, truncation: float | None) -> Batch:
        """The random numbers that the network reads, standard normal or truncated."""
        own = elements.over(self.inputs)
        values = {
            name: truncated_normal(uniform, truncation).to(self._like)
            for name, uniform in ElementNoise(own, rng).uniforms("noise").items()
        }
        # A space without axes has no sizes; the latent, or the first noise, says how many rows there are.
        return own.unpack_batch(values)

    def _uniform(self, elements: PackedElements, rng: Rng) -> dict[str, Tensor]:
        """Uniform numbers for the choices of each field that makes some, (B, E, K)."""
        if not self.chances:
            return {}
        drawn = ElementNoise(elements.over({name: field for name, (field, _) in self.chances.items()}), rng)
        return {
            name: drawn.uniform(name, "choice").reshape(*elements.exists[name].shape, count)
            for name, (_, count) in self.chances.items()
        }


def truncated_normal(uniform: Tensor, limit: float | None) -> Tensor:
    """Normal numbers of absolute value below `limit` from uniform ones, by the inverse of the distribution."""
    if limit is None:
        return torch.special.ndtri(uniform)
    below = torch.special.ndtr(torch.tensor(-limit, dtype=torch.float64, device=uniform.device))
    return torch.special.ndtri(below + (1 - 2 * below) * uniform).clamp(-limit, limit)


def _other_name(name: str, taken: Space) -> str:
    while name in taken:
        name += "_"
    return name
