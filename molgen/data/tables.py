"""Files that are read and written as a whole or as a stream."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from molgen.atomic_files import named_when_full, replaced_file


@contextmanager
def opened_to_write(target: str | Path | IO[bytes]) -> Iterator[IO[bytes]]:
    """A stream of bytes to a path or an open stream; a regular file is replaced in one step when the block ends."""
    if not isinstance(target, str | Path):
        yield target
        target.flush()
        return
    path = Path(target).resolve()
    if path.exists() and not path.is_file():  # a pipe or a device cannot be replaced
        with named_when_full(path), open(path, "wb") as stream:
            yield stream
        return
    with replaced_file(path) as temporary, open(temporary, "wb") as stream:
        yield stream


def name_of(source: str | Path | IO[bytes]) -> str:
    """What messages call a path or a stream."""
    if isinstance(source, str | Path):
        return str(source)
    name = getattr(source, "name", None)
    return name if isinstance(name, str) else "the input"


def reopenable(path: Path) -> Path:
    """The path of something that can be opened again and again: itself, or of a temporary copy of what a pipe holds.

    The copy keeps the name, so that its ending still says the format, and goes away when this process ends.
    """
    if not path.is_fifo():
        return path
    folder = Path(tempfile.mkdtemp(prefix="molgen-"))
    copy = folder / path.name
    owner = os.getpid()

    def remove() -> None:
        if os.getpid() == owner:
            with suppress(OSError):
                shutil.rmtree(folder)

    atexit.register(remove)
    with path.open("rb") as source, copy.open("wb") as target:
        shutil.copyfileobj(source, target, 1 << 20)
    return copy


def printable(text: str) -> str:
    """A name in which bytes that are no UTF-8 are escaped, so that it can be written anywhere."""
    return text.encode(errors="backslashreplace").decode()
