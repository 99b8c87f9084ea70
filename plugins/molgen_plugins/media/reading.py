"""The rows of folders, archives, tables and single files. Rows are numbered from 0, and nothing is decoded."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import IO

from molgen.data.delimited import Table
from molgen.domain import Invalid, Record
from molgen.errors import UsageError
from molgen_plugins.media.containers import FILE_LIMIT, Container
from molgen_plugins.media.kind import Kind

#: The table that lists the files of a folder or an archive.
INDEX = "index.csv"
#: Bytes of a row of a table that are kept; a longer one is bad.
LINE_LIMIT = 16 << 20
#: Characters of a bad row that a record shows.
_SHOWN = 1000


def single(stream: IO[bytes], name: str) -> Iterator[Record]:
    """One item: the whole stream."""
    content = stream.read(FILE_LIMIT + 1)
    if not content:
        raise UsageError(f"{name} is empty")
    yield Record(0, content, {"file": name.replace("\\", "/").rpartition("/")[2]}, name)


def container(kind: Kind, box: Container, column: str | None) -> Iterator[Record]:
    """The items of a folder or an archive, as its table lists them, or else in the order of their paths."""
    names = box.names()
    if INDEX in names:
        with box.open(INDEX) as stream:
            yield from table(kind, stream, f"{box.title}/{INDEX}", column, box)
        return
    chosen = [name for name in names if ending(name) in (*kind.endings, *kind.arrays)]
    if not chosen:
        raise UsageError(f"{box.title} holds no {kind.noun}: there is no file with an ending such as {kind.shown}")
    labelled, row = any("/" in name for name in chosen), 0
    for name in chosen:
        columns = {"file": name} | ({"label": name.rpartition("/")[0].partition("/")[0]} if labelled else {})
        for record in _records(kind, box, name, columns):
            yield replace(record, row=row)
            row += 1


def _records(kind: Kind, box: Container, name: str, columns: Mapping[str, str]) -> Iterator[Record]:
    """The rows of one file: one, or those of an array."""
    if ending(name) not in kind.arrays:
        yield Record(0, box.read(name), columns, name)
        return
    try:
        for record in kind.arrays[ending(name)](box, name):
            yield replace(record, columns={**columns, **record.columns}, text=f"{name}[{record.row}]")
    except Exception as error:  # one damaged file among many is one bad row
        yield Record(0, Invalid(f"{name} cannot be read ({error})"), columns, name)


def ending(name: str) -> str:
    """The ending of a name in small letters, without the dot."""
    return name.rpartition(".")[2].lower()


def table(kind: Kind, stream: IO[bytes], name: str, column: str | None, box: Container | None) -> Iterator[Record]:
    """The rows of a table with a header.

    Args:
        kind: of the items.
        stream: of text.
        name: what to call the file in an error.
        column: that of the items.
        box: where the files are that cells name by their paths; None where there is no such place.

    Raises:
        UsageError: it is empty, or has no such column.
    """
    found = Table(stream, name, lambda names: _find(kind, names, column, name), limit=LINE_LIMIT)
    chosen = found.names[found.place]
    for number, row in enumerate(found.rows()):
        others = dict(zip(found.names, row.cells, strict=True))
        cell = others.pop(chosen)
        item = Invalid(row.problem) if row.problem else _content(kind, cell.strip(), box)
        yield Record(number, item, others, (row.text if row.problem else cell)[:_SHOWN])


def _find(kind: Kind, names: Sequence[str], column: str | None, file: str) -> int:
    """The place of the column with the items: the one asked for, or the best of the usual names."""
    plain = [name.lower().replace(" ", "_") for name in names]
    for wanted in kind.usual if column is None else (column.lower().replace(" ", "_"),):
        if wanted in plain:
            return plain.index(wanted)
    wish = f"no column of {kind.noun}s" if column is None else f"no column {column!r}"
    listed = ", ".join(name[:100] for name in names[:20])
    raise UsageError(f"{file} has {wish} among {listed}: name the column with the {kind.noun}s")


def _content(kind: Kind, cell: str, box: Container | None) -> bytes | Invalid:
    """What a cell holds or names."""
    if not cell:
        return Invalid(f"there is no {kind.noun} in this row")
    if cell.startswith("data:"):
        head, _, body = cell.partition(",")
        try:
            return base64.b64decode(body, validate=True) if head.endswith(";base64") else Invalid("no base64 data URI")
        except binascii.Error as error:
            return Invalid(f"the data URI is damaged ({error})")
    if box is None:
        return Invalid("the cell names a file, and a table that comes from a stream lies in no folder")
    return box.read(cell)
