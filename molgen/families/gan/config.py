"""The settings of adversarial training, and the options of its sampling."""

from __future__ import annotations

from dataclasses import dataclass
from math import cos, inf, pi


@dataclass(frozen=True)
class GANConfig:
    """What generator and critic read and minimise.

    Attributes:
        objective: `relativistic`, or `wasserstein`; see `objectives`.
        latent: the width of the one random vector of a sample; 0 leaves it out.
        element_noise: random numbers beside it that the generator reads at every place.
        penalty: the weight of the penalty on the slopes of the critic; None is that of the objective.
        penalty_end: to which the weight falls along half a cosine; None keeps it.
        penalty_fall: the share of training in which it falls.
        critic_steps: of the critic for one of the generator; None is that of the objective.
        generator_rate: a factor on the learning rate of the generator.
        softness: the temperature of the softmax by which gradients pass through a choice of a class.
        validation_samples: of each held-out item's size and condition, for its energy score.
    """

    objective: str = "relativistic"
    latent: int = 64
    element_noise: int = 4
    penalty: float | None = None
    penalty_end: float | None = None
    penalty_fall: float = 1.0
    critic_steps: int | None = None
    generator_rate: float = 1.0
    softness: float = 1.0
    validation_samples: int = 8

    def __post_init__(self) -> None:
        for name, least in (("latent", 0), ("element_noise", 1), ("critic_steps", 1), ("validation_samples", 2)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise ValueError(f"{name} must be at least {least}, not {value}")
        for name in ("penalty", "penalty_end"):
            value = getattr(self, name)
            if value is not None and not 0 <= value < inf:
                raise ValueError(f"{name} must be at least 0, not {value}")
        for name in ("softness", "generator_rate"):
            if not 0 < getattr(self, name) < inf:
                raise ValueError(f"{name} must be above 0, not {getattr(self, name)}")
        if not 0 < self.penalty_fall <= 1:
            raise ValueError(f"penalty_fall must be above 0 and at most 1, not {self.penalty_fall}")

    def penalty_at(self, step: int, steps: int, usual: float) -> float:
        """The weight of the penalty at a step of training, where `usual` is that of the objective."""
        first = usual if self.penalty is None else self.penalty
        last = first if self.penalty_end is None else self.penalty_end
        share = min(1.0, step / (self.penalty_fall * steps))
        return last + (first - last) * (1 + cos(pi * share)) / 2


@dataclass(frozen=True)
class Sampling:
    """The options of `sample`.

    Attributes:
        truncation: the largest absolute value of the random numbers that the generator reads, which are then
            truncated normal (Brock et al., arXiv 1809.11096): less variety for likelier samples. None is
            no limit, as in training.
        temperature: of the choice of classes, in which it multiplies the Gumbel noise.
    """

    truncation: float | None = None
    temperature: float = 1.0

    def __post_init__(self) -> None:
        if self.truncation is not None and not 0 < self.truncation < inf:
            raise ValueError(f"truncation must be above 0, not {self.truncation}")
        if not 0 < self.temperature < inf:
            raise ValueError(f"temperature must be above 0, not {self.temperature}")


@dataclass(frozen=True)
class Scoring:
    """The value of a critic has no options."""
