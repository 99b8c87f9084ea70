"""Rows as Parquet files, in bounded memory both ways."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import IO, Any

from molgen.data.delimited import LINE_LIMIT, cell, decoded, distinct, require_known
from molgen.domain import Invalid, Record
from molgen.errors import UsageError
from molgen_plugins.molecules.io.parquet_pages import pages
from molgen_plugins.molecules.io.reading import SHOWN, find, record, split

Row = Mapping[str, Any]

#: Rows that are read, and written, together.
_READ, _WRITTEN = 1024, 4096
_TOO_LARGE = f"a cell is longer than {LINE_LIMIT} characters"
#: The most bytes of a page, and of one page of each column.
PAGE_LIMIT, PAGES_LIMIT = 256 << 20, 1 << 30
#: Whole numbers beyond it are not exact as floating-point numbers.
_EXACT = 2**53


def read(stream: IO[bytes], name: str, column: str | None) -> Iterator[Record]:
    """The rows of a Parquet file, with the other columns as text.

    Columns of text stay as numbers of distinct values, so that a small file of large repetitions does not unfold.

    Raises:
        UsageError: it is damaged, or has no column of SMILES.
    """
    import pyarrow as pa
    from pyarrow import parquet as pq

    try:
        schema = pq.read_schema(stream)
        texts = [one.name for one in schema if _is_text(one.type)]
        stream.seek(0)
        file = pq.ParquetFile(stream, read_dictionary=texts)
        _require_small_pages(stream, name)
        names = distinct([" ".join(name.split()) for name in schema.names])
        place, row = find(names, column, name), 0
        for batch in file.iter_batches(batch_size=_READ):
            for values in zip(*(_values(array) for array in batch.columns), strict=True):
                yield _record(row, values, names, place)
                row += 1
    except (pa.ArrowException, OSError, ValueError) as error:
        reason = (str(error).splitlines() or ["damaged"])[0]
        raise UsageError(f"{name} is not a whole Parquet file: {reason}") from error


def _require_small_pages(stream: IO[bytes], name: str) -> None:
    """See that the pages of a file, of which one of each column is in memory, do not unfold to more than fits.

    Raises:
        UsageError: they do.
        ValueError: the header of one is damaged.
    """
    largest: dict[str, int] = {}
    for column, size in pages(stream):
        largest[column] = max(size, largest.get(column, 0))
        if size > PAGE_LIMIT or sum(largest.values()) > PAGES_LIMIT:
            what = (
                f"a page of the column {column!r} unfolds" if size > PAGE_LIMIT else "the pages of all columns unfold"
            )
            raise UsageError(
                f"{name}: {what} to more than {PAGE_LIMIT if size > PAGE_LIMIT else PAGES_LIMIT:,} bytes, which are "
                "read at once; write the file with smaller pages or row groups"
            )


def _is_text(kind: Any) -> bool:
    import pyarrow as pa

    return any(test(kind) for test in (pa.types.is_string, pa.types.is_large_string, pa.types.is_binary))


def _values(array: Any) -> list[str]:
    """The values of a column as text; equal ones of a dictionary are one object."""
    import pyarrow as pa
    from pyarrow import compute

    if isinstance(array, pa.DictionaryArray):
        known = [*_values(array.dictionary), ""]
        ends = compute.min_max(array.indices).as_py()
        if (ends["min"] or 0) < 0 or (ends["max"] or 0) >= max(len(known) - 1, 1):
            raise pa.ArrowInvalid("a value is not in the dictionary of its column")
        return [known[-1 if index is None else index] for index in array.indices.to_pylist()]
    try:
        return [_text(value) for value in array.to_pylist()]
    except UnicodeDecodeError:  # text in another encoding
        return [_text(value) for value in array.cast(pa.large_binary()).to_pylist()]
    except (ValueError, OverflowError):  # dates that Python has not
        return [_text(value) for value in _shown(array)]


def _shown(array: Any) -> list[Any]:
    """The values as Arrow writes them; of nested ones, those that Python has."""
    import pyarrow as pa

    try:
        return array.cast(pa.string()).to_pylist()
    except pa.ArrowException:
        return [_attempt(value) for value in array]


def _attempt(value: Any) -> Any:
    try:
        return value.as_py()
    except (ValueError, OverflowError):
        return None


def _text(value: Any) -> str:
    text = decoded(value) if isinstance(value, bytes) else cell(value)
    return text if len(text) <= LINE_LIMIT else text[: LINE_LIMIT + 1]


def _record(row: int, values: Sequence[str], names: Sequence[str], place: int) -> Record:
    if any(len(value) > LINE_LIMIT for value in values):
        columns = split([value if len(value) <= LINE_LIMIT else "" for value in values], names, place)[1]
        return Record(row, Invalid(_TOO_LARGE), columns, values[place][:SHOWN])
    return record(row, *split(values, names, place))


# --- writing --------------------------------------------------------------------------------------


def write(rows: Iterable[Row], stream: IO[bytes]) -> int:
    """Write a Parquet file whose columns have types that fit all rows; return the count of rows.

    Whole numbers among others become floating-point numbers, and values of several kinds text. The rows wait in a
    temporary file until the last one has been seen.

    Raises:
        UsageError: a row has a column that the first one has not.
    """
    with tempfile.TemporaryFile() as file:
        spool, source = _Spool(file), iter(rows)
        while chunk := list(islice(source, _WRITTEN)):
            spool.add(chunk)
        spool.write(stream)
    return spool.count


class _Spool:
    """Rows in portions that each have the types of their own values."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file, self._sizes = file, list[int]()
        self._kinds: dict[str, set[str]] = {}
        self.count = 0

    def add(self, rows: Sequence[Row]) -> None:
        """Append some rows."""
        import pyarrow as pa

        if not self.count:
            self._kinds = {name: set() for name in rows[0]}
        for number, row in enumerate(rows, self.count):
            require_known(row, self._kinds, number)
        arrays = [_array([row.get(name) for row in rows]) for name in self._kinds]
        for kinds, array in zip(self._kinds.values(), arrays, strict=True):
            kinds.add(_kind(array))
        batch = pa.RecordBatch.from_arrays(arrays, names=list(self._kinds))
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, batch.schema) as writer:
            writer.write_batch(batch)
        self._sizes.append(self._file.write(sink.getvalue()))
        self.count += len(rows)

    def write(self, stream: IO[bytes]) -> None:
        """Write all of them with the types that fit them all."""
        import pyarrow as pa
        from pyarrow import parquet as pq

        schema = pa.schema([(name, _type(kinds)) for name, kinds in self._kinds.items()])
        self._file.seek(0)
        with pq.ParquetWriter(stream, schema) as writer:
            for size in self._sizes:
                batch = pa.ipc.open_stream(self._file.read(size)).read_next_batch()
                arrays = [_as(array, field.type) for array, field in zip(batch.columns, schema, strict=True)]
                writer.write_batch(pa.RecordBatch.from_arrays(arrays, schema=schema))


