"""Discrete diffusion by resampling: an element is replaced by a sample of pi, again and again.

pi is uniform (D3PM, Austin et al., arXiv 2107.03006) or holds the frequencies of the classes (DiGress, Vignac et al.,
arXiv 2209.14734).

Letters in shapes: B batch, E packed elements, K classes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from molgen.data.statistics import Statistics
from molgen.families.diffusion.discrete import Discrete, ReverseDiscrete, frequencies
from molgen.seeding import inverse_cdf
from molgen.space import Categorical, Field

if TYPE_CHECKING:
    from molgen.families.diffusion.config import DiffusionConfig


class Resampling(Discrete):
    """By time t an element was replaced with probability r = sin^2(pi t / 2).

    This is the cosine schedule (Nichol & Dhariwal, arXiv 2102.09672), under which the weights of the bound have a
    finite variance. The network's logits are added to log q(x_t | x_0): p(x_0 | x_t) is proportional to q of the
    element itself times what all other elements tell, and only the second must be learned.
    """

    target: Tensor

    def __init__(self, field: Categorical, config: DiffusionConfig) -> None:
        super().__init__(field, config)
        self.register_buffer("target", torch.full((field.classes,), 1 / field.classes))

    @property
    def reverse(self) -> ReverseResampling:
        """Ancestral sampling."""
        return ReverseResampling(self)

    @property
    def pi(self) -> Tensor:
        """The distribution at time 1, (K,) in float64."""
        return self.target.double() / self.target.double().sum()

    # --- the kernel ---------------------------------------------------------------------------------

    def replaced(self, time: Tensor) -> Tensor:
        """r, the probability that an element was replaced by a time, (B,)."""
        return torch.sin(torch.pi / 2 * time) ** 2

    def _stays(self, time: Tensor, earlier: Tensor) -> Tensor:
        """The probability that an element is not replaced between two times."""
        return (1 - self.replaced(time)) / (1 - self.replaced(earlier)).clamp(min=1e-300)

    def forward_probability(self, x: Tensor, time: Tensor) -> Tensor:
        """q(x_t | x_0) for every class of x_0, (B, E, K) in float64 (D3PM, equation 3)."""
        r = self.replaced(time)[:, None, None]
        return (1 - r) * one_hot(x, self.categorical.classes) + r * self.pi[x][..., None]

    def corrupt(self, x0: Tensor, time: Tensor, noise: Tensor) -> Tensor:
        """A sample of pi where the element was replaced."""
        return self._resampled(x0, self.replaced(time), noise)

    def renoise(self, x: Tensor, time: Tensor, later: Tensor, noise: Tensor) -> Tensor:
        """A sample of pi where the element is replaced between the times."""
        return self._resampled(x, 1 - self._stays(later, time), noise)

    def prior(self, noise: Tensor) -> Tensor:
        """Samples of pi."""
        place = torch.searchsorted(self.pi.cumsum(0), noise, right=True)
        return place.clamp(max=self.categorical.classes - 1)

    def _resampled(self, x: Tensor, probability: Tensor, noise: Tensor) -> Tensor:
        # What is left of the number below the probability is uniform again.
        share = noise / probability[:, None].clamp(min=1e-300)
        return torch.where(share < 1, self.prior(share.clamp(max=1)), x)

    def posterior(self, x: Tensor, p: Tensor, time: Tensor, earlier: Tensor) -> Tensor:
        """q(x_t | x_s) q(x_s | x_0) / q(x_t | x_0), summed over x_0 (D3PM, equations 3 and 4)."""
        stays = self._stays(time, earlier)[:, None, None]
        to_now = stays * one_hot(x, self.categorical.classes) + (1 - stays) * self.pi[x][..., None]
        return to_now * self._ratios(x, p, time, self.replaced(earlier)[:, None, None])

    def _ratios(self, x: Tensor, p: Tensor, time: Tensor, r: Tensor) -> Tensor:
        """Sum over x_0 of p(x_0) q(j | x_0) / q(x_t | x_0), (B, E, K), where q(j | x_0) is that of replacement r."""
        weight = p / self.forward_probability(x, time)
        return (1 - r) * weight + r * self.pi * weight.sum(-1, keepdim=True)

    # --- what the network reads and predicts ----------------------------------------------------------

    @property
    def network_field(self) -> Field:
        """The field itself."""
        return self.categorical

    def predict(self, output: Tensor, x: Tensor, time: Tensor) -> Tensor:
        """Log-probabilities by Bayes's rule."""
        return (output + self.forward_probability(x, time).log().to(output)).log_softmax(-1)

    # --- losses -------------------------------------------------------------------------------------

    def loss(self, prediction: Tensor, x0: Tensor, x: Tensor, time: Tensor, exists: Tensor) -> Tensor:
        """The bound for continuous time, in nats."""
        return self.rate_bound(prediction, x0, x, time, exists).to(prediction)

    def rate_bound(self, prediction: Tensor, x0: Tensor, x: Tensor, time: Tensor, exists: Tensor) -> Tensor:
        """The divergence of the rates of jumps, summed over jumps (Campbell et al., arXiv 2205.14987)."""
        true, modelled = (self._rates(x, p, time) for p in (self._certain(x0), prediction.double().exp()))
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

    def step_bound(
        self, prediction: Tensor, x0: Tensor, x: Tensor, time: Tensor, earlier: Tensor, exists: Tensor
    ) -> Tensor:
        """The divergence of the posteriors."""
        true = self.posterior(x, self._certain(x0), time, earlier)
        modelled = self.posterior(x, prediction.double().exp(), time, earlier)
        terms = torch.xlogy(true, true) - torch.xlogy(true, modelled)
        return torch.where(exists[..., None], terms, 0.0).sum((1, 2))

    def _certain(self, x0: Tensor) -> Tensor:
        return one_hot(x0, self.categorical.classes).double()


class Marginal(Resampling):
    """pi holds the frequencies of the classes in the training data."""

    def initialise(self, name: str, statistics: Statistics) -> None:
        """Count the classes."""
        self.target.copy_(frequencies(statistics.marginals.get(name), self.categorical.classes))


class ReverseResampling(ReverseDiscrete):
    """Each step is a sample of the posterior."""

    default_steps = 128

    def __init__(self, process: Resampling) -> None:
        self.process = process

    def step(
        self, prediction: Tensor, x: Tensor, time: Tensor, earlier: Tensor, noise: Tensor, unmasking: Tensor
    ) -> Tensor:
        """A sample of the posterior."""
        p = self.process.posterior(x, prediction.double().exp(), time, earlier)
        return inverse_cdf(p.flatten(0, 1), noise.flatten()).view(noise.shape)

    def known_state(self, x0: Tensor, time: Tensor, noise: Tensor) -> Tensor:
        """x_0 as it is corrupted by the time."""
        return self.process.corrupt(x0, time, noise)
