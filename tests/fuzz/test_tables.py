"""Damaged files of molecules: rows that keep their places, or one line; and whatever was read can be written."""

import contextlib
import gzip
import io
import random

import pyarrow as pa
import pytest
from pyarrow import parquet
from support.limits import limits
from support.mutations import cases, damaged, damaged_text

from molgen.domain import Invalid
from molgen.errors import UsageError
from molgen_plugins.molecules.chemistry.rdkit_io import canonical
from molgen_plugins.molecules.io.files import read, write

SMILES = ("CCO", "c1ccccc1", "CC(=O)[O-]", "C/C=C/C", "N[C@@H](C)C(=O)O", "", "C1CC", "[13CH4]", "CCO |$a,b$|", "Cl")
CSV = 'id,SMILES,"a, b",n\r\n' + "".join(f'{n},{smiles},"x ""{n}""\ny",{n / 3}\n' for n, smiles in enumerate(SMILES))
ROWS = [{"smiles": smiles, "name": f"m{n}", "n": n / 3} for n, smiles in enumerate(SMILES)]


def _parquet(**options) -> bytes:
    buffer = io.BytesIO()
    columns = {
        "smiles": list(SMILES),
        "n": list(range(len(SMILES))),
        "t": pa.array([0] * len(SMILES), pa.timestamp("ns")),
    }
    parquet.write_table(pa.table({**columns, "list": [[1, 2]] * len(SMILES)}), buffer, **options)
    return buffer.getvalue()


FILES = {
    "csv": (CSV.encode(), damaged_text),
    "tsv": (CSV.replace(",", "\t").encode(), damaged_text),
    "smi": ("".join(f"{s} name {n}\n" for n, s in enumerate(SMILES) if s).encode(), damaged_text),
    "csv.gz": (gzip.compress(CSV.encode(), mtime=0), damaged),
    "parquet": (_parquet(), damaged),
    "parquet raw": (_parquet(compression="none", use_dictionary=False), damaged),
}


def _read_and_written(data: bytes, format: str) -> None:
    rows, extra = [], 0
    for record in read(io.BytesIO(data), format=format):
        assert record.row == len(rows)
        assert isinstance(record.item, str | Invalid)
        assert all(isinstance(value, str) for value in record.columns.values())
        rows.append({"smiles": record.item if isinstance(record.item, str) else None, **record.columns})
        assert len(rows) < 100_000 + extra
    for target in ("csv", "parquet") if rows else ():
        stream = io.BytesIO()
        assert write(iter(rows), stream, format=target) == len(rows)
        stream.seek(0)
        assert len(list(read(stream, format=target, column="smiles"))) == len(rows)


@pytest.mark.parametrize("count", [100, pytest.param(5000, marks=[pytest.mark.slow, pytest.mark.timeout(3600)])])
@pytest.mark.parametrize("kind", FILES)
def test_a_damaged_file_is_rows_or_one_line(kind, count):
    format = kind.split()[0]
    _read_and_written(FILES[kind][0], format)
    for case, data in cases({kind: FILES[kind]}, count):
        with limits(case):
            _read_and_written(data, format)


@pytest.mark.parametrize(
    ("kind", "number"), [("parquet", 215), ("parquet", 2281), ("parquet raw", 1711), ("parquet raw", 2214)]
)
def test_damaged_statistics_of_a_column_do_not_end_the_process(kind, number):
    data, mutate = FILES[kind]
    with contextlib.suppress(UsageError):
        _read_and_written(mutate(data, random.Random(f"{kind}-0-{number}")), kind.split()[0])


@pytest.mark.parametrize("count", [400, pytest.param(20000, marks=[pytest.mark.slow, pytest.mark.timeout(3600)])])
def test_a_damaged_string_is_a_molecule_or_says_why(count):
    for case, data in cases({s: (s.encode(), damaged_text) for s in SMILES if s}, count // len(SMILES)):
        with limits(case):
            found = canonical(data.decode("latin-1"))
            assert isinstance(found, str) or found.reason
