"""Users' sounds: folders, `.zip` archives, `.csv` tables and single files.

Nothing here decodes a sound: a row holds the bytes of its file. A row keeps its place whatever is wrong with it.
"""

from __future__ import annotations

import gzip
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from itertools import islice
from pathlib import Path
from typing import IO, Any, NamedTuple, cast

from molgen.data.content import opened
from molgen.data.tables import name_of, opened_to_write
from molgen.domain import Record
from molgen.errors import UnknownFormat, UsageError
from molgen_plugins.audio.sound import Sound, canonical, encoded
from molgen_plugins.media import reading, writing
from molgen_plugins.media.containers import Archive, Folder, seekable
from molgen_plugins.media.kind import Encoding, Kind

#: Sounds in files, also of kinds that are then refused with a reason.
SOUNDS = Kind(
    noun="sound",
    plural="sounds",
    column="audio",
    forms=("audio", "canonical_audio", "as_generated"),
    usual=("audio", "sound", "file", "file_name", "filename", "path", "wav", "clip"),
    endings=("wav", "wave", "flac", "ogg", "oga", "aif", "aiff", "au", "mp3", "opus", "m4a"),
    shown=".wav, .flac or .ogg",
    held=Sound,
    canonical=canonical,
    arrays={},
)
#: What they are written as, by the ending of the files.
ENCODINGS = {
    "wav": Encoding("wav", "audio/wav", encoded),
    "flac": Encoding("flac", "audio/flac", partial(encoded, format="FLAC")),
    "ogg": Encoding("ogg", "audio/ogg", partial(encoded, format="OGG")),
}
_READ = {"zip": "zip", "csv": "csv", "folder": "folder", **dict.fromkeys(SOUNDS.endings, "file")}
_WRITTEN = {"folder": "folder", "zip": "zip", "csv": "csv", **dict.fromkeys(ENCODINGS, "folder")}
_DAMAGED = (EOFError, zlib.error, zipfile.BadZipFile, gzip.BadGzipFile)
#: Entries of a folder, or of an archive, that are looked at for a sound.
_ENTRIES = 1000


class Format(NamedTuple):
    """How sounds lie in a file: folder, zip, csv or file (a single one), whether gzipped, and as which encoding."""

    kind: str
    compressed: bool = False
    encoding: str = "wav"


def find_format(source: str | Path | IO[bytes], format: str | None = None) -> Format:
    """The format that `format` names for reading, as in "zip"; without it, a folder or the ending of a name.

    Raises:
        UnknownFormat: there is no such format, or none can be told from the name.
        UsageError: the format cannot be gzipped.
    """
    if format is None and isinstance(source, str | Path) and Path(source).is_dir():
        return Format("folder")
    name = (format or name_of(source)).lower()
    stem = name.removesuffix(".gz")
    kind = _READ.get(reading.ending(stem))
    if kind is None:
        raise UnknownFormat(name, "wav, flac, ogg, zip or csv, or a folder")
    if stem != name and kind != "csv":
        raise UsageError(f"{name}: of sounds, only csv may be gzipped")
    return Format(kind, compressed=stem != name)


def written_format(target: str | Path | IO[bytes], format: str | None = None) -> Format:
    """The format that `format` names for writing; without it, the ending of a name, and a folder where it has none.

    The formats wav, flac and ogg are folders of such files.

    Raises:
        UsageError: no such format is written.
    """
    name = (format or name_of(target)).lower()
    stem = name.removesuffix(".gz")
    last = stem.replace("\\", "/").rpartition("/")[2]
    ending = last.rpartition(".")[2] if "." in last else ""
    kind = _WRITTEN.get(ending) if ending else _WRITTEN.get(last, "folder")
    if kind is None or (kind == "folder" and ending):
        raise UsageError(
            f"sounds are not written as {name!r}: name a folder (without an ending), a .zip or a .csv file"
        )
    if stem != name and kind != "csv":
        raise UsageError(f"{name}: of sounds, only csv is written gzipped")
    return Format(kind, stem != name, last if last in ENCODINGS else "wav")


