"""Files of latents: rows of named values with an array each, as arrays, Parquet or a table.

Letters in shapes: N rows, D numbers of a latent.
"""

from __future__ import annotations

import codecs
import csv
import gzip
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import IO, Any, cast

import numpy as np

from molgen.atomic_files import replaced_file
from molgen.errors import UsageError

Row = Mapping[str, Any]

#: Rows of a Parquet file that are written together.
CHUNK = 4096
PLAIN = (str, bool, int, float, type(None))


class LatentFile:
    """Writes rows whose latents, float32 (D,), stand in one column; what is neither text nor number is left out.

    In `.npz` each column is an array, the latents one of shape (N, D) with NaN where a row has none. In `.parquet`
    they are a column of lists, in `.csv` (also gzipped) a column for each number.

    Args:
        column: that of the latents.
        width: D.
    """

    def __init__(self, column: str, width: int) -> None:
        self.column, self.width = column, width
        self._formats: dict[str, Callable[[Iterator[Row], IO[bytes]], int]] = {
            "npz": self._npz,
            "parquet": self._parquet,
            "csv": self._csv,
        }

    def write(self, rows: Iterable[Row], target: str | Path | IO[bytes], *, format: str | None = None) -> int:
        """Write all rows and return their count; a file appears whole or not at all.

        Raises:
            UsageError: there is no such format.
        """
        name = (format or str(target)).lower()
        stem = name.removesuffix(".gz")
        kind = stem.rpartition(".")[2]
        if kind not in self._formats or (stem != name and kind != "csv"):
            raise UsageError(f"latents are not written as {name!r}: name a .npz, .parquet, .csv or .csv.gz file")
        with _opened(target, compressed=stem != name) as stream:
            return self._formats[kind](iter(rows), stream)

    def _npz(self, rows: Iterator[Row], stream: IO[bytes]) -> int:
        columns: dict[str, list[Any]] = {}
        latents: list[np.ndarray] = []
        for row in rows:
            for name, value in self._plain(row).items():
                columns.setdefault(name, []).append(value)
            latents.append(self._latent(row))
        arrays = {name: _array(values) for name, values in columns.items() if len(values) == len(latents)}
        arrays[self.column] = np.stack(latents) if latents else np.zeros((0, self.width), np.float32)
        # Not by `numpy.savez`, which takes names for arguments of its own.
        with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, array in arrays.items():
                with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                    np.lib.format.write_array(member, array, allow_pickle=False)
        return len(latents)

    def _parquet(self, rows: Iterator[Row], stream: IO[bytes]) -> int:
        import pyarrow as pa
        from pyarrow import parquet as pq

        chunk, count = list(islice(rows, CHUNK)), 0
        plain = [self._plain(row) for row in chunk]
        types = {name: pa.array([row.get(name) for row in plain]).type for name in (plain[0] if plain else ())}
        fields = [(name, pa.string() if pa.types.is_null(kind) else kind) for name, kind in types.items()]
        schema = pa.schema([*fields, (self.column, pa.list_(pa.float32(), self.width))])
        with pq.ParquetWriter(stream, schema) as writer:
            while chunk:
                plain = [self._plain(row) for row in chunk]
                arrays = [pa.array([row.get(name) for row in plain], kind) for name, kind in fields]
                arrays.append(pa.array([row.get(self.column) for row in chunk], schema.field(self.column).type))
                writer.write_batch(pa.record_batch(arrays, schema=schema))
                count += len(chunk)
                chunk = list(islice(rows, CHUNK))
        return count

    def _csv(self, rows: Iterator[Row], stream: IO[bytes]) -> int:
        text = csv.writer(codecs.getwriter("utf-8")(stream, "backslashreplace"), lineterminator="\n")
        count = 0
        for row in rows:
            plain = self._plain(row)
            if not count:
                text.writerow([*plain, *(f"{self.column}_{k}" for k in range(self.width))])
            latent = row.get(self.column)
            numbers = [""] * self.width if latent is None else [f"{number:.7g}" for number in latent]
            text.writerow([*("" if value is None else value for value in plain.values()), *numbers])
            count += 1
        return count

    def _plain(self, row: Row) -> dict[str, Any]:
        return {name: value for name, value in row.items() if name != self.column and isinstance(value, PLAIN)}

    def _latent(self, row: Row) -> np.ndarray:
        latent = row.get(self.column)
        return np.full(self.width, np.nan, np.float32) if latent is None else latent


@contextmanager
def _opened(target: str | Path | IO[bytes], *, compressed: bool) -> Iterator[IO[bytes]]:
    if not isinstance(target, str | Path):
        yield target
        return
    with replaced_file(Path(target)) as temporary, temporary.open("wb") as raw:
        if not compressed:
            yield raw
            return
        with gzip.GzipFile("", "wb", fileobj=raw, mtime=0) as stream:
            yield cast("IO[bytes]", stream)


def _array(values: list[Any]) -> np.ndarray:
    """Numbers where all are, with NaN for None, else text with nothing for None."""
    if all(isinstance(value, bool | int | float | None) for value in values):
        whole = all(isinstance(value, bool | int) for value in values)
        return np.array(values) if whole else np.array([np.nan if v is None else v for v in values], np.float64)
    return np.array(["" if value is None else str(value) for value in values])
