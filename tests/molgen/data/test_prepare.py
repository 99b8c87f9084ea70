"""Which rows of a source are learned from."""

import multiprocessing

import pytest
from support.toys import Tokens

from molgen.data.bloom import BloomFilter
from molgen.data.prepare import REPEATED, CanonicalRows
from molgen.data.source import RowSource
from molgen.domain import Invalid, Record
from molgen_plugins.molecules.domain import Molecules


class Drawn(Tokens):
    """Words of which each counts as often as it was drawn."""

    repeats = True


@pytest.mark.parametrize(("domain", "second"), [(Tokens(), Invalid(REPEATED)), (Drawn(), "ab")])
def test_an_equal_row_counts_where_the_domain_says_so(domain, second):
    items = ["ab", "ab", "c"]
    rows = CanonicalRows(RowSource("words", lambda: (Record(n, item) for n, item in enumerate(items)), []), domain)
    rows.find(lambda count: None)
    assert [item for item, _ in rows] == ["ab", second, "c"]


def test_the_count_of_keys_is_that_of_the_rows_in_their_order(monkeypatch):
    """A key that the filter takes for known already depends on those before it, so the order must be no accident."""
    added = []
    monkeypatch.setattr(BloomFilter, "add", lambda self, key: added.append(key))
    items = ["".join(chr(97 + int(digit)) for digit in f"{number:03}") for number in range(200)]
    rows = CanonicalRows(RowSource("words", lambda: (Record(n, item) for n, item in enumerate(items)), []), Tokens())
    rows.find(lambda count: None)
    assert added == [Tokens().key(item) for item in items]


class Unreadable(Molecules):
    """A domain that fails over an item that its workers took."""

    def content(self, item):
        raise RuntimeError("there is no content")


def test_no_process_runs_on_where_preparing_fails():
    before = set(multiprocessing.active_children())
    rows = CanonicalRows(RowSource("mine", lambda: iter([Record(0, "CCO")]), []), Unreadable())
    with pytest.raises(RuntimeError, match="no content") as caught:
        rows.find(lambda count: None)
    assert set(multiprocessing.active_children()) <= before
    assert caught.tb is not None  # which holds on to all that was open
