"""Classes and levels as numbers that a path of numbers can lead to: with fixed noise, which leaves gaps between them.

For any noise q(y | x) whose numbers y stand for x alone, log P(x) >= E_q[log p(y) - log q(y | x)] (Theis et al., arXiv
1511.01844). A class has a number for each class, of sign + for its own and - for the others, as in argmax flows
(Hoogeboom et al., arXiv 2102.05379); their lengths are log-normal, so that none is near 0. A quantised number is
uniform in its cell.

Letters in shapes: B batch, E packed elements, J numbers of one element, K classes.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import log, pi

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from molgen.batch import levels_to_values, values_to_levels
from molgen.errors import UnsupportedSpace
from molgen.families.parts.elements import ElementNoise, PackedElements
from molgen.kinds import primitive
from molgen.space import Categorical, Field, Real, Space

#: The standard deviation of the logarithms of the lengths of numbers of classes.
SPREAD = 0.2


@dataclass(frozen=True)
class AsNumbers(ABC):
    """How elements of a field become numbers of the field `real`, and back."""

    real: Real

    @abstractmethod
    def numbers(self, values: Tensor, uniform: Tensor) -> tuple[Tensor, Tensor]:
        """Packed elements, (B, E), as numbers, (B, E J) in float64, and -log q of each; from uniform numbers."""

    @abstractmethod
    def values(self, numbers: Tensor) -> Tensor:
        """The elements that numbers stand for."""


class Plain(AsNumbers):
    """Numbers are what they are."""

    def numbers(self, values: Tensor, uniform: Tensor) -> tuple[Tensor, Tensor]:
        """The same."""
        return values.double(), torch.zeros_like(values, dtype=torch.float64)

    def values(self, numbers: Tensor) -> Tensor:
        """The same."""
        return numbers


@dataclass(frozen=True)
class Indicators(AsNumbers):
    """A number for each class."""

    classes: int

    def numbers(self, values: Tensor, uniform: Tensor) -> tuple[Tensor, Tensor]:
        """+ for the class, - for all others."""
        normal = torch.special.ndtri(uniform.clamp(1e-12, 1 - 1e-12))
        length = (SPREAD * normal).exp()
        sign = (2 * one_hot(values, self.classes) - 1).flatten(1)
        surprise = normal**2 / 2 + log(2 * pi) / 2 + log(SPREAD) + length.log()
        return sign * length, surprise

    def values(self, numbers: Tensor) -> Tensor:
        """The class of the largest."""
        return numbers.unflatten(1, (-1, self.classes)).argmax(-1)


@dataclass(frozen=True)
class WithinCells(AsNumbers):
    """A quantised number anywhere in its cell."""

    levels: Real

    def numbers(self, values: Tensor, uniform: Tensor) -> tuple[Tensor, Tensor]:
        """Uniform, of the width 2 / L."""
        assert self.levels.levels is not None
        width = 2 / self.levels.levels
        return values.double() + width * (uniform - 0.5), torch.full_like(uniform, log(width))

    def values(self, numbers: Tensor) -> Tensor:
        """The middle of the cell."""
        return levels_to_values(self.levels, values_to_levels(self.levels, numbers))


@primitive
def as_numbers(field: Field) -> AsNumbers:
    """The numbers of a kind of field; teach one for a kind of your own, see `molgen.kinds`.

    Raises:
        UnsupportedSpace: the kind of field has none.
    """
    raise UnsupportedSpace(f"flow matching knows no numbers for a field of kind {type(field).__name__}")


@as_numbers.register
def _(field: Categorical) -> AsNumbers:
    return Indicators(Real(field.axes, (field.classes,), symmetric=field.symmetric), field.classes)


@as_numbers.register
def _(field: Real) -> AsNumbers:
    return Plain(field) if field.levels is None else WithinCells(replace(field, levels=None), field)


class NumberSpace:
    """The fields of a space as numbers.

    Args:
        space: of the samples.
    """

    def __init__(self, space: Space) -> None:
        self.original = dict(space)
        self.readings = {name: as_numbers(field) for name, field in space.items()}
        self.space = {name: reading.real for name, reading in self.readings.items()}

    @property
    def exact(self) -> bool:
        """Whether all fields are numbers without levels."""
        return all(isinstance(reading, Plain) for reading in self.readings.values())

    def elements(self, elements: PackedElements) -> PackedElements:
        """Where the numbers are, for elements of the space."""
        return elements.over(self.space)

    def numbers(
        self, values: Mapping[str, Tensor], noise: ElementNoise, step: int = 0
    ) -> tuple[dict[str, Tensor], Tensor]:
        """Packed elements as numbers by field, in float64, and -log q of all of them, (B,)."""
        found: dict[str, Tensor] = {}
        total = torch.zeros(len(noise.elements), dtype=torch.float64, device=noise.elements.device)
        for name, packed in values.items():
            uniform = noise.uniform(name, "as numbers", step)
            found[name], surprise = self.readings[name].numbers(packed, uniform)
            total = total + torch.where(noise.elements.exists[name], surprise, 0.0).sum(1)
        return found, total

    def values(self, numbers: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The packed elements that numbers stand for."""
        return {name: self.readings[name].values(own) for name, own in numbers.items()}
