"""A residual energy that starts from its base's network, and the memory of draws that it learns beside."""

from dataclasses import replace

import pytest
import torch

from molgen import registry
from molgen.backbone import Backbone
from molgen.families.diffusion import Diffusion
from molgen.families.energy import Energy
from molgen.family import Family
from molgen.testing import SPACES, Case
from molgen.testing.fixtures import FamilyTrial, tiny_config


def trial(**settings) -> FamilyTrial:
    """A small energy over a small diffusion, both with the transformer that is the default of sequences."""
    cls = type("Over", (Energy,), {"molgen_trained": {"base": ("diffusion",)}})
    config = replace(tiny_config(Energy), **settings)
    return FamilyTrial(cls, config, Case.of("words", SPACES["words"]), registry.get("backbone", "transformer"))


def drawn(family: Family) -> list[int]:
    """How many samples are asked of the base, call by call, from now on."""
    counts, sample = [], family.variant.base.family.sample

    def counted(count, *args, **options):
        counts.append(count)
        return sample(count, *args, **options)

    family.variant.base.family.sample = counted
    return counts


def loss(family: Family, own: FamilyTrial, step: int) -> torch.Tensor:
    """The mean loss of the samples of the trial in a step of training."""
    return family.loss(own.batch, None, own.rng.fold(f"step {step}")).total.mean()


def test_its_network_starts_from_that_of_the_base():
    cold, warm = (trial(warm_start=warm).family() for warm in (False, True))
    warm.initialise(trial().batch, trial().case.statistics)
    (base,) = (m for m in warm.variant.base.family.modules() if isinstance(m, Backbone))
    shapes = {name: values.shape for name, values in warm.variant.energy.network.state_dict().items()}
    alike = {name: values for name, values in base.state_dict().items() if shapes.get(name) == values.shape}
    assert sum(v.numel() for v in alike.values()) > sum(shape.numel() for shape in shapes.values()) / 2
    for name, values in alike.items():
        assert torch.equal(warm.variant.energy.network.state_dict()[name], values), name
    assert any(
        not torch.equal(cold.variant.energy.network.state_dict()[name], values) for name, values in alike.items()
    )
    # It moves, and the base stays as it is.
    before = {name: values.clone() for name, values in base.state_dict().items()}
    first, *_, last = [value.item() for _, value in trial().training(warm, 10, 0.01)]
    assert last != first
    assert all(torch.equal(values, before[name]) for name, values in base.state_dict().items())


def test_a_base_with_another_network_is_refused():
    own = trial(warm_start=True)
    base = FamilyTrial(Diffusion, tiny_config(Diffusion), own.case, registry.get("backbone", "recurrent")).family()
    with pytest.raises(ValueError, match=r"finds \d+% of the network in the base; give the backbone of the base"):
        Energy(own.space, own._build(None), own.config, None, base=base)


def test_draws_of_the_base_serve_for_several_steps():
    own = trial(renew=0.25, memory=8)
    family, rows = own.family().train(), len(own.batch)
    assert family.capability.coupled
    assert not trial().family().capability.coupled
    counts = drawn(family)
    for step in range(60):
        loss(family, own, step)
    size = family.variant.replay.count
    assert sum(counts[:20]) >= size  # the memory fills first
    assert sum(counts[20:]) / len(range(20, 60)) < 0.4 * rows
    assert sum(counts[20:]) > 0
    counts.clear()
    family.eval()
    loss(family, own, 0)
    assert counts == [rows]  # a held-out loss is of new draws


def test_the_memory_of_draws_resumes():
    own = trial(renew=0.25, memory=8)
    family, other = own.family().train(), own.family().train()
    for step in range(10):
        loss(family, own, step)
    other.load_training_state(family.training_state())
    for step in range(10, 14):
        assert torch.equal(loss(family, own, step), loss(other, own, step))


def test_the_share_of_new_draws_is_checked():
    with pytest.raises(ValueError, match="renew must be above 0 and at most 1, not 0"):
        replace(tiny_config(Energy), renew=0)
