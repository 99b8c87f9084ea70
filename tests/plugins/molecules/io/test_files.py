"""Files: every row keeps its place whatever is wrong with it, and what is written can be read."""

import gzip
import io
import math
import tracemalloc
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from molgen.domain import Invalid
from molgen.errors import UsageError
from molgen_plugins.molecules.domain import EXAMPLES
from molgen_plugins.molecules.io.files import Format, find_format, read, write

ALL = ["smi", "csv", "tsv", "parquet", "smi.gz", "csv.gz", "tsv.gz"]


def rows_of(data, format="csv", **options):
    return list(read(io.BytesIO(data), format=format, **options))


def items_of(data, format="csv", **options):
    return [record.item for record in rows_of(data, format, **options)]


NO_SMILES = Invalid("there is no SMILES in this row")


@pytest.mark.parametrize("format", ALL)
def test_rows_come_back(tmp_path, format):
    path = tmp_path / f"molecules.{format}"
    rows = [{"smiles": smiles, "name": f"no {number}, ä"} for number, smiles in enumerate(EXAMPLES)]
    assert write(rows, path) == len(rows)
    records = list(read(path))
    assert [record.row for record in records] == list(range(len(rows)))
    assert [{"smiles": record.item, "name": record.columns["name"]} for record in records] == rows
    assert [path.name] == [found.name for found in tmp_path.iterdir()]


@pytest.mark.parametrize("format", ALL)
def test_streams_come_back_and_stay_open(format):
    stream = io.BytesIO()
    assert write([{"smiles": "CCO", "name": "ethanol"}], stream, format=format) == 1
    stream.seek(0)
    (record,) = read(stream, format=format)
    assert (record.item, record.columns["name"]) == ("CCO", "ethanol")
    assert not stream.closed


@pytest.mark.parametrize("format", ALL)
def test_rows_without_a_molecule_keep_their_place(tmp_path, format):
    path = tmp_path / f"molecules.{format}"
    write([{"smiles": smiles, "name": ""} for smiles in ("C", None, "O", "", None)], path)
    assert [record.item for record in read(path)] == ["C", NO_SMILES, "O", NO_SMILES, NO_SMILES]


CELLS = st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\0"), max_size=20)


@given(st.lists(st.tuples(st.sampled_from(EXAMPLES), CELLS), min_size=1, max_size=6), st.sampled_from(["csv", "tsv"]))
@settings(deadline=None)
def test_any_text_comes_back_from_a_table(rows, format):
    stream = io.BytesIO()
    write([{"note": note, "smiles": smiles} for smiles, note in rows], stream, format=format)
    stream.seek(0)
    assert [(record.item, record.columns["note"]) for record in read(stream, format=format)] == rows


@given(st.binary(max_size=400), st.sampled_from(["smi", "csv", "tsv"]))
@settings(deadline=None)
def test_any_bytes_are_rows_or_a_clear_error(data, format):
    try:
        records = rows_of(b"smiles,name\n" + data if format != "smi" else data, format)
    except UsageError:
        return
    assert [record.row for record in records] == list(range(len(records)))


def test_smi_lines():
    data = b"\xef\xbb\xbfCCO ethyl alcohol\r\nCC\tethane\n* |$R$| cut\n\tonly a name\n\n  C\nO\xff\nN \xe9t\xe9\n\n\n"
    records = rows_of(data, "smi")
    assert [record.item for record in records] == ["CCO", "CC", "*", NO_SMILES, NO_SMILES, "C", "Oÿ", "N"]
    names = ["ethyl alcohol", "ethane", "cut", "only a name", "", "", "", "été"]
    assert [record.columns["name"] for record in records] == names


def test_tables_with_a_mark_other_line_ends_and_other_encodings():
    records = rows_of(b'\xef\xbb\xbfName,SMILES\r\n"a, b",CCO\r\n\xe9t\xe9,CC\r\n')
    assert [(record.item, record.columns) for record in records] == [("CCO", {"Name": "a, b"}), ("CC", {"Name": "été"})]


def test_bad_rows_of_tables():
    data = b"smiles,n\nC,1\n,2\n\nC\0C,3\nO\nC,4,5\nN,6,,\n\n"
    nul = Invalid("there is a NUL byte in the SMILES")
    assert items_of(data) == ["C", NO_SMILES, NO_SMILES, nul, "O", Invalid("3 cells under 2 column names"), "N"]
    assert rows_of(data)[5].text == "C,4,5"
    assert all(list(record.columns) == ["n"] for record in rows_of(data))


def test_extensions_with_commas():
    data = b'smiles,n\n* |$;;R1$,c:1,2|,1\n"* |$a,b$|",2\nC,3\n'
    assert [(record.item, record.columns["n"]) for record in rows_of(data)] == [("*", "1"), ("*", "2"), ("C", "3")]


def test_quoted_line_breaks_and_quotes_that_never_close():
    data = b'smiles,n\nC,"two\nlines"\nO,"open\nN,1\nC"C,2\n"C"C,3\n'
    stray = Invalid("a quote opens here and never closes")
    assert items_of(data) == ["C", stray, "N", 'C"C', "CC"]
    assert rows_of(data)[0].columns["n"] == "two\nlines"


def test_a_stray_quote_in_the_smiles_swallows_no_row():
    assert items_of(b'smiles,n\n"C,1\nO,2\nN,"x"\n')[1:] == ["O", "N"]


