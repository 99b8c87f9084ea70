"""Files as spreadsheets, old machines and mistakes make them: every row keeps its place, and nothing takes for ever."""

import gzip
import io
import itertools
import os
import threading
import time
from datetime import date

import pyarrow as pa
import pytest
from pyarrow import parquet

from molgen.atomic_files import sha256, write_text
from molgen.data.tables import reopenable
from molgen.domain import Invalid
from molgen.errors import UsageError
from molgen_plugins.molecules.io.files import read, write

NEVER = Invalid("a quote opens here and never closes")


def rows_of(data, format="csv", **options):
    return list(read(io.BytesIO(data), format=format, **options))


def items_of(data, format="csv", **options):
    return [record.item for record in rows_of(data, format, **options)]


class Pipe(io.BytesIO):
    """A stream that goes one way."""

    def seekable(self):
        return False

    def seek(self, *place):
        raise io.UnsupportedOperation("seek")


@pytest.mark.parametrize(
    ("data", "items"),
    [
        (b'smiles,q\n"CCO\n",1\n"CCN\n",2\n', ["CCO", "CCN"]),
        (b'smiles,q\n"\nCCO",1\n"\r\nCCN\r\n",2\n', ["CCO", "CCN"]),
        (b'"smiles\n",q\r\nCCO,1\r\n"CCN\r\n",2\r\n', ["CCO", "CCN"]),
        (b'smiles,q\n"CC\nO",1\nCCN,2\n', ["CC\nO", "CCN"]),
        (b'smiles,q\n"CCO,1\nCCN,2\n', [NEVER, "CCN"]),
        (b'smiles,q\n"CCO,1\nCCN,2\nC",3\nO,4\n', [NEVER, "CCN", 'C"', "O"]),
    ],
)
def test_cells_with_line_breaks(data, items):
    records = rows_of(data)
    assert [record.item for record in records] == items
    assert list(records[-1].columns) == ["q"]


def test_two_names_that_open_a_quote_swallow_no_row():
    lines = [f"C{'C' * n},name {n}" for n in range(60)]
    lines[5], lines[45] = 'C,"first', 'CC,"second'
    found = rows_of("\n".join(["smiles,name", *lines]).encode())
    assert len(found) == 60
    assert [record.row for record in found if record.item == NEVER] == [5, 45]


@pytest.mark.parametrize("format", ["csv", "tsv", "parquet", "smi"])
@pytest.mark.parametrize("note", ["a\rb", "a\r\nb", "\n", '"', 'a"b\n"', "\x85\u2028", "#", ""])
def test_what_is_written_has_as_many_rows(format, note):
    rows = [{"smiles": smiles, "name": note} for smiles in ("CCO", "#1", "smiles", "CCN")]
    rows = rows[2:] + rows[:2]
    stream = io.BytesIO()
    write(rows, stream, format=format)
    stream.seek(0)
    found = list(read(stream, format=format))
    assert [record.item for record in found] == [row["smiles"] for row in rows]
    if format != "smi":
        assert {record.columns["name"] for record in found} == {note}


@pytest.mark.parametrize("end", ["\r", "\n", "\r\n"])
def test_line_ends(end):
    lines = ["CCO one", "CCN two", "CCC three"]
    found = rows_of(end.join([*lines, ""]).encode(), "smi")
    assert [(r.item, r.columns["name"]) for r in found] == [("CCO", "one"), ("CCN", "two"), ("CCC", "three")]
    assert items_of(end.join(["smiles,n", "C,1", '"O",2']).encode()) == ["C", "O"]


TABLE = b'smiles,"a, b"\nC,1\nO,2\n'


@pytest.mark.parametrize("pipe", [io.BytesIO, Pipe])
@pytest.mark.parametrize(
    "data",
    [
        TABLE,
        gzip.compress(TABLE, mtime=0),
        TABLE.decode().encode("utf-16-le"),
        TABLE.decode().encode("utf-16-be"),
        TABLE.decode().encode("utf-16"),
        TABLE.decode().encode("utf-32"),
        gzip.compress(TABLE.decode().encode("utf-16-le"), mtime=0),
        b'smiles;"a, b"\nC;1\nO;2\n',
        b'"a, b";smiles\n1;C\n2;O\n',
        b"smiles\ta, b\nC\t1\nO\t2\n",
    ],
)
@pytest.mark.parametrize("format", ["csv", "tsv", "csv.gz"])
def test_tables_are_recognised_by_their_content(pipe, data, format):
    found = list(read(pipe(data), format=format))
    assert [(record.item, record.columns["a, b"]) for record in found] == [("C", "1"), ("O", "2")]


def test_parquet_under_another_name():
    buffer = io.BytesIO()
    parquet.write_table(pa.table({"SMILES": ["C", None]}), buffer)
    for stream in (io.BytesIO, Pipe):
        assert next(read(stream(buffer.getvalue()), format="csv")).item == "C"
        assert next(read(stream(gzip.compress(buffer.getvalue())), format="smi")).item == "C"


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"PK\x03\x04\x14\x00\x06\x00", "spreadsheet"),
        (b"ethanol\n  RDKit 2D\n\n  3  2  0  0  0  0  0  0  0  0999 V2000\n    0.0 0.0 C\nM  END\n$$$$\n", "an SDF"),
        (b"<!DOCTYPE html><html>", "a web page"),
        (b'[{"smiles": "C"}]', "JSON"),
        (gzip.compress(gzip.compress(b"C\n", mtime=0), mtime=0), "gzipped twice"),
    ],
)
@pytest.mark.parametrize("format", ["smi", "csv"])
def test_other_files_are_called_what_they_seem_to_be(data, kind, format):
    with pytest.raises(UsageError, match=kind):
        rows_of(data, format)


