"""Files that were verified once lie in the cache folder; a file is there whole and right, or not at all."""

from __future__ import annotations

import hashlib
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO

from molgen.atomic_files import replaced_file
from molgen.data.cache import CACHE
from molgen.errors import MolgenError, UsageError

#: The environment variable that names a folder to look in before downloading.
MIRROR = "MOLGEN_MIRROR"

_CHUNK = 1 << 20
_SECONDS_PER_DAY = 86_400


@dataclass(frozen=True)
class Pin:
    """What a file must be: its size in bytes and the SHA-256 of its content, in hex."""

    size: int
    sha256: str

    def __str__(self) -> str:
        return f"{self.size:,} bytes, SHA-256 {self.sha256}"


def mirrored(*names: str) -> Path | None:
    """The first of some relative names that is a file in the folder that `MOLGEN_MIRROR` names.

    Raises:
        UsageError: the variable names something that is no folder.
    """
    named = os.environ.get(MIRROR)
    if not named:
        return None
    folder = Path(named).expanduser()
    if not folder.is_dir():
        raise UsageError(f"{MIRROR} names {folder}, which is not a folder; type: unset {MIRROR}, or create it")
    return next((folder / name for name in names if (folder / name).is_file()), None)


def holds(path: Path, pin: Pin) -> bool:
    """Whether a verified file is there.

    Raises:
        MolgenError: a file is there and is not what was pinned. It is deleted, so that the next try starts anew.
    """
    try:
        with path.open("rb") as stream:
            found = _measure(stream, pin, str(path))
    except FileNotFoundError:
        return False
    if found != pin:
        path.unlink(missing_ok=True)
        raise _mismatch(str(path), found, pin, "; it was deleted, try again")
    return True


def store(source: IO[bytes], path: Path, pin: Pin, origin: str) -> None:
    """Copy a stream to a file that appears only once it is whole, verified and on the disk.

    Processes that store the same file at once do not disturb each other: the last one wins, with the
    same content.

    Args:
        source: the content; never more than what was pinned is read into the file.
        path: the file to make.
        pin: what the content must be.
        origin: what to call the source in an error.

    Raises:
        MolgenError: the source is damaged or is not what was pinned, or the file cannot be written.
    """
    with _writing(path, pin.size), replaced_file(path) as part:
        with part.open("xb") as target:
            found = _measure(source, pin, origin, target)
        if found != pin:
            raise _mismatch(origin, found, pin)


@contextmanager
def scratch(folder: Path, size: int) -> Iterator[Path]:
    """A folder for a download of about `size` bytes, within `folder`; it vanishes with the block."""
    with _writing(folder, size):
        folder.mkdir(parents=True, exist_ok=True)
        _sweep(folder)
        temporary = TemporaryDirectory(prefix=".download-", dir=folder)
    with temporary as path:
        yield Path(path)


def _sweep(folder: Path) -> None:
    """Remove what processes that were killed left behind: hidden entries that nobody has touched for a day."""
    for entry in folder.glob(".*"):
        try:
            age = time.time() - entry.lstat().st_mtime
        except FileNotFoundError:  # another process has just finished with it
            continue
        if age > _SECONDS_PER_DAY:
            shutil.rmtree(entry, ignore_errors=True) if entry.is_dir() else entry.unlink(missing_ok=True)


def _measure(source: IO[bytes], pin: Pin, origin: str, target: IO[bytes] | None = None) -> Pin:
    """The size and hash of a stream, which is copied to `target`; stops once it is longer than the pin."""
    size, digest = 0, hashlib.sha256()
    for chunk in _chunks(source, origin):
        size += len(chunk)
        if size > pin.size:
            break
        digest.update(chunk)
        if target is not None:
            target.write(chunk)
    return Pin(size, digest.hexdigest())


def _chunks(source: IO[bytes], origin: str) -> Iterator[bytes]:
    while True:
        try:
            chunk = source.read(_CHUNK)
        except Exception as error:  # decompressors raise a dozen kinds for damaged input
            raise MolgenError(f"{origin} is damaged ({error})") from error
        if not chunk:
            return
        yield chunk


def _mismatch(origin: str, found: Pin, pin: Pin, consequence: str = "") -> MolgenError:
    what = f"more than {pin.size:,} bytes" if found.size > pin.size else str(found)
    return MolgenError(f"{origin} is not the file that is needed: found {what}, expected {pin}{consequence}")


@contextmanager
def _writing(path: Path, size: int) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise MolgenError(
            f"cannot write {path} ({size:,} bytes): {error.strerror or error}; {CACHE} names another folder for data"
        ) from error
