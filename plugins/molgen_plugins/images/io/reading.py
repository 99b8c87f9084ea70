"""The rows of folders, archives, tables and single pictures. Rows are numbered from 0."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import IO

from molgen.data.delimited import Table
from molgen.domain import Invalid, Record
from molgen.errors import UsageError
from molgen_plugins.images.io import arrays
from molgen_plugins.images.io.containers import Container
from molgen_plugins.images.raster import FILE_LIMIT

#: Endings of the names of pictures, also of kinds that are then refused with a reason.
ENDINGS = ("png", "jpg", "jpeg", "jfif", "gif", "bmp", "ppm", "pgm", "pbm", "pnm", "webp", "tif", "tiff")
#: The table that lists the pictures of a folder or an archive.
INDEX = "index.csv"
#: Bytes of a row of a table that are kept; a longer one is bad.
LINE_LIMIT = 16 << 20
#: Characters of a bad row that a record shows.
_SHOWN = 1000
#: Usual names of the column with the pictures, the best first.
USUAL = ("image", "file", "file_name", "filename", "path", "picture", "img")
_NO_IMAGE = Invalid("there is no image in this row")


def single(stream: IO[bytes], name: str) -> Iterator[Record]:
    """One picture: the whole stream."""
    content = stream.read(FILE_LIMIT + 1)
    if not content:
        raise UsageError(f"{name} is empty")
    yield Record(0, content, {"file": name.replace("\\", "/").rpartition("/")[2]}, name)


def container(box: Container, column: str | None) -> Iterator[Record]:
    """The pictures of a folder or an archive, as its table lists them, or else in the order of their paths."""
    names = box.names()
    if INDEX in names:
        with box.open(INDEX) as stream:
            yield from table(stream, f"{box.title}/{INDEX}", column, box)
        return
    chosen = [name for name in names if _ending(name) in (*ENDINGS, "npy", "npz")]
    if not chosen:
        raise UsageError(f"{box.title} holds no image: there is no file with an ending such as .png, .jpg or .npz")
    labelled, row = any("/" in name for name in chosen), 0
    for name in chosen:
        columns = {"file": name} | ({"label": name.rpartition("/")[0].partition("/")[0]} if labelled else {})
        for record in _records(box, name, columns):
            yield replace(record, row=row)
            row += 1


def _records(box: Container, name: str, columns: Mapping[str, str]) -> Iterator[Record]:
    """The rows of one file: one, or those of an array."""
    if _ending(name) not in ("npy", "npz"):
        yield Record(0, box.read(name), columns, name)
        return
    try:
        with box.open(name) as stream:
            found = arrays.npy(stream, name) if _ending(name) == "npy" else arrays.npz(stream, name, None)
            for record in found:
                yield replace(record, columns={**columns, **record.columns}, text=f"{name}[{record.row}]")
    except Exception as error:  # one damaged file among many is one bad row
        yield Record(0, Invalid(f"{name} cannot be read ({error})"), columns, name)


def _ending(name: str) -> str:
    return name.rpartition(".")[2].lower()


def table(stream: IO[bytes], name: str, column: str | None, box: Container | None) -> Iterator[Record]:
    """The rows of a table with a header.

    Args:
        stream: of text.
        name: what to call the file in an error.
        column: that of the pictures.
        box: where the pictures are that cells name by their paths; None where there is no such place.

    Raises:
        UsageError: it is empty, or has no such column.
    """
    found = Table(stream, name, lambda names: _find(names, column, name), limit=LINE_LIMIT)
    chosen = found.names[found.place]
    for number, row in enumerate(found.rows()):
        others = dict(zip(found.names, row.cells, strict=True))
        cell = others.pop(chosen)
        item = Invalid(row.problem) if row.problem else _picture(cell.strip(), box)
        yield Record(number, item, others, (row.text if row.problem else cell)[:_SHOWN])


def _find(names: Sequence[str], column: str | None, file: str) -> int:
    """The place of the column with the pictures: the one asked for, or the best of the usual names."""
    plain = [name.lower().replace(" ", "_") for name in names]
    for wanted in USUAL if column is None else (column.lower().replace(" ", "_"),):
        if wanted in plain:
            return plain.index(wanted)
    wish = "no column of images" if column is None else f"no column {column!r}"
    listed = ", ".join(name[:100] for name in names[:20])
    raise UsageError(f"{file} has {wish} among {listed}: name the column with the images")


def _picture(cell: str, box: Container | None) -> bytes | Invalid:
    """What a cell holds or names."""
    if not cell:
        return _NO_IMAGE
    if cell.startswith("data:"):
        head, _, body = cell.partition(",")
        try:
            return base64.b64decode(body, validate=True) if head.endswith(";base64") else Invalid("no base64 data URI")
        except binascii.Error as error:
            return Invalid(f"the data URI is damaged ({error})")
    if box is None:
        return Invalid("the cell names a file, and a table that comes from a stream lies in no folder")
    return box.read(cell)