def test_comments_and_a_header_of_a_smi_file_are_no_rows():
    found = rows_of(b"# made by hand\nSMILES Name\nCCO ethanol\n#x\n#y\nCC\nsmiles\n", "smi")
    assert [(record.row, record.item) for record in found] == [(0, "CCO"), (1, "CC"), (2, "smiles")]


def test_types_of_parquet_columns_fit_all_rows(tmp_path):
    numbers = [None] * 4200 + [0.5] * 20
    rows = [
        {"smiles": "C", "late": late, "mixed": n if n < 4500 else "x", "both": n if n % 2 else n / 2, "wide": 2**60 + n}
        for n, late in enumerate(numbers)
    ]
    rows += [{"smiles": "C", "late": 1, "mixed": "x", "both": None, "wide": 3}]
    assert write(rows, tmp_path / "x.parquet") == 4221
    table = parquet.read_table(tmp_path / "x.parquet")
    assert [str(field.type) for field in table.schema] == ["string", "double", "string", "double", "int64"]
    assert table["late"].to_pylist() == [row["late"] for row in rows]
    assert table["mixed"].to_pylist() == [str(row["mixed"]) for row in rows]
    assert table["wide"].to_pylist() == [row["wide"] for row in rows]


def test_dates_beyond_those_of_python_fail_no_file():
    stamps = pa.array([1, None], pa.int64()).cast(pa.timestamp("ns"))
    dates = pa.array([3_000_000, 0], pa.int32()).cast(pa.date32())
    buffer = io.BytesIO()
    parquet.write_table(pa.table({"smiles": ["C", "O"], "at": stamps, "on": dates}), buffer)
    found = rows_of(buffer.getvalue(), "parquet")
    assert [record.item for record in found] == ["C", "O"]
    assert found[0].columns["at"].startswith("1970-01-01 00:00:00.000000001")
    assert [found[1].columns["at"], found[1].columns["on"]] == ["", str(date(1970, 1, 1))]


def test_a_small_parquet_file_does_not_unfold():
    import resource

    buffer = io.BytesIO()
    column = pa.DictionaryArray.from_arrays(pa.array([0] * 2000, pa.int32()), pa.array(["C" * 3_000_000]))
    parquet.write_table(
        pa.table({"smiles": ["C"] * 2000, "note": column}), buffer, compression="zstd", store_schema=False
    )
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    found = rows_of(buffer.getvalue(), "parquet")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 600 << 10
    assert [record.item for record in found] == [Invalid("a cell is longer than 1048576 characters")] * 2000


def _wide(columns, rows):
    names = ",".join(f"c{n}" for n in range(columns))
    return f"smiles,{names}\n".encode() + f"C{',1' * columns}\n".encode() * rows


@pytest.mark.parametrize(
    "data",
    [
        lambda: _wide(100_000, 3),
        lambda: b"smiles" + b"," * 300_000 + b"\nC\n",
        lambda: b"smiles,n\nC |$" + b"," * 900_000 + b"\n",
        lambda: gzip.compress(b"smiles\nC\n" + b"\n" * 100_000_000),
        lambda: gzip.compress(b"smiles\nC\n" + b"\r\n" * 30_000_000),
        lambda: b"smiles,n\n" + b'C,"x\n' * 50_000,
        lambda: b"smiles,n\n" + b'C,"\nO,""x\n' * 20_000,
    ],
    ids=["columns", "empty names", "commas", "empty lines", "CR LF", "quotes", "more quotes"],
)
def test_no_file_takes_long(data):
    content = data()
    start = time.process_time()
    found = list(itertools.islice(read(io.BytesIO(content), format="csv"), 100_000))
    write(({"smiles": record.item, **record.columns} for record in found[:3]), io.BytesIO(), format="csv")
    assert time.process_time() - start < 10


def test_a_pipe_can_be_opened_again(tmp_path):
    path = tmp_path / "pipe.smi"
    os.mkfifo(path)
    writer = threading.Thread(target=path.write_bytes, args=(b"CCO\n" * 30_000,))
    writer.start()
    copy = reopenable(path)
    writer.join()
    assert [len(list(read(copy))) for _ in range(2)] == [30_000] * 2
    assert (copy.suffix, reopenable(tmp_path), reopenable(copy)) == (".smi", tmp_path, copy)


def test_names_of_files_may_be_no_utf8(tmp_path):
    path = tmp_path / os.fsdecode(b"\xff.smi")
    write([{"smiles": "CCO"}], path)
    assert next(read(path)).item == "CCO"
    write_text(tmp_path / "record.json", str(path))
    assert "\\udcff.smi" in (tmp_path / "record.json").read_text(encoding="utf-8")
    assert len(sha256(tmp_path)) == 64
    for format in ("csv", "parquet", "smi"):
        stream = io.BytesIO()
        write([{"smiles": "C", "name": str(path)}], stream, format=format)
        stream.seek(0)
        assert next(read(stream, format=format)).columns["name"].endswith("\\udcff.smi")
