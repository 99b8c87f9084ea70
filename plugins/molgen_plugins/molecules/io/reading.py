"""The rows of users' files, whatever is wrong with them. Rows are numbered from 0, without the header."""

from __future__ import annotations

import csv
import re
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain, islice
from typing import IO, Any, NamedTuple

from molgen.domain import Invalid, Record
from molgen.errors import UsageError

#: Bytes of a line that are kept; the row of a longer one is bad.
LINE_LIMIT = 1 << 20
#: Lines that one row of a table may spread over, inside quotes.
_JOINED_LINES = 100
#: Characters of a bad row that a record shows.
_SHOWN = 1000
#: Usual names of the column with the SMILES, the best first.
_USUAL = ("smiles", "canonical_smiles", "isomeric_smiles", "smi", "smile", "structure", "mol", "molecule")

_SMI = re.compile(r" *([^ \t]*)[ \t]*(?:\|[^|]*\|)?[ \t]*(.*)", re.DOTALL)
_EXTENSION = re.compile(r"\s+\|[^|]*\|$")


class _Line(NamedTuple):
    text: str
    whole: bool = True


class _Cells(NamedTuple):
    """One row of a table: its cells, or what is wrong with its lines."""

    text: str
    cells: list[str]
    problem: str | None = None


def smi(stream: IO[bytes], name: str) -> Iterator[Record]:
    """The rows of a `.smi` file: a SMILES string, then its name behind a tab or spaces."""
    for row, line in enumerate(_lines(stream, name)):
        if not line.whole:
            yield _bad(row, line.text, _too_long())
            continue
        match = _SMI.match(line.text)
        smiles, title = match.groups() if match else ("", "")
        yield _record(row, smiles, {"name": title.strip()})


def delimited(stream: IO[bytes], name: str, column: str | None, delimiter: str) -> Iterator[Record]:
    """The rows of a table with a header; semicolons instead of commas are noticed in the header."""
    lines = _lines(stream, name)
    first = next((line for line in lines if line.text.strip()), _Line("", whole=False))
    if not first.whole:
        raise UsageError(f"{name}: the header is longer than {LINE_LIMIT} bytes")
    if delimiter == "," and "," not in first.text and ";" in first.text:
        delimiter = ";"
    names = _distinct((_cells(first.text, delimiter) or _Cells("", [])).cells)
    place = _find(names, column, name)

    def fits(cells: list[str]) -> bool:
        return len(cells) == len(names) and "\n" not in cells[place]

    for row, cells in enumerate(_tables(lines, delimiter, fits)):
        yield _row(row, cells, names, place, delimiter)


def parquet(stream: IO[bytes], name: str, column: str | None) -> Iterator[Record]:
    """The rows of a Parquet file, with the other columns as text."""
    import pyarrow as pa
    from pyarrow import parquet as pq

    try:
        file = pq.ParquetFile(stream)
        names = _distinct(file.schema_arrow.names)
        place = _find(names, column, name)
        row = 0
        for batch in file.iter_batches(batch_size=1024):
            for values in zip(*(array.to_pylist() for array in batch.columns), strict=True):
                yield _record(row, *_split([_text(value) for value in values], names, place))
                row += 1
    except pa.ArrowException as error:
        reason = str(error).splitlines()[0]
        raise UsageError(f"{name} is not a whole Parquet file: {reason}") from error


def _lines(stream: IO[bytes], name: str) -> Iterator[_Line]:
    """The lines of a file without their ends; empty lines at its end are none."""
    blank, any_line = 0, False
    for line in _physical_lines(stream, name):
        if line.text.strip(" ") == "":
            blank += 1
            continue
        yield from (_Line("") for _ in range(blank))
        yield line
        blank, any_line = 0, True
    if not any_line:
        raise UsageError(f"{name} is empty")


def _physical_lines(stream: IO[bytes], name: str) -> Iterator[_Line]:
    start = True
    while raw := stream.readline(LINE_LIMIT):
        whole = raw.endswith(b"\n") or len(raw) < LINE_LIMIT
        if start and raw.startswith((b"\xff\xfe", b"\xfe\xff")):
            raise UsageError(f"{name} is UTF-16: save it as UTF-8")
        text = _decoded(raw.removeprefix(b"\xef\xbb\xbf") if start else raw)
        yield _Line(text.rstrip("\r\n"), whole)
        start = False
        while not whole:
            raw = stream.readline(LINE_LIMIT)
            whole = raw.endswith(b"\n") or not raw


def _decoded(raw: bytes) -> str:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return raw.decode("latin-1")


