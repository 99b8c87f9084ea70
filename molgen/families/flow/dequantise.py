"""Classes and quantised numbers as numbers: each element has digits, and noise fills the cell of each digit.

An element is written with digits d_j of 0..L_j - 1; with u_j in (0, 1) the number of a digit is
logit((d_j + u_j) / L_j). Which digits and what noise:

- `uniform`: one digit that is the class or level itself, and uniform noise (Theis et al., arXiv 1511.01844);
- `variational`: the same with learned noise q(u | x) (Flow++, Ho et al., arXiv 1902.00275);
- `argmax`: the bits of the class, of which the number's sign tells one, with learned noise (Hoogeboom et al., arXiv
  2102.05379);
- `bits`: the same with uniform noise.

For any noise log P(x) >= E_q[log p(y) + log |dy / du| - log q(u | x)]. A digit with one value says nothing about x; its
number is a further dimension for the flow to work in (augmented flows, Huang et al., arXiv 2002.07101).

Letters in shapes: B batch, E packed elements, J digits of one element, P parameters of one spline.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import pi, prod
from typing import NamedTuple

import torch
from torch import Tensor, nn

from molgen.backbone import Build, Head
from molgen.batch import Batch, Partial, levels_to_values, values_to_levels
from molgen.config import by_name
from molgen.errors import UnsupportedSpace
from molgen.families.flow.splines import Knots
from molgen.families.parts.elements import ElementNoise, PackedElements, arrange
from molgen.kinds import primitive
from molgen.space import Categorical, Field, Real, Space

#: Digits of a class, at least: so that a coupling can keep one of them while it transforms the other.
LEAST_DIGITS = 2
#: Bins of the splines that learned noise is made by.
NOISE_BINS = 4
#: The standard deviation of logit(u) for uniform u, which numbers are divided by.
LOGISTIC = pi / 3**0.5
#: Shares of the unit interval closer to its ends than this are not told apart from it.
EDGE = 1e-12


class Noise(NamedTuple):
    """Which digits are used, and whether their noise is learned."""

    bits: bool
    learned: bool


#: The ways to turn classes and levels into numbers, by their names in the configuration.
DEQUANTISATIONS: Mapping[str, Noise] = {
    "uniform": Noise(bits=False, learned=False),
    "variational": Noise(bits=False, learned=True),
    "argmax": Noise(bits=True, learned=True),
    "bits": Noise(bits=True, learned=False),
}


@dataclass(frozen=True)
class Code(ABC):
    """The digits of one field. `bases` holds how many values each has; `real` is the field of their numbers."""

    bases: tuple[int, ...]
    real: Real

    @abstractmethod
    def digits(self, values: Tensor) -> Tensor:
        """The digits of packed elements: (B, E) to (B, E, J)."""

    @abstractmethod
    def values(self, digits: Tensor) -> Tensor:
        """The inverse of `digits`; digits that stand for nothing give the nearest element."""


class ClassCode(Code):
    """A class as a number in a positional system, the least digit first."""

    def digits(self, values: Tensor) -> Tensor:
        """Division with remainders."""
        found = []
        for base in self.bases:
            found.append(values % base)
            values = values // base
        return torch.stack(found, -1)

    def values(self, digits: Tensor) -> Tensor:
        """The sum of digits times the values of their positions."""
        total, place = torch.zeros_like(digits[..., 0]), 1
        for number, base in enumerate(self.bases):
            total, place = total + place * digits[..., number], place * base
        return total


@dataclass(frozen=True)
class BoundedClassCode(ClassCode):
    """The same for so many classes, where more digits could be written than there are classes."""

    classes: int = 1

    def values(self, digits: Tensor) -> Tensor:
        """The class, the last one for all numbers beyond it."""
        return super().values(digits).clamp(max=self.classes - 1)


@dataclass(frozen=True)
class LevelCode(Code):
    """One digit, the level of a quantised number."""

    levels: Real

    def digits(self, values: Tensor) -> Tensor:
        """The level."""
        return values_to_levels(self.levels, values)[..., None]

    def values(self, digits: Tensor) -> Tensor:
        """The value in the middle of its cell."""
        return levels_to_values(self.levels, digits[..., 0])


@primitive
def code(field: Field, bits: bool) -> Code | Real:
    """The digits of a kind of field, or the field itself where its elements are numbers already.

    Teach one for a kind of field of your own, see `molgen.kinds`.

    Raises:
        UnsupportedSpace: the kind of field has none.
    """
    raise UnsupportedSpace(f"no dequantisation is known for a field of kind {type(field).__name__}")


@code.register
def _(field: Categorical, bits: bool) -> Code | Real:
    own = (2,) * (field.classes - 1).bit_length() if bits else (field.classes,)
    bases = own + (1,) * (LEAST_DIGITS - len(own))
    return BoundedClassCode(bases, Real(field.axes, (len(bases),), symmetric=field.symmetric), field.classes)


@code.register
def _(field: Real, bits: bool) -> Code | Real:
    return field if field.levels is None else LevelCode((field.levels,), replace(field, levels=None), field)


class Dequantisation(nn.Module):
    """Fields as numbers of about unit scale, and back.

    Args:
        space: the fields.
        build: makes the network of learned noise.
        name: of one of `DEQUANTISATIONS`.
    """

    def __init__(self, space: Space, build: Build, name: str) -> None:
        super().__init__()
        noise = by_name("dequantisation", name, DEQUANTISATIONS)
        self.original = dict(space)
        found = {name: code(field, noise.bits) for name, field in space.items()}
        self.codes = {name: own for name, own in found.items() if isinstance(own, Code)}
        #: the fields of numbers that the flow sees.
        self.space: dict[str, Real] = {name: own.real if isinstance(own, Code) else own for name, own in found.items()}
        heads = {
            name: Head(prod(own.real.channels) * Knots.count(NOISE_BINS, tails=False), own.real.axes)
            for name, own in self.codes.items()
        }
        self.network = build(space, heads) if noise.learned and heads else None

    @property
    def exact(self) -> bool:
        """Whether all fields are numbers without levels, so that nothing is dequantised."""
        return not self.codes

    def elements(self, elements: PackedElements) -> PackedElements:
        """Where the numbers are, for elements of the original space."""
        return elements.over(self.space)

    def learned(self, batch: Batch, condition: Partial | None, elements: PackedElements) -> dict[str, Tensor]:
        """Parameters of the noise of each digit, (B, E * J, P) by field; nothing where noise is uniform."""
        if self.network is None:
            return {}
        outputs = self.network(batch, None, condition)
        return {name: arrange(self.space[name], outputs[name], elements.places[name]) for name in self.codes}

    def forward(
        self, values: Mapping[str, Tensor], learned: Mapping[str, Tensor], noise: ElementNoise, step: int = 0
    ) -> tuple[dict[str, Tensor], Tensor]:
        """Numbers (B, E * J) in float64 by field, and log |dy / du| - log q(u | x) of all of them, (B,).

        Args:
            values: packed elements of the original space.
            learned: see `learned`.
            noise: uniform numbers for the numbers.
            step: counts draws of the same items.
        """
        states: dict[str, Tensor] = {}
        volume = torch.zeros(len(noise.elements), dtype=torch.float64, device=noise.elements.device)
        for name in self.space:
            if name not in self.codes:
                states[name] = values[name].double()
                continue
            u, log_slope = noise.uniform(name, "dequantise", step), torch.zeros((), dtype=torch.float64)
            if name in learned:
                u, log_slope = Knots.of(learned[name].double(), 0.0, 1.0, tails=False).map(u)
            states[name], stretch = self._number(name, values[name], u)
            exists = noise.elements.exists[name]
            volume = volume + torch.where(exists, stretch + log_slope.to(u.device), 0.0).sum(1)
        return states, volume

    def _number(self, name: str, values: Tensor, u: Tensor) -> tuple[Tensor, Tensor]:
        """The numbers of digits filled up with u, and log |dy / du|, (B, E * J)."""
        digits = self.codes[name].digits(values).flatten(1)
        bases = self._bases(name, digits).double()
        share = ((digits + u) / bases).clamp(EDGE, 1 - EDGE)
        return torch.logit(share) / LOGISTIC, -(share.log() + (-share).log1p() + bases.log()) - torch.tensor(
            LOGISTIC
        ).log()

    def _bases(self, name: str, digits: Tensor) -> Tensor:
        own = torch.tensor(self.codes[name].bases, device=digits.device)
        return own.repeat(digits.shape[1] // len(own))

    def values(self, states: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Packed elements of the original space from numbers: the inverse of `forward`, whatever the noise was."""
        found = {}
        for name, y in states.items():
            if name not in self.codes:
                found[name] = y
                continue
            bases = self._bases(name, y)
            digits = (torch.sigmoid(y.double() * LOGISTIC) * bases).floor().long().clamp(min=0).minimum(bases - 1)
            found[name] = self.codes[name].values(digits.unflatten(1, (-1, len(self.codes[name].bases))))
        return found
