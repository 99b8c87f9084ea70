"""Models move between devices, and the same seed computes the same."""

from __future__ import annotations

import pytest
import torch
from support.models import memorising_model
from support.pretend_device import pretend_device

from molgen.batch import collate
from molgen.config import Part
from molgen.model.generative_model import GenerativeModel
from molgen.seeding import Rng

ITEMS = ["CCO", "c1ccccc1", "CC#N", "not a molecule"]


def _scores(model):
    return torch.tensor([scored.log_density for scored in model.log_density(ITEMS)][:3])


def test_a_model_saved_on_a_device_loads_on_the_cpu(tmp_path):
    model = GenerativeModel.load(memorising_model())
    expected = _scores(model)
    with pretend_device() as device:
        model.family.to(device)
        model.save(tmp_path / "model")
    loaded = GenerativeModel.load(tmp_path / "model")
    assert {tensor.device.type for tensor in loaded.family.state_dict().values()} == {"cpu"}
    assert torch.equal(_scores(loaded), expected)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a graphics card")
def test_a_model_goes_to_a_graphics_card_and_back(tmp_path):
    here, there = GenerativeModel.load(memorising_model()), GenerativeModel.load(memorising_model(), "cuda")
    assert torch.allclose(_scores(here), _scores(there), rtol=1e-4, atol=1e-4)
    assert [one.item for one in here.sample(20, seed=0)] == [one.item for one in there.sample(20, seed=0)]
    there.save(tmp_path / "model")
    assert torch.equal(_scores(GenerativeModel.load(tmp_path / "model")), _scores(here))


def _trained(family):
    """The weights after two steps, and samples of them."""
    torch.manual_seed(0)
    backbone = Part("transformer", {"width": 16, "layers": 1, "heads": 2})
    model = GenerativeModel(Part("molecules.smiles", {"max_length": 12}), family, backbone)
    trained = model.build()
    batch = collate(model.encoder.space, [model.encoder.encode(item) for item in ITEMS[:3]])
    optimiser = torch.optim.Adam(trained.parameters(), lr=1e-2)
    for step in range(2):
        optimiser.zero_grad()
        trained.loss(batch, None, Rng(step, range(3))).total.mean().backward()
        optimiser.step()
    model.use(trained.eval())
    return trained.state_dict(), [one.item for one in model.sample(4, seed=0)]


@pytest.mark.parametrize("family", ["autoregressive", "vae", "diffusion"])
def test_training_and_sampling_are_deterministic(family):
    torch.use_deterministic_algorithms(True)
    try:
        (first, items), (second, again) = _trained(family), _trained(family)
    finally:
        torch.use_deterministic_algorithms(False)
    assert all(torch.equal(tensor, second[name]) for name, tensor in first.items())
    assert list(map(str, items)) == list(map(str, again))
