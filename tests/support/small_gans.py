"""Small generators with their critics, over a plane and over the spaces of the kit."""

from dataclasses import replace

import torch
from torch import nn

from molgen.backbone import Backbone, LinearHeads, make_build
from molgen.families.gan import GAN, GANConfig
from molgen.space import Layout, Real
from molgen.testing import SPACES, Case
from molgen.testing.fixtures import FamilyTrial, tiny_config

PLANE = {"place": Real(channels=(2,))}


class Plain(LinearHeads, Backbone):
    """A small network of layers over numbers without axes."""

    layouts = frozenset({Layout.RECORD})

    def __init__(self, inputs, outputs, config=None, condition=None, width=64):
        super().__init__(inputs, outputs, config, condition)
        read = sum(field.channels[0] for field in inputs.values())
        self.layers = nn.Sequential(
            nn.Linear(read, width), nn.LeakyReLU(0.2), nn.Linear(width, width), nn.LeakyReLU(0.2)
        )
        self.heads = nn.ModuleDict({name: nn.Linear(width, head.width) for name, head in outputs.items()})

    def forward(self, batch, time, condition):
        found = self.layers(torch.cat([batch.fields[name] for name in self.inputs], dim=1))
        return {name: head(found) for name, head in self.heads.items()}


def plane_gan(**settings):
    torch.manual_seed(0)
    return GAN(PLANE, make_build(Plain, None, None), GANConfig(latent=4, element_noise=1, **settings))


def a_gan(space, **settings):
    """A small one over a space of the kit, with samples."""
    trial = FamilyTrial(GAN, replace(tiny_config(GAN), **settings), Case.of(space, SPACES[space]))
    return trial.family(), trial


def constant(family):
    """Let a generator give the same whatever it reads."""
    with torch.no_grad():
        for head in family.generator.network.heads.values():
            head.weight.zero_()
        for name, own in family.generator.relaxations.items():
            # So large that neither Gumbel noise nor rounding matters.
            family.generator.network.set_output_bias(name, torch.arange(1, own.head.width + 1) * 50.0)
    return family
