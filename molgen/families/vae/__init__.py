"""The variational autoencoder."""

from molgen.families.vae.config import VAEConfig
from molgen.families.vae.family import VAE

__all__ = ["VAE", "VAEConfig"]
