"""An evaluation of words by measures of a third party."""

from __future__ import annotations

import pytest
from support.evaluations import REFERENCE, TRAINING, item_set
from support.measures import Lengths, Words, register

from molgen.evaluation.evaluate import Evaluation, chosen


@pytest.fixture(autouse=True)
def _registered(fake_distribution):
    register(fake_distribution)
    Lengths.made.clear()


@pytest.fixture
def evaluation(tmp_path):
    """An evaluation of words against two sets; names are those of metrics or suites."""

    def make(*names, domain=None, **changes):
        domain = domain or Words()
        settings = {"references": [item_set("Birds", REFERENCE)], "training": item_set("learned", TRAINING)}
        settings |= {"wanted": chosen(domain, names), "cache": tmp_path / "summaries"}
        return Evaluation(domain, **{**settings, **changes})

    return make
