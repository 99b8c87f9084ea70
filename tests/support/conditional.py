"""A model that knows two molecules by their class, and one number that means nothing to it; made in seconds."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import torch
from support.folders import lasting_folder

from molgen.batch import collate
from molgen.config import Part
from molgen.data.conditions import Conditions
from molgen.model.generative_model import GenerativeModel
from molgen.seeding import Rng

#: What it makes when it is asked for the class.
KINDS = {"C": "alkane", "CO": "alcohol"}
#: How often each class is in its training data.
SHARES = {"alkane": 0.25, "alcohol": 0.75}


@cache
def conditional_model() -> Path:
    """The folder of the model."""
    torch.manual_seed(0)
    backbone = Part("recurrent", {"width": 16, "layers": 1, "embedding": 8})
    conditions = ("kind", "dose")
    model = GenerativeModel(Part("molecules.smiles", {"max_length": 8}), backbone=backbone, conditions=conditions)
    columns = {"kind": np.array([0.0, 1.0, 1.0, 1.0]), "dose": np.array([1.0, 2.0, 2.0, 5.0])}
    model.conditions = Conditions.fit(columns, {"kind": tuple(KINDS.values())})
    family = model.build()
    doses = (1.0, 2.0, 5.0, np.nan)
    batch = collate(model.encoder.space, [model.encoder.encode(item) for item in KINDS for _ in doses])
    asked = model.conditions.encode({"kind": np.repeat([0.0, 1.0], 4), "dose": np.array([*doses, *doses])}, 8)
    optimiser = torch.optim.Adam(family.parameters(), lr=3e-2)
    for step in range(120):
        optimiser.zero_grad()
        family.loss(batch, asked, Rng(step, range(8))).total.mean().backward()
        optimiser.step()
    model.use(family)
    folder = lasting_folder() / "model"
    model.save(folder)
    return folder