def _array(values: list[Any]) -> Any:
    """Values as Arrow has them where all are of one kind, else as text."""
    import pyarrow as pa

    try:
        return pa.array(values)
    except (pa.ArrowException, OverflowError, UnicodeError):
        return _texts(values)


def _texts(values: list[Any]) -> Any:
    import pyarrow as pa

    texts = [None if value is None or value != value else str(value) for value in values]
    return pa.array([t and t.encode(errors="backslashreplace").decode() for t in texts], pa.string())


def _kind(array: Any) -> str:
    """The name of a type; whole numbers that floating-point ones do not hold are `wide`."""
    import pyarrow as pa
    from pyarrow import compute

    if not pa.types.is_integer(array.type):
        return str(array.type)
    ends = compute.min_max(array).as_py()
    return "wide" if max(abs(ends["min"] or 0), abs(ends["max"] or 0)) > _EXACT else "int64"


def _type(kinds: set[str]) -> Any:
    """The type that holds values of all kinds."""
    import pyarrow as pa

    kinds = kinds - {"null"}
    if kinds <= {"int64", "wide"} and kinds:
        return pa.int64()
    if kinds <= {"int64", "double"} and kinds:
        return pa.float64()
    return pa.bool_() if kinds == {"bool"} else pa.string()


def _as(array: Any, kind: Any) -> Any:
    import pyarrow as pa

    if pa.types.is_string(kind) and not pa.types.is_null(array.type):
        return array if pa.types.is_string(array.type) else _texts(array.to_pylist())
    return array.cast(kind)
