"""How each kind of field becomes numbers with slopes, which a critic reads and through which a generator learns.

Real samples and generated ones have exactly the same form, so that it tells a critic nothing: classes are one-hot in
both, and quantised numbers lie on their levels in both. Gradients pass straight through the choice.

Letters in shapes: B batch, E packed elements, K classes, P numbers of a head for one element.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import replace
from math import atanh, prod

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from molgen.backbone import Head
from molgen.batch import levels_to_values, values_to_levels
from molgen.data.statistics import Moments, Statistics
from molgen.errors import UnsupportedSpace
from molgen.families.parts.elements import arrange
from molgen.kinds import primitive
from molgen.space import Categorical, Field, Real

#: Added to every count of a class, so that none is impossible at the start.
SMOOTHING = 0.5


class Relaxation(ABC):
    """From what a generator's head says of packed elements to what a critic reads of them, and back to samples.

    Args:
        field: the field.
    """

    def __init__(self, field: Field) -> None:
        self.field = field

    @property
    @abstractmethod
    def head(self) -> Head:
        """The output that a generator must have for this field."""

    @property
    def chances(self) -> tuple[Real, int] | None:
        """A field of the random numbers that choices take themselves, and how many K each element takes."""
        return None

    @abstractmethod
    def noise(self, width: int) -> Real:
        """A field of so many random numbers at every place of this one; in a field that rotates they rotate too."""

    def arrange(self, outputs: Tensor, places: Tensor) -> Tensor:
        """What a head gives, (B, *axes, W), as the parameters of packed elements, (B, E, P)."""
        return arrange(self.field, outputs, places)

    @abstractmethod
    def read(self, values: Tensor, like: Tensor) -> Tensor:
        """Packed elements of samples, (B, E), as a critic reads them: (B, E), or (B, E, K) for classes."""

    @abstractmethod
    def choose(self, parameters: Tensor, uniform: Tensor | None, softness: float, temperature: float) -> Tensor:
        """Generated elements in the same form, from (B, E, P) and a uniform number for each of the chances.

        Args:
            parameters: of the elements, as the head says them.
            uniform: (B, E, K) in float64, where there are `chances`.
            softness: the temperature of the relaxation whose gradients pass through the choice.
            temperature: of the choice.
        """

    @abstractmethod
    def values(self, chosen: Tensor) -> Tensor:
        """The elements of samples, (B, E), from what `choose` gives."""

    def bias(self, name: str, statistics: Statistics) -> Tensor | None:
        """What a head gives everywhere at the start, (W,); None leaves it as it is."""
        return None


@primitive
def relaxation(field: Field) -> Relaxation:
    """The relaxation of a kind of field; teach one for a kind of your own.

    Raises:
        UnsupportedSpace: the kind of field has none.
    """
    raise UnsupportedSpace(f"no relaxation is known for a field of kind {type(field).__name__}")


@relaxation.register
def _(field: Categorical) -> Relaxation:
    return GumbelClasses(field)


@relaxation.register
def _(field: Real) -> Relaxation:
    return Numbers(field) if field.levels is None else Levels(field)


class GumbelClasses(Relaxation):
    """argmax(logits + Gumbel noise) is a draw of softmax(logits); its softmax lends it gradients.

    The straight-through estimator of Jang et al., arXiv 1611.01144, and Maddison et al., arXiv 1611.00712. A pair of a
    symmetric field is one element and has one draw, so both of its orders have one class.
    """

    def __init__(self, field: Categorical) -> None:
        super().__init__(field)
        self.classes, self.symmetric = field.classes, field.symmetric

    @property
    def head(self) -> Head:
        """A logit for each class."""
        return Head(self.classes, self.field.axes)

    @property
    def chances(self) -> tuple[Real, int]:
        """One number for each class."""
        return self.noise(self.classes), self.classes

    def noise(self, width: int) -> Real:
        """Numbers of places, or of pairs without direction."""
        return Real(self.field.axes, channels=(width,), symmetric=self.symmetric)

    def read(self, values: Tensor, like: Tensor) -> Tensor:
        """One-hot."""
        return one_hot(values, self.classes).to(like)

    def choose(self, parameters: Tensor, uniform: Tensor | None, softness: float, temperature: float) -> Tensor:
        """One-hot, (B, E, K), with the gradients of the softmax."""
        assert uniform is not None
        gumbel = -(-uniform.log()).log()
        noisy = parameters + temperature * gumbel.to(parameters)
        soft = (noisy / softness).softmax(-1)
        return _straight_through(one_hot(noisy.argmax(-1), self.classes).to(soft), soft)

    def values(self, chosen: Tensor) -> Tensor:
        """Ids."""
        return chosen.argmax(-1)

    def bias(self, name: str, statistics: Statistics) -> Tensor:
        """The logarithms of the frequencies of the classes."""
        counts = torch.tensor(statistics.marginals.get(name) or [0.0] * self.classes, dtype=torch.float64) + SMOOTHING
        return (counts / counts.sum()).log().float()


class Numbers(Relaxation):
    """Numbers as they are; those of a centred field are its coordinates in an orthonormal basis."""

    def __init__(self, field: Real) -> None:
        super().__init__(field)
        self.real = field

    @property
    def head(self) -> Head:
        """A number for each channel."""
        return Head(prod(self.real.channels), self.real.axes, rotates=self.real.rotates)

    def noise(self, width: int) -> Real:
        """As many numbers as asked for; of a field that rotates, a vector that rotates."""
        if self.real.rotates:
            return self.real
        return replace(self.real, channels=(width,), levels=None, centred=False)

    def read(self, values: Tensor, like: Tensor) -> Tensor:
        """The same."""
        return values.to(like)

    def choose(self, parameters: Tensor, uniform: Tensor | None, softness: float, temperature: float) -> Tensor:
        """The outputs, (B, E)."""
        return parameters.squeeze(-1)

    def values(self, chosen: Tensor) -> Tensor:
        """The same."""
        return chosen


class Levels(Numbers):
    """Quantised numbers: tanh of the output, rounded at random to a level beside it, with the gradients of the tanh.

    With noise as wide as a level the mean of what is rounded is the output itself, so gradients are unbiased to first
    order (stochastic rounding, Gupta et al., arXiv 1502.02551), and few levels do not leave all samples alike.
    """

    @property
    def chances(self) -> tuple[Real, int]:
        """One number for each element."""
        return replace(self.real, levels=None), 1

    def read(self, values: Tensor, like: Tensor) -> Tensor:
        """The values of the levels, to the last bit as `choose` gives them."""
        return self._rounded(values).to(like)

    def choose(self, parameters: Tensor, uniform: Tensor | None, softness: float, temperature: float) -> Tensor:
        """The values of levels, (B, E)."""
        assert uniform is not None
        assert self.real.levels is not None
        soft = parameters.squeeze(-1).tanh()
        noise = temperature * (2 * uniform.squeeze(-1) - 1) / self.real.levels
        return _straight_through(self._rounded(soft + noise).to(soft), soft)

    def bias(self, name: str, statistics: Statistics) -> Tensor:
        """What gives the mean of the values."""
        mean = statistics.moments.get(name, Moments()).mean
        return torch.full((self.head.width,), atanh(max(-0.9, min(0.9, mean))))

    def _rounded(self, values: Tensor) -> Tensor:
        return levels_to_values(self.real, values_to_levels(self.real, values))


def _straight_through(hard: Tensor, soft: Tensor) -> Tensor:
    """`hard` to the last bit, with the gradients of `soft` (Bengio et al., arXiv 1308.3432)."""
    return hard + (soft - soft.detach())
