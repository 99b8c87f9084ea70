"""Rows of named values with an item each, as folders, archives and tables, written as the rows come."""

from __future__ import annotations

import base64
import io
import re
import zipfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np

from molgen.atomic_files import replaced_folder
from molgen.data.delimited import TableWriter, cell
from molgen.domain import Invalid
from molgen.errors import UsageError
from molgen_plugins.media.kind import Encoding, Kind
from molgen_plugins.media.reading import INDEX

Row = Mapping[str, Any]

#: Equal rows make equal archives, whenever they are written.
_NO_DATE = (1980, 1, 1, 0, 0, 0)


def folder(kind: Kind, encoding: Encoding, rows: Iterable[Row], path: Path) -> int:
    """Write files named by the number of their row, and the table `index.csv`; return the count of rows.

    Raises:
        UsageError: the folder is there and holds something else than such files.
    """
    path = path.resolve()
    if path.exists() and not _replaceable(path, encoding.ending):
        raise UsageError(f"{path} holds files that were not written here: choose another folder, or empty this one")
    with replaced_folder(path) as temporary:
        return _files(kind, encoding, rows, lambda name, content: (temporary / name).write_bytes(content))


def _replaceable(path: Path, ending: str) -> bool:
    """Whether a path is an empty folder, or one that was written here and holds nothing else."""
    if not path.is_dir():
        return False
    entries = list(path.iterdir())
    names = {entry.name for entry in entries if entry.is_file() and not entry.is_symlink()}
    ours = INDEX in names and all(name == INDEX or re.fullmatch(rf"\d{{6,}}\.{ending}", name) for name in names)
    return not entries or (ours and len(names) == len(entries))


def archive(kind: Kind, encoding: Encoding, rows: Iterable[Row], stream: IO[bytes]) -> int:
    """Write the same files as a zip archive."""
    with zipfile.ZipFile(stream, "w") as target:
        return _files(kind, encoding, rows, lambda name, content: target.writestr(member(name), content))


def member(name: str, compression: int = zipfile.ZIP_STORED) -> zipfile.ZipInfo:
    """A file of an archive that does not tell when it was written."""
    found = zipfile.ZipInfo(name, _NO_DATE)
    found.compress_type, found.external_attr = compression, 0o644 << 16
    return found


def _files(kind: Kind, encoding: Encoding, rows: Iterable[Row], put: Callable[[str, bytes], Any]) -> int:
    index = io.BytesIO()
    target = _Table(kind, index)
    for row in rows:
        item = item_of(kind, row)
        name = f"{target.count:06d}.{encoding.ending}" if item is not None else ""
        target.add(row, name)
        if item is not None:
            put(name, encoding.encoded(item))
    put(INDEX, index.getvalue())
    return target.count


def table(kind: Kind, encoding: Encoding, rows: Iterable[Row], stream: IO[bytes]) -> int:
    """Write a table whose column of items holds files as data URIs; return the count of rows."""
    target = _Table(kind, stream)
    for row in rows:
        item = item_of(kind, row)
        target.add(row, "" if item is None else data_uri(encoding, item))
    return target.count


def data_uri(encoding: Encoding, item: Any) -> str:
    """A canonical item as a file within a link."""
    return f"data:{encoding.media_type};base64,{base64.b64encode(encoding.encoded(item)).decode('ascii')}"


class _Table:
    """A table with the item of each row in one of its columns."""

    def __init__(self, kind: Kind, stream: IO[bytes]) -> None:
        self._kind, self._writer = kind, TableWriter(stream)
        self._columns: list[str] | None = None

    @property
    def count(self) -> int:
        """The rows so far."""
        return self._writer.count

    def add(self, row: Row, item: str) -> None:
        """Write a row with this in the place of its item."""
        kind = self._kind
        if self._columns is None:
            self._columns = columns(kind, row)
        others = {name: value_cell(kind, name, value) for name, value in row.items() if name not in kind.forms}
        self._writer.add(
            {name: item if name == kind.column else others.pop(name, "") for name in self._columns} | others
        )


def item_of(kind: Kind, row: Row) -> Any | None:
    """The canonical item of a row, or None where it has none.

    Raises:
        UsageError: what stands in its place is no item.
    """
    item = kind.of_row(row)
    if isinstance(item, Invalid):
        raise UsageError(f"what is to be written is no {kind.noun}: {item.reason}")
    return item


def columns(kind: Kind, row: Row) -> list[str]:
    """The names of the columns, from the first row.

    Raises:
        UsageError: it has no column of items.
    """
    if kind.column not in row:
        raise UsageError(f"{kind.plural} need the column {kind.column}, which row 0 lacks")
    return [name for name in row if name == kind.column or name not in kind.forms]


def value_cell(kind: Kind, name: str, value: Any) -> str:
    """A value as text; None and NaN are empty.

    Raises:
        UsageError: it is an item or an array.
    """
    if isinstance(value, np.ndarray | bytes | kind.held):
        raise UsageError(
            f"the column {name!r} holds arrays or bytes; {kind.plural} are written from the column {kind.column} only"
        )
    return cell(value)
