"""Users' pictures: folders, `.zip` archives, arrays (`.npy`, `.npz`, IDX), `.csv` tables and single files.

Nothing here decodes a picture: a row that comes from an image file holds its bytes, and one from an
array its pixels. A row keeps its place whatever is wrong with it.
"""

from __future__ import annotations

import gzip
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import IO, Any, NamedTuple, cast

from molgen.data.content import opened
from molgen.data.tables import name_of, opened_to_write
from molgen.domain import Record
from molgen.errors import UnknownFormat, UsageError
from molgen_plugins.images.io import arrays, writing
from molgen_plugins.images.io.pictures import PICTURES, PNG
from molgen_plugins.media import reading
from molgen_plugins.media import writing as media
from molgen_plugins.media.containers import Archive, Folder, seekable

_READ = {"zip": "zip", "npz": "npz", "npy": "npy", "idx": "idx", "ubyte": "idx", "csv": "csv", "folder": "folder"}
_READ |= dict.fromkeys(PICTURES.endings, "file")
_WRITTEN = {"folder": "folder", "png": "folder", "zip": "zip", "npz": "npz", "csv": "csv"}
_GZIPPED = ("npy", "idx", "csv")
_DAMAGED = (EOFError, zlib.error, zipfile.BadZipFile, gzip.BadGzipFile)


class Format(NamedTuple):
    """How pictures lie in a file: folder, zip, npz, npy, idx, csv or file (a single picture), and whether gzipped."""

    kind: str
    compressed: bool = False


def find_format(source: str | Path | IO[bytes], format: str | None = None) -> Format:
    """The format that `format` names for reading, as in "npz" or "idx.gz"; without it, a folder or a name's ending.

    IDX files may keep their published names, as in `train-images-idx3-ubyte.gz`.

    Raises:
        UnknownFormat: there is no such format, or none can be told from the name.
        UsageError: the format cannot be gzipped.
    """
    if format is None and isinstance(source, str | Path) and Path(source).is_dir():
        return Format("folder")
    name = (format or name_of(source)).lower()
    stem = name.removesuffix(".gz")
    kind = "idx" if stem.endswith("ubyte") else _READ.get(stem.rpartition(".")[2])
    if kind is None:
        raise UnknownFormat(name, "png, zip, npz, npy, idx or csv, or a folder")
    if stem != name and kind not in _GZIPPED:
        raise UsageError(f"{name}: of pictures, only {', '.join(_GZIPPED)} may be gzipped")
    return Format(kind, compressed=stem != name)


def written_format(target: str | Path | IO[bytes], format: str | None = None) -> Format:
    """The format that `format` names for writing; without it, the ending of a name, and a folder where it has none.

    Raises:
        UsageError: no such format is written.
    """
    name = (format or name_of(target)).lower()
    stem = name.removesuffix(".gz")
    last = stem.replace("\\", "/").rpartition("/")[2]
    ending = last.rpartition(".")[2] if "." in last else ""
    kind = _WRITTEN.get(ending) if ending else _WRITTEN.get(last, "folder")
    if kind is None or (kind == "folder" and ending):
        raise UsageError(
            f"pictures are not written as {name!r}: name a folder (without an ending) or a .zip, .npz or .csv file"
        )
    if stem != name and kind != "csv":
        raise UsageError(f"{name}: of pictures, only csv is written gzipped")
    return Format(kind, compressed=stem != name)


#: Entries of a folder that are looked at for a picture.
_ENTRIES = 1000


def recognises(path: Path) -> bool:
    """Whether a file or folder seems to hold pictures, by its ending and by the names in it."""
    if path.is_dir():
        return any(recognises(one) for one in islice(path.rglob("*"), _ENTRIES) if one.is_file())
    name = path.name.lower()
    stem = name.removesuffix(".gz")
    kind = "idx" if stem.endswith("ubyte") else _READ.get(stem.rpartition(".")[2])
    if kind == "csv" and path.is_file():
        with _opened(path, Format("csv", stem != name)) as stream:
            return "image" in stream.readline(1 << 16).decode("latin-1").strip().lower().replace('"', "").split(",")
    return kind not in (None, "folder") and path.is_file()


