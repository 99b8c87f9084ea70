"""Rows of named values as text files, written as the rows come."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import IO, Any

from molgen.data.delimited import TableWriter, cell
from molgen.errors import UsageError
from molgen_plugins.molecules.io.reading import is_header

Row = Mapping[str, Any]


def smi(rows: Iterable[Row], stream: IO[bytes]) -> int:
    """Write the SMILES of each row and, behind a tab, its name if it has one; return the count."""
    count = 0
    for row in rows:
        if "smiles" not in row:
            raise UsageError(f"a .smi file needs the column smiles, which row {count} lacks")
        smiles, name = (" ".join(cell(row.get(column)).split()) for column in ("smiles", "name"))
        if smiles.startswith("#") or is_header(smiles):
            smiles = f" {smiles}"  # which is no comment and no header
        line = smiles if smiles and not name else f"{smiles}\t{name}"
        stream.write(f"{line}\n".encode(errors="backslashreplace"))
        count += 1
    return count


def delimited(rows: Iterable[Row], stream: IO[bytes], delimiter: str) -> int:
    """Write a table with a header; return the count of rows."""
    table = TableWriter(stream, delimiter)
    for row in rows:
        table.add(row)
    return table.count
