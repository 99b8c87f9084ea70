"""Corruption of classes: an element keeps its class, or it was replaced by a draw from pi.

q(x_t | x_0) = (1 - r) [x_t = x_0] + r pi(x_t) with a probability r that rises with t from 0 to 1: the kernels of D3PM
(Austin et al., arXiv 2107.03006). All of pi is on a MASK of its own (absorbing), or pi is uniform, or it holds the
frequencies of the classes (DiGress, arXiv 2209.14734).

Letters in shapes: B batch, E packed elements, K classes, S classes of a state: K, and MASK where there is one.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from molgen.backbone import Head
from molgen.config import by_name
from molgen.data.statistics import Statistics
from molgen.families.diffusion.process import Process, process
from molgen.families.diffusion.schedule import Clock, EvenClock
from molgen.seeding import inverse_cdf
from molgen.space import Categorical, Field

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
    def clock(self) -> Clock:
        """Even."""
        return EvenClock()

    def mix(self, prediction: Tensor, other: Tensor, weight: float) -> Tensor:
        """A straight line through both, as log-probabilities again."""
        return (other + weight * (prediction - other)).log_softmax(-1)

    def sharpen(self, prediction: Tensor, temperature: float) -> Tensor:
        """Log-probabilities divided by the temperature."""
        return (prediction / temperature).log_softmax(-1)

    @abstractmethod
    def posterior(self, x: Tensor, p: Tensor, time: Tensor, earlier: Tensor) -> Tensor:
        """Sum over x_0 of p(x_0) q(x_s | x_t, x_0), (B, E, S), for p of shape (B, E, K)."""

    def bias(self, name: str, statistics: Statistics) -> Tensor | None:
        """The logarithms of the frequencies of the classes."""
        return frequencies(statistics.marginals.get(name), self.categorical.classes).log()


class Absorbing(Discrete):
    """An element turns into MASK with probability t, and stays it (MDLM, arXiv 2406.07524; MD4, arXiv 2406.04329).

    MASK is one more class of the field that the network reads, the last. What is not masked is known, and which
    elements are says all about the time (Ou et al., arXiv 2406.03736), so the network is not told it.
    """

    timeless = True
    steps = 64

    @property
    def seen(self) -> Field:
        """The classes and MASK."""
        return replace(self.categorical, classes=self.categorical.classes + 1)

    @property
    def mask(self) -> int:
        """The number of MASK."""
        return self.categorical.classes

    def predict(self, output: Tensor, x: Tensor, time: Tensor) -> Tensor:
        """Log-probabilities from logits; those of elements that are not masked mean nothing."""
        return output.log_softmax(-1)

    def start(self, noise: Tensor) -> Tensor:
        """All masked."""
        return torch.full(noise.shape, self.mask, dtype=torch.long, device=noise.device)

    def corrupt(self, x0: Tensor, time: Tensor, noise: Tensor) -> Tensor:
        """Each element masked with probability t."""
        return torch.where(noise < time[:, None], self.mask, x0)

    def rise(self, x: Tensor, time: Tensor, later: Tensor, noise: Tensor) -> Tensor:
        """Each element masked with the probability that it becomes so by the later time: remasking."""
        return torch.where(noise < ((later - time) / (1 - time).clamp(min=1e-12))[:, None], self.mask, x)

    def hidden(self, x: Tensor, exists: Tensor) -> Tensor:
        """The masked elements."""
        return ((x == self.mask) & exists).sum(1)

    def held(self, x0: Tensor, time: Tensor, noise: Tensor) -> Tensor:
        """x_0 at all times: what is known never was masked, which is exact conditioning."""
        return x0

    def posterior(self, x: Tensor, p: Tensor, time: Tensor, earlier: Tensor) -> Tensor:
        """A masked element becomes a class with probability (t - s) / t; another stays what it is."""
        opens = ((time - earlier) / time)[:, None, None]
        masked = torch.cat([opens * p, (1 - opens).expand(*p.shape[:2], 1)], dim=-1)
        return torch.where((x == self.mask)[..., None], masked, one_hot(x, self.mask + 1).to(p))

    def loss(self, prediction: Tensor, x0: Tensor, x: Tensor, time: Tensor, exists: Tensor) -> Tensor:
        """The bound for continuous time, in nats."""
        return self.rate_bound(prediction, x0, x, time, exists)

    def rate_bound(self, prediction: Tensor, x0: Tensor, x: Tensor, time: Tensor, exists: Tensor) -> Tensor:
        """-log p(x_0) / t of the masked elements."""
        return self._surprise(prediction, x0, x, exists) / time.to(prediction)

    def step_bound(
        self, prediction: Tensor, x0: Tensor, x: Tensor, time: Tensor, earlier: Tensor, exists: Tensor
    ) -> Tensor:
        """-log p(x_0) (t - s) / t of the masked elements."""
        return self._surprise(prediction, x0, x, exists) * ((time - earlier) / time)

    def _surprise(self, prediction: Tensor, x0: Tensor, x: Tensor, exists: Tensor) -> Tensor:
        """-log p(x_0) summed over masked elements, (B,)."""
        surprise = -prediction.gather(-1, x0[..., None]).squeeze(-1)
        return torch.where((x == self.mask) & exists, surprise, 0.0).sum(1)

    def step(
        self, prediction: Tensor, x: Tensor, time: Tensor, earlier: Tensor, noise: Tensor, turns: Tensor
    ) -> Tensor:
        """Masked elements whose turn has come become classes.

        Each element is opened with the probability (t - s) / t of the exact reverse process; that turns are evenly
        spaced only keeps many elements from being opened in one step.
        """
        opens = (x == self.mask) & (turns >= earlier[:, None])
        # In float64: rounding of 32 bits makes the likely classes likelier still (Zheng et al., arXiv 2409.02908).
        drawn = inverse_cdf(prediction[opens].double().exp(), noise[opens])
        return x.masked_scatter(opens, drawn)

    def moves(self, x: Tensor, earlier: Tensor, turns: Tensor, exists: Tensor) -> Tensor:
        """Rows in which the turn of an element has come."""
        return ((x == self.mask) & exists & (turns >= earlier[:, None])).any(1)

    def sureness(self, prediction: Tensor, x: Tensor, exists: Tensor) -> Tensor:
        """The negative entropy of masked elements."""
        entropy = -torch.xlogy(p := prediction.exp(), p).sum(-1)
        return torch.where((x == self.mask) & exists, -entropy, -torch.inf)


class Resampling(Discrete):
    """An element is replaced by a draw from pi, again and again.

    By time t it was with probability sin^2(pi t / 2), the cosine schedule (Nichol & Dhariwal, arXiv 2102.09672), under
    which the weights of the bound have a finite variance. The network's logits are added to log q(x_t | x_0):
    p(x_0 | x_t) is proportional to q of the element itself times what all other elements say, and only the second
    must be learned.
    """

    target: Tensor
    steps = 128

    def __init__(self, field: Categorical, config: DiffusionConfig) -> None:
        super().__init__(field, config)
        self.register_buffer("target", torch.full((field.classes,), 1 / field.classes))

    @property
    def seen(self) -> Field:
        """The field itself."""
        return self.categorical

    @property
    def pi(self) -> Tensor:
        """The distribution at time 1, (K,) in float64."""
        return self.target.double() / self.target.double().sum()

    def replaced(self, time: Tensor) -> Tensor:
        """The probability that an element was replaced by a time, (B,)."""
        return torch.sin(torch.pi / 2 * time) ** 2

    def forward_probability(self, x: Tensor, time: Tensor) -> Tensor:
        """q(x_t | x_0) for every class of x_0, (B, E, K) in float64."""
        r = self.replaced(time)[:, None, None]
        return (1 - r) * one_hot(x, self.categorical.classes) + r * self.pi[x][..., None]

    def predict(self, output: Tensor, x: Tensor, time: Tensor) -> Tensor:
        """Log-probabilities by Bayes's rule."""
        return (output + self.forward_probability(x, time).log().to(output)).log_softmax(-1)

    # --- to noise -----------------------------------------------------------------------------------

    def start(self, noise: Tensor) -> Tensor:
        """Draws from pi."""
        place = torch.searchsorted(self.pi.cumsum(0), noise, right=True)
        return place.clamp(max=self.categorical.classes - 1)

    def corrupt(self, x0: Tensor, time: Tensor, noise: Tensor) -> Tensor:
        """A draw from pi where the element was replaced."""
        return self._redrawn(x0, self.replaced(time), noise)

    def rise(self, x: Tensor, time: Tensor, later: Tensor, noise: Tensor) -> Tensor:
        """A draw from pi where the element is replaced between the times."""
        return self._redrawn(x, 1 - self._stays(later, time), noise)

    def _stays(self, time: Tensor, earlier: Tensor) -> Tensor:
        """The probability that an element is not replaced between two times."""
        return (1 - self.replaced(time)) / (1 - self.replaced(earlier)).clamp(min=1e-300)

    def _redrawn(self, x: Tensor, probability: Tensor, noise: Tensor) -> Tensor:
        # What is left of the number below the probability is uniform again.
        share = noise / probability[:, None].clamp(min=1e-300)
        return torch.where(share < 1, self.start(share.clamp(max=1)), x)

    # --- losses -------------------------------------------------------------------------------------

    def loss(self, prediction: Tensor, x0: Tensor, x: Tensor, time: Tensor, exists: Tensor) -> Tensor:
        """The bound for continuous time, in nats."""
        return self.rate_bound(prediction, x0, x, time, exists).to(prediction)

    def rate_bound(self, prediction: Tensor, x0: Tensor, x: Tensor, time: Tensor, exists: Tensor) -> Tensor:
        """The divergence of the rates of jumps, summed over jumps (Campbell et al., arXiv 2205.14987)."""
        true, modelled = (self._rates(x, p, time) for p in (self._known(x0), prediction.double().exp()))
        terms = modelled - true + torch.xlogy(true, true) - torch.xlogy(true, modelled)
        others = one_hot(x, self.categorical.classes).eq(0) & exists[..., None]
        return torch.where(others, terms, 0.0).sum((1, 2))

    def _rates(self, x: Tensor, p: Tensor, time: Tensor) -> Tensor:
        """The rate of jumping back from x_t to each class, (B, E, K): the mean over p(x_0) of the rate given x_0.

        The rate of jumping ahead times the ratio of probabilities: r' / (1 - r) pi(x_t) q(j | x_0) / q(x_t | x_0).
        """
        r, change = self.replaced(time), torch.pi / 2 * torch.sin(torch.pi * time)
        ahead = (change / (1 - r))[:, None, None] * self.pi[x][..., None]
        return ahead * self._ratios(x, p, time, r[:, None, None])

    def _ratios(self, x: Tensor, p: Tensor, time: Tensor, r: Tensor) -> Tensor:
        """Sum over x_0 of p(x_0) q(j | x_0) / q(x_t | x_0), (B, E, K), where q(j | x_0) is that of replacement r."""
        weight = p / self.forward_probability(x, time)
        return (1 - r) * weight + r * self.pi * weight.sum(-1, keepdim=True)

    def posterior(self, x: Tensor, p: Tensor, time: Tensor, earlier: Tensor) -> Tensor:
        """q(x_t | x_s) q(x_s | x_0) / q(x_t | x_0), summed over x_0."""
        stays = self._stays(time, earlier)[:, None, None]
        to_now = stays * one_hot(x, self.categorical.classes) + (1 - stays) * self.pi[x][..., None]
        return to_now * self._ratios(x, p, time, self.replaced(earlier)[:, None, None])

    def step_bound(
        self, prediction: Tensor, x0: Tensor, x: Tensor, time: Tensor, earlier: Tensor, exists: Tensor
    ) -> Tensor:
        """The divergence of the posteriors."""
        true = self.posterior(x, self._known(x0), time, earlier)
        modelled = self.posterior(x, prediction.double().exp(), time, earlier)
        terms = torch.xlogy(true, true) - torch.xlogy(true, modelled)
        return torch.where(exists[..., None], terms, 0.0).sum((1, 2))

    def _known(self, x0: Tensor) -> Tensor:
        return one_hot(x0, self.categorical.classes).double()

    def step(
        self, prediction: Tensor, x: Tensor, time: Tensor, earlier: Tensor, noise: Tensor, turns: Tensor
    ) -> Tensor:
        """A draw from the posterior."""
        p = self.posterior(x, prediction.double().exp(), time, earlier)
        return inverse_cdf(p.flatten(0, 1), noise.flatten()).view(noise.shape)


class Marginal(Resampling):
    """pi holds the frequencies of the classes in the training data."""

    def initialise(self, name: str, statistics: Statistics) -> None:
        """Count the classes."""
        self.target.copy_(frequencies(statistics.marginals.get(name), self.categorical.classes))


def frequencies(counts: list[int] | None, classes: int) -> Tensor:
    """Smoothed frequencies of classes, (K,)."""
    smooth = torch.tensor(counts or [0] * classes, dtype=torch.float64) + SMOOTHING
    return smooth / smooth.sum()


#: The processes of classes by their names in the configuration.
PROCESSES: dict[str, type[Discrete]] = {"absorbing": Absorbing, "uniform": Resampling, "marginal": Marginal}


@process.register(Categorical)
def _(field: Categorical, config: DiffusionConfig) -> Process:
    return by_name("categorical", config.categorical, PROCESSES)(field, config)
