"""Diffusion: data are destroyed step by step, and a network that predicts them from what is left goes back.

One corruption process for each kind of field (`process`, `gaussian`, `categorical`), one way back for all (`sampler`),
a lower bound on the likelihood (`elbo`), and its value along the probability-flow ODE for numbers (`probability_flow`).
"""

from molgen.families.diffusion import categorical, gaussian  # each registers its processes
from molgen.families.diffusion.config import DiffusionConfig, Sampling, Scoring
from molgen.families.diffusion.family import METHODS, Diffusion

__all__ = ["METHODS", "Diffusion", "DiffusionConfig", "Sampling", "Scoring", "categorical", "gaussian"]
