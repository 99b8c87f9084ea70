"""Where the rows of a verb go: a file that appears whole when they end, or stdout; and the record beside a file."""

from __future__ import annotations

import argparse
import io
import json
import queue
import sys
import threading
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from molgen.atomic_files import sha256, temporary_sibling, total_bytes, write_text
from molgen.errors import UsageError
from molgen.versions import versions
from molgen.workers.stream import byte_size
from molgen_cli.signals import Terminated

if TYPE_CHECKING:
    from molgen.domain import Domain

Row = Mapping[str, Any]

#: Rows and bytes that go to the writing thread together, and the bytes that may wait for it: a row may hold a string
#: of ten bytes or a picture of fifty million.
CHUNK, CHUNK_BYTES, WAITING_BYTES = 256, 4 << 20, 32 << 20
#: Bytes that are written to see whether a folder takes them: more than a full disk has left over.
TRIAL_BYTES = 65_536


def add_output_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments that say where rows go."""
    parser.add_argument(
        "-o",
        "--output",
        default="-",
        metavar="FILE",
        help="where rows go: .csv, .smi, .sdf, .xyz, .parquet or .gz; a folder of pictures or sounds (default: stdout)",
    )
    parser.add_argument(
        "--format", metavar="NAME", help="format of the rows, where the name of the file does not say it"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace files that exist")
    parser.add_argument("-q", "--quiet", action="store_true", help="print no progress and no summary")


class Output:
    """A file or stdout that rows are written to, in a thread of its own, so that no signal can tear a row.

    Args:
        domain: writes the rows.
        target: a path, or `-` for stdout.
        format: by default the one that the name of the file says, and CSV on stdout.

    Raises:
        UsageError: the domain writes no such format.
    """

    def __init__(self, domain: Domain, target: str, format: str | None) -> None:
        self._domain = domain
        self.path = None if target == "-" else Path(target)
        if self.path is None and sys.stdout is None:
            raise UsageError("the standard output is closed; type --output FILE")
        self._format = format or (self.path.name if self.path else "csv")
        domain.write((), io.BytesIO(), format=self._format)  # says now, not after the work, that it does not know it
        self._chunks: queue.SimpleQueue[tuple[list[Row], int] | BaseException | None] = queue.SimpleQueue()
        self._room = _Room(WAITING_BYTES)
        self._thread = threading.Thread(target=self._run, name="writer", daemon=True)
        self._failure: BaseException | None = None
        self._any = False
        #: how many were written, once the writing has ended.
        self.rows = 0

    def write(self, rows: Iterable[Row]) -> BaseException | None:
        """Write rows until they end, or until something ends them; the rows before it are good and stay.

        Returns:
            What ended the rows early, which the caller raises again once it has recorded it.

        Raises:
            OSError: the rows cannot be written; there is no file, or the one from before.
            BaseException: what ended the rows before the first one; the same holds.
        """
        self._thread.start()
        stopped = self._pass_on(rows)
        try:
            self._end(None if self._any else stopped)
        except (KeyboardInterrupt, Terminated) as signal:  # at most one: the second ends the process
            stopped = signal
            self._end(None)
        if self._failure is not None:
            raise self._failure
        return stopped

    def _pass_on(self, rows: Iterable[Row]) -> BaseException | None:
        chunk: list[Row] = []
        size = 0
        try:
            for row in rows:
                self._any = True
                chunk.append(row)
                size += byte_size(row)
                if len(chunk) == CHUNK or size > CHUNK_BYTES:
                    self._room.take(size)
                    full, chunk, size = (chunk, size), [], 0
                    self._chunks.put(full)
                if self._failure is not None:
                    break
        except BaseException as stopped:
            self._chunks.put((chunk, 0))
            return stopped
        self._chunks.put((chunk, 0))
        return None

    def _end(self, failure: BaseException | None) -> None:
        self._chunks.put(failure)
        self._thread.join()

    def _run(self) -> None:
        try:
            target = self.path or sys.stdout.buffer
            self.rows = self._domain.write(self._received(), target, format=self._format)
        except BaseException as failure:
            self._failure = failure
            self._room.close()  # nobody takes chunks any more; whoever waits to give one must not wait

    def _received(self) -> Iterator[Row]:
        while (received := self._chunks.get()) is not None:
            if isinstance(received, BaseException):
                raise received
            chunk, size = received
            self._room.give_back(size)
            yield from chunk


class _Room:
    """Bytes that wait for the writing thread; whoever brings more waits for room."""

    def __init__(self, most: int) -> None:
        self._most, self._held, self._closed = most, 0, False
        self._changed = threading.Condition()

    def take(self, size: int) -> None:
        """Wait until there is room; what is larger than all of it comes in alone."""
        with self._changed:
            while self._held and self._held + size > self._most and not self._closed:
                self._changed.wait()
            self._held += size

    def give_back(self, size: int) -> None:
        with self._changed:
            self._held -= size
            self._changed.notify_all()

    def close(self) -> None:
        """Let nobody wait any more."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()


