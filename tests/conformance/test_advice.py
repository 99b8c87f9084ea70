"""Whoever fails a check is told what was promised and what to do; data sets and metrics are checked as other parts."""

from typing import ClassVar

import numpy as np
import pytest

from molgen.dataset import Dataset
from molgen.evaluation.intervals import GroupedMean
from molgen.metric import Against, Better, Estimate, Metric, Summary
from molgen.testing import Outcome, dataset_checks, metric_checks, run_checks
from molgen.testing import suites as collection
from molgen.testing.advice import ADVICE

GUARANTEES = [
    *collection.ENCODER_CHECKS,
    *collection.FAMILY_CHECKS,
    *collection.LONG_CHECKS,
    *collection.BACKBONE_CHECKS,
    *collection.CAUSAL_CHECKS,
    *collection.DATASET_CHECKS,
    *collection.METRIC_CHECKS,
]


def test_there_is_advice_for_every_check_and_for_no_other():
    names = {guarantee.__name__ for guarantee in GUARANTEES}
    assert set(ADVICE) == names | {"takes_some_space", "foreign_layouts_are_refused"}
    assert all(guarantee.__doc__ for guarantee in GUARANTEES)
    assert all(text[-1] == "." and "\n" not in text for text in ADVICE.values())


DOMAIN = """
from molgen import Domain, Invalid
class Letters(Domain):
    molgen_api = 1
    def examples(self):
        return ["a"]

    def canonical(self, item):
        return item if item.islower() else Invalid("not a small letter")
"""


class Whole(Dataset):
    """Ten letters in two splits."""

    molgen_api: ClassVar[int] = 1
    domain = "letters"
    description = "ten letters"
    licence = "CC0-1.0"
    splits: ClassVar = {"train": 8, "test": 2}
    held: ClassVar = {"train": "abcdefgh", "test": "ij"}

    def fetch(self, progress=None, split=None):
        return None

    def items(self, split):
        self.require_split(split)
        return iter(self.held[split])

    def digest(self, split):
        self.require_split(split)
        return f"{len(split):064x}"


class NoApi(Whole):
    molgen_api = None


class NoLicence(Whole):
    licence = ""


class OneDigest(Whole):
    def digest(self, split):
        self.require_split(split)
        return "0" * 64


class TakesAnySplit(Whole):
    def items(self, split):
        return iter(self.held.get(split, ""))


class OneTooFew(Whole):
    held: ClassVar = {"train": "abcdefg", "test": "ij"}


class Backwards(Whole):
    turn = 0

    def items(self, split):
        self.require_split(split)
        self.turn += 1
        return iter(self.held[split][:: -1 if self.turn % 2 else 1])


class Foreign(Whole):
    held: ClassVar = {"train": "abcdefgH", "test": "ij"}


class Leaks(Whole):
    held: ClassVar = {"train": "abcdefgh", "test": "ia"}


DATASETS = {
    Whole: set(),
    NoApi: {"speaks_the_plugin_api"},
    NoLicence: {"describes_itself"},
    OneDigest: {"digests_tell_splits_apart"},
    TakesAnySplit: {"unknown_splits_are_refused"},
    OneTooFew: {"items_are_as_many_as_declared"},
    Backwards: {"items_keep_their_order"},
    Foreign: {"items_are_of_the_domain"},
    Leaks: {"splits_share_no_item"},
}


class Lengths(Metric):
    """The mean length of items."""

    molgen_api: ClassVar[int] = 1
    better = Better.NEITHER

    def __init__(self, config=None, reference=None, training=None):
        super().__init__(config, reference, training)
        self.mean = GroupedMean()

    def add(self, chunk):
        self.mean.add(chunk.groups, np.array([len(item) for item in chunk.items], float))

    def estimate(self, rng):
        return self.mean.estimate(rng)


class LengthsOfNoApi(Lengths):
    molgen_api = 0


class NoSummary(Lengths):
    against = Against.REFERENCE


class Words(Summary):
    words: ClassVar = ["a"]

    def add(self, chunk):
        pass

    def arrays(self):
        return {"words": np.array(self.words)}

    def load(self, arrays):
        self.words = arrays["words"]


class TextSummary(Lengths):
    against, reference = Against.REFERENCE, Words


class LastChunk(Lengths):
    def add(self, chunk):
        self.mean = GroupedMean()
        super().add(chunk)


class Unseeded(Lengths):
    def estimate(self, rng):
        return super().estimate(np.random.default_rng())


class Beside(Lengths):
    def estimate(self, rng):
        found = super().estimate(rng)
        return Estimate(found.value, found.value + 1, found.value + 2, found.count, found.note)


class Guesses(Lengths):
    def estimate(self, rng):
        return super().estimate(rng) if self.mean.count else Estimate(float("nan"))


METRICS = {
    Lengths: set(),
    LengthsOfNoApi: {"speaks_the_plugin_api"},
    NoSummary: {"says_what_it_compares"},
    LastChunk: {"chunks_do_not_matter"},
    Unseeded: {"estimates_repeat_with_their_seed"},
    Beside: {"the_interval_holds_the_value"},
    TextSummary: {"summaries_are_arrays_of_numbers"},
    Guesses: {"nothing_has_no_value"},
}


def failures(checks):
    return {result.check.name for result in run_checks(checks) if result.outcome is Outcome.FAILED}


@pytest.mark.parametrize(("part", "expected"), DATASETS.items(), ids=[part.__name__ for part in DATASETS])
def test_a_broken_data_set_fails_its_check_and_no_other(part, expected, fake_distribution):
    plugins = {"domain": {"letters": "letters_x:Letters"}}
    fake_distribution("molgen-letters", plugins=plugins, modules={"letters_x": DOMAIN})
    assert failures(dataset_checks(part)) == expected


@pytest.mark.parametrize(("part", "expected"), METRICS.items(), ids=[part.__name__ for part in METRICS])
def test_a_broken_metric_fails_its_check_and_no_other(part, expected):
    assert failures(metric_checks(part)) == expected
