"""Diffusion: data are destroyed step by step, and a network that predicts them from what is left goes back.

`process` holds the contracts: the corruption of a kind of field, and its reverse. `gaussian` and `gaussian_sampling`
are those of numbers, `absorbing` (masks) and `resampling` (D3PM) those of classes. `denoiser` is the network over all
fields, `sampler` the reverse process of a whole sample, `elbo` a lower bound on the likelihood, and
`probability_flow` its value for numbers.
"""

from molgen.families.diffusion import categorical, gaussian  # each registers its processes
from molgen.families.diffusion.config import DiffusionConfig, Sampling, Scoring
from molgen.families.diffusion.family import METHODS, Diffusion

__all__ = ["METHODS", "Diffusion", "DiffusionConfig", "Sampling", "Scoring", "categorical", "gaussian"]
