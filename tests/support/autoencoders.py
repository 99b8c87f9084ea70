"""A small variational autoencoder of molecules for the tests: it knows a few strings by heart."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import torch
from support.folders import lasting_folder
from support.models import LEARNED

from molgen.batch import collate
from molgen.config import Part
from molgen.data.statistics import measure
from molgen.model.generative_model import GenerativeModel
from molgen.seeding import Rng


@cache
def memorising_autoencoder() -> Path:
    """The folder of the model; what it learned comes back from its latents."""
    torch.manual_seed(0)
    family = Part("vae", {"decoder": "autoregressive", "slots": 2, "channels": 3, "beta": 0.05})
    backbone = Part("transformer", {"width": 32, "layers": 1, "heads": 2})
    model = GenerativeModel(Part("molecules.smiles", {"max_length": 24}), family, backbone)
    _memorise(model)
    folder = lasting_folder() / "autoencoder"
    model.save(folder)
    return folder


def _memorise(model: GenerativeModel, steps: int = 150) -> None:
    family = model.build()
    batch = collate(model.encoder.space, [model.encoder.encode(item) for item in LEARNED])
    statistics = measure(family.space, [batch])
    family.initialise(batch, statistics)
    family.set_statistics(statistics)
    optimiser = torch.optim.Adam(family.parameters(), lr=1e-2)
    for step in range(steps):
        optimiser.zero_grad()
        family.loss(batch, None, Rng(step, range(len(LEARNED)))).total.mean().backward()
        optimiser.step()
    model.use(family)
