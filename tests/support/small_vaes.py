"""Small variational autoencoders over toy spaces."""

import math

import numpy as np
import pytest
import torch
from support.orderings import SPACES
from support.toys import samples_of

from molgen.backbone import make_build
from molgen.backbones.transformer.config import TransformerConfig
from molgen.backbones.transformer.network import Transformer
from molgen.batch import Batch, collate
from molgen.families.parts.latent import LATENT
from molgen.families.vae import VAE, VAEConfig
from molgen.seeding import Rng
from molgen.space import Axis, Categorical

TINY = {"slots": 2, "channels": 1, "components": 2}
DECODERS = ["one_shot", "autoregressive"]
every_decoder = pytest.mark.parametrize("decoder", DECODERS)
every_space = pytest.mark.parametrize("space", SPACES.values(), ids=SPACES.keys())


def a_model(space, decoder="one_shot", *, condition=None, dtype=torch.float64, seed=0, away=0.3, **settings):
    """A small model with weights far from zero, so that nothing comes out right by symmetry."""
    torch.manual_seed(seed)
    build = make_build(Transformer, TransformerConfig(width=16, layers=1, heads=2), condition)
    family = VAE(space, build, VAEConfig(decoder=decoder, **{**TINY, **settings}), condition)
    with torch.no_grad():
        for parameter in family.parameters():
            parameter.add_(away * torch.randn_like(parameter))
        # Near the prior, so that few draws tell much of a density.
        for parameter in family.encoder.heads.parameters():
            parameter.mul_(0.1)
        family.encoder.heads[LATENT].bias[family.config.channels :] += 2
    return family.to(dtype).eval()


def words(minimum, maximum, classes=2):
    return {"x": Categorical((Axis("n", maximum, minimum=minimum),), classes=classes)}


def a_batch(toy):
    return collate(toy().space, samples_of(toy))


def rows_of(batch, seed=0):
    return Rng(seed, range(len(batch)))


def constant(family, value, rows):
    field = family.latent_space[LATENT]
    shape = (rows, *(axis.maximum for axis in field.axes), *field.channels)
    ramp = torch.linspace(-1, 1, math.prod(shape[1:]), dtype=torch.float64).view(shape[1:])
    return Batch({LATENT: (value + ramp).expand(shape)}, {})


def by_quadrature(family, batch, condition=None, nodes=24):
    """log p(x) of a model with two latent numbers, by Gauss-Hermite quadrature."""
    points, weights = torch.from_numpy(_hermite(nodes)).unbind(0)
    grid = torch.cartesian_prod(points, points)
    log_weights = torch.cartesian_prod(weights, weights).log().sum(1)
    rows = torch.arange(len(batch)).repeat_interleave(len(grid))
    latents = Batch({LATENT: grid.repeat(len(batch), 1)[..., None]}, {})
    some = condition.take(rows) if condition is not None else None
    found = family.decoder.log_likelihood(batch.take(rows), latents, some, Rng(0, range(len(rows))))
    return (found.double().view(len(batch), -1) + log_weights).logsumexp(1)


def _hermite(nodes):
    """The nodes and weights of the standard normal distribution."""
    points, weights = np.polynomial.hermite_e.hermegauss(nodes)
    return np.stack([points, weights / weights.sum()])
