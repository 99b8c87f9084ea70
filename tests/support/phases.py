"""Two small families that need more of a training loop than a loss: an adversarial one, and one with a memory."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.functional import softplus

from molgen.batch import Batch
from molgen.family import Capability, Density, Diagnostics, Family, Generated, LogDensity, Loss, Phase
from molgen.seeding import Rng
from molgen.space import Real

#: A number of two values, and where they lie.
SPACE = {"x": Real()}
MODES = (-2.0, 2.0)


def _network(width=32):
    return nn.Sequential(
        nn.Linear(1, width), nn.LeakyReLU(0.2), nn.Linear(width, width), nn.Tanh(), nn.Linear(width, 1)
    )


class TinyGAN(Family):
    """A generative adversarial network of one number with the gradient penalty R1 (arXiv 1801.04406, equation 9)."""

    capability = Capability(density=Density.CRITIC)

    def __init__(self, space=SPACE, build=None, config=None, condition=None):
        super().__init__(space, build, config, condition)
        self.generator, self.critic = _network(), _network()
        self.drawn = []

    @property
    def phases(self):
        betas = (0.0, 0.9)
        return {
            "critic": Phase((self.critic,), betas=betas, weight_decay=0.0, steps=2, averaged=False),
            "generator": Phase((self.generator,), learning_rate=0.5, betas=betas, weight_decay=0.0),
        }

    def _noise(self, rng):
        noise = rng.normal("noise")
        self.drawn.append(noise)
        return noise.float().to(self.device)

    def loss(self, batch, condition, rng, phase="critic"):
        fake = self.generator(self._noise(rng)[:, None])
        if phase == "generator":
            return Loss(softplus(-self.critic(fake)).squeeze(1))
        real = batch.fields["x"][:, None].requires_grad_()
        value = self.critic(real)
        (slope,) = torch.autograd.grad(value.sum(), real, create_graph=True)
        penalty = slope.square().squeeze(1)
        return Loss(
            (softplus(self.critic(fake.detach())) + softplus(-value) + penalty).squeeze(1), {"penalty": penalty}
        )

    def validate(self, batch, condition, rng):
        """How far quantiles of samples are from those of the items, which needs no gradient; and one that does."""
        drawn, real = self.generator(self._noise(rng)[:, None]).squeeze(1), batch.fields["x"]
        point = real[:, None].clone().requires_grad_()
        (slope,) = torch.autograd.grad(self.critic(point).sum(), point)
        return Loss((drawn.sort().values - real.sort().values).abs(), {"slope": slope.squeeze(1)})

    def diagnose(self, batch, condition, rng):
        spread = float(self.generator(self._noise(rng)[:, None]).std() / batch.fields["x"].std())
        return Diagnostics({"spread": spread}, ("samples are all alike",) if spread < 0.2 else ())

    def sample(self, count, condition=None, rng=None, known=None, sizes=None, **options):
        with torch.no_grad():
            return Generated(Batch({"x": self.generator(self._noise(rng or Rng(0, range(count)))[:, None])[:, 0]}, {}))

    def log_density(self, batch, condition=None, rng=None, **options):
        value = self.critic(batch.fields["x"][:, None]).squeeze(1)
        return LogDensity(value, Density.CRITIC, torch.ones(len(batch)))


class WithReplay(TinyGAN):
    """The same with a memory of samples, from which half of those that the critic sees come; a buffer holds it."""

    capability = Capability(density=Density.CRITIC, coupled=True)

    def __init__(self, *parts):
        super().__init__(*parts)
        self.register_buffer("memory", torch.zeros(64))
        self.register_buffer("written", torch.zeros((), dtype=torch.long))

    def loss(self, batch, condition, rng, phase="critic"):
        if phase == "critic":
            with torch.no_grad():
                places = (torch.arange(len(batch)) + self.written) % len(self.memory)
                self.memory[places] = self.generator(self._noise(rng)[:, None])[:, 0]
                self.written += len(batch)
        found = super().loss(batch, condition, rng, phase)
        old = self.memory[torch.from_numpy((rng.uniform("old").numpy() * len(self.memory)).astype(int))]
        return found if phase == "generator" else Loss(found.total + softplus(self.critic(old[:, None])).squeeze(1))
