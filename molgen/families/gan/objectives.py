"""What critic and generator minimise, item by item: each real sample is paired with one of its own size and condition.

D is the critic, x a real sample, y a generated one. A slope is the gradient of D along packed elements, in which a
symmetric pair counts once and a centred field has no useless direction.

Letters in shapes: B batch.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.functional import softplus

from molgen.families.gan.generator import Elements
from molgen.families.parts.elements import beside
from molgen.seeding import Rng

#: D of packed elements, (B,).
Critic = Callable[[Elements], Tensor]
#: The weight of the square of D's mean over a pair, without which a constant could be added to D and drift away
#: (Karras et al., arXiv 1710.10196, appendix A.1).
DRIFT = 1e-3
#: Added to the squared length of a slope, whose root has no slope at 0.
TINY = 1e-12


def slope(critic: Critic, elements: Elements) -> tuple[Tensor, Tensor]:
    """D, and the squared length of its slope, (B,) each, both with gradients for the critic's weights."""
    with torch.enable_grad():
        leaves = {name: values.detach().requires_grad_() for name, values in elements.items()}
        value = critic(leaves)
        slopes = torch.autograd.grad(value.sum(), list(leaves.values()), create_graph=True, materialize_grads=True)
        return value, torch.stack([own.square().flatten(1).sum(1) for own in slopes]).sum(0)


class Objective(ABC):
    """The losses of a pair of a real and a generated sample, (B,) each.

    Attributes:
        critic_steps: of the critic for each one of the generator.
        penalty: the weight of the penalty, where none is configured.
    """

    critic_steps: ClassVar[int]
    penalty: ClassVar[float]

    @abstractmethod
    def critic_loss(
        self, critic: Critic, real: Elements, fake: Elements, weight: float, rng: Rng
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss of the critic, and its parts."""

    @abstractmethod
    def generator_loss(self, real: Tensor, fake: Tensor) -> Tensor:
        """The loss of the generator, from D(x) and D(y)."""


class Relativistic(Objective):
    """softplus(D(y) - D(x)), with zero-centred penalties on the slopes at both, R1 and R2.

    The loss of R3GAN (Huang et al., arXiv 2501.05441): a generated sample is judged beside a real one, so that no mode
    can be left out at no cost, and with both penalties training converges locally. The penalty is half the weight times
    |slope at x|² + |slope at y|².
    """

    critic_steps, penalty = 1, 1.0

    def critic_loss(
        self, critic: Critic, real: Elements, fake: Elements, weight: float, rng: Rng
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """softplus(D(y) - D(x)) and the penalties."""
        (at_real, r1), (at_fake, r2) = slope(critic, real), slope(critic, fake)
        loss = softplus(at_fake - at_real) + weight / 2 * (r1 + r2) + _drift(at_real, at_fake)
        return loss, {"gap": at_real - at_fake, "r1": r1, "r2": r2}

    def generator_loss(self, real: Tensor, fake: Tensor) -> Tensor:
        """softplus(D(x) - D(y))."""
        return softplus(real - fake)


class Wasserstein(Objective):
    """D(y) - D(x), with the squared distance of the slope's length from 1, at a place between x and y.

    Gulrajani et al., arXiv 1704.00028, equation 3: the penalty holds D near the 1-Lipschitz functions, over which the
    largest D(x) - D(y) is the Wasserstein distance.
    """

    critic_steps, penalty = 5, 10.0

    def critic_loss(
        self, critic: Critic, real: Elements, fake: Elements, weight: float, rng: Rng
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """D(y) - D(x) and the penalty."""
        at_real, at_fake = critic(real), critic(fake)
        share = rng.uniform("between").to(at_real)
        between = {name: x + beside(share, x) * (fake[name] - x) for name, x in real.items()}
        steepness = ((slope(critic, between)[1] + TINY).sqrt() - 1).square()
        loss = at_fake - at_real + weight * steepness + _drift(at_real, at_fake)
        return loss, {"gap": at_real - at_fake, "steepness": steepness}

    def generator_loss(self, real: Tensor, fake: Tensor) -> Tensor:
        """-D(y)."""
        return -fake


def _drift(real: Tensor, fake: Tensor) -> Tensor:
    return DRIFT * ((real + fake) / 2).square()


#: The objectives by the names that a configuration gives.
OBJECTIVES: Mapping[str, type[Objective]] = {"relativistic": Relativistic, "wasserstein": Wasserstein}
