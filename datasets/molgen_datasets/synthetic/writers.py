"""How shards are written: Parquet, a folder of files, a WebDataset archive, or whatever format the domain writes.

Equal rows make equal bytes: no date, owner or path of this machine gets into a shard.
"""

from __future__ import annotations

import csv
import io
import json
import tarfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow import parquet as pq

from molgen.atomic_files import replaced_file, replaced_folder
from molgen.domain import Domain, Invalid
from molgen.errors import UnknownFormat, UsageError

#: The table of a folder of files, under the name that readers of such folders look for.
INDEX = "metadata.csv"
#: Digits of the number of an item within its shard.
_DIGITS = 8


@dataclass(frozen=True)
class Content:
    """What one shard holds.

    Attributes:
        domain: writes items as files.
        schema: of the rows, with what the set follows from in its metadata.
        tables: the rows, a part at a time.
    """

    domain: Domain
    schema: pa.Schema
    tables: Iterable[pa.Table]

    def rows(self) -> Iterator[dict[str, Any]]:
        """The rows one by one; an item lies in its column as `Domain.stored` gave it."""
        for table in self.tables:
            yield from table.to_pylist()


@dataclass(frozen=True)
class Writer:
    """One format.

    Attributes:
        ending: of the name of a shard; empty where it is a folder.
        write: puts the content to a path, whole or not at all.
    """

    ending: str
    write: Callable[[Content, Path], int]


def writer_of(format: str, domain: Domain) -> Writer:
    """How a format is written.

    Raises:
        UsageError: neither this module nor the domain writes it.
    """
    if format == domain.file_ending and isinstance(domain.stored(domain.canonical(domain.examples()[0])), bytes):
        return _WRITERS["folder"]  # `png` means a folder of such files
    if format in _WRITERS:
        return _WRITERS[format]
    try:
        domain.write((), io.BytesIO(), format=format)
    except UnknownFormat as error:
        raise UsageError(
            f"output.format: no format {format!r}; known: {', '.join(_WRITERS)}, and of this domain {error.known}"
        ) from None
    return Writer(f".{format}", lambda content, path: _by_domain(content, path, format))


def require_format(format: str, domain: Domain) -> None:
    """See that a format can be written.

    Raises:
        UsageError: it cannot.
    """
    writer_of(format, domain)


def _parquet(content: Content, path: Path) -> int:
    rows = 0
    with replaced_file(path) as temporary, pq.ParquetWriter(temporary, content.schema, compression="zstd") as writer:
        for table in content.tables:
            writer.write_table(table.cast(content.schema))
            rows += len(table)
    return rows


def _folder(content: Content, path: Path) -> int:
    """A file for each item, and a table with the name of each and its other columns."""
    column, rows = content.schema.names[0], 0
    with replaced_folder(path) as temporary, (temporary / INDEX).open("w", newline="", encoding="utf-8") as index:
        table = csv.DictWriter(index, ["file_name", *content.schema.names[1:]], lineterminator="\n")
        table.writeheader()
        for rows, row in enumerate(content.rows(), 1):
            name = f"{rows - 1:0{_DIGITS}d}.{content.domain.file_ending}"
            (temporary / name).write_bytes(as_bytes(row.pop(column)))
            table.writerow({"file_name": name, **row})
    return rows


def _webdataset(content: Content, path: Path) -> int:
    """A tar archive in which the files of an item share the beginning of their names: the item, and its columns."""
    column, rows = content.schema.names[0], 0
    with replaced_file(path) as temporary, tarfile.open(temporary, "w", format=tarfile.USTAR_FORMAT) as archive:
        for rows, row in enumerate(content.rows(), 1):
            key = f"{rows - 1:0{_DIGITS}d}"
            _add(archive, f"{key}.{content.domain.file_ending}", as_bytes(row.pop(column)))
            _add(archive, f"{key}.json", json.dumps(row, ensure_ascii=False).encode())
    return rows


def _add(archive: tarfile.TarFile, name: str, data: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(data)
    archive.addfile(member, io.BytesIO(data))


def _by_domain(content: Content, path: Path, format: str) -> int:
    column = content.schema.names[0]
    rows = ({**row, column: _item(content.domain, row[column])} for row in content.rows())
    with replaced_file(path) as temporary, temporary.open("wb") as stream:
        return content.domain.write(rows, stream, format=format)


def _item(domain: Domain, value: str | bytes) -> Any:
    item = domain.from_stored(value)
    if isinstance(item, Invalid):
        raise UsageError(f"a row holds no item: {item.reason}")
    return item


def as_bytes(value: str | bytes) -> bytes:
    """The content of a file."""
    return value.encode() if isinstance(value, str) else value


_WRITERS: Mapping[str, Writer] = {
    "parquet": Writer(".parquet", _parquet),
    "folder": Writer("", _folder),
    "webdataset": Writer(".tar", _webdataset),
}
