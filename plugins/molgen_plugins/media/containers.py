"""What holds files by name: a folder or a zip archive. Names are relative paths with slashes."""

from __future__ import annotations

import os
import posixpath
import shutil
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path, PurePosixPath
from typing import IO, Protocol, cast

from molgen.domain import Invalid
from molgen.errors import UsageError

#: Bytes of a file beyond which it is refused, before anything is decoded.
FILE_LIMIT = 64 << 20


class Container(Protocol):
    """Files by name."""

    #: what to call it in an error.
    title: str

    def names(self) -> list[str]:
        """The relative paths of all files, sorted; hidden ones are left out."""

    def read(self, name: str) -> bytes | Invalid:
        """The content of one file, or why it cannot be had."""

    def open(self, name: str) -> IO[bytes]:
        """One of `names` as a stream."""


class Folder:
    """A folder of the file system. Links to folders are not followed."""

    def __init__(self, path: Path) -> None:
        self.path, self.title = path, str(path)

    def names(self) -> list[str]:
        """The relative paths of all files, sorted; hidden ones are left out."""
        found = []
        for root, folders, files in os.walk(self.path, onerror=_raise):
            folders[:] = [name for name in folders if not name.startswith(".")]
            found += [Path(root, name).relative_to(self.path).as_posix() for name in files if not name.startswith(".")]
        return sorted(found)

    def read(self, name: str) -> bytes | Invalid:
        """The content of one file, or why it cannot be had."""
        relative = PurePosixPath(name)
        if Path(name).is_absolute() or relative.is_absolute() or ".." in relative.parts:
            return Invalid(f"the path {name!r} leaves the folder {self.title}")
        path = self.path / relative
        try:
            if not path.is_file():  # a pipe would be waited for
                return Invalid(f"there is no file {name!r}")
            with path.open("rb") as stream:
                return _limited(stream)
        except (OSError, ValueError) as error:  # not readable, or no possible name
            return Invalid(f"{name!r} cannot be read ({error})")

    def open(self, name: str) -> IO[bytes]:
        """One of `names` as a stream."""
        return (self.path / name).open("rb")


class Archive:
    """A zip archive. Nothing is unpacked to a path; folders that hold all other files are left out of the names.

    Raises:
        UsageError: it is none, or is damaged.
    """

    def __init__(self, stream: IO[bytes], title: str) -> None:
        self._zip, self.title = open_archive(stream, title), title
        members = {one.filename.lstrip("/"): one for one in self._zip.infolist() if one.filename[-1:] not in ("/", "")}
        shown = [name for name in members if not _hidden(name)]
        top = posixpath.commonpath([posixpath.dirname(name) for name in shown]) if shown else ""
        self._members = {name.removeprefix(f"{top}/"): members[name] for name in shown}

    def names(self) -> list[str]:
        """The relative paths of all files, sorted; hidden ones are left out."""
        return sorted(self._members)

    def read(self, name: str) -> bytes | Invalid:
        """The content of one file, or why it cannot be had."""
        if name not in self._members:
            return Invalid(f"there is no file {name!r}")
        try:
            with self.open(name) as stream:
                return _limited(stream)
        except UsageError as error:
            return Invalid(str(error))
        except Exception as error:  # damaged data make decompressors raise many kinds
            return Invalid(f"{name!r} cannot be read ({error})")

    def open(self, name: str) -> IO[bytes]:
        """One of `names` as a stream."""
        return open_member(self._zip, self._members[name], f"{self.title}/{name}")


def open_archive(stream: IO[bytes], title: str) -> zipfile.ZipFile:
    """A zip archive to read from.

    Raises:
        UsageError: it is none, or is damaged.
    """
    try:
        return zipfile.ZipFile(stream)
    except Exception as error:  # a damaged list of members makes zipfile raise many kinds
        raise UsageError(f"{title} is no whole zip archive ({error})") from error


def open_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo, title: str) -> IO[bytes]:
    """A file within a zip archive as a stream.

    Raises:
        UsageError: it is encrypted, compressed in a rare way, or damaged.
    """
    try:
        if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise ValueError("only stored and deflated files are read")
        return archive.open(member)
    except Exception as error:  # a damaged header makes zipfile raise many kinds
        raise UsageError(f"{title} cannot be read ({error})") from error


@contextmanager
def seekable(source: str | Path | IO[bytes]) -> Iterator[IO[bytes]]:
    """A file or a stream as one that can be read from any place; a stream stays open."""
    with ExitStack() as closing:
        stream = closing.enter_context(open(source, "rb")) if isinstance(source, str | Path) else source
        if not stream.seekable():
            copy = closing.enter_context(tempfile.TemporaryFile())
            shutil.copyfileobj(stream, copy)
            copy.seek(0)
            stream = cast(IO[bytes], copy)
        yield stream


def _limited(stream: IO[bytes]) -> bytes | Invalid:
    content = stream.read(FILE_LIMIT + 1)
    return content if len(content) <= FILE_LIMIT else Invalid(f"the file is larger than {FILE_LIMIT >> 20} MiB")


def _hidden(name: str) -> bool:
    # Macs put a folder of this name, with files of the names of all others, into archives.
    parts = PurePosixPath(name).parts
    return any((part.startswith(".") and part != "..") or part == "__MACOSX" for part in parts)


def _raise(error: OSError) -> None:
    raise error
