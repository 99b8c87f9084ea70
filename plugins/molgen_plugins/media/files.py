"""Items of a kind in users' files: folders, `.zip` archives, `.csv` tables, single files, and formats of several items.

Nothing here decodes an item: a row that comes from a file of its own holds its bytes. A row keeps its place whatever is
wrong with it.
"""

from __future__ import annotations

import gzip
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import IO, Any, NamedTuple, cast

from molgen.data.content import opened
from molgen.data.tables import name_of, opened_to_write
from molgen.domain import Record
from molgen.errors import UnknownFormat, UsageError
from molgen_plugins.media import reading, writing
from molgen_plugins.media.containers import Archive, Folder, seekable
from molgen_plugins.media.kind import Encoding, Kind

Source = str | Path | IO[bytes]
Rows = Iterable[Mapping[str, Any]]
#: The rows of a file that holds several items: its stream, what to call it, the column of the items, and where it lies.
Several = Callable[[IO[bytes], str, str | None, Source], Iterator[Record]]
_DAMAGED = (EOFError, zlib.error, zipfile.BadZipFile, gzip.BadGzipFile)
#: Entries of a folder, or of an archive, that are looked at for an item.
_ENTRIES = 1000
#: Bytes of a table that are looked at for its columns.
_HEADER = 1 << 16


class Format(NamedTuple):
    """How items lie in a file: folder, zip, csv, file (a single one) or a format of several, and whether gzipped.

    Attributes:
        kind: one of these.
        compressed: whether gzipped.
        encoding: of each item, by the ending of its file; empty for the usual one.
    """

    kind: str
    compressed: bool = False
    encoding: str = ""


