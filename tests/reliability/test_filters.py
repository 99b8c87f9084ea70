"""What no filter could judge passes none."""

import pytest

from molgen.domain import Invalid
from molgen.inference.generate import Generation
from molgen.inference.request import Request
from molgen.model.generative_model import GenerativeModel
from molgen.workers.inspector import Inspector
from molgen_plugins.molecules.chemistry import filters
from molgen_plugins.molecules.domain import Molecules


@pytest.fixture(scope="module")
def model():
    from support.models import memorising_model

    return GenerativeModel.load(memorising_model())


def _accepted(model):
    with Inspector(model.domain, processes=1, filters=True) as inspector:
        return list(Generation(model, Request(3, ("filters",), seed=0, batch_size=9, max_samples=50), inspector).rows())


def _fails(*arguments):
    raise TimeoutError


@pytest.mark.parametrize("lost", ["_table", "violation"])
def test_what_cannot_be_judged_is_not_accepted(model, monkeypatch, lost):
    """A list of alerts that is gone, and a filter that gives up."""
    monkeypatch.setattr(Molecules, "inspector", None)
    filters._alerts.cache_clear()
    assert len(_accepted(model)) == 3
    filters._alerts.cache_clear()
    monkeypatch.setattr(filters, lost, _fails)
    with pytest.raises(TimeoutError):
        _accepted(model)
    filters._alerts.cache_clear()


def test_what_cannot_be_read_has_no_verdict():
    with Inspector(Molecules(None), processes=1, filters=True) as inspector:
        for found in inspector.submit(["C1CC", "C" * 20_000, Invalid("no row")]).result():
            assert (found.item, bool(found.passes), dict(found.flags)) == (None, False, {})
