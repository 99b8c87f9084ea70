"""The rows of folders, archives, tables and single pictures. Rows are numbered from 0."""

from __future__ import annotations

import base64
import binascii
import csv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import IO

from molgen.domain import Invalid, Record
from molgen.errors import UsageError
from molgen_plugins.images.io import arrays
from molgen_plugins.images.io.containers import Container
from molgen_plugins.images.raster import FILE_LIMIT

#: Endings of the names of pictures, also of kinds that are then refused with a reason.
ENDINGS = ("png", "jpg", "jpeg", "jfif", "gif", "bmp", "ppm", "pgm", "pbm", "pnm", "webp", "tif", "tiff")
#: The table that lists the pictures of a folder or an archive.
INDEX = "index.csv"
#: Bytes of a line of a table that are kept; the row of a longer one is bad.
LINE_LIMIT = 16 << 20
#: Characters of a bad row that a record shows.
_SHOWN = 1000
#: Usual names of the column with the pictures, the best first.
USUAL = ("image", "file", "file_name", "filename", "path", "picture", "img")
_TOO_LONG = f"the line is longer than {LINE_LIMIT >> 20} MiB"
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
    """The rows of a table with a header. A row is one line: a quote that does not close there makes it bad.

    Args:
        stream: UTF-8, or else Latin-1.
        name: what to call the file in an error.
        column: that of the pictures.
        box: where the pictures are that cells name by their paths; None where there is no such place.
    """
    # Data URIs are longer than what the module lets a cell hold. The limit is global, so it is only ever raised.
    csv.field_size_limit(max(csv.field_size_limit(), LINE_LIMIT))
    lines = _lines(stream)
    header = _cells(next(lines, ""))
    if isinstance(header, Invalid) or not header:
        raise UsageError(f"{name} has no header: {header.reason if isinstance(header, Invalid) else 'it is empty'}")
    names = [cell.strip() for cell in header]
    if len(set(names)) < len(names):
        raise UsageError(f"{name}: two columns have the same name among {', '.join(names)}")
    place = _find(names, column, name)
    for row, line in enumerate(lines):
        yield _row(row, line, names, place, box)


def _row(row: int, line: str | Invalid, names: Sequence[str], place: int, box: Container | None) -> Record:
    cells = _cells(line)
    if not isinstance(cells, Invalid) and len(cells) > len(names):
        cells = Invalid(f"{len(cells)} cells under {len(names)} column names")
    if isinstance(cells, Invalid):
        others = dict.fromkeys([*names[:place], *names[place + 1 :]], "")
        return Record(row, cells, others, line[:_SHOWN] if isinstance(line, str) else "")
    cells += [""] * (len(names) - len(cells))
    others = {name: cell for i, (name, cell) in enumerate(zip(names, cells, strict=True)) if i != place}
    return Record(row, _picture(cells[place].strip(), box), others, cells[place][:_SHOWN])


def _lines(stream: IO[bytes]) -> Iterator[str | Invalid]:
    """The lines of a file without their ends; empty lines before the first and after the last one are none."""
    blank, any_line = 0, False
    for line in _physical_lines(stream):
        if not isinstance(line, Invalid) and not line.strip():
            blank += any_line
            continue
        yield from [""] * blank
        yield line
        blank, any_line = 0, True


def _physical_lines(stream: IO[bytes]) -> Iterator[str | Invalid]:
    mark = b"\xef\xbb\xbf"
    while raw := stream.readline(LINE_LIMIT):
        whole = raw.endswith(b"\n") or len(raw) < LINE_LIMIT
        yield _decoded(raw.removeprefix(mark)).rstrip("\r\n") if whole else Invalid(_TOO_LONG)
        mark = b""
        while not whole:
            raw = stream.readline(LINE_LIMIT)
            whole = raw.endswith(b"\n") or not raw


def _decoded(raw: bytes) -> str:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return raw.decode("latin-1")


def _cells(line: str | Invalid) -> list[str] | Invalid:
    if isinstance(line, Invalid):
        return line
    try:
        return next(csv.reader([line], strict=True), [])
    except csv.Error as error:
        return Invalid(f"the line is no row of a table ({error})")


def _find(names: Sequence[str], column: str | None, file: str) -> int:
    """The place of the column with the pictures: the one asked for, or the best of the usual names."""
    plain = [name.lower().replace(" ", "_") for name in names]
    for wanted in USUAL if column is None else (column.lower().replace(" ", "_"),):
        if wanted in plain:
            return plain.index(wanted)
    wish = "no column of images" if column is None else f"no column {column!r}"
    raise UsageError(f"{file} has {wish} among {', '.join(names[:20])}: name the column with the images")


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