def to_terminal(args: argparse.Namespace) -> bool:
    """Whether rows go to a terminal, where progress would be drawn between them."""
    return args.output == "-" and sys.stdout is not None and sys.stdout.isatty()


def standard_input() -> IO[bytes]:
    """What is piped in.

    Raises:
        UsageError: the standard input is closed.
    """
    if sys.stdin is None:
        raise UsageError("the standard input is closed; name a file")
    return sys.stdin.buffer


def refuse_existing(names: Iterable[str | None], overwrite: bool) -> None:
    """See that files can be written, each in a place of its own, and that none is replaced unasked.

    Raises:
        UsageError: a file exists, its folder does not or cannot be written to, or a record that is not ours is in the
            place of the file's own.
    """
    paths = [Path(name) for name in names if name is not None and name != "-"]
    if Path() in paths:
        raise UsageError("the name of a file to write is empty")
    _require_apart(paths)
    for path in paths:
        if not path.parent.is_dir():
            raise UsageError(f"{path}: the folder {path.parent} does not exist; type: mkdir -p {path.parent}")
        if path.is_dir() and not record_path(path).is_file():
            raise UsageError(f"{path} is a folder that was not written here; give another name")
        if (path.is_file() or path.is_dir()) and not overwrite:
            raise UsageError(f"{path} exists; type --overwrite to replace it, or choose another name")
        if path.is_file() or path.is_dir() or not path.exists():
            _require_no_other_record(record_path(path))
            _require_writable(path)


def _require_apart(paths: Sequence[Path]) -> None:
    places = Counter(place.resolve() for path in paths for place in (path, record_path(path)))
    if shared := [place for place, count in places.items() if count > 1]:
        raise UsageError(f"two files would be written to {shared[0]}; give each a name of its own")


def _require_no_other_record(path: Path) -> None:
    if path.exists() and not _is_record(path):
        raise UsageError(f"{path} is in the way of the record of this run and is none; move it, or choose another name")


def _is_record(path: Path) -> bool:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(found, dict) and {"command", "output", "versions"} <= found.keys()


def _require_writable(path: Path) -> None:
    """Nothing may be computed that cannot be kept."""
    trial = temporary_sibling(path.resolve())
    try:
        trial.write_bytes(b"\0" * TRIAL_BYTES)
    except OSError as error:
        raise UsageError(f"{path}: cannot be written: {error.strerror or error}; choose another place") from None
    finally:
        with suppress(OSError):
            trial.unlink(missing_ok=True)


def write_record(
    output: Output, verb: str, args: argparse.Namespace, stopped: BaseException | None, **values: Any
) -> None:
    """Write what made a file or folder, and its hash, beside it as `FILE.run.json`; stdout gets none.

    Args:
        output: the file or folder.
        verb: the command.
        args: the arguments of the verb.
        stopped: what ended the rows early, if anything did.
        **values: what else there is to say, as JSON values.
    """
    if output.path is None or not (output.path.is_file() or output.path.is_dir()):
        return
    record = {
        "command": verb,
        "complete": stopped is None,
        "stopped": None if stopped is None else str(stopped) or type(stopped).__name__,
        "arguments": vars(args),
        **values,
        "versions": versions(),
        "output": {
            "file": output.path.name,
            "rows": output.rows,
            "bytes": total_bytes(output.path),
            "sha256": sha256(output.path),
        },
    }
    write_text(record_path(output.path), json.dumps(record, indent=2, default=str) + "\n")


def record_path(path: Path) -> Path:
    """Where the record of a file or folder lies: beside it."""
    return path.with_name(f"{path.name}.run.json")
