"""How the elements of each kind of field are states of a chain, what a network reads of them, and where chains start.

Every field has a reference distribution of independent elements, whose density q0 is known: an energy is an energy
relative to it, log p(x) = log q0(x) - E(x) + constant. So a network has less to say, numbers cannot run away, and the
partition function of the reference is 1.

Letters in shapes: B batch, E packed elements, K choices of an element.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import replace
from math import log, pi

import torch
from torch import Tensor, nn
from torch.nn.functional import one_hot

from molgen.batch import levels_to_values, values_to_levels
from molgen.errors import UnsupportedSpace
from molgen.families.parts.elements import PackedElements
from molgen.kinds import primitive
from molgen.seeding import inverse_cdf
from molgen.space import Categorical, Field, Real, is_symmetric

#: Added to every count, spread over the choices as they are anywhere, or evenly where nothing is known.
SMOOTHING = 1.0


class Site(nn.Module, ABC):
    """From packed elements of samples to states of a chain and back, with a distribution to start from.

    Args:
        field: the field.
    """

    def __init__(self, field: Field) -> None:
        super().__init__()
        self.field = field

    @abstractmethod
    def state(self, values: Tensor) -> Tensor:
        """Packed elements of samples as states, (B, E)."""

    @abstractmethod
    def values(self, state: Tensor) -> Tensor:
        """The inverse of `state`."""

    @abstractmethod
    def read(self, state: Tensor, kind: torch.dtype) -> Tensor:
        """What a network reads, with slopes: (B, E), or (B, E, K) for classes."""

    @abstractmethod
    def log_reference(self, state: Tensor) -> Tensor:
        """log q0 of each element, (B, E) in float64."""

    @abstractmethod
    def start(self, uniform: Tensor) -> Tensor:
        """States that follow q0, from uniform numbers (B, E)."""

    def count(self, state: Tensor, exists: Tensor) -> None:
        """Take q0 from some samples, (B, E)."""

    # --- relaxed to numbers without levels --------------------------------------------------------

    @property
    @abstractmethod
    def relaxed(self) -> Real:
        """The field of numbers, of about unit spread, that the elements become."""

    @abstractmethod
    def relax(self, state: Tensor) -> Tensor:
        """Its packed elements, (B, E x numbers of each)."""

    @abstractmethod
    def harden(self, numbers: Tensor) -> Tensor:
        """The nearest states, (B, E)."""


@primitive
def proposal(field: Field) -> Site:
    """How elements of a kind of field move; teach one for a kind of your own.

    A site whose states are numbers moves by Langevin's steps, a `Choices` by flips.

    Raises:
        UnsupportedSpace: the kind of field has none.
    """
    raise UnsupportedSpace(f"no moves are known for a field of kind {type(field).__name__}")


@proposal.register
def _(field: Categorical) -> Site:
    return Classes(field, field.classes)


@proposal.register
def _(field: Real) -> Site:
    return Numbers(field) if field.levels is None else Levels(field, field.levels)


class Numbers(Site):
    """Numbers as they are, of unit scale; q0 is standard normal, for centred ones in their free directions."""

    def state(self, values: Tensor) -> Tensor:
        """The same."""
        return values

    def values(self, state: Tensor) -> Tensor:
        """The same."""
        return state

    def read(self, state: Tensor, kind: torch.dtype) -> Tensor:
        """The same."""
        return state.to(kind)

    def log_reference(self, state: Tensor) -> Tensor:
        """Standard normal."""
        return -(state.double() ** 2) / 2 - log(2 * pi) / 2

    def start(self, uniform: Tensor) -> Tensor:
        """By the inverse of the distribution function."""
        return torch.special.ndtri(uniform).float()

    @property
    def relaxed(self) -> Real:
        """The same."""
        assert isinstance(self.field, Real)
        return self.field

    def relax(self, state: Tensor) -> Tensor:
        """The same."""
        return state

    def harden(self, numbers: Tensor) -> Tensor:
        """The same."""
        return numbers


class Choices(Site):
    """One of K choices; q0 has their frequencies, place by place where all axes are fixed.

    Args:
        field: the field.
        choices: K.
    """

    log_frequencies: Tensor

    def __init__(self, field: Field, choices: int) -> None:
        super().__init__(field)
        self.choices = choices
        fixed = not any(axis.variable for axis in field.axes)
        places = (_elements(field),) if field.axes and fixed else ()
        # As logarithms, since weights may be stored with fewer digits than rare choices need.
        self.register_buffer("log_frequencies", torch.full((*places, choices), -log(choices)))

    def count(self, state: Tensor, exists: Tensor) -> None:
        """Count them, smoothed towards what they are over all places."""
        counts = torch.where(exists[..., None], one_hot(state, self.choices), 0).sum(0).double()
        everywhere = counts.sum(0) + SMOOTHING / self.choices
        everywhere = everywhere / everywhere.sum()
        found = counts + SMOOTHING * everywhere if self.log_frequencies.ndim > 1 else everywhere
        self.log_frequencies.copy_(found.log())

    def _log_q(self, state: Tensor) -> Tensor:
        """log q0 of each choice, (E, K) in float64."""
        return self.log_frequencies.double().log_softmax(-1).expand(*state.shape[1:], self.choices)

    def log_reference(self, state: Tensor) -> Tensor:
        """The logarithm of the frequency of each choice."""
        return self._log_q(state).expand(len(state), -1, -1).gather(2, state[..., None]).squeeze(-1)

    def start(self, uniform: Tensor) -> Tensor:
        """By the inverse of the distribution function."""
        table = self._log_q(uniform).exp().expand(*uniform.shape, self.choices)
        return inverse_cdf(table.reshape(-1, self.choices), uniform.reshape(-1)).view(uniform.shape)

    def gains(self, state: Tensor, slope: Tensor, share: float) -> Tensor:
        """What another choice adds to log q0 - share E, to first order in E, (B, E, K) in float64.

        Args:
            state: (B, E).
            slope: of E by what is read.
            share: of the energy.
        """
        gained = self._log_q(state) - share * self.along(slope.double())
        return gained - gained.gather(2, state[..., None])

    @abstractmethod
    def along(self, slope: Tensor) -> Tensor:
        """A part of E that is linear in the choice, (B, E, K), from the slope by what is read."""

    @abstractmethod
    def distance(self, state: Tensor) -> Tensor:
        """How far every choice lies from the state, (B, E, K): 0 for the same, 1 for the nearest."""


class Classes(Choices):
    """Classes, read one-hot."""

    def state(self, values: Tensor) -> Tensor:
        """The same ids."""
        return values

    def values(self, state: Tensor) -> Tensor:
        """The same ids."""
        return state

    def read(self, state: Tensor, kind: torch.dtype) -> Tensor:
        """One-hot."""
        return one_hot(state, self.choices).to(kind)

    def along(self, slope: Tensor) -> Tensor:
        """The slope by each class."""
        return slope

    def distance(self, state: Tensor) -> Tensor:
        """1 for any other."""
        return 1.0 - one_hot(state, self.choices).double()

    @property
    def relaxed(self) -> Real:
        """A number for each class."""
        return Real(self.field.axes, channels=(self.choices,), symmetric=is_symmetric(self.field))

    def relax(self, state: Tensor) -> Tensor:
        """One-hot about its mean, so that each number has unit spread where all classes are as frequent."""
        return ((one_hot(state, self.choices) - 1 / self.choices) * self._spread).flatten(1)

    def harden(self, numbers: Tensor) -> Tensor:
        """The class with the largest number."""
        return numbers.unflatten(1, (-1, self.choices)).argmax(-1)

    @property
    def _spread(self) -> float:
        return self.choices / max(1, self.choices - 1) ** 0.5


class Levels(Choices):
    """Quantised numbers, read as the numbers that they are."""

    def __init__(self, field: Real, choices: int) -> None:
        super().__init__(field, choices)
        self.real = field
        self.register_buffer("table", levels_to_values(field, torch.arange(choices)).double(), persistent=False)

    table: Tensor

    def state(self, values: Tensor) -> Tensor:
        """The numbers of the levels."""
        return values_to_levels(self.real, values)

    def values(self, state: Tensor) -> Tensor:
        """Their values."""
        return levels_to_values(self.real, state)

    def read(self, state: Tensor, kind: torch.dtype) -> Tensor:
        """Their values."""
        return levels_to_values(self.real, state).to(kind)

    def along(self, slope: Tensor) -> Tensor:
        """The slope times the values of all levels."""
        return slope[..., None] * self.table

    def distance(self, state: Tensor) -> Tensor:
        """The square of how many levels lie between."""
        return (torch.arange(self.choices, device=state.device) - state[..., None]).double() ** 2

    @property
    def relaxed(self) -> Real:
        """The same numbers without levels."""
        return replace(self.real, levels=None)

    def relax(self, state: Tensor) -> Tensor:
        """The values, at the scale at which all of them together have unit spread."""
        return levels_to_values(self.real, state) * 3**0.5

    def harden(self, numbers: Tensor) -> Tensor:
        """The nearest level."""
        return values_to_levels(self.real, numbers / 3**0.5)


def _elements(field: Field) -> int:
    """The packed elements of a field whose axes are all fixed."""
    space, lengths = {"": field}, {axis.name: axis.maximum for axis in field.axes}
    return PackedElements.of(space, {}, lengths, 1, torch.device("cpu")).exists[""].shape[1]
