"""What the bytes of a user's file are, whatever its name says: compression, encoding, and kinds that are not read."""

from __future__ import annotations

import codecs
import gzip
import io
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, cast

from molgen.errors import UsageError

#: Bytes at the start of a file that are looked at.
HEAD = 1 << 14
GZIP = b"\x1f\x8b"
PARQUET = b"PAR1"

_BINARY = (
    (b"PK\x03\x04", "a zip archive or a spreadsheet (.xlsx)"),
    (b"\xd0\xcf\x11\xe0", "a spreadsheet of an old kind (.xls)"),
    (b"BZh", "compressed by bzip2"),
    (b"\xfd7zXZ\x00", "compressed by xz"),
    (b"\x28\xb5\x2f\xfd", "compressed by zstd"),
    (b"%PDF", "a PDF document"),
    (b"\x89PNG", "a picture"),
    (b"\xff\xd8\xff", "a picture"),
    (b"\x89HDF", "an HDF5 file"),
    (b"SQLite format 3", "an SQLite database"),
    (b"\x93NUMPY", "an array of numpy (.npy)"),
    (b"ARROW1", "an Arrow or Feather file"),
)
_TEXTS = (
    (re.compile(rb"\sV[23]000\s*[\r\n]"), "an SDF or MOL file"),
    (re.compile(rb"^\s*<(!doctype|html|\?xml)", re.IGNORECASE), "a web page or XML"),
    (re.compile(rb"^\s*(\{\s*\"|\[\s*[\{\"\]])"), "JSON"),
)
_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


def kind_of(head: bytes) -> str:
    """What a file that begins like this seems to be, in words; empty for a table or plain lines."""
    found = next((kind for mark, kind in _BINARY if head.startswith(mark)), "")
    return found or next((kind for pattern, kind in _TEXTS if pattern.search(head)), "")


def encoding_of(head: bytes) -> str:
    """The UTF-16 or UTF-32 in which a text is written, with a byte order mark or without; empty for other encodings."""
    marked = next((name for mark, name in _MARKS if head.startswith(mark)), "")
    even, odd = head[::2], head[1::2]
    if marked or len(odd) < 2:
        return marked
    # Most characters of a table are ASCII, of which UTF-16 makes a byte and a zero.
    zeros = even.count(0) / len(even), odd.count(0) / len(odd)
    return (
        "utf-16-le" if zeros[1] > 0.6 and zeros[0] < 0.1 else "utf-16-be" if zeros[0] > 0.6 and zeros[1] < 0.1 else ""
    )


def peeked(stream: IO[bytes], size: int = HEAD) -> tuple[bytes, IO[bytes]]:
    """The first bytes of a stream, at most `size`, and a stream that still has them."""
    if stream.seekable() and not isinstance(stream, gzip.GzipFile):  # which would unpack all again
        place = stream.tell()
        head = stream.read(size)
        stream.seek(place)
        return head, stream
    head = stream.read(size)
    return head, cast(IO[bytes], io.BufferedReader(_Rejoined(head, stream)))


class _Rejoined(io.RawIOBase):
    """Bytes that were read already, and the rest of their stream, which stays open."""

    def __init__(self, head: bytes, rest: IO[bytes]) -> None:
        self._head, self._rest = memoryview(head), rest

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: object) -> int:
        target = memoryview(buffer)  # type: ignore[arg-type]
        if not self._head:
            self._head = memoryview(getattr(self._rest, "read1", self._rest.read)(len(target)))
        size = min(len(target), len(self._head))
        target[:size], self._head = self._head[:size], self._head[size:]
        return size


@contextmanager
def opened(source: str | Path | IO[bytes], *, seekable: bool = False) -> Iterator[tuple[bytes, IO[bytes]]]:
    """The first bytes of a path or of an open stream, which stays open, and a stream of all; gzipped ones are unpacked.

    Args:
        source: a path or a stream.
        seekable: whether the content is copied to a temporary file where its stream goes one way only.

    Raises:
        UsageError: the content is gzipped twice.
    """
    with ExitStack() as closing:
        stream = closing.enter_context(open(source, "rb")) if isinstance(source, str | Path) else source
        head, stream = peeked(stream)
        if head.startswith(GZIP):
            head, stream = peeked(closing.enter_context(gzip.GzipFile(fileobj=stream)))  # type: ignore[arg-type]
            if head.startswith(GZIP):
                raise UsageError("the content is gzipped twice: unpack it once")
        if (seekable or head.startswith(PARQUET)) and not stream.seekable():
            copy = closing.enter_context(tempfile.TemporaryFile())
            shutil.copyfileobj(stream, copy, 1 << 20)
            copy.seek(0)
            stream = cast(IO[bytes], copy)
        yield head, stream
