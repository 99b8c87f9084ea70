"""Tables with one column of items as text, and lists of items, a line each: what a domain reads unless it says more.

Where an item is a whole row, or several of them, `read_rows` and `write_rows` take tables as they are.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, cast

from molgen.data.content import kind_of, opened
from molgen.data.delimited import Table, TableWriter, lines
from molgen.data.records import Invalid, Item, Record
from molgen.data.tables import name_of, opened_to_write
from molgen.errors import UnknownFormat, UsageError

_DELIMITERS = {"csv": ",", "tsv": "\t"}
_FORMATS = (*_DELIMITERS, "txt")
#: What molgen writes beside an item; it is no part of one that is a row.
WRITTEN = ("as_generated", "log_density", "log_density_kind", "status", "error")
#: Characters of a bad row that a record shows.
_SHOWN = 1000


def read(
    source: str | Path | IO[bytes],
    usual: str,
    parse: Callable[[str], Item | Invalid],
    *,
    format: str | None = None,
    column: str | None = None,
) -> Iterator[Record]:
    """The rows of a `.csv`, `.tsv` or `.txt` file or stream, also gzipped; none is dropped.

    Args:
        source: a path, or an open binary stream, which stays open.
        usual: the name of the column that holds the items when none is asked for; a table of one column needs none.
        parse: from the text of an item to the item.
        format: csv, tsv or txt; by default the ending of the name.
        column: the name of the column.

    Raises:
        UsageError: the file is missing, empty, damaged or of another kind, or has no such column; from the first
            row on, not at the call.
    """
    kind, _ = _format(source, format)
    name = name_of(source)
    if kind == "txt":
        return _opened(source, lambda stream: _list(stream, name, parse))
    return _opened(source, lambda stream: _table(stream, name, parse, column, usual, _DELIMITERS[kind]))


def read_rows(
    source: str | Path | IO[bytes], parse: Callable[[Mapping[str, str]], Item | Invalid], *, format: str | None = None
) -> Iterator[Record]:
    """The rows of a `.csv` or `.tsv` file or stream, also gzipped, each of them an item; none is dropped.

    Args:
        source: a path, or an open binary stream, which stays open.
        parse: from the cells of a row by their columns, without those that molgen writes, to the item.
        format: csv or tsv; by default the ending of the name.

    Raises:
        UsageError: as `read`.
    """
    kind, _ = _format(source, format, known=tuple(_DELIMITERS))
    name = name_of(source)
    return _opened(source, lambda stream: _whole_rows(stream, name, parse, _DELIMITERS[kind]))


def write_rows(
    rows: Iterable[Mapping[str, Any]],
    target: str | Path | IO[bytes],
    usual: str,
    spread: Callable[[int, Item], Iterable[Mapping[str, Any]]],
    *,
    format: str | None = None,
) -> int:
    """Write items as rows of a table that `read_rows` takes, and return the count of these.

    Args:
        rows: rows of named values; what stands beside an item is written in each of its rows.
        target: a path, or an open binary stream, which stays open.
        usual: the name under which a row has its item.
        spread: from the number of an item, from 0, and the item to the cells of its rows.
        format: as for `read_rows`.

    Raises:
        UsageError: the format is not known, or a row does not fit the columns.
    """
    kind, compressed = _format(target, format, writing=True, known=tuple(_DELIMITERS))
    return _written(kind, compressed, _spread(rows, usual, spread), target, usual)


def _spread(
    rows: Iterable[Mapping[str, Any]], usual: str, spread: Callable[[int, Item], Iterable[Mapping[str, Any]]]
) -> Iterator[Mapping[str, Any]]:
    items = (usual, f"canonical_{usual}", "as_generated")
    for number, row in enumerate(rows):
        item, about = row.get(usual), {name: value for name, value in row.items() if name not in items}
        own = [{}] if item is None or isinstance(item, str) else spread(number, item)
        yield from ({**cells, **about} for cells in own)


def _opened(source: str | Path | IO[bytes], rows: Callable[[IO[bytes]], Iterator[Record]]) -> Iterator[Record]:
    name = name_of(source)
    try:
        with opened(source) as (head, stream):
            if found := kind_of(head):
                raise UsageError(f"{name} seems to be {found}, not a table or a list")
            yield from rows(stream)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise UsageError(f"{name}: the gzipped data are damaged: {error}") from error
    except OSError as error:
        raise UsageError(f"{name}: {error.strerror or error}") from error


def write(
    rows: Iterable[Mapping[str, Any]],
    target: str | Path | IO[bytes],
    usual: str,
    render: Callable[[Item], str],
    *,
    format: str | None = None,
) -> int:
    """Write rows of named values as they come and return their count; a `.txt` file keeps the items alone.

    Args:
        rows: the rows, all with the names of the first one or fewer.
        target: a path, or an open binary stream, which stays open.
        usual: the name of the column that holds the item.
        render: from an item to its text.
        format: as for `read`.

    Raises:
        UsageError: the format is not known, or a row does not fit the columns.
    """
    kind, compressed = _format(target, format, writing=True)
    texts = ({name: _text(name, value, usual, render) for name, value in row.items()} for row in rows)
    return _written(kind, compressed, texts, target, usual)


def _written(
    kind: str, compressed: bool, rows: Iterable[Mapping[str, Any]], target: str | Path | IO[bytes], usual: str
) -> int:
    with opened_to_write(target) as stream:
        if not compressed:
            return _write(kind, rows, stream, usual)
        with gzip.GzipFile(filename="", mode="wb", fileobj=stream, mtime=0) as packed:
            return _write(kind, rows, cast(IO[bytes], packed), usual)


def _format(
    source: str | Path | IO[bytes], format: str | None, *, writing: bool = False, known: Sequence[str] = _FORMATS
) -> tuple[str, bool]:
    name = (format or name_of(source)).lower()
    stem = name.removesuffix(".gz")
    kind = stem.rpartition(".")[2]
    if kind not in known:
        raise UnknownFormat(name, f"{', '.join(known[:-1])} or {known[-1]} (or csv.gz, …)", writing=writing)
    return kind, stem != name


def _list(stream: IO[bytes], name: str, parse: Callable[[str], Item | Invalid]) -> Iterator[Record]:
    for row, line in enumerate(lines(stream, name)):
        text = line.text.rstrip("\r")
        yield Record(row, parse(text) if line.whole else Invalid("the line is too long"), {}, text[:_SHOWN])


def _table(
    stream: IO[bytes],
    name: str,
    parse: Callable[[str], Item | Invalid],
    column: str | None,
    usual: str,
    delimiter: str,
) -> Iterator[Record]:
    table = Table(stream, name, lambda names: _place(names, column, usual, name), delimiter)
    for row, found in enumerate(table.rows()):
        columns = dict(zip(table.names, found.cells, strict=True))
        text = columns.pop(table.names[table.place])
        item = Invalid(found.problem) if found.problem else parse(text)
        yield Record(row, item, columns, (found.text if found.problem else text)[:_SHOWN])


def _whole_rows(
    stream: IO[bytes], name: str, parse: Callable[[Mapping[str, str]], Item | Invalid], delimiter: str
) -> Iterator[Record]:
    table = Table(stream, name, lambda names: 0, delimiter)
    for row, found in enumerate(table.rows()):
        columns = dict(zip(table.names, found.cells, strict=True))
        cells = {name: cell for name, cell in columns.items() if name not in WRITTEN}
        item = Invalid(found.problem) if found.problem else parse(cells)
        yield Record(row, item, columns, found.text[:_SHOWN])


def _place(names: Sequence[str], column: str | None, usual: str, file: str) -> int:
    wanted = (column or usual).lower()
    plain = [name.lower() for name in names]
    if wanted in plain:
        return plain.index(wanted)
    if column is None and len(names) == 1:
        return 0
    listed = ", ".join(names[:20])
    raise UsageError(f"{file} has no column {wanted!r} among {listed}: name the column with the items")


def _text(name: str, value: Any, usual: str, render: Callable[[Item], str]) -> Any:
    of_an_item = name in (usual, f"canonical_{usual}", f"input_{usual}", "as_generated")
    return render(value) if of_an_item and value is not None and not isinstance(value, str) else value


def _write(kind: str, rows: Iterable[Mapping[str, Any]], stream: IO[bytes], usual: str) -> int:
    count = 0
    writer = TableWriter(stream, _DELIMITERS[kind]) if kind in _DELIMITERS else None
    for row in rows:
        if writer is not None:
            writer.add(row)
        else:
            stream.write(f"{' '.join(str(row.get(usual) or '').splitlines())}\n".encode(errors="backslashreplace"))
        count += 1
    return count
