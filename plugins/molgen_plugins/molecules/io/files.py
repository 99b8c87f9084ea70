"""Users' files of molecules: `.smi`, `.csv`, `.tsv` and `.parquet`, the first three also gzipped.

A row keeps its place whatever is wrong with it; memory use does not grow with the file. Nothing here
looks at the chemistry of a row.
"""

from __future__ import annotations

import gzip
import shutil
import tempfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any, NamedTuple, cast

from molgen.data.tables import name_of, opened_to_write
from molgen.domain import Record
from molgen.errors import UsageError
from molgen_plugins.molecules.io import reading, writing

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
}


class Format(NamedTuple):
    """How a file is written: smi, csv, tsv or parquet, and whether gzipped."""

    kind: str
    compressed: bool = False


def find_format(source: str | Path | IO[bytes], format: str | None = None) -> Format:
    """The format that `format` names, as in "csv" or "smi.gz"; without it, the ending of the file's name.

    Raises:
        UsageError: there is no such format, or none can be told from the name.
    """
    name = (format or name_of(source)).lower()
    stem = name.removesuffix(".gz")
    kind = _KINDS.get(stem.rpartition(".")[2])
    if kind is None:
        raise UsageError(f"no format to be told from {name!r}: give format=smi, csv, tsv or parquet (or csv.gz, …)")
    if kind == "parquet" and stem != name:
        raise UsageError(f"{name}: a Parquet file is compressed inside, so none is gzipped")
    return Format(kind, compressed=stem != name)


def read(source: str | Path | IO[bytes], *, format: str | None = None, column: str | None = None) -> Iterator[Record]:
    """The rows of a file or of an open binary stream, in their order, as they are read.

    A text file may start with a byte order mark and end its lines either way. Lines that are not
    UTF-8 are read as Latin-1. An extension behind a SMILES string (CXSMILES) is left out of the item.

    Args:
        source: a path, or a stream, which stays open.
        format: as for `find_format`.
        column: the column of a table that holds the SMILES; found by its usual names without it.

    Raises:
        UsageError: the file is missing, empty or damaged, or has no such column; from the first
            row on, not at the call.
    """
    return _records(source, find_format(source, format), column)


def _records(source: str | Path | IO[bytes], form: Format, column: str | None) -> Iterator[Record]:
    name = name_of(source)
    try:
        with _opened(source, form) as stream:
            yield from _reader(form.kind, stream, name, column)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise UsageError(f"{name}: the gzipped data are damaged: {error}") from error
    except OSError as error:
        raise UsageError(f"{name}: {error.strerror or error}") from error


def _reader(kind: str, stream: IO[bytes], name: str, column: str | None) -> Iterator[Record]:
    if kind == "smi":
        return reading.smi(stream, name)
    if kind == "parquet":
        return reading.parquet(stream, name, column)
    return reading.delimited(stream, name, column, "\t" if kind == "tsv" else ",")


@contextmanager
def _opened(source: str | Path | IO[bytes], form: Format) -> Iterator[IO[bytes]]:
    with ExitStack() as closing:
        stream = closing.enter_context(open(source, "rb")) if isinstance(source, str | Path) else source
        if form.compressed:
            stream = cast(IO[bytes], closing.enter_context(gzip.GzipFile(fileobj=stream)))
        if form.kind == "parquet" and not stream.seekable():
            copy = closing.enter_context(tempfile.TemporaryFile())
            shutil.copyfileobj(stream, copy)
            stream = cast(IO[bytes], copy)
        yield stream


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
    form = find_format(target, format)
    with opened_to_write(target) as stream:
        if not form.compressed:
            return _write(form.kind, rows, stream)
        with gzip.GzipFile(filename="", mode="wb", fileobj=stream, mtime=0) as compressed:
            return _write(form.kind, rows, cast(IO[bytes], compressed))


def _write(kind: str, rows: Iterable[Mapping[str, Any]], stream: IO[bytes]) -> int:
    if kind == "smi":
        return writing.smi(rows, stream)
    if kind == "parquet":
        return writing.parquet(rows, stream)
    return writing.delimited(rows, stream, "\t" if kind == "tsv" else ",")