def recognises(path: Path) -> bool:
    """Whether a file or folder seems to hold sounds, by its ending and by the names in it."""
    if path.is_dir():
        return any(_READ.get(reading.ending(one.name)) == "file" for one in islice(path.rglob("*"), _ENTRIES))
    name = path.name.lower()
    kind = _READ.get(reading.ending(name.removesuffix(".gz"))) if path.is_file() else None
    if kind == "zip":
        with path.open("rb") as stream:
            return any(_READ.get(reading.ending(one)) == "file" for one in Archive(stream, name).names()[:_ENTRIES])
    if kind == "csv":
        with _opened(path, Format("csv", name.endswith(".gz"))) as stream:
            names = stream.readline(1 << 16).decode("latin-1").strip().lower().replace('"', "").split(",")
            return "audio" in names
    return kind == "file"


def read(source: str | Path | IO[bytes], *, format: str | None = None, column: str | None = None) -> Iterator[Record]:
    """The rows of a folder, a file or an open binary stream, in their order, as they are read.

    Folders and archives: each sound file below is a row, in the order of the paths; hidden files are none. The
    column `file` is the path, and `label` the first folder of the path, where there are folders. A file
    `index.csv` at the top is read instead, if there is one.

    Tables: a column holds paths below the table's folder, or data URIs. A row is one line.

    Args:
        source: a path, or a stream, which stays open.
        format: as for `find_format`.
        column: of a table, that holds the sounds; found by its usual names without it.

    Raises:
        UsageError: the file is missing, empty or damaged, or has no such column; from the first row on,
            not at the call.
    """
    name = name_of(source)
    try:
        if isinstance(source, str | Path):
            Path(source).stat()  # says that it is missing before its format is looked for
        yield from _records(source, find_format(source, format), name, column)
    except _DAMAGED as error:
        raise UsageError(f"{name} is damaged: {error}") from error
    except OSError as error:
        raise UsageError(f"{name}: {error.strerror or error}") from error


def _records(source: str | Path | IO[bytes], form: Format, name: str, column: str | None) -> Iterator[Record]:
    if form.kind == "folder":
        if not isinstance(source, str | Path):
            raise UnknownFormat("a stream, which holds no folder", "zip")
        yield from reading.container(SOUNDS, Folder(Path(source)), column)
        return
    with _opened(source, form) as stream:
        if form.kind == "csv":
            place = Folder(Path(source).parent) if isinstance(source, str | Path) else None
            yield from reading.table(SOUNDS, stream, name, column, place)
        elif form.kind == "zip":
            yield from reading.container(SOUNDS, Archive(stream, name), column)
        else:
            yield from reading.single(stream, name)


@contextmanager
def _opened(source: str | Path | IO[bytes], form: Format) -> Iterator[IO[bytes]]:
    if form.kind == "csv":
        with opened(source) as (_, stream):
            yield stream
        return
    with seekable(source) as stream:
        yield stream


def write(rows: Iterable[Mapping[str, Any]], target: str | Path | IO[bytes], *, format: str | None = None) -> int:
    """Write rows of named values and return their count.

    The sound of a row is the one in its column `audio`, or else in `canonical_audio` or `as_generated`; a row without
    one keeps its place. The names of the first row are the columns; None and NaN are empty cells.

    - folder, wav, flac, ogg, zip: files named by the number of the row, and `index.csv` with the other columns. WAV
      and FLAC keep every sample; Ogg Vorbis does not. A folder is written as a zip archive where the target is a
      stream.
    - csv: a table whose column `audio` holds data URIs of WAV files.

    What is written appears whole at the end or not at all.

    Args:
        rows: the rows, all with the names of the first one or fewer.
        target: a path, or an open binary stream, which stays open.
        format: as for `written_format`.

    Raises:
        UsageError: the format is not written, a row does not fit the others, or the folder holds other files.
    """
    form = written_format(target, format)
    encoding = ENCODINGS[form.encoding]
    if form.kind == "folder" and isinstance(target, str | Path):
        return writing.folder(SOUNDS, encoding, rows, Path(target))
    with opened_to_write(target) as stream:
        if form.kind != "csv":
            return writing.archive(SOUNDS, encoding, rows, stream)
        if not form.compressed:
            return writing.table(SOUNDS, encoding, rows, stream)
        with gzip.GzipFile(filename="", mode="wb", fileobj=stream, mtime=0) as compressed:
            return writing.table(SOUNDS, encoding, rows, cast(IO[bytes], compressed))
