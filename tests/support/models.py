"""A small model of molecules for the tests: it knows a few strings by heart, and is made in seconds."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import torch
from support.folders import lasting_folder

from molgen.batch import collate
from molgen.config import Part
from molgen.data.bloom import BloomFilter
from molgen.model.generative_model import GenerativeModel
from molgen.seeding import Rng

#: What it learned by heart. "OCC" is not the canonical form of ethanol.
LEARNED = ("CCO", "OCC", "c1ccccc1", "CC(=O)O", "CCN", "C1CC1", "CCCl", "CC#N")
#: Those that its key set holds; the others are new to it.
SEEN = ("CCO", "CCN", "C1CC1")


@cache
def memorising_model() -> Path:
    """The folder of the model; nearly every draw is one of `LEARNED`, hot draws are mostly invalid."""
    torch.manual_seed(0)
    backbone = Part("recurrent", {"width": 32, "layers": 1, "embedding": 16})
    model = GenerativeModel(Part("molecules.smiles", {"max_length": 24}), "autoregressive", backbone)
    _memorise(model)
    model.keys["learned"] = BloomFilter.of(SEEN, expected=len(SEEN))
    model.info = {"title": "A test model", "data": {"name": "eight strings", "licence": "CC0"}}
    folder = lasting_folder() / "model"
    model.save(folder)
    return folder


def _memorise(model: GenerativeModel, steps: int = 250) -> None:
    family = model.build()
    batch = collate(model.encoder.space, [model.encoder.encode(item) for item in LEARNED])
    optimiser = torch.optim.Adam(family.parameters(), lr=2e-2)
    for step in range(steps):
        optimiser.zero_grad()
        family.loss(batch, None, Rng(step, range(len(LEARNED)))).total.mean().backward()
        optimiser.step()
    model.use(family)
