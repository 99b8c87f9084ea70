"""Small energies over the spaces of the kit, and what enumeration says of them."""

from dataclasses import replace

import torch

from molgen.batch import separate
from molgen.families.energy import Energy
from molgen.families.energy.target import Target
from molgen.families.parts.elements import PackedElements
from molgen.testing import SPACES, Case
from molgen.testing.fixtures import FamilyTrial, tiny_config
from molgen.testing.random_samples import enumerate_space


class Alone(Energy):
    """Over no trained model."""

    molgen_trained = {}  # noqa: RUF012


def an_energy(space, condition=None, strength=1.0, cls=Alone, **settings):
    """A family away from its first weights, whose energies are multiplied."""
    trial = FamilyTrial(cls, replace(tiny_config(Energy), **settings), Case.of(space, SPACES[space]))
    family = trial.family(condition)
    if settings["variant"] == "contrastive" and strength != 1:
        family.variant.model.energy.register_forward_hook(lambda module, inputs, output: strength * output)
    return family


def keys(space, batch):
    """Samples as something that can be counted."""
    return [str({name: array.tolist() for name, array in one.items()}) for one in separate(SPACES[space], batch)]


def all_of(space):
    """All samples of a space with their measures, a batch for each size."""
    return enumerate_space(SPACES[space])


def target_of(family, batch, **how):
    return Target(family.variant.model, PackedElements.of_batch(family.space, batch), **how)


def exact(family, space, **how):
    """The probability of each sample given its size, by key, and log Z of each batch of `all_of`."""
    found, partitions = {}, []
    for batch, weights in all_of(space):
        target = target_of(family, batch, **how)
        log_p = target.log_p(target.at(family.variant.model.state(target.elements, batch))) + weights.log()
        partitions.append(log_p.logsumexp(0).item())
        found |= dict(zip(keys(space, batch), (log_p - partitions[-1]).exp().tolist(), strict=True))
    return found, partitions


def apart(found, expected):
    """The total variation between counted keys and probabilities."""
    shares = {key: found.count(key) / len(found) for key in set(found)}
    return sum(abs(shares.get(key, 0) - expected.get(key, 0)) for key in shares.keys() | expected.keys()) / 2


def ones(rows):
    return torch.zeros(rows, dtype=torch.long)
