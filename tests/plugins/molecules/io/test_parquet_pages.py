"""The sizes of pages are those that Arrow unfolds; a file of huge ones is refused before anything is unfolded."""

import io

import pyarrow as pa
import pytest
from pyarrow import parquet

from molgen.errors import UsageError
from molgen_plugins.molecules.io import parquet as module
from molgen_plugins.molecules.io.files import read
from molgen_plugins.molecules.io.parquet_pages import pages


def _file(rows=3000, **options):
    table = pa.table(
        {
            "smiles": [f"{'C' * (n % 50 + 1)}O" for n in range(rows)],
            "n": list(range(rows)),
            "list": [[n, 2.5] for n in range(rows)],
        }
    )
    stream = io.BytesIO()
    parquet.write_table(table, stream, **options)
    return stream


@pytest.mark.parametrize("version", ["1.0", "2.0"])
@pytest.mark.parametrize("compression", ["none", "zstd", "snappy"])
@pytest.mark.parametrize("dictionary", [True, False])
def test_pages_add_up_to_what_the_columns_unfold_to(version, compression, dictionary):
    options = {"compression": compression, "use_dictionary": dictionary, "data_page_version": version}
    stream = _file(**options, row_group_size=1000, data_page_size=1000, write_page_checksum=True)
    metadata = parquet.ParquetFile(stream).metadata
    groups = [metadata.row_group(k) for k in range(metadata.num_row_groups)]
    columns = [group.column(k) for group in groups for k in range(metadata.num_columns)]
    found = list(pages(stream))
    headers = sum(column.total_uncompressed_size for column in columns) - sum(size for _, size in found)
    assert 10 * len(found) < headers < 200 * len(found)  # the sums of columns count the headers too
    assert {name for name, _ in found} == {column.path_in_schema for column in columns}


def test_a_page_that_unfolds_to_gigabytes_is_refused(monkeypatch):
    monkeypatch.setattr(module, "PAGE_LIMIT", 10 << 20)
    table = pa.table({"smiles": pa.array(["C" * 1_000_000] * 30)})
    stream = io.BytesIO()
    parquet.write_table(table, stream, compression="zstd", use_dictionary=False, data_page_size=1 << 30)
    assert len(stream.getvalue()) < 100_000
    stream.seek(0)
    with pytest.raises(UsageError, match=r"a page of the column 'smiles' unfolds to more than 10,485,760 bytes"):
        next(iter(read(stream, format="parquet")))


def test_many_large_pages_are_refused(monkeypatch):
    monkeypatch.setattr(module, "PAGES_LIMIT", 40_000)
    stream = _file(use_dictionary=False)
    stream.seek(0)
    with pytest.raises(UsageError, match="pages of all columns unfold to more than 40,000 bytes"):
        next(iter(read(stream, format="parquet")))


@pytest.mark.parametrize(
    "header",
    [b"\x00", b"\x19\xf1" + b"\xff" * 7 + b"\x01", b"\xff" * 40, b"\x1c" * 40, b"\x19" * 40, b"\x19\xfc" + b"\xff" * 9],
)
def test_a_damaged_header_is_one_line(header):
    stream = _file(use_dictionary=False)
    content = bytearray(stream.getvalue())
    content[4 : 4 + len(header)] = header
    with pytest.raises(UsageError, match="is not a whole Parquet file"):
        list(read(io.BytesIO(bytes(content)), format="parquet"))
