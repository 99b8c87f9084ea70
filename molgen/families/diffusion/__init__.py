"""Diffusion: data are destroyed step by step, and a network that predicts them from what is left goes back.

One corruption process for each kind of field (`process`, `gaussian`, `discrete`), one walk back for all (`sampler`), a
lower bound on the likelihood (`bound`), and its value along the probability-flow line for numbers (`flow_line`).
"""

from molgen.families.diffusion.config import DiffusionConfig, Sampling, Scoring
from molgen.families.diffusion.family import METHODS, Diffusion

__all__ = ["METHODS", "Diffusion", "DiffusionConfig", "Sampling", "Scoring"]