def test_semicolons_and_repeated_names():
    (record,) = rows_of(b"n;Canonical SMILES;n\n1;C;2\n")
    assert (record.item, record.columns) == ("C", {"n": "1", "n_2": "2"})


@pytest.mark.parametrize("name", ["smiles", "SMILES", "Smiles", "canonical_smiles", "Isomeric-SMILES", " smi "])
def test_usual_column_names(name):
    assert items_of(f"id,{name}\n1,C\n".encode()) == ["C"]


def test_the_column_may_be_named():
    assert items_of(b"smiles,Product\nC,O\n", column="product") == ["O"]
    with pytest.raises(UsageError, match="no column 'x' among smiles, Product"):
        rows_of(b"smiles,Product\nC,O\n", column="x")
    with pytest.raises(UsageError, match="no SMILES column among id"):
        rows_of(b"id\n1\n")


@pytest.mark.parametrize("data", [b"", b"\xef\xbb\xbf", b"\n\r\n  \n"])
@pytest.mark.parametrize("format", ["smi", "csv", "tsv"])
def test_an_empty_file_is_an_error(data, format):
    with pytest.raises(UsageError, match="the input is empty"):
        rows_of(data, format)


def test_a_header_alone_is_an_empty_table():
    assert rows_of(b"smiles,n\n") == []


def test_a_very_long_line_is_one_bad_row_in_bounded_memory(tmp_path):
    path = tmp_path / "long.csv"
    with open(path, "wb") as file:
        file.write(b"smiles\nC\n")
        for _ in range(40):
            file.write(b"C" * (1 << 20))
        file.write(b"\nO\n")
    tracemalloc.start()
    items = [record.item for record in read(path)]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert items == ["C", Invalid("the line is longer than 1048576 bytes"), "O"]
    assert peak < 12 << 20


@pytest.mark.parametrize(
    ("data", "format", "reason"),
    [
        (gzip.compress(b"smiles\n" + b"C\n" * 1000, mtime=0)[:-12], "csv.gz", "gzipped data are damaged"),
        (b"", "parquet", "not a whole Parquet file"),
        (b"PAR1 and so on, and so on", "parquet", "not a whole Parquet file"),
    ],
)
def test_damaged_files_are_named(data, format, reason):
    with pytest.raises(UsageError, match=reason):
        rows_of(data, format)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(UsageError, match=r"none\.csv: No such file"):
        list(read(tmp_path / "none.csv"))


def test_formats():
    assert find_format("a/b.c/Molecules.SMI.GZ") == Format("smi", True)
    assert find_format(Path("x.txt")) == Format("smi")
    assert find_format("x.smi", "csv") == Format("csv")
    assert find_format(io.BytesIO(), ".tsv.gz") == Format("tsv", True)
    for source in ("x.pdb", "x", io.BytesIO()):
        with pytest.raises(UsageError, match="give format="):
            find_format(source)
    with pytest.raises(UsageError, match="compressed inside"):
        find_format("x.parquet.gz")


def test_values_keep_their_types_in_parquet(tmp_path):
    path = tmp_path / "x.parquet"
    write(({"smiles": "C", "n": n, "q": math.nan, "none": None} for n in range(5000)), path)
    table = parquet.read_table(path)
    assert table.num_rows == 5000
    assert [str(field.type) for field in table.schema] == ["string", "int64", "double", "string"]
    assert next(read(path)).columns == {"n": "0", "q": "", "none": ""}


def test_parquet_from_a_pipe():
    class Pipe(io.BytesIO):
        def seekable(self):
            return False

    buffer = io.BytesIO()
    parquet.write_table(pa.table({"SMILES": ["C", None], "x": [1, 2]}), buffer)
    records = list(read(Pipe(buffer.getvalue()), format="parquet"))
    assert [(record.item, record.columns) for record in records] == [("C", {"x": "1"}), (NO_SMILES, {"x": "2"})]


def failing_rows():
    yield {"smiles": "C"}
    raise RuntimeError("stopped")


@pytest.mark.parametrize("format", ALL)
def test_a_file_is_whole_or_not_there(tmp_path, format):
    path = tmp_path / f"x.{format}"
    path.write_bytes(b"before")
    with pytest.raises(RuntimeError, match="stopped"):
        write(failing_rows(), path)
    assert path.read_bytes() == b"before"
    assert [found.name for found in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("format", ["csv", "parquet"])
def test_a_row_with_another_column_is_an_error(tmp_path, format):
    with pytest.raises(UsageError, match="row 1 has the column 'b', which the first row has not"):
        write([{"smiles": "C"}, {"smiles": "C", "b": 1}], tmp_path / f"x.{format}")


def test_a_smi_file_without_smiles_is_an_error(tmp_path):
    with pytest.raises(UsageError, match="needs the column smiles"):
        write([{"a": 1}], tmp_path / "x.smi")


def test_equal_rows_make_equal_bytes(tmp_path):
    for name in ("a.csv.gz", "b.csv.gz"):
        write([{"smiles": "C"}], tmp_path / name)
    assert (tmp_path / "a.csv.gz").read_bytes() == (tmp_path / "b.csv.gz").read_bytes()


def test_text_that_is_no_unicode_is_escaped():
    stream = io.BytesIO()
    write([{"smiles": "C", "name": "\ud800"}], stream, format="csv")
    assert stream.getvalue() == b"smiles,name\nC,\\ud800\n"
