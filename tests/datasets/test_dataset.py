from typing import ClassVar

import pytest

from molgen.data.source import source_of
from molgen.dataset import Dataset
from molgen.domain import API_VERSION, Config, Record
from molgen.errors import UsageError


class Letters(Dataset):
    """The least that a data set of a third party needs."""

    domain = "molecules"
    splits: ClassVar = {"train": 2, "test": 1}

    def fetch(self, progress=None, split=None):
        raise AssertionError("there is nothing to fetch")

    def items(self, split):
        self.require_split(split)
        return iter({"train": ["a", "b"], "test": ["c"]}[split])

    def digest(self, split):
        return split


def test_the_rest_of_the_contract_has_defaults():
    letters = Letters()
    assert list(letters.records("train")) == [Record(0, "a"), Record(1, "b")]
    assert letters.columns("train") == {}
    assert not letters.fetched()
    assert not letters.canonical
    assert letters.molgen_api == API_VERSION
    assert letters.config == Config()


def test_it_keeps_the_settings_it_is_given():
    settings = object()
    assert Letters(settings).config is settings


def test_a_data_set_must_say_how_it_is_fetched_read_and_identified():
    with pytest.raises(TypeError, match="abstract"):
        Dataset()


@pytest.mark.parametrize(
    ("name", "hint"), [("tran", "did you mean 'train'"), ("x", "Known: train, test"), ("", "Known")]
)
def test_a_split_that_there_is_not_is_a_usage_error(name, hint):
    with pytest.raises(UsageError, match=hint):
        Letters().items(name)


def test_no_domain_is_taken_for_granted():
    class Unsaid(Letters):
        domain = ""

    with pytest.raises(UsageError, match="does not say of which domain"):
        source_of(Unsaid(), "unsaid", "molecules")