@dataclass(frozen=True)
class Files:
    """How items of one kind are read and written.

    Attributes:
        things: the kind.
        encodings: what items are written as, the usual one first; all but that are formats of folders too.
        several: formats of files that hold several items, by name.
        endings: which of them the ending of a name stands for, beside its own.
        written: those that are written too.
        gzipped: formats that may be gzipped when they are read.
        listed: the formats that are read, and the files that are written, for people.
    """

    things: Kind
    encodings: tuple[Encoding, ...]
    several: Mapping[str, Several] = field(default_factory=dict)
    endings: Mapping[str, str] = field(default_factory=dict)
    written: Mapping[str, Callable[[Rows, IO[bytes]], int]] = field(default_factory=dict)
    gzipped: tuple[str, ...] = ("csv",)
    listed: tuple[str, str] = ("", "")

    def find_format(self, source: Source, format: str | None = None) -> Format:
        """The format that `format` names for reading, as in "zip"; without it, a folder or the ending of a name.

        Raises:
            UnknownFormat: there is no such format, or none can be told from the name.
            UsageError: the format cannot be gzipped.
        """
        if format is None and isinstance(source, str | Path) and Path(source).is_dir():
            return Format("folder")
        name = (format or name_of(source)).lower()
        stem = name.removesuffix(".gz")
        kind = self._read_kind(stem)
        if kind is None:
            raise UnknownFormat(name, f"{self.listed[0]}, or a folder")
        if stem != name and kind not in self.gzipped:
            raise UsageError(f"{name}: of {self.things.plural}, only {', '.join(self.gzipped)} may be gzipped")
        return Format(kind, compressed=stem != name)

    def _read_kind(self, stem: str) -> str | None:
        ending = reading.ending(stem)
        if ending in ("zip", "csv", "folder", *self.several):
            return ending
        if ending in self.things.endings:
            return "file"
        return next((kind for own, kind in self.endings.items() if stem.endswith(own)), None)

    def written_format(self, target: Source, format: str | None = None) -> Format:
        """The format that `format` names for writing; without it, the ending of a name, and a folder if it has none.

        Raises:
            UsageError: no such format is written.
        """
        name = (format or name_of(target)).lower()
        stem = name.removesuffix(".gz")
        last = stem.replace("\\", "/").rpartition("/")[2]
        ending = last.rpartition(".")[2] if "." in last else ""
        kind = self._written_kind(ending) if ending else self._written_kind(last) or "folder"
        if kind is None or (kind == "folder" and ending):
            raise UsageError(f"{self.things.plural} are not written as {name!r}: name {self.listed[1]} file")
        if stem != name and kind != "csv":
            raise UsageError(f"{name}: of {self.things.plural}, only csv is written gzipped")
        encoding = last if last in {one.ending for one in self.encodings[1:]} else ""
        return Format(kind, stem != name, encoding)

    def _written_kind(self, name: str) -> str | None:
        if name in {one.ending for one in self.encodings}:
            return "folder"
        return name if name in ("folder", "zip", "csv", *self.written) else None

    # --- reading ------------------------------------------------------------------------------------

    def recognises(self, path: Path) -> bool:
        """Whether a file or folder seems to hold such items, by its ending and by the names in it."""
        if path.is_dir():
            return any(self._is_entry(one.name) for one in islice(path.rglob("*"), _ENTRIES))
        name = path.name.lower()
        kind = self._read_kind(name.removesuffix(".gz")) if path.is_file() else None
        if kind == "zip":
            with path.open("rb") as stream:
                return any(map(self._is_entry, Archive(stream, name).names()[:_ENTRIES]))
        if kind == "csv":
            with self._opened(path, Format("csv")) as stream:
                names = stream.readline(_HEADER).decode("latin-1").strip().lower().replace('"', "").split(",")
                return self.things.column in names
        return kind not in (None, "folder")

    def _is_entry(self, name: str) -> bool:
        return reading.ending(name) in (*self.things.endings, *self.things.arrays)

    def read(self, source: Source, *, format: str | None = None, column: str | None = None) -> Iterator[Record]:
        """The rows of a folder, a file or an open binary stream, in their order, as they are read.

        Folders and archives: each file of an item below is a row, in the order of the paths; hidden files are none. The
        column `file` is the path, and `label` the first folder of the path, where there are folders. A file
        `index.csv` at the top is read instead, if there is one. Files of several items give their rows in their place.

        Tables: a column holds paths below the table's folder, or data URIs. A row is one line.

        Args:
            source: a path, or a stream, which stays open.
            format: as for `find_format`.
            column: of a table, or the name of an array, that holds the items; found by its usual names without it.

        Raises:
            UsageError: the file is missing, empty or damaged, or has no such column; from the first row on,
                not at the call.
        """
        name = name_of(source)
        try:
            if isinstance(source, str | Path):
                Path(source).stat()  # says that it is missing before its format is looked for
            yield from self._records(source, self.find_format(source, format), name, column)
        except _DAMAGED as error:
            raise UsageError(f"{name} is damaged: {error}") from error
        except OSError as error:
            raise UsageError(f"{name}: {error.strerror or error}") from error

    def _records(self, source: Source, form: Format, name: str, column: str | None) -> Iterator[Record]:
        if form.kind == "folder":
            if not isinstance(source, str | Path):
                raise UnknownFormat("a stream, which holds no folder", "zip")
            yield from reading.container(self.things, Folder(Path(source)), column)
            return
        with self._opened(source, form) as stream:
            if form.kind == "csv":
                place = Folder(Path(source).parent) if isinstance(source, str | Path) else None
                yield from reading.table(self.things, stream, name, column, place)
            elif form.kind == "zip":
                yield from reading.container(self.things, Archive(stream, name), column)
            elif form.kind in self.several:
                yield from self.several[form.kind](stream, name, column, source)
            else:
                yield from reading.single(stream, name)

    @contextmanager
    def _opened(self, source: Source, form: Format) -> Iterator[IO[bytes]]:
        if form.kind not in self.gzipped:
            with seekable(source) as stream:
                yield stream
            return
        with opened(source) as (_, stream):
            yield stream

    # --- writing ------------------------------------------------------------------------------------

    def write(self, rows: Rows, target: Source, *, format: str | None = None) -> int:
        """Write rows of named values and return their count.

        The item of a row is in the first of the columns `Kind.forms` that has one; a row without one keeps its place.
        The names of the first row are the columns; None and NaN are empty cells.

        - folder, zip: files named by the number of the row, and `index.csv` with the other columns. A folder is
          written as a zip archive where the target is a stream.
        - csv: a table with a column of data URIs.

        What is written appears whole at the end or not at all.

        Args:
            rows: the rows, all with the names of the first one or fewer.
            target: a path, or an open binary stream, which stays open.
            format: as for `written_format`.

        Raises:
            UsageError: the format is not written, a row does not fit the others, or the folder holds other files.
        """
        form = self.written_format(target, format)
        encoding = next((one for one in self.encodings if one.ending == form.encoding), self.encodings[0])
        if form.kind == "folder" and isinstance(target, str | Path):
            return writing.folder(self.things, encoding, rows, Path(target))
        with opened_to_write(target) as stream:
            if not form.compressed:
                return self._written(form.kind, encoding, rows, stream)
            with gzip.GzipFile(filename="", mode="wb", fileobj=stream, mtime=0) as compressed:
                return self._written(form.kind, encoding, rows, cast(IO[bytes], compressed))

    def _written(self, kind: str, encoding: Encoding, rows: Rows, stream: IO[bytes]) -> int:
        if kind in self.written:
            return self.written[kind](rows, stream)
        return (writing.table if kind == "csv" else writing.archive)(self.things, encoding, rows, stream)
