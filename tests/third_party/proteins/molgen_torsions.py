"""Protein backbones as torsion angles, a kind of field that molgen does not have.

`teach` says how networks read an angle and what a VAE and a GAN need of it; all other families refuse it by name.
"""

from dataclasses import dataclass
from math import pi
from typing import ClassVar

import numpy as np
import torch
from molgen_proteins import Length

from molgen import Axis, Descriptors, Domain, Encoder, Head, Invalid, Real
from molgen.data.kmers import kmers
from molgen.families.gan.relaxation import Relaxation
from molgen.families.parts.likelihood import Likelihood
from molgen.kinds import teach
from molgen.layers.numbers import Numbers
from molgen.space import Field


@dataclass(frozen=True)
class Angle(Field):
    """An angle from -pi to pi at each place, where both ends are the same."""


class WrappedCauchy(Likelihood):
    """A mean direction and how sharp it is: the wrapped Cauchy distribution, whose quantiles have a closed form."""

    def log_density(self, parameters, values):
        mean, rho = direction(parameters), 0.999 * parameters[..., 2].sigmoid()
        return torch.log1p(-(rho**2)) - torch.log(2 * pi * (1 + rho**2 - 2 * rho * torch.cos(values - mean)))

    def sample(self, parameters, uniform, temperature=1.0):
        mean, rho = direction(parameters), 0.999 * parameters[..., 2].sigmoid()
        turned = 2 * torch.atan((1 - rho) / (1 + rho) * torch.tan(pi * (uniform - 0.5))) + mean
        return torch.atan2(turned.sin(), turned.cos()).to(parameters)

    def estimate(self, parameters):
        return direction(parameters)


class Direction(Relaxation):
    """A generator says a vector, whose direction is the angle."""

    @property
    def head(self):
        return Head(2, self.field.axes)

    def noise(self, width):
        return Real(self.field.axes, (width,))

    def read(self, values, like):
        return values.to(like)

    def choose(self, parameters, uniform, softness, temperature):
        return direction(parameters)

    def values(self, chosen):
        return chosen


def thirty(phi, psi):
    """A residue by its angles in steps of 30 degrees."""
    return f"{round(phi / 30) % 12},{round(psi / 30) % 12}"


def direction(vectors):
    """The angle of the first two numbers."""
    return torch.atan2(vectors[..., 0], vectors[..., 1])


teach(
    Angle,
    numbers_of=lambda field: Numbers(2, lambda angles: torch.stack([angles.sin(), angles.cos()], -1)),
    likelihood=lambda field, components=5: WrappedCauchy(field, 3),
    relaxation=Direction,
    draw_field=lambda field, shape, rng: rng.uniform(-pi, pi, shape).astype(np.float32),
)


class Torsions(Domain, Encoder):
    """Backbones as the angles phi and psi of each residue in degrees, in text as `-60,-45 -120,130`."""

    molgen_api: ClassVar[int] = 1
    Config = Length
    column = "torsions"
    distance_feature = bits_feature = "turns"
    molgen_tiny: ClassVar = {"length": 6}

    def examples(self):
        return [((-60.0, -45.0), (-63.0, -42.0), (-58.0, -47.0)), ((-120.0, 130.0), (-110.0, 135.0)), ((57.0, 47.0),)]

    def from_text(self, text):
        try:
            return tuple((float(phi), float(psi)) for phi, psi in (pair.split(",") for pair in text.split()))
        except ValueError:
            return Invalid(f"{text[:40]!r} is no row of pairs such as -60,-45")

    def to_text(self, item):
        return " ".join(f"{phi:g},{psi:g}" for phi, psi in item)

    def descriptors(self):
        return Descriptors(features={"turns": lambda item: kmers([thirty(*pair) for pair in item])})

    def key(self, item):
        return repr([(round(phi) % 360, round(psi) % 360) for phi, psi in item])

    @property
    def space(self):
        return dict.fromkeys(("phi", "psi"), Angle((Axis("residue", self.config.length),)))

    def encode(self, item):
        if not 1 <= len(item) <= self.config.length:
            return Invalid(f"the chain has {len(item)} residues, not 1 to {self.config.length}")
        angles = np.remainder(np.radians(np.array(item)) + pi, 2 * pi) - pi
        return {"phi": angles[:, 0].astype(np.float32), "psi": angles[:, 1].astype(np.float32)}

    def decode(self, sample):
        return tuple(zip(*(np.degrees(sample[name]).round(2).tolist() for name in ("phi", "psi")), strict=True))
