"""Two stages: what the first model draws is what the second completes, draw by draw, with the density of both."""

import numpy as np
import pytest
from support.conditional import conditional_model
from support.models import memorising_model
from support.stages import GRAPH, positions_model

from molgen.config import Part
from molgen.domain import Invalid
from molgen.errors import UsageError
from molgen.family import Density
from molgen.model.generative_model import GenerativeModel
from molgen.model.stages import Stages

GIVEN = ["CCO", "C[C@H](N)O", "no molecule", "CCO", "c1ccccc1CCCCCCC"]


@pytest.fixture(scope="module")
def positions():
    return GenerativeModel.load(positions_model())


@pytest.fixture(scope="module")
def stages(positions):
    return Stages(GenerativeModel.load(memorising_model()), positions)


def test_a_draw_for_each_given_item_whatever_the_batches(positions):
    drawn = list(positions.sample(5, given=GIVEN, first=3, seed=1))
    assert [one.index for one in drawn] == [3, 4, 5, 6, 7]
    assert [isinstance(one.item, Invalid) and one.item.reason for one in drawn][2::2] == [
        positions.encoder.encode("no molecule").reason,
        "more than the 14 atoms that this model can write",
    ]
    for place in (0, 1, 3):
        expected = positions.encoder.encode_fields(GIVEN[place], GRAPH)
        for name in GRAPH:
            assert np.array_equal(drawn[place].sample[name], expected[name])
    again = list(positions.sample(5, given=GIVEN, first=3, seed=1, batch_size=2))
    for one, other in zip(drawn, again, strict=True):
        for name, array in one.sample.items():
            np.testing.assert_allclose(array, other.sample[name], atol=1e-4)
    assert not np.allclose(drawn[0].sample["positions"], drawn[3].sample["positions"])


def test_what_draws_whole_items_is_given_none():
    with pytest.raises(UsageError, match="draws whole items"):
        list(GenerativeModel.load(memorising_model()).sample(1, given=["CCO"]))


def test_the_second_stage_completes_what_the_first_one_draws(stages, positions):
    first = list(stages.first.sample(6, seed=4))
    drawn = list(stages.sample(6, seed=4, then_steps=1))
    assert [one.index for one in drawn] == list(range(6))
    for own, one in zip(first, drawn, strict=True):
        if one.sample:
            atoms = one.sample["rest atoms"]
            assert np.array_equal(atoms, positions.encoder.encode_fields(own.item, GRAPH)["atoms"])
        if isinstance(one.item, Invalid):  # what there is to show: the atoms that were drawn, or else the molecule
            assert hasattr(one.item.raw, "positions") or one.item.raw in (own.item, None)
    more = list(stages.sample(6, seed=4))
    assert any(
        not np.array_equal(a.sample["rest positions"], b.sample["rest positions"])
        for a, b in zip(drawn, more, strict=True)
        if a.sample
    )
    later = list(stages.sample(3, seed=4, first=3, batch_size=2))
    for one, other in zip(more[3:], later, strict=True):
        for name, array in one.sample.items():
            np.testing.assert_allclose(array, other.sample[name], atol=1e-4)


def test_log_density_is_the_sum_of_both_stages(stages, positions):
    item = stages.domain.canonical(positions.encoder.decode(positions.encoder.encode("CCO")))
    (both,) = stages.log_density([item], then_steps=2)
    own = stages.first.log_density([item])[0]
    rest = positions.log_density([item], steps=2)[0]
    assert both.log_density == pytest.approx(own.log_density + rest.log_density)
    assert both.kind is Density.EXACT
    assert both.parts == {"given": (own.log_density, own.kind), "rest": (rest.log_density, rest.kind)}
    assert both.elements == own.elements + rest.elements
    (none,) = stages.log_density(["CCCCCCCCCCCCCC"])
    assert np.isnan(none.log_density)
    assert none.error


def test_rows_have_the_density_of_each_stage(stages):
    rows = stages.sample_rows(3, seed=4, accept=["valid"], workers=1, then_steps=1)
    assert len(rows) == 3
    for row in rows:
        columns = row.columns("smiles")
        parts = [columns[f"log_density_{stage}"] for stage in ("given", "rest")]
        assert columns["log_density"] == pytest.approx(sum(parts), abs=1e-3)
        assert columns["log_density_given_kind"] == columns["log_density_rest_kind"] == "exact"
        assert len(row.item.positions) > 0


def test_every_row_has_columns_for_each_stage(stages):
    rows = stages.sample_rows(12, seed=2, workers=1, temperature=1.7, then_steps=1)
    assert {row.status for row in rows} == {"valid", "invalid"}
    assert len({tuple(row.columns("smiles")) for row in rows}) == 1


def test_conditions_go_to_the_stage_that_has_them(positions):
    stages = Stages(GenerativeModel.load(conditional_model()), positions)
    assert stages.conditions.names == ("kind", "dose")
    drawn = stages.sample(3, seed=0, condition={"kind": ["alkane", "alcohol", "alkane"]})
    sizes = [len(one.sample["rest atoms"]) for one in drawn if one.sample]
    assert sizes == [5, 6, 5]
    with pytest.raises(UsageError, match="no condition colour"):
        list(stages.sample(1, condition={"colour": 1}))


def test_what_is_no_second_stage_is_refused(positions):
    whole = GenerativeModel.load(memorising_model())
    with pytest.raises(UsageError, match="draws whole items"):
        Stages(whole, whole)
    pictures = GenerativeModel(Part("images.pixels", {"width": 4, "height": 4}))
    with pytest.raises(UsageError, match="draws images and the second molecules"):
        Stages(pictures, positions)


def test_what_was_drawn_of_another_stereoisomer_is_shown(positions):
    first = GenerativeModel.load(memorising_model())
    stages = Stages(first, positions, canonical=lambda items: ["C#C[C@H](O)[C@H](N)O" for _ in items])
    items = [one.item for one in stages.sample(12, seed=0, then_steps=1)]
    invalid = [item for item in items if isinstance(item, Invalid)]
    assert 0 < len(invalid) < len(items)
    assert {item.reason for item in invalid} == {"another stereoisomer than was given"}
    assert all(len(item.raw.positions) == 14 for item in invalid)
