"""The rows of users' files, whatever is wrong with them. Rows are numbered from 0, without the header."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import IO

from molgen.data import delimited as tables
from molgen.data.delimited import LINE_LIMIT
from molgen.domain import Invalid, Record
from molgen.errors import UsageError

#: Characters of a bad row that a record shows.
SHOWN = 1000
#: Usual names of the column with the SMILES, the best first.
_USUAL = ("smiles", "canonical_smiles", "isomeric_smiles", "smi", "smile", "structure", "mol", "molecule")

_SMI = re.compile(r" *([^ \t]*)[ \t]*(?:\|[^|]*\|)?[ \t]*(.*)", re.DOTALL)
_EXTENSION = re.compile(r"\s+\|[^|]*\|$")


def smi(stream: IO[bytes], name: str) -> Iterator[Record]:
    """The rows of a `.smi` file: a SMILES string, then its name behind a tab or spaces.

    Lines that begin with `#` are comments, and a first line that begins with a usual name of the SMILES column is a
    header: neither is a row.
    """
    row, first = 0, True
    for line in tables.lines(stream, name):
        if line.text.startswith("#"):
            continue
        heading, first = first and is_header(line.text), False
        if not heading:
            yield _smi_record(row, line)
            row += 1


def is_header(line: str) -> bool:
    """Whether a line of a `.smi` file names its columns."""
    return not line.startswith(" ") and _plain(re.split(r"[ \t,;]", line, maxsplit=1)[0]) in _USUAL


def is_table(head: bytes) -> bool:
    """Whether a text that begins like this is a table with a usual name of the SMILES column, and no `.smi` file."""
    line = next((line for line in head.decode("latin-1").splitlines() if line.strip()), "")
    names = re.split("[,;\t]", line.replace('"', ""))
    return len(names) > 1 and any(_plain(name) in _USUAL for name in names)


def _smi_record(row: int, line: tables.Line) -> Record:
    if not line.whole:
        return bad(row, line.text, tables.too_long(LINE_LIMIT))
    match = _SMI.match(line.text.rstrip("\r"))
    smiles, title = match.groups() if match else ("", "")
    return record(row, smiles, {"name": title.strip()})


class _SmilesTable(tables.Table):
    """A table in which the extension of a SMILES string (CXSMILES) may have commas and no quotes around it."""

    def rejoined(self, cells: list[str]) -> list[str]:
        """The cells, with such an extension in one."""
        place, over = self.place, len(cells) - len(self.names)
        if over <= 0 or not cells[place].count("|") % 2:
            return cells
        bars = 0
        for end in range(place, place + over + 1):
            bars += cells[end].count("|")
            if not bars % 2:
                break
        return [*cells[:place], self.delimiter.join(cells[place : end + 1]), *cells[end + 1 :]]


def delimited(stream: IO[bytes], name: str, column: str | None, delimiter: str) -> Iterator[Record]:
    """The rows of a table with a header; other delimiters than the usual one are noticed in the header.

    Raises:
        UsageError: it is empty, or has no column of SMILES.
    """
    delimiters = delimiter + ",;\t".replace(delimiter, "")
    table = _SmilesTable(stream, name, lambda names: find(names, column, name), delimiters)
    for row, found in enumerate(table.rows()):
        if found.problem:
            yield bad(row, found.text, found.problem, table.names, table.place)
        else:
            yield record(row, *split(found.cells, table.names, table.place))


def split(cells: Sequence[str], names: Sequence[str], place: int) -> tuple[str, dict[str, str]]:
    """The SMILES, and the other columns by name."""
    columns = dict(zip(names, cells, strict=True))
    return columns.pop(names[place]), columns


def record(row: int, cell: str, columns: Mapping[str, str]) -> Record:
    """The row of a cell that holds a SMILES string, with an extension or without."""
    smiles = _EXTENSION.sub("", cell.strip()) if "|" in cell else cell.strip()
    if not smiles:
        return Record(row, Invalid("there is no SMILES in this row"), columns, cell[:SHOWN])
    if "\0" in smiles:
        return Record(row, Invalid("there is a NUL byte in the SMILES"), columns, cell[:SHOWN])
    return Record(row, smiles, columns, cell)


def bad(row: int, text: str, reason: str, names: Sequence[str] = ("", "name"), place: int = 0) -> Record:
    """A row that cannot be read."""
    return Record(row, Invalid(reason), split([""] * len(names), names, place)[1], text[:SHOWN])


def find(names: Sequence[str], column: str | None, file: str) -> int:
    """The place of the SMILES column: the one asked for, or the best of the usual names.

    Raises:
        UsageError: there is none.
    """
    if column is not None and column in names:
        return list(names).index(column)
    plain = [_plain(name) for name in names]
    for wanted in _USUAL if column is None else (_plain(column),):
        if wanted in plain:
            return plain.index(wanted)
    listed = ", ".join(name[:100] for name in names[:20]) + (", …" if len(names) > 20 else "")
    wish = "no SMILES column" if column is None else f"no column {column!r}"
    raise UsageError(f"{file} has {wish} among {listed}: name the column with the SMILES")


def _plain(name: str) -> str:
    return name.strip().lower().replace(" ", "_").replace("-", "_")
