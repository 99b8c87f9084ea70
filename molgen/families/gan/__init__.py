"""Generative adversarial networks: a generator that is trained by a critic."""

from molgen.families.gan.config import GANConfig
from molgen.families.gan.family import GAN

__all__ = ["GAN", "GANConfig"]