def _tables(lines: Iterator[_Line], delimiter: str, fits: Callable[[list[str]], bool]) -> Iterator[_Cells]:
    """The rows of a table, each from one line, or from several when a quoted cell spreads over them.

    Where a quote never closes, or closes so that the row does not fit, only the line that opens it is bad.
    """
    waiting: deque[_Line] = deque()
    while line := waiting.popleft() if waiting else next(lines, None):
        if not line.whole:
            yield _Cells(line.text, [], _too_long())
            continue
        row = _cells(line.text, delimiter)
        if row is None:
            row, taken = _joined(line, chain(_drained(waiting), lines), delimiter)
            if row is None or not fits(row.cells):
                row = _Cells(line.text, [], "a quote opens here and never closes")
                waiting.extendleft(reversed(taken))
        yield row


def _drained(waiting: deque[_Line]) -> Iterator[_Line]:
    while waiting:
        yield waiting.popleft()


def _joined(first: _Line, following: Iterator[_Line], delimiter: str) -> tuple[_Cells | None, list[_Line]]:
    """The row that starts with an open quote in `first`, if it ends, and the further lines that it took."""
    text, taken = first.text, []
    for line in islice(following, _JOINED_LINES):
        taken.append(line)
        text += "\n" + line.text
        row = _cells(text, delimiter) if '"' in line.text else None
        if row is not None or len(text) > LINE_LIMIT:
            return row, taken
    return None, taken


def _cells(text: str, delimiter: str) -> _Cells | None:
    """The cells of a row, or None when a quote in it is still open."""
    problem = ""
    for strict in (True, False):  # quotes in the middle of a cell are no error, only the strict reader says so
        try:
            rows = list(csv.reader([text], delimiter=delimiter, strict=strict))
        except csv.Error as error:
            problem = str(error)
        else:
            return _Cells(text, rows[0] if rows else [])
        if problem == "unexpected end of data":
            return None
    return _Cells(text, [], problem)


def _row(row: int, table: _Cells, names: Sequence[str], place: int, delimiter: str) -> Record:
    if table.problem:
        return _bad(row, table.text, table.problem, names, place)
    cells = _rejoined(table.cells, len(names), place, delimiter)
    while len(cells) > len(names) and cells[-1] == "":
        cells.pop()
    if len(cells) > len(names):
        return _bad(row, table.text, f"{len(cells)} cells under {len(names)} column names", names, place)
    cells += [""] * (len(names) - len(cells))
    return _record(row, *_split(cells, names, place))


def _rejoined(cells: list[str], expected: int, place: int, delimiter: str) -> list[str]:
    """Put a CXSMILES extension together again that has commas in it and no quotes around it."""
    while len(cells) > max(expected, place + 1) and cells[place].count("|") % 2:
        cells[place : place + 2] = [delimiter.join(cells[place : place + 2])]
    return cells


def _split(cells: Sequence[str], names: Sequence[str], place: int) -> tuple[str, dict[str, str]]:
    """The SMILES, and the other columns by name."""
    return cells[place], {name: cell for i, (name, cell) in enumerate(zip(names, cells, strict=True)) if i != place}


def _record(row: int, cell: str, columns: Mapping[str, str]) -> Record:
    smiles = _EXTENSION.sub("", cell.strip()) if "|" in cell else cell.strip()
    if not smiles:
        return Record(row, Invalid("there is no SMILES in this row"), columns, cell[:_SHOWN])
    if "\0" in smiles:
        return Record(row, Invalid("there is a NUL byte in the SMILES"), columns, cell[:_SHOWN])
    return Record(row, smiles, columns, cell)


def _bad(row: int, text: str, reason: str, names: Sequence[str] = ("", "name"), place: int = 0) -> Record:
    return Record(row, Invalid(reason), _split([""] * len(names), names, place)[1], text[:_SHOWN])


def _too_long() -> str:
    return f"the line is longer than {LINE_LIMIT} bytes"


def _find(names: Sequence[str], column: str | None, file: str) -> int:
    """The place of the SMILES column: the one asked for, or the best of the usual names."""
    if column is not None and column in names:
        return list(names).index(column)
    plain = [_plain(name) for name in names]
    for wanted in _USUAL if column is None else (_plain(column),):
        if wanted in plain:
            return plain.index(wanted)
    listed = ", ".join(names[:20]) + (", …" if len(names) > 20 else "")
    wish = "no SMILES column" if column is None else f"no column {column!r}"
    raise UsageError(f"{file} has {wish} among {listed}: name the column with the SMILES")


def _plain(name: str) -> str:
    return name.strip().lower().replace(" ", "_").replace("-", "_")


def _distinct(names: Sequence[str]) -> list[str]:
    """Column names with a number behind each repetition, so that no column hides another."""
    found: dict[str, None] = {}
    for name in (name.strip() for name in names):
        number = 1
        unique = name
        while unique in found:
            number += 1
            unique = f"{name}_{number}"
        found[unique] = None
    return list(found)


def _text(value: Any) -> str:
    if value is None or value != value:
        return ""
    return _decoded(value) if isinstance(value, bytes) else str(value)
