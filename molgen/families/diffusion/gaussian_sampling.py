"""Back from Gaussian noise: the probability-flow ODE dx / d sigma = (x - D(x; sigma)) / sigma (EDM, arXiv 2206.00364).

Letters in shapes: B batch, E packed elements.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from torch import Tensor

from molgen.config import by_name
from molgen.families.diffusion.process import ReverseProcess

if TYPE_CHECKING:
    from molgen.families.diffusion.gaussian import Gaussian

#: What solvers of second order add to a step from sigma_t to sigma_s = sigma_t / r, in units of D_s - D_t.
SOLVERS: dict[str, Callable[[Tensor], Tensor]] = {
    # Heun's method for dx / d sigma (Karras et al., algorithm 1).
    "heun": lambda r: (r - 1) / 2,
    # Exact where D is linear in ln sigma, so that steps may be long (Cox & Matthews, J. Comput. Phys. 176, 2002).
    "exponential": lambda r: 1 - (1 - 1 / r) / r.log(),
}


class ReverseGaussian(ReverseProcess):
    """Steps along the ODE; noise is added only where the sampler asks for it (`Sampling.churn`)."""

    default_steps = 32
    corrects = True
    finishes = True

    def __init__(self, process: Gaussian) -> None:
        self.process = process

    def step(
        self, prediction: Tensor, x: Tensor, time: Tensor, earlier: Tensor, noise: Tensor, unmasking: Tensor
    ) -> Tensor:
        """D + (sigma_s / sigma_t) (x - D): Euler's method, exact where D is constant (DDIM, arXiv 2010.02502)."""
        share = (self.process.sigma(earlier) / self.process.sigma(time)).to(x)
        return prediction + share * (x - prediction)

    def correct(
        self, solver: str, x: Tensor, at_end: Tensor, at_start: Tensor, time: Tensor, earlier: Tensor
    ) -> Tensor:
        """x_s + w (D_s - D_t) with the weight of a solver in `SOLVERS`."""
        weight = by_name("solver", solver, SOLVERS)(self.process.sigma(time) / self.process.sigma(earlier))
        return x + weight.to(x) * (at_end - at_start)

    def finish(self, prediction: Tensor, x: Tensor) -> Tensor:
        """D: the step to level 0."""
        return prediction

    def guide(self, conditional: Tensor, unconditional: Tensor, weight: float) -> Tensor:
        """A straight line through both."""
        return unconditional + weight * (conditional - unconditional)

    def known_state(self, x0: Tensor, time: Tensor, noise: Tensor) -> Tensor:
        """x_0 with the noise of the time (Lugmayr et al., RePaint, arXiv 2201.09865, equation 8a)."""
        return self.process.corrupt(x0, time, noise)
