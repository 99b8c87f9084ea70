"""Files of molecules in space: `.sdf`, `.mol`, `.mol2` and `.xyz`. An item that is read is the text of one entry.

Nothing here looks at the chemistry of an entry, which happens in a worker; an entry keeps its place whatever is wrong
with it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain, islice
from typing import IO, Any

import numpy as np

from molgen.data import delimited as tables
from molgen.data.delimited import cell
from molgen.domain import Invalid, Record
from molgen.errors import UsageError
from molgen_plugins.molecules.geometry import xyz
from molgen_plugins.molecules.geometry.conformer import Conformer

Row = Mapping[str, Any]

#: Lines of one entry, and characters of a bad one that a record shows.
MOST_LINES, SHOWN = 100_000, 1000
#: Entries that are looked at for the names of their columns; a later entry has no others.
NAMED_BY = 256
#: Columns that say what an entry is, so they are not columns of it again when it is read.
ITEM_COLUMNS = ("smiles", "as_generated")
_END, _MOL2, _FIELD = "$$$$", "@<TRIPOS>MOLECULE", ">"


def read(stream: IO[bytes], name: str, kind: str) -> Iterator[Record]:
    """The entries of a file in their order, with its data fields as columns; a title is the column `name`.

    Raises:
        UsageError: the file is empty.
    """
    entries = _SPLIT[kind](line.text.rstrip("\r") for line in tables.lines(stream, name))
    found = (_READ[kind](lines) for lines in entries)
    first = list(islice(found, NAMED_BY))
    names = dict.fromkeys(column for _, columns in first for column in columns)
    for row, (item, columns) in enumerate(chain(first, found)):
        text = item if isinstance(item, str) else item.reason
        yield Record(row, item, {column: columns.get(column, "") for column in names}, text[:SHOWN])


# --- into entries -----------------------------------------------------------------------------------


class _Entry(list[str]):
    """The lines of an entry, of which no more are kept than show that it is too long."""

    def append(self, line: str) -> None:
        if len(self) <= MOST_LINES:
            super().append(line)


def _sdf_entries(lines: Iterable[str]) -> Iterator[list[str]]:
    entry = _Entry()
    for line in lines:
        if line.startswith(_END):
            yield entry
            entry = _Entry()
        else:
            entry.append(line)
    if any(line.strip() for line in entry):
        yield entry


def _mol2_entries(lines: Iterable[str]) -> Iterator[list[str]]:
    entry, begun = _Entry(), False
    for line in lines:
        if line.startswith(_MOL2):
            if begun:
                yield entry
                entry = _Entry()
            begun = True
        entry.append(line)
    if entry:
        yield entry


def _xyz_entries(lines: Iterable[str]) -> Iterator[list[str]]:
    """By the count in the first line of each; what follows a broken one is looked for at the next line with a count."""
    entry, missing = _Entry(), 0
    for line in lines:
        count = None if missing else xyz.atom_count(line)
        if count is not None:
            if entry:
                yield entry
            entry, missing = _Entry([line]), count + 1
        elif missing:
            entry.append(line)
            missing -= 1
        elif line.strip():
            entry.append(line)
    if entry:
        yield entry


# --- an entry ---------------------------------------------------------------------------------------

Entry = tuple[str | Invalid, dict[str, str]]


def _sdf(lines: list[str]) -> Entry:
    end = next((place for place, line in enumerate(lines) if line.startswith("M  END")), len(lines) - 1)
    title = " ".join(lines[0].split()) if lines else ""
    columns = {"name": title} if title else {}
    return _item(lines[: end + 1]), columns | _data_fields(lines[end + 1 :])


def _data_fields(lines: Sequence[str]) -> dict[str, str]:
    fields: dict[str, list[str]] = {}
    current: list[str] | None = None
    for line in lines:
        if line.startswith(_FIELD) and "<" in line:
            current = fields.setdefault(line.partition("<")[2].rpartition(">")[0].strip(), [])
        elif current is not None:
            current.append(line)
    return {name: "\n".join(text).strip() for name, text in fields.items() if name not in ITEM_COLUMNS}


def _mol2(lines: list[str]) -> Entry:
    start = next((place for place, line in enumerate(lines) if line.startswith(_MOL2)), 0)
    title = " ".join(lines[start + 1].split()) if len(lines) > start + 1 else ""
    return _item(lines[start:]), {"name": title} if title else {}


def _xyz(lines: list[str]) -> Entry:
    columns = xyz.columns(lines[1]) if len(lines) > 1 else {}
    return _item(lines), {name: value for name, value in columns.items() if name not in ITEM_COLUMNS}


def _item(lines: Sequence[str]) -> str | Invalid:
    if len(lines) > MOST_LINES:
        return Invalid(f"an entry of more than {MOST_LINES:,} lines")
    return "\n".join([*lines, ""])


_SPLIT: Mapping[str, Callable[[Iterable[str]], Iterator[list[str]]]] = {
    "sdf": _sdf_entries,
    "mol2": _mol2_entries,
    "xyz": _xyz_entries,
}
_READ: Mapping[str, Callable[[list[str]], Entry]] = {"sdf": _sdf, "mol2": _mol2, "xyz": _xyz}
#: The kinds of files that are read, and those that are written too.
KINDS, WRITTEN = tuple(_READ), ("sdf", "xyz")


# --- writing ----------------------------------------------------------------------------------------


def write(rows: Iterable[Row], stream: IO[bytes], kind: str) -> int:
    """Write an entry for each row and return the count; the other values of the row are its data fields.

    A row without an item has the atoms that a model drew, where it drew some, and no atom otherwise. In a `.sdf` file a
    SMILES string without positions becomes a drawing; in an `.xyz` file there is no place for it.

    Raises:
        UsageError: a row has no positions, and the file needs them.
    """
    count = 0
    for row in rows:
        stream.write(_WRITE[kind](row, count).encode(errors="backslashreplace"))
        count += 1
    return count


def _shown(row: Row) -> str | None:
    """What there is to show of a row: its item, or else what a model drew."""
    return next((row[name] for name in ITEM_COLUMNS if row.get(name) is not None), None)


def _fields(row: Row) -> dict[str, str]:
    values = {name: cell(value) for name, value in row.items() if name != "name" and name not in ITEM_COLUMNS}
    item = row.get("smiles")
    origin = getattr(item, "origin", "")
    return {**({"smiles": str(item)} if item else {}), **({"positions": origin} if origin else {}), **values}


def _sdf_text(row: Row, number: int) -> str:
    from molgen_plugins.molecules.io.molblock import molblock

    title = " ".join(cell(row.get("name")).split())
    block = molblock(_shown(row), title[:80])
    fields = "".join(f">  <{name}>\n{value}\n\n" for name, value in _fields(row).items() if value.strip())
    return f"{block}{fields}{_END}\n"


def _xyz_text(row: Row, number: int) -> str:
    item = _shown(row)
    title = " ".join(cell(row.get("name")).split())
    fields = {name: value for name, value in {"name": title, **_fields(row)}.items() if value.strip()}
    if isinstance(item, Conformer):
        charge = int(item.charges.sum())
        return xyz.written(item.elements, item.positions, fields | ({"charge": str(charge)} if charge else {}))
    if item is not None:
        raise UsageError(f"an .xyz file needs positions, which row {number} lacks; write .sdf, .smi or .csv")
    return xyz.written(np.zeros(0, np.uint8), np.zeros((0, 3)), fields)


_WRITE: Mapping[str, Callable[[Row, int], str]] = {"sdf": _sdf_text, "xyz": _xyz_text}
