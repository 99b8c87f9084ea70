"""A family of Gaussians with its density in closed form, and the same with mistakes that only numbers show."""

from __future__ import annotations

from math import log, pi

import torch
from torch import nn

from molgen.batch import Batch, mask, pack, pack_field, unpack
from molgen.errors import UnsupportedSpace
from molgen.families.parts.sizes import SizeModel
from molgen.family import Capability, Density, Family, Generated, LogDensity, Loss
from molgen.seeding import Rng
from molgen.space import Categorical, Real, axes


class Gaussians(Family):
    """Every real element is exp(scale) * noise + mean, every class is as likely as the others."""

    capability = Capability(density=Density.EXACT)

    def __init__(self, space, build, config, condition=None):
        if condition:
            raise UnsupportedSpace("these Gaussians are the same under every condition")
        super().__init__(space, build, config, condition)
        numbers = [name for name, field in space.items() if isinstance(field, Real)]
        self.mean = nn.ParameterDict({name: nn.Parameter(torch.zeros(())) for name in numbers})
        self.scale = nn.ParameterDict({name: nn.Parameter(torch.full((), 0.3)) for name in numbers})
        self.sizes = SizeModel(space, condition)

    def set_statistics(self, statistics):
        self.sizes.initialise(statistics)

    def loss(self, batch, condition, rng, phase="model"):
        return Loss(-self.log_density(batch).value.float())

    def log_density(self, batch, condition=None, rng=None, **options):
        if options:
            raise ValueError(f"unknown option {', '.join(options)}")
        total = self.sizes.log_probability(batch.sizes, condition).expand(len(batch)).double()
        dims = torch.zeros(len(batch), dtype=torch.long)
        for name, packed in pack(self.space, batch).items():
            dims = dims + packed.mask.sum(1)
            total = total + (self._element(name, packed.values) * packed.mask).sum(1)
        return LogDensity(total, Density.EXACT, dims)

    def _element(self, name, values):
        field = self.space[name]
        if isinstance(field, Categorical):
            return torch.full(values.shape, -log(field.classes), dtype=torch.float64)
        noise = (values.double() - self.mean[name]) / self.scale[name].exp()
        return -0.5 * noise**2 - 0.5 * log(2 * pi) - self.log_volume(self.scale[name])

    def log_volume(self, scale):
        return scale

    def sample(self, count, condition=None, rng=None, known=None, sizes=None, **options):
        if options or known is not None:
            raise ValueError(f"unknown option {', '.join(options)}, or a known part")
        rng = rng if rng is not None else Rng(int(torch.randint(1 << 62, ())), range(count))
        drawn = self.sizes.sample(count, condition, rng, sizes, {})
        reach = {n: int(drawn[n].max()) if a.variable else a.maximum for n, a in axes(self.space).items()}
        packed = {name: self._draw(name, field, drawn, reach, count, rng) for name, field in self.space.items()}
        return Generated(Batch(unpack(self.space, packed, drawn, reach).fields, drawn))

    def _draw(self, name, field, sizes, reach, count, rng):
        shape = [reach[axis.name] for axis in field.axes]
        exists = mask(field, sizes, shape, count)
        whole = [axis.maximum for axis in field.axes]
        uniform = rng.uniform(name, (*whole, *field.channels_shape))[(slice(None), *map(slice, shape))]
        if isinstance(field, Categorical):
            return pack_field(field, (uniform * field.classes).long(), exists).values
        noise = pack_field(field, torch.special.ndtri(uniform), exists).values
        return (noise * self.scale[name].exp() * self.too_hot + self.mean[name]).detach().float()

    too_hot = 1.0


class HalvedLogDeterminant(Gaussians):
    """The mistake of a flow that counts half of the change of volume."""

    def log_volume(self, scale):
        return scale / 2


class HotterThanItsDensity(Gaussians):
    too_hot = 1.5


#: Each mistake with the checks that find it.
BROKEN = {
    Gaussians: set(),
    HalvedLogDeterminant: {"probabilities_sum_to_one", "samples_follow_the_density"},
    HotterThanItsDensity: {"samples_follow_the_density"},
}
