"""Which rows of a source are learned from."""

import pytest
from support.toys import Tokens

from molgen.data.prepare import REPEATED, CanonicalRows
from molgen.data.source import RowSource
from molgen.domain import Invalid, Record


class Drawn(Tokens):
    """Words of which each counts as often as it was drawn."""

    repeats = True


@pytest.mark.parametrize(("domain", "second"), [(Tokens(), Invalid(REPEATED)), (Drawn(), "ab")])
def test_an_equal_row_counts_where_the_domain_says_so(domain, second):
    items = ["ab", "ab", "c"]
    rows = CanonicalRows(RowSource("words", lambda: (Record(n, item) for n, item in enumerate(items)), []), domain)
    rows.find(lambda count: None)
    assert [item for item, _ in rows] == ["ab", second, "c"]
