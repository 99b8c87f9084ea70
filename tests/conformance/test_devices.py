"""Every family does everything on a device other than the CPU, and means the same by it."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import load, save
from support.pretend_device import pretend_device

from molgen import registry
from molgen.batch import Partial
from molgen.family import Known
from molgen.seeding import Rng
from molgen.testing import SPACES, Case, Skipped
from molgen.testing.batches import CONDITION, asked_for, prefix, require_close, scattered
from molgen.testing.fixtures import FamilyTrial, tiny_config

#: Rounding between two ways to compute the same in float32, relative to the larger of 1 and the value.
ROUNDING = 1e-3


@pytest.fixture
def device():
    with pretend_device() as found:
        yield found


def test_the_device_finds_what_was_not_moved(device):
    ours = torch.ones(3).to(device)
    assert (ours + 1).device.type == "pretend"
    with pytest.raises(RuntimeError, match="found CPU tensors"):
        ours + torch.ones(3)
    with pytest.raises(TypeError, match=r"use Tensor\.cpu"):
        ours.numpy()


#: Every second pair is run each time, so that each family meets each layout, and each space some families.
PAIRS = [
    pytest.param((family, space), marks=pytest.mark.slow if (number + place) % 2 else (), id=f"{family} over {space}")
    for number, family in enumerate(registry.names("family"))
    for place, space in enumerate(SPACES)
]


@pytest.fixture(params=PAIRS)
def trial(request):
    family, space = request.param
    cls = registry.get("family", family)
    return FamilyTrial(cls, tiny_config(cls), Case.of(space, SPACES[space]))


@pytest.fixture
def twins(trial, device):
    """The same family on the CPU and on the device."""
    try:
        return trial.family(CONDITION), trial.family(CONDITION).to(device)
    except Skipped as reason:
        pytest.skip(str(reason))


def test_a_family_works_on_a_device(trial, twins, device):
    here, there = twins
    batch, asked, rng = trial.batch, asked_for(len(trial.batch)), trial.rng
    moved, wanted = batch.to(device), asked.to(device)
    _trains(here, there, (batch, asked), (moved, wanted), rng)
    expected, found = here.log_density(batch, asked, rng), there.log_density(moved, wanted, rng)
    assert found.value.device.type == "pretend"
    require_close(expected.value, found.value.cpu(), "log-densities here and there", ROUNDING)
    drawn = there.sample(4, condition=wanted.take(slice(4)), rng=Rng(1, range(4))).batch
    assert {tensor.device.type for tensor in drawn.fields.values()} == {"pretend"}
    sizes = {name: size[:4].to(device) for name, size in batch.sizes.items()}
    there.sample(4, rng=Rng(1, range(4)), sizes=sizes or None)
    there.sample(2)
    _keeps_known(trial, there, moved)
    _has_latents(there, moved, rng)
    weights = load(save({name: tensor.cpu() for name, tensor in there.state_dict().items()}))
    there.load_state_dict(weights)
    assert there.device.type == "pretend"


def _trains(here, there, ours, theirs, rng):
    for phase in here.phases:
        first, second = here.loss(*ours, rng, phase=phase).total, there.loss(*theirs, rng, phase=phase).total
        require_close(first.detach(), second.detach().cpu(), f"phase {phase!r}: the loss here and there", ROUNDING)
        for family, loss in ((here, first), (there, second)):
            loss.mean().backward()
            torch.optim.AdamW([p for p in family.parameters() if p.grad is not None], lr=1e-4, fused=True).step()
            family.zero_grad()


def _keeps_known(trial, family, batch):
    kinds = {Known.PREFIX: prefix, Known.REPLACEMENT: scattered, Known.EXACT: scattered}
    make = kinds.get(family.capability.known)
    if make is not None:
        given = {name: mask.to(family.device) for name, mask in make(trial.space, trial.batch).items()}
        family.sample(len(batch), rng=trial.rng, known=Partial(batch, given))


def _has_latents(family, batch, rng):
    if family.capability.latent:
        latents = family.encode(batch, rng=rng)
        family.decode(latents, rng=rng, sizes=dict(batch.sizes) or None)
        family.decode(latents)
