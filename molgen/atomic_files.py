"""Files that are either whole or not there: write beside, flush to disk, rename."""

from __future__ import annotations

import errno
import hashlib
import os
import platform
import re
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

#: Names this machine in temporary names, so that nobody clears those of another one in a shared folder.
#: Errors of the system that say that there is no room, and what numpy says then.
_FULL, _CUT_SHORT = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG), re.compile(r"\d+ requested and \d+ written")
_HOST = hashlib.sha256(platform.node().encode()).hexdigest()[:8]


def temporary_sibling(path: Path) -> Path:
    """A name beside `path` that no other process uses; loaders never look at such names.

    What runs that were killed left under such names for the same `path` is cleared away.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    _clear_leftovers(path)
    return path.parent / f".{path.name}.{os.getpid()}-{_HOST}-{secrets.token_hex(4)}.tmp"


def _clear_leftovers(path: Path) -> None:
    ours = re.compile(rf"\.{re.escape(path.name)}\.(\d+)-{_HOST}-[0-9a-f]{{8}}\.tmp")
    for name in os.listdir(path.parent):
        found = ours.fullmatch(name)
        if found and not _runs(int(found[1])):
            left = path.parent / name
            shutil.rmtree(left, ignore_errors=True) if left.is_dir() else left.unlink(missing_ok=True)


def _runs(process: int) -> bool:
    """Whether a process of this machine runs; where that cannot be told, it is taken to."""
    if os.name != "posix":
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


@contextmanager
def usual_mode(path: Path) -> Iterator[None]:
    """Whatever the block writes to `path` gets the mode that the user gives new files; safetensors keeps its own."""
    path.touch()
    mode = path.stat().st_mode
    yield
    path.chmod(mode)


def fsync_file(path: Path) -> None:
    """Have the disk hold what was written to a file."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def fsync_folder(folder: Path) -> None:
    """Have the disk hold a folder and the files in it."""
    for path in folder.iterdir():
        if path.is_file():
            fsync_file(path)
    fsync_file(folder)


def sha256(path: Path) -> str:
    """The SHA-256 of a file in hexadecimal; of a folder, that of the names and hashes of all files below it."""
    if path.is_file():
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    listing = (f"{sha256(one)}  {one.relative_to(path).as_posix()}\n" for one in files_below(path))
    return hashlib.sha256("".join(listing).encode(errors="surrogateescape")).hexdigest()


def total_bytes(path: Path) -> int:
    """The size of a file, or of all files below a folder."""
    return path.stat().st_size if path.is_file() else sum(one.stat().st_size for one in files_below(path))


def files_below(folder: Path) -> list[Path]:
    """All files below a folder, in the order of their paths."""
    return sorted(path for path in folder.rglob("*") if path.is_file())


def write_text(path: Path, text: str) -> None:
    """Replace a text file in one step."""
    with replaced_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace")  # names of files may be no UTF-8


@contextmanager
def replaced_file(path: Path) -> Iterator[Path]:
    """A temporary path that becomes `path` when the block ends well, and vanishes when it does not.

    A link goes on pointing where it did, and the file there is replaced. What is no regular file, such as a device or
    a pipe, cannot be replaced: it is written to.
    """
    path = Path(os.path.realpath(path))
    if path.exists() and not path.is_file() and not path.is_dir():
        with _written_through(path) as temporary:
            yield temporary
        return
    temporary = temporary_sibling(path)
    try:
        with named_when_full(path, temporary):
            yield temporary
            fsync_file(temporary)
            os.replace(temporary, path)
        fsync_file(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def named_when_full(path: Path, written: Path | None = None) -> Iterator[None]:
    """Where the block finds the disk full, the error names the file, what was written of it and what is left.

    Args:
        path: the file or folder that people know.
        written: where it is being written.

    Raises:
        OSError: the disk is full.
    """
    try:
        yield
    except Exception as error:
        number = _full(error)
        if number is None:
            raise
        bytes_written = total_bytes(written) if written is not None and written.exists() else 0
        so_far = f" after {bytes_written:,} bytes" if bytes_written else ""
        left = shutil.disk_usage(path.parent).free
        raise OSError(number, f"{os.strerror(number)}{so_far}, with {left:,} bytes left", str(path)) from error


def _full(error: Exception) -> int | None:
    """The number of the error where it is that of a full disk, of a quota or of a limit of files."""
    if (number := getattr(error, "errno", None)) in _FULL:
        return number
    # Libraries with errors of their own pass on the text of the system, or say how much was not written, as numpy does.
    text = str(error)
    return errno.ENOSPC if os.strerror(errno.ENOSPC) in text or _CUT_SHORT.fullmatch(text) else None


@contextmanager
def _written_through(path: Path) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="molgen-") as folder:
        temporary = Path(folder) / path.name
        yield temporary
        with named_when_full(path), temporary.open("rb") as source, path.open("wb") as target:
            shutil.copyfileobj(source, target, 1 << 20)


@contextmanager
def replaced_folder(path: Path) -> Iterator[Path]:
    """A temporary folder that becomes `path` when the block ends well, and vanishes when it does not.

    An existing folder is moved aside first, to the name of `superseded`, and removed last: at every
    moment one of the two is whole.
    """
    temporary = temporary_sibling(path)
    temporary.mkdir()
    try:
        with named_when_full(path, temporary):
            yield temporary
            fsync_folder(temporary)
        _swap(temporary, path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def superseded(path: Path) -> Path:
    """Where the former content of a folder lies while it is being replaced."""
    return path.parent / f".{path.name}.superseded"


def _swap(new: Path, path: Path) -> None:
    former = superseded(path)
    if path.exists():
        shutil.rmtree(former, ignore_errors=True)
        if former.exists():  # what cannot be deleted must not stop the work
            os.rename(former, temporary_sibling(path))
        os.rename(path, former)
    os.rename(new, path)
    fsync_file(path.parent)
    shutil.rmtree(former, ignore_errors=True)
