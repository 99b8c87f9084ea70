"""The second walk as a library: requests, judging here and in workers, tallies, rows."""

from __future__ import annotations

import math
from functools import partial
from itertools import islice

import pytest

from molgen.data import keys
from molgen.data.keys import SeenKeys
from molgen.domain import Invalid
from molgen.errors import PartialFailure, UsageError
from molgen.inference import generate
from molgen.inference.generate import Generation, false_positive_rate
from molgen.inference.request import CRITERIA, Request, Row, Tally
from molgen.inference.score import Score
from molgen.workers.inspector import Inspection, Inspector, chosen_properties
from molgen_plugins.molecules.domain import Molecules

INSPECTOR = "molgen_plugins.molecules.chemistry.inspection:inspector"


@pytest.fixture(scope="module")
def model():
    from support.models import memorising_model

    from molgen.model.generative_model import GenerativeModel

    return GenerativeModel.load(memorising_model())


def _generate(model, request, **options):
    with Inspector(model.domain, processes=1, **options) as inspector:
        generation = Generation(model, request, inspector)
        return list(generation.rows()), generation.tally


@pytest.fixture
def here(monkeypatch):
    """Judge molecules in this process, as a domain without an inspector is."""
    monkeypatch.setattr(Molecules, "inspector", None)


@pytest.mark.parametrize("request_", [{"count": 0}, {"count": 1, "batch_size": 0}])
def test_bad_requests(request_):
    with pytest.raises(UsageError):
        Request(**request_)


@pytest.mark.usefixtures("here")
def test_a_criterion_that_nobody_knows(model):
    with pytest.raises(UsageError, match=r"no criterion is named 'nice'; known: valid, .*closed-shell, moses"):
        _generate(model, Request(1, ("valid", "nice")))


@pytest.mark.usefixtures("here")
def test_a_single_filter_of_the_domain_is_a_criterion(model):
    request = Request(5, ("closed-shell",), seed=0, batch_size=9)
    assert request.filtered
    rows, tally = _generate(model, request, filters=True)
    assert len(rows) == tally.accepted == 5


@pytest.mark.usefixtures("here")
def test_what_is_no_product_is_invalid(model, monkeypatch):
    monkeypatch.setattr(Molecules, "unfinished", lambda self, item: "it is open")
    rows, tally = _generate(model, Request(5, seed=0))
    assert tally.valid == 0
    assert {row.status for row in rows} == {"invalid"}
    assert "it is open" in {row.score.error for row in rows}


@pytest.mark.usefixtures("here")
def test_uniqueness_is_exact_in_bounded_memory_and_leaves_nothing_behind(model, monkeypatch, tmp_path):
    request = Request(30, ("unique",), seed=0, batch_size=16, seen={"CCO"})
    expected = _generate(model, request)
    monkeypatch.setattr(generate, "SeenKeys", partial(SeenKeys, room=4))
    monkeypatch.setattr(keys.tempfile, "tempdir", str(tmp_path))
    with Inspector(model.domain, processes=1) as inspector:
        generation = Generation(model, request, inspector)
        stream = generation.rows()
        rows = list(islice(stream, 20))
        assert any(tmp_path.iterdir())
        rows += stream
    assert (rows, generation.tally) == expected
    assert not list(tmp_path.iterdir())


@pytest.fixture(scope="module")
def graph_model():
    import torch

    from molgen.config import Part
    from molgen.model.generative_model import GenerativeModel

    torch.manual_seed(0)
    network = Part("recurrent", {"width": 16, "layers": 1})
    made = GenerativeModel(Part("molecules.graph", {"max_atoms": 6}), "autoregressive", network)
    made.build()
    return made


@pytest.mark.usefixtures("here")
def test_repaired_draws_are_rows_of_their_own_kind_and_leave_validity_as_it_was(graph_model):
    plain, before = _generate(graph_model, Request(60, seed=1))
    repair = ("largest-fragment", "valence")
    mended, tally = _generate(graph_model, Request(60, seed=1, repair=repair))
    assert (before.valid, before.repaired) == (tally.valid, None)
    assert tally.repaired == sum(row.status == "repaired" for row in mended) > 0
    assert tally.rates()["repaired"] == pytest.approx(tally.repaired / 60)
    for raw, row in zip(plain, mended, strict=True):
        assert (row == raw) == (row.status != "repaired")
        assert row.as_generated is not None
        if row.status == "repaired":
            assert raw.item is None
            assert row.columns("smiles")["error"] == raw.score.error
            assert row.as_generated == raw.as_generated != ""
            assert row.score.kind == "exact"
    _, accepted = _generate(graph_model, Request(20, ("valid",), seed=1, repair=repair))
    assert accepted.valid + accepted.repaired == accepted.accepted == 20


@pytest.mark.usefixtures("here")
def test_repaired_draws_are_forgotten_once_they_are_settled(graph_model):
    request = Request(60, seed=1, batch_size=20, repair=("valence",))
    with Inspector(graph_model.domain, processes=1) as inspector:
        generation = Generation(graph_model, request, inspector)
        assert "repaired" in [row.status for row in generation.rows()]
        assert not generation._repaired


