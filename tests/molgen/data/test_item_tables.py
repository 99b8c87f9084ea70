"""Tables and lists of items as every domain reads and writes them."""

import gzip
import io

import pytest

from molgen.data import item_tables
from molgen.domain import Domain, Invalid
from molgen.errors import UnknownFormat, UsageError


class Pairs(Domain):
    """Pairs of whole numbers."""

    column = "pair"

    def examples(self):
        return [(1, 2)]

    def from_text(self, text):
        parts = text.split("-")
        return tuple(map(int, parts)) if len(parts) == 2 else Invalid("no pair")

    def to_text(self, item):
        return "-".join(map(str, item))


ROWS = [{"pair": (1, 2), "note": "a, b"}, {"pair": None, "note": "line\nbreak"}, {"pair": (3, 4), "note": None}]


@pytest.mark.parametrize("name", ["x.csv", "x.tsv", "x.csv.gz", "x.txt", "x.txt.gz"])
def test_what_is_written_is_read_again(name, tmp_path):
    domain, path = Pairs(), tmp_path / name
    assert domain.write(ROWS, path) == 3
    found = list(domain.read(path))
    assert [record.row for record in found] == [0, 1, 2]
    assert [record.item if record.row != 1 else None for record in found] == [(1, 2), None, (3, 4)]
    assert isinstance(found[1].item, Invalid)
    if ".txt" not in name:
        assert [record.columns["note"] for record in found] == ["a, b", "line\nbreak", ""]
    assert (path.read_bytes()[:2] == b"\x1f\x8b") == name.endswith(".gz")


def test_the_column_is_found_or_asked_for(tmp_path):
    path = tmp_path / "x.csv"
    path.write_text("Pair,other\n1-2,5-6\n7,8-9\n")
    assert [record.item for record in Pairs().read(path)] == [(1, 2), Invalid("no pair")]
    assert [record.item for record in Pairs().read(path, column="other")] == [(5, 6), (8, 9)]
    path.write_text("whatever\n1-2\n")
    assert [record.item for record in Pairs().read(path)] == [(1, 2)]


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("x.csv", b"a,b\n1,2\n", "has no column 'pair' among a, b"),
        ("x.csv", b"", "is empty"),
        ("x.csv", b"PK\x03\x04", "seems to be a zip archive"),
        ("x.csv.gz", gzip.compress(b"pair\n1-2\n" * 1000, mtime=0)[:40], "gzipped data are damaged"),
        ("x.xyz", b"", "cannot tell the format of"),
        ("missing.csv", None, "No such file"),
    ],
)
def test_what_is_no_table_is_said_in_a_sentence(name, content, says, tmp_path):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(UsageError, match=says):
        list(item_tables.read(tmp_path / name, "pair", str))


def test_an_item_may_be_a_whole_row_or_several_of_them():
    rows = [
        {"pair": {"a": "1", "b": ""}, "canonical_pair": None, "as_generated": None, "log_density": -2.5},
        {"pair": None, "log_density": None},
        {"pair": {"a": "x,y", "b": "2"}, "log_density": -1.0},
    ]
    target = io.BytesIO()
    assert item_tables.write_rows(rows, target, "pair", lambda number, item: [{"n": number, **item}], format="csv") == 3
    assert target.getvalue() == b'n,a,b,log_density\n0,1,,-2.5\n,,,\n2,"x,y",2,-1.0\n'
    target.seek(0)
    records = list(item_tables.read_rows(target, dict, format="csv"))
    assert [record.item for record in records] == [
        {"n": "0", "a": "1", "b": ""},
        {"n": "", "a": "", "b": ""},
        {"n": "2", "a": "x,y", "b": "2"},
    ]
    assert records[0].columns == {"n": "0", "a": "1", "b": "", "log_density": "-2.5"}


def test_a_bad_row_stays_a_row_and_a_list_is_refused():
    found = list(item_tables.read_rows(io.BytesIO(b"a,b\n1,2,3\n4,5\n"), dict, format="csv"))
    assert found[0].item == Invalid("3 cells under 2 column names")
    assert found[1].item == {"a": "4", "b": "5"}
    with pytest.raises(UnknownFormat, match="csv or tsv"):
        item_tables.read_rows(io.BytesIO(b"a"), dict, format="txt")
