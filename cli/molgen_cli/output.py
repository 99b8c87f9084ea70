"""Where the rows of a verb go: a file that appears whole when they end, or stdout; and the record beside a file."""

from __future__ import annotations

import argparse
import io
import json
import queue
import sys
import threading
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from molgen.atomic_files import sha256, total_bytes, write_text
from molgen.errors import UsageError
from molgen.versions import versions
from molgen_cli.signals import Terminated

if TYPE_CHECKING:
    from molgen.domain import Domain

Row = Mapping[str, Any]

#: Rows that go to the writing thread together, and how many such chunks may wait for it.
CHUNK, WAITING = 256, 16


def add_output_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments that say where rows go."""
    parser.add_argument(
        "-o",
        "--output",
        default="-",
        metavar="FILE",
        help="where rows go: .csv, .smi, .parquet or .gz (default: stdout)",
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
        self._format = format or (self.path.name if self.path else "csv")
        domain.write((), io.BytesIO(), format=self._format)  # says now, not after the work, that it does not know it
        self._chunks: queue.SimpleQueue[list[Row] | BaseException | None] = queue.SimpleQueue()
        self._room = threading.Semaphore(WAITING)
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
        try:
            for row in rows:
                self._any = True
                chunk.append(row)
                if len(chunk) == CHUNK:
                    self._room.acquire()
                    full, chunk = chunk, []
                    self._chunks.put(full)
                if self._failure is not None:
                    break
        except BaseException as stopped:
            self._chunks.put(chunk)
            return stopped
        self._chunks.put(chunk)
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
            for _ in range(WAITING):
                self._room.release()  # nobody takes chunks any more; whoever waits to give one must not wait

    def _received(self) -> Iterator[Row]:
        while (chunk := self._chunks.get()) is not None:
            if isinstance(chunk, BaseException):
                raise chunk
            self._room.release()
            yield from chunk


def refuse_existing(paths: Iterable[str | None], overwrite: bool) -> None:
    """See that no file is replaced unasked.

    Raises:
        UsageError: a file exists, or its folder does not.
    """
    for path in (Path(name) for name in paths if name not in (None, "-")):
        if not path.parent.is_dir():
            raise UsageError(f"{path}: the folder {path.parent} does not exist; type: mkdir -p {path.parent}")
        if path.is_dir() and not record_path(path).is_file():
            raise UsageError(f"{path} is a folder that was not written here; give another name")
        if (path.is_file() or path.is_dir()) and not overwrite:
            raise UsageError(f"{path} exists; type --overwrite to replace it, or choose another name")


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
