"""Masked diffusion: an element turns into MASK with probability t, and stays it.

MDLM (Sahoo et al., arXiv 2406.07524) and MD4 (Shi et al., arXiv 2406.04329).

Letters in shapes: B batch, E packed elements, K classes.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from molgen.families.diffusion.discrete import Discrete, ReverseDiscrete
from molgen.seeding import inverse_cdf
from molgen.space import Field


class Absorbing(Discrete):
    """An element is MASK with probability t, else x_0.

    MASK is one more class of the field that the network reads, the last. What is not masked is known, and how many
    elements are masked tells all about the time (Ou et al., arXiv 2406.03736), so the network reads no time.
    """

    time_independent = True

    @property
    def reverse(self) -> ReverseAbsorbing:
        """Unmasking."""
        return ReverseAbsorbing(self)

    @property
    def mask(self) -> int:
        """The number of MASK."""
        return self.categorical.classes

    # --- the kernel ---------------------------------------------------------------------------------

    def corrupt(self, x0: Tensor, time: Tensor, noise: Tensor) -> Tensor:
        """Each element masked with probability t."""
        return torch.where(noise < time[:, None], self.mask, x0)

    def renoise(self, x: Tensor, time: Tensor, later: Tensor, noise: Tensor) -> Tensor:
        """Each element masked with the probability that it becomes so by the later time: remasking."""
        return torch.where(noise < ((later - time) / (1 - time).clamp(min=1e-12))[:, None], self.mask, x)

    def prior(self, noise: Tensor) -> Tensor:
        """All masked."""
        return torch.full(noise.shape, self.mask, dtype=torch.long, device=noise.device)

    def masked_count(self, x: Tensor, exists: Tensor) -> Tensor:
        """The masked elements."""
        return ((x == self.mask) & exists).sum(1)

    def posterior(self, x: Tensor, p: Tensor, time: Tensor, earlier: Tensor) -> Tensor:
        """A masked element becomes a class with probability (t - s) / t; another stays what it is."""
        unmasked = ((time - earlier) / time)[:, None, None]
        masked = torch.cat([unmasked * p, (1 - unmasked).expand(*p.shape[:2], 1)], dim=-1)
        return torch.where((x == self.mask)[..., None], masked, one_hot(x, self.mask + 1).to(p))

    # --- what the network reads and predicts ----------------------------------------------------------

    @property
    def network_field(self) -> Field:
        """The classes and MASK."""
        return replace(self.categorical, classes=self.categorical.classes + 1)

    def predict(self, output: Tensor, x: Tensor, time: Tensor) -> Tensor:
        """Log-probabilities from logits; those of elements that are not masked mean nothing."""
        return output.log_softmax(-1)

    # --- losses -------------------------------------------------------------------------------------

    def loss(self, prediction: Tensor, x0: Tensor, x: Tensor, time: Tensor, exists: Tensor) -> Tensor:
        """The bound for continuous time, in nats."""
        return self.rate_bound(prediction, x0, x, time, exists)

    def rate_bound(self, prediction: Tensor, x0: Tensor, x: Tensor, time: Tensor, exists: Tensor) -> Tensor:
        """-log p(x_0) / t of the masked elements (the continuous-time bound of MDLM and MD4 for r = t)."""
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


class ReverseAbsorbing(ReverseDiscrete):
    """Masked elements become classes, each once."""

    default_steps = 64

    def __init__(self, process: Absorbing) -> None:
        self.mask = process.mask

    def step(
        self, prediction: Tensor, x: Tensor, time: Tensor, earlier: Tensor, noise: Tensor, unmasking: Tensor
    ) -> Tensor:
        """Masked elements whose unmasking time has come become classes.

        Each is unmasked with the probability (t - s) / t of the exact reverse process; that the times are evenly
        spaced only keeps many elements from being unmasked in one step.
        """
        due = (x == self.mask) & (unmasking >= earlier[:, None])
        # In float64: rounding of 32 bits makes the likely classes likelier still (Zheng et al., arXiv 2409.02908).
        return x.masked_scatter(due, inverse_cdf(prediction[due].double().exp(), noise[due]))

    def known_state(self, x0: Tensor, time: Tensor, noise: Tensor) -> Tensor:
        """x_0 at all times: what is known never was masked, which is exact conditioning."""
        return x0

    def changed_rows(self, x: Tensor, earlier: Tensor, unmasking: Tensor, exists: Tensor) -> Tensor:
        """Rows in which the unmasking time of an element has come."""
        return ((x == self.mask) & exists & (unmasking >= earlier[:, None])).any(1)

    def confidence(self, prediction: Tensor, x: Tensor, exists: Tensor) -> Tensor:
        """The negative entropy of masked elements."""
        entropy = -torch.xlogy(p := prediction.exp(), p).sum(-1)
        return torch.where((x == self.mask) & exists, -entropy, -torch.inf)
