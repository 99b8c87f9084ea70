"""Work on hostile input within limits: seconds, bytes, modules that may be imported, and how it may fail."""

from __future__ import annotations

import re
import resource
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from molgen.errors import MolgenError

#: Bytes beyond those at the start.
MEMORY = 1 << 30
#: Seconds of the processor for one file, however busy the machine is.
SECONDS = 5.0
#: Text encodings are modules, which Python loads by their names.
_HARMLESS = re.compile(r"encodings(\..*)?|_codecs.*|stringprep")


#: Characters that a terminal acts on.
_UNPRINTABLE = re.compile("[\\x00-\\x1f\\x7f-\\x9f\\u2028\\u2029\\u202a-\\u202e\\u2066-\\u2069]")


class TooLong(BaseException):
    """A file took more seconds than it may; nothing that goes on after failures catches it."""


@contextmanager
def limits(case: str, memory: int = MEMORY, seconds: float = SECONDS) -> Iterator[None]:
    """Let the block succeed or raise a `MolgenError` of one printable line, and do nothing else.

    Raises:
        AssertionError: it raised something else, took too much memory or time, or imported a module.
    """
    before = set(sys.modules)
    try:
        with _bounded(memory, seconds):
            yield
    except MolgenError as error:
        if not str(error) or _UNPRINTABLE.search(str(error)):
            raise AssertionError(f"{case}: {str(error)!r} is no printable line") from error
    except (Exception, TooLong) as error:
        raise AssertionError(f"{case}: {type(error).__name__}: {str(error)[:300]}") from error
    added = {name for name in set(sys.modules) - before if not _HARMLESS.fullmatch(name)}
    assert not added, f"{case}: imported {sorted(added)}"


@contextmanager
def _bounded(memory: int, seconds: float) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    former = signal.signal(signal.SIGVTALRM, _too_long)
    resource.setrlimit(resource.RLIMIT_DATA, (_data_bytes() + memory, hard))
    signal.setitimer(signal.ITIMER_VIRTUAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))
        signal.signal(signal.SIGVTALRM, former)


def _too_long(number: int, frame: FrameType | None) -> None:
    raise TooLong(f"more than {SECONDS:g} s")


def _data_bytes() -> int:
    """Private memory of this process as the limit counts it, where that can be known."""
    status = Path("/proc/self/status")
    if not status.is_file():
        return 1 << 60
    found = re.search(r"VmData:\s+(\d+) kB", status.read_text())
    return int(found[1]) << 10 if found else 1 << 60
