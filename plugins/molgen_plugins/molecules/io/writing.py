"""Rows of named values as files, written as the rows come."""

from __future__ import annotations

import codecs
import csv
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import IO, Any

from molgen.errors import UsageError

Row = Mapping[str, Any]

#: Rows of a Parquet file that are written together.
_BATCH = 4096


def smi(rows: Iterable[Row], stream: IO[bytes]) -> int:
    """Write the SMILES of each row and, behind a tab, its name if it has one; return the count."""
    count = 0
    for row in rows:
        if "smiles" not in row:
            raise UsageError(f"a .smi file needs the column smiles, which row {count} lacks")
        smiles, name = (" ".join(_cell(row.get(column)).split()) for column in ("smiles", "name"))
        line = smiles if smiles and not name else f"{smiles}\t{name}"
        stream.write(f"{line}\n".encode(errors="backslashreplace"))
        count += 1
    return count


def delimited(rows: Iterable[Row], stream: IO[bytes], delimiter: str) -> int:
    """Write a table with a header; return the count of rows."""
    text = csv.writer(codecs.getwriter("utf-8")(stream, "backslashreplace"), delimiter=delimiter, lineterminator="\n")
    columns: list[str] | None = None
    count = 0
    for row in rows:
        if columns is None:
            columns = list(row)
            text.writerow(columns)
        _require_known(row, columns, count)
        text.writerow([_cell(row.get(column)) for column in columns])
        count += 1
    return count


def parquet(rows: Iterable[Row], stream: IO[bytes]) -> int:
    """Write a Parquet file; the first rows decide the type of each column. Return the count of rows.

    Raises:
        UsageError: a value does not fit the type of its column.
    """
    import pyarrow as pa
    from pyarrow import parquet as pq

    batches = _batches(iter(rows))
    first = next(batches, [])
    columns = list(first[0]) if first else []
    schema = pa.schema([(column, _type(first, column)) for column in columns])
    count = 0
    with pq.ParquetWriter(stream, schema) as writer:
        while first:
            writer.write_batch(_record_batch(first, schema, count))
            count += len(first)
            first = next(batches, [])
    return count


def _batches(rows: Iterator[Row]) -> Iterator[list[Row]]:
    while batch := list(islice(rows, _BATCH)):
        yield batch


def _type(rows: list[Row], column: str) -> Any:
    import pyarrow as pa

    try:
        found = pa.array([row.get(column) for row in rows]).type
    except pa.ArrowException:
        raise UsageError(f"column {column!r} mixes values of several types, for example text and numbers") from None
    return pa.string() if pa.types.is_null(found) else found


def _record_batch(rows: list[Row], schema: Any, start: int) -> Any:
    import pyarrow as pa

    for number, row in enumerate(rows, start):
        _require_known(row, schema.names, number)
    arrays = []
    for field in schema:
        try:
            arrays.append(pa.array([row.get(field.name) for row in rows], field.type))
        except pa.ArrowException as error:
            end = start + len(rows) - 1
            raise UsageError(
                f"column {field.name!r} holds {field.type}, but rows {start} to {end} do not fit: {error}"
            ) from error
    return pa.record_batch(arrays, schema=schema)


def _require_known(row: Row, columns: list[str], number: int) -> None:
    unknown = [name for name in row if name not in columns]
    if unknown:
        raise UsageError(f"row {number} has the column {unknown[0]!r}, which the first row has not")


def _cell(value: Any) -> str:
    """A value as text; None and NaN are empty."""
    return "" if value is None or value != value else str(value)
