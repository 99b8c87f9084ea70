"""A condition for each draw: in whatever batches it is drawn, a draw has its own."""

import numpy as np
import pytest
import torch

from molgen.batch import collate
from molgen.config import Part
from molgen.data.conditions import Conditions
from molgen.inference.generate import Generation
from molgen.inference.request import Request
from molgen.model.generative_model import GenerativeModel
from molgen.seeding import Rng
from molgen.workers.inspector import Inspector
from molgen_plugins.molecules.domain import Molecules

KINDS = {"C": "alkane", "CO": "alcohol"}


@pytest.fixture(scope="module")
def model():
    """A model that knows two molecules by their class."""
    torch.manual_seed(0)
    backbone = Part("recurrent", {"width": 16, "layers": 1, "embedding": 8})
    model = GenerativeModel(Part("molecules.smiles", {"max_length": 8}), backbone=backbone, conditions=("kind",))
    model.conditions = Conditions.fit({"kind": np.array([0.0, 1.0])}, {"kind": tuple(KINDS.values())})
    family = model.build()
    batch = collate(model.encoder.space, [model.encoder.encode(item) for item in KINDS])
    asked = model.conditions.encode({"kind": np.array([0.0, 1.0])}, 2)
    optimiser = torch.optim.Adam(family.parameters(), lr=3e-2)
    for step in range(120):
        optimiser.zero_grad()
        family.loss(batch, asked, Rng(step, range(2))).total.mean().backward()
        optimiser.step()
    model.use(family)
    return model


@pytest.mark.parametrize("batch_size", [3, 64])
def test_each_draw_is_asked_for_its_own(model, batch_size, monkeypatch):
    monkeypatch.setattr(Molecules, "inspector", None)
    asked = ["alkane", "alcohol", "alcohol", "alkane", "alcohol"] * 4
    request = Request(20, seed=1, first=7, batch_size=batch_size, condition={"kind": asked})
    with Inspector(model.domain) as inspector:
        rows = list(Generation(model, request, inspector).rows())
    assert [row.index for row in rows] == list(range(7, 27))
    assert [KINDS.get(row.item) for row in rows] == asked
    single = [
        next(model.sample(1, seed=1, first=row.index, condition={"kind": kind}))
        for row, kind in zip(rows, asked, strict=True)
    ]
    assert [one.item for one in single] == [row.item for row in rows]


def test_a_density_is_computed_only_where_it_is_asked_for(model, monkeypatch):
    monkeypatch.setattr(Molecules, "inspector", None)
    with Inspector(model.domain) as inspector:
        rows = list(Generation(model, Request(5, condition={"kind": "alkane"}, density=False), inspector).rows())
    assert all(row.score.log_density != row.score.log_density for row in rows)
    assert {row.inspection.item for row in rows} == {"C"}
