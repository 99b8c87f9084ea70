"""A condition for each draw: in whatever batches it is drawn, a draw has its own."""

import pytest
from support.conditional import KINDS, conditional_model

from molgen.inference.generate import Generation, Request
from molgen.model.generative_model import GenerativeModel
from molgen.workers.inspector import Inspector
from molgen_plugins.molecules.domain import Molecules


@pytest.fixture(scope="module")
def model():
    return GenerativeModel.load(conditional_model())


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