def test_a_repair_that_the_encoder_has_not_is_refused(model, graph_model):
    for made, known in ((model, "none"), (graph_model, "valence, largest-fragment")):
        with (
            Inspector(made.domain, processes=1) as inspector,
            pytest.raises(UsageError, match=f"no repair 'glue'.* {known}"),
        ):
            Generation(made, Request(1, repair=("glue",)), inspector)


@pytest.mark.usefixtures("here")
def test_rows_follow_the_draws(model):
    rows, tally = _generate(model, Request(40, seed=2, batch_size=16))
    drawn = list(model.sample(40, seed=2))
    assert [row.index for row in rows] == list(range(40))
    assert [row.as_generated for row in rows] == [
        None if isinstance(draw.item, Invalid) else draw.item for draw in drawn
    ]
    assert tally.drawn == 40
    assert tally.valid == sum(row.status == "valid" for row in rows)
    assert tally.unique == len({row.item for row in rows if row.item is not None})
    assert tally.passing is None


@pytest.mark.parametrize("accept", [CRITERIA[:1], CRITERIA[:2], CRITERIA[:3], ("novel",)])
@pytest.mark.usefixtures("here")
def test_accepted_rows_meet_their_criteria(model, accept):
    rows, tally = _generate(model, Request(5, accept, seed=0, batch_size=9))
    assert len(rows) == tally.accepted == 5
    assert tally.drawn == rows[-1].index + 1
    assert all(row.item is not None for row in rows)
    if "unique" in accept:
        assert len({row.item for row in rows}) == 5
    if "novel" in accept:
        assert all(model.is_novel(row.item) for row in rows)


def test_workers_say_what_this_process_says(model, monkeypatch):
    items = ["OCC", "C1CC", Invalid("nothing"), "c1ccccc1", "(" * 50]
    inspections = []
    for inspector in (None, INSPECTOR):
        monkeypatch.setattr(Molecules, "inspector", inspector)
        with Inspector(Molecules(), ("mw",), filters=True, processes=2) as inspector:
            futures = [inspector.submit(items), inspector.submit(items[::-1])]
            inspections.append([future.result() for future in futures])
    here, workers = inspections
    assert here == workers
    assert [inspection.item for inspection in here[0]] == ["CCO", None, None, "c1ccccc1", None]
    assert here[1] == here[0][::-1]
    assert here[0][0].properties["mw"] == pytest.approx(46.07, abs=0.01)
    assert here[0][0].passes is True


@pytest.mark.usefixtures("here")
def test_low_acceptance_stops_it(model, monkeypatch):
    monkeypatch.setattr("molgen.inference.generate.PATIENCE", 100)
    monkeypatch.setattr("molgen.inference.generate.LEAST_ACCEPTANCE", 0.05)
    with Inspector(model.domain) as inspector:
        generation = Generation(model, Request(1000, ("unique",), batch_size=64), inspector)
        with pytest.raises(PartialFailure, match="of 1,000 after"):
            list(generation.rows())
    assert generation.tally.drawn % 100 == 0


@pytest.mark.usefixtures("here")
def test_an_option_that_the_family_has_not(model):
    with pytest.raises(UsageError, match="colour"):
        _generate(model, Request(3, options={"colour": 1}))


def test_columns():
    row = Row(3, "CCO", "OCC", Score(-1.23456789, "exact"), {"mw": 46.0, "sa": math.nan})
    assert row.columns("smiles", ["mw", "sa"]) == {
        "smiles": "CCO",
        "as_generated": "OCC",
        "log_density": -1.23457,
        "log_density_kind": "exact",
        "status": "valid",
        "error": "",
        "mw": 46.0,
        "sa": None,
    }
    assert Row(0, None, None).columns("smiles")["log_density"] is None


def test_rates_have_the_denominators_they_say():
    tally = Tally(drawn=100, valid=80, unique=40, novel=10, passing=20, accepted=5)
    assert tally.rates() == {"valid": 0.8, "unique": 0.5, "novel": 0.25, "filters": 0.25, "accepted": 0.05}
    assert Tally().rates() == {}


def test_properties_by_name():
    assert chosen_properties(Molecules(), ["mw", "qed", "mw"]) == ["mw", "qed"]
    with pytest.raises(UsageError, match="no property is named 'weight'"):
        chosen_properties(Molecules(), ["weight"])


def test_a_verdict_needs_no_more_than_an_error():
    assert Inspection(None, "why").properties == {}


def test_the_false_positive_rate_is_small(model):
    assert 0 < false_positive_rate(model) < 0.01


@pytest.mark.usefixtures("here")
def test_a_request_goes_on_where_another_one_ended(model):
    whole, tally = _generate(model, Request(60, seed=4))
    first, _ = _generate(model, Request(25, seed=4))
    rest, _ = _generate(model, Request(35, seed=4, first=25))
    assert [(row.index, row.item) for row in [*first, *rest]] == [(row.index, row.item) for row in whole]
    seen = {row.item for row in first if row.item is not None}
    _, after = _generate(model, Request(35, seed=4, first=25, seen=seen))
    assert after.unique == tally.unique - len(seen)
    assert seen == {row.item for row in first if row.item is not None}
    with pytest.raises(UsageError, match="at least 0"):
        Request(1, first=-1)
