"""Gaussian noise on numbers: x_sigma = x_0 + sigma n, preconditioned as in EDM (Karras et al., arXiv 2206.00364).

Numbers are at unit scale (sigma_data = 1): standardised fields are, and quantised ones are brought there by the mean
and the scale of the training data. Equation numbers are EDM's unless another paper is named.

Letters in shapes: B batch, E packed elements, L levels.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from math import log, pi, prod
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from molgen.backbone import Head
from molgen.batch import levels_to_values, values_to_levels
from molgen.config import by_name
from molgen.data.statistics import Moments, Statistics
from molgen.families.diffusion.gaussian_sampling import ReverseGaussian
from molgen.families.diffusion.process import Process, process
from molgen.families.diffusion.schedule import GaussianSchedule
from molgen.space import Field, Real

if TYPE_CHECKING:
    from molgen.families.diffusion.config import DiffusionConfig

#: Smallest noise levels in half the cell of a quantised value: noise leads out of a cell once in 16,000 times.
LEVELS_IN_HALF_A_CELL = 4.0


class Gaussian(Process):
    """D(x; sigma) = c_skip x + c_out F(c_in x; c_noise), with the loss weight 1 / c_out^2 (equation 7, table 1).

    The loss is the mean over elements. The bound is that of variational diffusion models (Kingma et al., arXiv
    2107.00630) for noise of exploding variance; at the lowest level a number is normal around the
    prediction, and a level has the mass of its cell (Ho et al., arXiv 2006.11239, equation 13).
    """

    mean: Tensor
    scale: Tensor
    has_endpoint_bound = True

    def __init__(self, field: Real, config: DiffusionConfig) -> None:
        super().__init__(field)
        self.real, self.config = field, config
        self.register_buffer("mean", torch.zeros(()))
        self.register_buffer("scale", torch.ones(()))
        _ = self.schedule  # which refuses levels without order

    @property
    def schedule(self) -> GaussianSchedule:
        """Noise from where nothing of the data is lost to where nothing is left."""
        config, lowest = self.config, self.config.lowest_noise
        if self.real.levels is not None:
            lowest = 1 / (LEVELS_IN_HALF_A_CELL * self.real.levels * float(self.scale))
        return GaussianSchedule(lowest, config.highest_noise, config.noise_mean, config.noise_spread)

    @property
    def reverse(self) -> ReverseGaussian:
        """Along the probability-flow ODE."""
        return ReverseGaussian(self)

    def sigma(self, time: Tensor) -> Tensor:
        """The noise level of each row, (B, 1) in float64."""
        return self.schedule.sigma(time)[:, None]

    # --- the kernel ---------------------------------------------------------------------------------

    def to_state(self, values: Tensor) -> Tensor:
        """Values at unit scale."""
        return (values - self.mean.to(values)) / self.scale.to(values)

    def from_state(self, x: Tensor) -> Tensor:
        """Values in their units; quantised ones in the middle of the cell in which they lie."""
        values = self._in_units(x)
        if self.real.levels is None:
            return values
        return levels_to_values(self.real, values_to_levels(self.real, values)).to(x)

    def _in_units(self, x: Tensor) -> Tensor:
        return x * self.scale.to(x) + self.mean.to(x)

    def corrupt(self, x0: Tensor, time: Tensor, noise: Tensor) -> Tensor:
        """x_0 + sigma n."""
        return x0 + (self.sigma(time) * torch.special.ndtri(noise)).to(x0)

    def renoise(self, x: Tensor, time: Tensor, later: Tensor, noise: Tensor) -> Tensor:
        """Noise that lifts the level to the later one (algorithm 2, line 6)."""
        more = (self.sigma(later) ** 2 - self.sigma(time) ** 2).clamp(min=0).sqrt()
        return x + (more * torch.special.ndtri(noise)).to(x)

    def prior(self, noise: Tensor) -> Tensor:
        """Data and noise together: normal with variance 1 + sigma^2."""
        return (1 + self.schedule.highest**2) ** 0.5 * torch.special.ndtri(noise)

    # --- what the network reads and predicts ----------------------------------------------------------

    @property
    def network_field(self) -> Field:
        """The same numbers with noise: without levels."""
        return replace(self.real, levels=None)

    @property
    def head(self) -> Head:
        """F, a number for each number."""
        return Head(prod(self.real.channels), self.real.axes, rotates=self.real.rotates)

    def network_input(self, x: Tensor, time: Tensor) -> Tensor:
        """c_in x: at unit scale."""
        return x / (1 + self.sigma(time) ** 2).sqrt().to(x)

    def network_time(self, time: Tensor) -> Tensor:
        """c_noise."""
        return self.schedule.c_noise(time)

    def predict(self, output: Tensor, x: Tensor, time: Tensor) -> Tensor:
        """The denoised numbers D (equation 7)."""
        sigma = self.sigma(time)
        skip, out = 1 / (1 + sigma**2), sigma / (1 + sigma**2).sqrt()
        return skip.to(x) * x + out.to(x) * output.squeeze(-1).to(x)

    # --- losses -------------------------------------------------------------------------------------

    def loss(self, prediction: Tensor, x0: Tensor, x: Tensor, time: Tensor, exists: Tensor) -> Tensor:
        """The mean square of (D - x_0) / c_out (equation 8)."""
        sigma = self.sigma(time)
        weight = ((1 + sigma**2) / sigma**2).squeeze(1).to(prediction)
        return weight * _squares(prediction, x0, exists) / exists.sum(1).clamp(min=1)

    def rate_bound(self, prediction: Tensor, x0: Tensor, x: Tensor, time: Tensor, exists: Tensor) -> Tensor:
        """|D - x_0|^2 / sigma^2 for a unit of ln sigma: the continuous-time loss of arXiv 2107.00630."""
        schedule = self.schedule
        weight = schedule.dlogsigma_dt(time) / schedule.sigma(time) ** 2
        return weight * _squares(prediction.double(), x0, exists)

    def step_bound(
        self, prediction: Tensor, x0: Tensor, x: Tensor, time: Tensor, earlier: Tensor, exists: Tensor
    ) -> Tensor:
        """|D - x_0|^2 (1 / sigma_s^2 - 1 / sigma_t^2) / 2: the discrete-time loss of arXiv 2107.00630."""
        gain = self.schedule.sigma(earlier) ** -2 - self.schedule.sigma(time) ** -2
        return gain / 2 * _squares(prediction.double(), x0, exists)

    def endpoint_bound(self, prediction: Tensor, x0: Tensor, exists: Tensor) -> Tensor:
        """-log p(x_0 | x at the lowest level) + KL(q(x at the highest level | x_0) || the prior)."""
        x0, highest = x0.double(), self.schedule.highest**2
        prior = (x0**2 - 1) / (1 + highest) / 2 + log(1 + 1 / highest) / 2
        return torch.where(exists, prior - self.log_density_of(prediction.double(), x0), 0.0).sum(1)

    def log_density_of(self, prediction: Tensor, x0: Tensor) -> Tensor:
        """log p(x_0 | x at the lowest level) of each element, (B, E)."""
        lowest = self.schedule.lowest
        deviation = lowest / (1 + lowest**2) ** 0.5
        if self.real.levels is None:
            return -(((x0 - prediction) / deviation) ** 2) / 2 - log(deviation) - log(2 * pi) / 2
        half, levels = 1 / (self.real.levels * float(self.scale)), values_to_levels(self.real, self._in_units(x0))
        below = torch.where(levels == 0, -torch.inf, (x0 - half - prediction) / deviation)
        above = torch.where(levels == self.real.levels - 1, torch.inf, (x0 + half - prediction) / deviation)
        return log_mass(below, above)

    # --- before training ------------------------------------------------------------------------------

    def initialise(self, name: str, statistics: Statistics) -> None:
        """Measure the mean and the scale of quantised values."""
        if self.real.levels is not None:
            moments = statistics.moments.get(name, Moments())
            self.mean.fill_(moments.mean)
            self.scale.fill_(moments.scale)


class QuantisedGaussian(Gaussian):
    """The same noise on quantised numbers, with a network that predicts which levels are likely, not which number.

    By Bayes's rule p(k | x) is proportional to what the number itself tells, exp(-(x - v_k)^2 / 2 sigma^2), times what
    all others tell, and only the second must be learned, from exp(-v_k^2 / 2) at the start. D is the mean of this
    distribution (as in Dieleman et al., arXiv 2211.15089). So D is right where the noise is smaller than cells, where a
    network would need outputs that are steep in its inputs. All other formulas are the same.
    """

    @property
    def head(self) -> Head:
        """A logit for each level of each number."""
        assert self.real.levels is not None
        return Head(prod(self.real.channels) * self.real.levels, self.real.axes)

    def predict(self, output: Tensor, x: Tensor, time: Tensor) -> Tensor:
        """The mean level, from logits (B, E, L)."""
        levels = torch.arange(output.shape[-1], device=x.device)
        values = self.to_state(levels_to_values(self.real, levels)).to(x)
        apart = (x[..., None] - values) / self.sigma(time)[..., None].to(x)
        return torch.softmax(output.to(x) - values**2 / 2 - apart**2 / 2, -1) @ values


def quantised(field: Real, config: DiffusionConfig) -> Gaussian:
    """`QuantisedGaussian` for quantised numbers, `Gaussian` for others."""
    return (Gaussian if field.levels is None else QuantisedGaussian)(field, config)


def _squares(prediction: Tensor, x0: Tensor, exists: Tensor) -> Tensor:
    return torch.where(exists, (prediction - x0) ** 2, 0.0).sum(1)


def log_mass(below: Tensor, above: Tensor) -> Tensor:
    """log of the standard normal mass between two numbers, without cancellation in either tail."""
    # By symmetry the interval may be mirrored so that most of it lies below zero.
    mirrored = below + above > 0
    low, high = torch.where(mirrored, -above, below), torch.where(mirrored, -below, above)
    upper, lower = torch.special.log_ndtr(high), torch.special.log_ndtr(low)
    return upper + torch.log1p(-(lower - upper).exp())


#: The processes of numbers by their names in the configuration.
PROCESSES: dict[str, Callable[[Real, DiffusionConfig], Gaussian]] = {"gaussian": Gaussian, "quantised": quantised}


@process.register(Real)
def _(field: Real, config: DiffusionConfig) -> Process:
    return by_name("real", config.real, PROCESSES)(field, config)