def read(source: str | Path | IO[bytes], *, format: str | None = None, column: str | None = None) -> Iterator[Record]:
    """The rows of a folder, a file or an open binary stream, in their order, as they are read.

    Folders and archives: each image file below is a row, in the order of the paths; hidden files are none. The
    column `file` is the path, and `label` the first folder of the path, where there are folders. A file
    `index.csv` at the top is read instead, if there is one. Arrays within a folder give their rows in their place.

    Arrays: uint8 (N, H, W) or (N, H, W, 1 or 3), or bool. The other arrays of an `.npz` with N values are columns.
    Beside an IDX file of images the IDX file of labels gives the column `label`.

    Tables: a column holds paths below the table's folder, or data URIs. A row is one line.

    Args:
        source: a path, or a stream, which stays open.
        format: as for `find_format`.
        column: of a table, or the array of an `.npz`, that holds the pictures; found by its usual names without it.

    Raises:
        UsageError: the file is missing, empty or damaged, or has no such column; from the first row on,
            not at the call.
    """
    name = name_of(source)
    try:
        if isinstance(source, str | Path):
            Path(source).stat()  # says that it is missing before its format is looked for
        yield from _records(source, find_format(source, format), name, column)
    except _DAMAGED as error:
        raise UsageError(f"{name} is damaged: {error}") from error
    except OSError as error:
        raise UsageError(f"{name}: {error.strerror or error}") from error


def _records(source: str | Path | IO[bytes], form: Format, name: str, column: str | None) -> Iterator[Record]:
    if form.kind == "folder":
        if not isinstance(source, str | Path):
            raise UnknownFormat("a stream, which holds no folder", "zip")
        yield from reading.container(PICTURES, Folder(Path(source)), column)
        return
    with _opened(source, form) as stream:
        if form.kind == "idx":
            with _labels(source) as labels:
                yield from arrays.idx(stream, name, labels)
        elif form.kind == "csv":
            place = Folder(Path(source).parent) if isinstance(source, str | Path) else None
            yield from reading.table(PICTURES, stream, name, column, place)
        else:
            yield from _simple(form.kind, stream, name, column)


def _simple(kind: str, stream: IO[bytes], name: str, column: str | None) -> Iterator[Record]:
    if kind == "zip":
        return reading.container(PICTURES, Archive(stream, name), column)
    if kind == "npz":
        return arrays.npz(stream, name, column)
    if kind == "npy":
        return arrays.npy(stream, name)
    return reading.single(stream, name)


@contextmanager
def _opened(source: str | Path | IO[bytes], form: Format) -> Iterator[IO[bytes]]:
    if form.kind not in _GZIPPED:
        with seekable(source) as stream:
            yield stream
        return
    with opened(source) as (_, stream):
        yield stream


@contextmanager
def _labels(source: str | Path | IO[bytes]) -> Iterator[IO[bytes] | None]:
    """The IDX file of labels that lies beside one of images under the corresponding name."""
    path = Path(source) if isinstance(source, str | Path) else None
    beside = path and path.with_name(path.name.replace("images", "labels").replace("idx3", "idx1"))
    if beside is None or beside == path or not beside.is_file():
        yield None
        return
    with _opened(beside, Format("idx", beside.name.lower().endswith(".gz"))) as stream:
        yield stream


def write(rows: Iterable[Mapping[str, Any]], target: str | Path | IO[bytes], *, format: str | None = None) -> int:
    """Write rows of named values and return their count.

    The picture of a row is the array in its column `image`, or else in `canonical_image` or `as_generated`; a
    row without one keeps its place. The names of the first row are the columns; None and NaN are empty cells.

    - folder, zip: PNG files named by the number of the row, and `index.csv` with the other columns. A
      folder is written as a zip archive where the target is a stream.
    - npz: the array `image`, uint8 (N, H, W) or (N, H, W, 3), and one array for each other column. Where rows
      have no picture, theirs is black and the array `has_image` says so.
    - csv: a table whose column `image` holds data URIs.

    What is written appears whole at the end or not at all.

    Args:
        rows: the rows, all with the names of the first one or fewer.
        target: a path, or an open binary stream, which stays open.
        format: as for `written_format`.

    Raises:
        UsageError: the format is not written, a row does not fit the others, or the folder holds other files.
    """
    form = written_format(target, format)
    if form.kind == "folder" and isinstance(target, str | Path):
        return media.folder(PICTURES, PNG, rows, Path(target))
    with opened_to_write(target) as stream:
        if not form.compressed:
            return _write(form.kind, rows, stream)
        with gzip.GzipFile(filename="", mode="wb", fileobj=stream, mtime=0) as compressed:
            return _write(form.kind, rows, cast(IO[bytes], compressed))


def _write(kind: str, rows: Iterable[Mapping[str, Any]], stream: IO[bytes]) -> int:
    if kind == "npz":
        return writing.npz(rows, stream)
    if kind == "csv":
        return media.table(PICTURES, PNG, rows, stream)
    return media.archive(PICTURES, PNG, rows, stream)
