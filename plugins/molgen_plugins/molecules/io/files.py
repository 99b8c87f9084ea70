"""Users' files of molecules: lists, tables, and files of molecules in space; all but Parquet also gzipped.

A row keeps its place whatever is wrong with it; memory use does not grow with the file. Nothing here
looks at the chemistry of a row.
"""

from __future__ import annotations

import gzip
import os
import zlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any, NamedTuple, cast

from molgen.data.content import PARQUET, kind_of, opened
from molgen.data.tables import name_of, opened_to_write
from molgen.domain import Record
from molgen.errors import UnknownFormat, UsageError
from molgen_plugins.molecules.io import parquet, reading, structures, writing

_KINDS = {
    "smi": "smi",
    "smiles": "smi",
    "ism": "smi",
    "txt": "smi",
    "csv": "csv",
    "tsv": "tsv",
    "tab": "tsv",
    "parquet": "parquet",
    "pq": "parquet",
    "sdf": "sdf",
    "sd": "sdf",
    "mol": "sdf",
    "mol2": "mol2",
    "xyz": "xyz",
    "extxyz": "xyz",
}
_READABLE = "smi, csv, tsv, parquet, sdf, mol2 or xyz (or csv.gz, …)"
_WRITABLE = "smi, csv, tsv, parquet, sdf or xyz (or csv.gz, …)"
_DAMAGED = (gzip.BadGzipFile, EOFError, zlib.error)


class Format(NamedTuple):
    """How a file is written: smi, csv, tsv, parquet, sdf, mol2 or xyz, and whether gzipped."""

    kind: str
    compressed: bool = False


def find_format(source: str | Path | IO[bytes], format: str | None = None, *, writing: bool = False) -> Format:
    """The format that `format` names, as in "csv" or "smi.gz"; without it, the ending of the file's name.

    Raises:
        UnknownFormat: there is no such format, or none can be told from the name.
        UsageError: a Parquet file is to be gzipped.
    """
    name = (format or name_of(source)).lower()
    stem = name.removesuffix(".gz")
    kind = _KINDS.get(stem.rpartition(".")[2])
    if kind is None or (writing and kind in structures.KINDS and kind not in structures.WRITTEN):
        raise UnknownFormat(name, _WRITABLE if writing else _READABLE, writing=writing)
    if kind == "parquet" and stem != name:
        raise UsageError(f"{name}: a Parquet file is compressed inside, so none is gzipped")
    return Format(kind, compressed=stem != name)


def recognises(path: Path) -> bool:
    """Whether a file seems to hold molecules, by its ending, and of a table by the names of its columns."""
    stem = path.name.lower().removesuffix(".gz")
    kind = _KINDS.get(stem.rpartition(".")[2])
    if path.is_dir() or kind not in ("csv", "tsv"):
        return kind is not None and path.is_file()
    with opened(path) as (head, _):
        return reading.is_table(head) or reading.is_header(head.decode("latin-1").partition("\n")[0].strip())


def read(source: str | Path | IO[bytes], *, format: str | None = None, column: str | None = None) -> Iterator[Record]:
    """The rows of a file or of an open binary stream, in their order, as they are read.

    What is gzipped or Parquet is known by its content, whatever the name says; so are UTF-8, UTF-16 and UTF-32.
    Lines in another encoding are read as Latin-1, and end with LF, CR LF or CR. An extension behind a SMILES string
    (CXSMILES) is left out of the item.

    Args:
        source: a path, or a stream, which stays open.
        format: as for `find_format`.
        column: the column of a table that holds the SMILES; found by its usual names without it.

    Raises:
        UsageError: the file is missing, empty, damaged or of another kind, or has no such column; from the first
            row on, not at the call.
    """
    return _records(source, _format(source, format), column)


def _format(source: str | Path | IO[bytes], format: str | None) -> Format:
    """As `find_format`; a pipe without a name is a list or a table, as its first line says."""
    unnamed = format is None and isinstance(source, str | Path) and os.path.basename(source).isdigit()
    return Format("text") if unnamed else find_format(source, format)


def _records(source: str | Path | IO[bytes], form: Format, column: str | None) -> Iterator[Record]:
    name = name_of(source)
    try:
        with opened(source, seekable=form.kind == "parquet") as (head, stream):
            yield from _reader(form.kind, head, stream, name, column)
    except _DAMAGED as error:
        raise UsageError(f"{name}: the gzipped data are damaged: {error}") from error
    except OSError as error:
        raise UsageError(f"{name}: {error.strerror or error}") from error


def _reader(kind: str, head: bytes, stream: IO[bytes], name: str, column: str | None) -> Iterator[Record]:
    if kind == "parquet" or head.startswith(PARQUET):
        return parquet.read(stream, name, column)
    if kind in structures.KINDS:
        return structures.read(stream, name, kind)
    if found := kind_of(head):
        raise UsageError(f"{name} seems to be {found}, not a list or a table of molecules")
    if kind == "smi" or (kind == "text" and not reading.is_table(head)):
        return reading.smi(stream, name)
    return reading.delimited(stream, name, column, "\t" if kind == "tsv" else ",")


def write(rows: Iterable[Mapping[str, Any]], target: str | Path | IO[bytes], *, format: str | None = None) -> int:
    """Write rows of named values as they come, and return their count.

    The names of the first row are the columns; None and NaN are written as empty cells. A `.smi`
    file keeps only the SMILES and the column `name`. A file appears whole at the end or not at all.

    Args:
        rows: the rows, all with the names of the first one or fewer.
        target: a path, or an open binary stream, which stays open.
        format: as for `find_format`.

    Raises:
        UsageError: the format is not known, or a row does not fit the columns.
    """
    form = find_format(target, format, writing=True)
    with opened_to_write(target) as stream:
        if not form.compressed:
            return _write(form.kind, rows, stream)
        with gzip.GzipFile(filename="", mode="wb", fileobj=stream, mtime=0) as compressed:
            return _write(form.kind, rows, cast(IO[bytes], compressed))


def _write(kind: str, rows: Iterable[Mapping[str, Any]], stream: IO[bytes]) -> int:
    if kind == "smi":
        return writing.smi(rows, stream)
    if kind in structures.WRITTEN:
        return structures.write(rows, stream, kind)
    if kind == "parquet":
        return parquet.write(rows, stream)
    return writing.delimited(rows, stream, "\t" if kind == "tsv" else ",")
