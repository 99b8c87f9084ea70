"""A part of a graph that new nodes join at open places only, as an encoder reads it and families keep it."""

from __future__ import annotations

import pytest
import torch
from support.toys import register

from molgen.config import Part
from molgen.errors import UsageError
from molgen.model.generative_model import GenerativeModel

#: Name of the family, its settings, its network.
FAMILIES = [
    ("autoregressive", {}, "recurrent"),
    ("vae", {"decoder": "autoregressive", "slots": 1, "channels": 2}, "transformer"),
    ("diffusion", {}, "transformer"),
]


@pytest.fixture(params=FAMILIES, ids=lambda family: family[0])
def model(request, fake_distribution):
    register(fake_distribution)
    torch.manual_seed(0)
    family, settings, network = request.param
    made = GenerativeModel(Part("scaffolds"), Part(family, settings), Part(network, {"width": 16, "layers": 1}))
    made.build()
    return made


@pytest.mark.parametrize("part", ["Xy", "xY", "XY", "xy"])
def test_bonds_to_new_nodes_are_at_open_nodes_only(model, part):
    joined = set()
    for drawn in model.sample(300, seed=0, known=(part, ((1, 0),))):
        atoms, bonds = drawn.item
        assert atoms[:2] == "xy"
        assert (1, 0) in bonds
        joined |= {pair for pair in bonds if pair != (1, 0)}
    assert joined == {(2, place) for place, letter in enumerate(part) if letter.islower()}


def test_what_cannot_be_a_part_is_refused(model):
    with pytest.raises(UsageError, match="not a graph of one to three atoms"):
        list(model.sample(1, known=("Zx", ())))
