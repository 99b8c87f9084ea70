"""A model that gains conditions generates and scores as before until it is trained on them."""

import numpy as np
import pytest
import torch

from molgen.config import Part
from molgen.data.conditions import Conditions
from molgen.model.generative_model import GenerativeModel

ITEMS = ["CCO", "c1ccccc1", "CC(=O)N"]
SMALL = {"width": 16, "layers": 1}
MODELS = {
    "recurrent": ("autoregressive", Part("recurrent", {**SMALL, "embedding": 8})),
    "transformer": ("autoregressive", Part("transformer", {"width": 16, "layers": 1, "heads": 2})),
    "unet": ("autoregressive", Part("unet", {"width": 8})),
    "diffusion": ("diffusion", Part("transformer", {"width": 16, "layers": 1, "heads": 2})),
    "vae": ("vae", Part("transformer", {"width": 16, "layers": 1, "heads": 2})),
}
FIRST = Conditions.fit({"a": np.array([1.0, 3.0]), "b": np.array([0.0, 1.0])}, {"b": ("x", "y")})
SECOND = Conditions.fit({"c": np.array([0.0, 4.0])})


def _densities(model, condition=None):
    return [scored.log_density for scored in model.log_density(ITEMS, condition=condition)]


@pytest.mark.parametrize("name", MODELS)
def test_new_conditions_begin_at_zero_and_can_be_learned(name):
    family, backbone = MODELS[name]
    model = GenerativeModel(Part("molecules.smiles", {"max_length": 12}), family, backbone)
    model.use(model.build(seed=3))
    with torch.no_grad():
        for parameter in model.family.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(0)), alpha=0.05)
    plain = _densities(model)
    model.gain_conditions(FIRST)
    assert _densities(model) == pytest.approx(plain, abs=1e-4)
    assert _densities(model, {"a": 2.5, "b": "y"}) == pytest.approx(plain, abs=1e-4)
    with torch.no_grad():  # as if it had been trained
        for parameter in model.family.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)), alpha=0.05)
    learned = _densities(model, {"a": 2.5, "b": "y"})
    assert learned != pytest.approx(_densities(model, {"a": -20.0, "b": "x"}), abs=1e-4)
    model.gain_conditions(SECOND)
    assert model.conditions.names == ("a", "b", "c")
    assert _densities(model, {"a": 2.5, "b": "y"}) == pytest.approx(learned, abs=1e-4)
    assert _densities(model, {"a": 2.5, "b": "y", "c": 9}) == pytest.approx(learned, abs=1e-4)
