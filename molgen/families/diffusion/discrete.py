"""What all corruptions of classes share: an element keeps its class, or it was replaced by a sample of pi.

q(x_t | x_0) = (1 - r) [x_t = x_0] + r pi(x_t) with a probability r that rises with t from 0 to 1: the kernels of D3PM
(Austin et al., arXiv 2107.03006). All of pi is on a MASK of its own (`absorbing`), or pi is uniform, or it holds the
frequencies of the classes (both in `resampling`).

Letters in shapes: B batch, E packed elements, K classes, S classes of a state: K, and MASK where there is one.
"""

from __future__ import annotations

from abc import abstractmethod
from math import inf
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from molgen.backbone import Head
from molgen.data.statistics import Statistics
from molgen.families.diffusion.process import Process, ReverseProcess
from molgen.families.diffusion.schedule import LinearSchedule, NoiseSchedule
from molgen.space import Categorical, Field, Real

if TYPE_CHECKING:
    from molgen.families.diffusion.config import DiffusionConfig

#: Added to every count of a class, so that none is impossible at the start.
SMOOTHING = 0.5


class Discrete(Process):
    """A process of classes; predictions are log-probabilities of x_0, (B, E, K)."""

    def __init__(self, field: Categorical, config: DiffusionConfig) -> None:
        super().__init__(field)
        self.categorical = field

    @property
    def head(self) -> Head:
        """Logits of the classes of x_0."""
        return Head(self.categorical.classes, self.categorical.axes)

    @property
    def schedule(self) -> NoiseSchedule:
        """Linear."""
        return LinearSchedule()

    no_prediction = -inf

    @property
    def prediction_field(self) -> Field:
        """The probability of each class."""
        return Real(self.categorical.axes, (self.categorical.classes,), symmetric=self.categorical.symmetric)

    def prediction_input(self, prediction: Tensor) -> Tensor:
        """Probabilities, (B, E K)."""
        return prediction.exp().flatten(1)

    @abstractmethod
    def posterior(self, x: Tensor, p: Tensor, time: Tensor, earlier: Tensor) -> Tensor:
        """Sum over x_0 of p(x_0) q(x_s | x_t, x_0), (B, E, S), for p of shape (B, E, K) (D3PM, equations 3 and 4)."""

    def bias(self, name: str, statistics: Statistics) -> Tensor | None:
        """The logarithms of the frequencies of the classes."""
        return frequencies(statistics.marginals.get(name), self.categorical.classes).log()


class ReverseDiscrete(ReverseProcess):
    """What sampling can change about log-probabilities of classes."""

    def guide(self, conditional: Tensor, unconditional: Tensor, weight: float) -> Tensor:
        """A straight line through both, as log-probabilities again."""
        return (unconditional + weight * (conditional - unconditional)).log_softmax(-1)

    def temper(self, prediction: Tensor, temperature: float) -> Tensor:
        """Log-probabilities divided by the temperature."""
        return (prediction / temperature).log_softmax(-1)


def frequencies(counts: list[int] | None, classes: int) -> Tensor:
    """Smoothed frequencies of classes, (K,)."""
    smooth = torch.tensor(counts or [0] * classes, dtype=torch.float64) + SMOOTHING
    return smooth / smooth.sum()
