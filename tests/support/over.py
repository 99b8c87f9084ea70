"""A family over a trained one: what it draws is what that one draws, and how it scores is moved by one number."""

from dataclasses import dataclass, replace

import torch
from torch import nn

from molgen.config import TrainedModel
from molgen.families.parts.trained import Trained
from molgen.family import Capability, Density, Family, Loss


@dataclass(frozen=True)
class OverConfig:
    base: TrainedModel = ""
    start: float = 0.5


class Over(Family):
    Config = OverConfig
    molgen_trained = {"base": ("autoregressive", "diffusion")}  # noqa: RUF012
    capability = Capability(density=Density.UNNORMALISED)

    def __init__(self, space, build, config, condition=None, base=None):
        super().__init__(space, build, config, condition)
        if base is None:
            raise ValueError("what it is over must be named; type family.base=RUN")
        self.base, self.shift = Trained(base, condition), nn.Parameter(torch.tensor(config.start))

    def loss(self, batch, condition, rng, phase="model"):
        density = self.base.family.log_density(batch, self.base.condition(condition), rng).value
        return Loss((density.detach() * self.shift + self.shift**2).float())

    def log_density(self, batch, condition=None, rng=None, **options):
        found = self.base.family.log_density(batch, self.base.condition(condition), rng, **options)
        return replace(found, value=found.value + self.shift.detach(), kind=Density.UNNORMALISED)

    def sample(self, count, condition=None, rng=None, known=None, sizes=None, **options):
        return self.base.family.sample(count, self.base.condition(condition), rng, known, sizes, **options)
