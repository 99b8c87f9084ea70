"""The settings of the diffusion family, and the options of its sampling and its densities."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import inf

#: Names that configurations had before, with those of today.
REAL_BEFORE, ORDERS_BEFORE = {"lattice": "quantised"}, {"surest": "confidence"}


@dataclass(frozen=True)
class DiffusionConfig:
    """Which processes corrupt the fields, and how losses are weighted.

    Attributes:
        real: the process of numbers: `gaussian`, or `quantised` where a network should predict which of few levels is
            likely (once `lattice`, which is still read).
        categorical: the process of classes: `absorbing`, `uniform` or `marginal`.
        lowest_noise, highest_noise: the levels of numbers at times 0 and 1, for numbers of unit scale; the lowest of
            quantised numbers follows from their cells.
        noise_mean, noise_spread: of the logarithm of the levels in training; EDM has -1.2 and 1.2 for a scale of 0.5.
        steps: of sampling where none are asked for, see `Sampling`.
        order: of sampling where none is asked for, see `Sampling`.
        samples: of the bound where none are asked for, see `Scoring`.
        weights: of the losses of fields by name, 1 where none is given.
        self_conditioning: the network also reads what was predicted one step before (Chen et al., arXiv 2208.04202): in
            training of half of the items, by a run of the network of its own.
    """

    real: str = "gaussian"
    categorical: str = "absorbing"
    lowest_noise: float = 0.004
    highest_noise: float = 160.0
    noise_mean: float = -0.5
    noise_spread: float = 1.2
    steps: int = 0
    order: str = "random"
    samples: int = 32
    weights: Mapping[str, float] = field(default_factory=dict)
    self_conditioning: bool = False

    def __post_init__(self) -> None:
        _require_steps(self.steps)
        _require_samples(self.samples, 2)
        _rename(self, "real", REAL_BEFORE)
        _rename(self, "order", ORDERS_BEFORE)


@dataclass(frozen=True)
class Sampling:
    """The options of `sample`.

    Attributes:
        steps: from noise to data; 0 leaves it to the configuration, and 0 there to the processes: one element at a
            time where all are absorbing.
        guidance: w in u + w (c - u), of predictions without (u) and with the condition (c); 1 is the model itself.
        churn: before each step so many steps' worth of noise are put back; 0 is EDM's deterministic sampler for
            numbers, more repairs mistakes (Karras et al., algorithm 2; for MASK it is remasking).
        temperature: divides the log-probabilities of classes.
        solver: of numbers.
        order: in which elements are unmasked: `random`, as in training and in the bound, or by `confidence`, the least
            entropy first (once `surest`, which is still read).
    """

    steps: int = 0
    guidance: float = 1.0
    churn: float = 0.0
    temperature: float = 1.0
    solver: str = "exponential"
    order: str = "random"

    def __post_init__(self) -> None:
        _require_steps(self.steps)
        _rename(self, "order", ORDERS_BEFORE)
        if not -inf < self.guidance < inf:
            raise ValueError(f"guidance must be finite, not {self.guidance}")
        if not 0 <= self.churn < inf:
            raise ValueError(f"churn must be 0 or more, not {self.churn}")
        if not 0 < self.temperature < inf:
            raise ValueError(f"temperature must be above 0, not {self.temperature}")


@dataclass(frozen=True)
class Scoring:
    """The options of `log_density`.

    Attributes:
        method: a lower bound, `bound`, or by the probability-flow ODE, `ode`: for numbers without levels alone.
        samples: of the bound: noised copies of each item that the network reads, an even number; 0 leaves it to the
            configuration. Of `ode`: random directions from which the divergence is estimated; 0 computes it exactly.
        steps: of the bound: those of the sampler whose likelihood is bounded; 0 means continuous time. Of `ode`: of
            the integration; 0 means 64.
    """

    method: str = "bound"
    samples: int = 0
    steps: int = 0

    def __post_init__(self) -> None:
        _require_samples(self.samples, 0)
        _require_steps(self.steps)


def _rename(settings: object, name: str, before: Mapping[str, str]) -> None:
    value = getattr(settings, name)
    object.__setattr__(settings, name, before.get(value, value))


def _require_steps(steps: int) -> None:
    if steps < 0:
        raise ValueError(f"steps must be 0 (as many as needed) or more, not {steps}")


def _require_samples(samples: int, least: int) -> None:
    if samples < least or samples % 2:
        raise ValueError(f"samples must be an even number from {least}, not {samples}")
