"""Metrics as JSON lines and for TensorBoard."""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from molgen.atomic_files import named_when_full, write_text


class MetricsLog:
    """Metrics as JSON lines, one object a line, and for TensorBoard; resuming appends.

    Args:
        folder: of the run.
        step: where the run stands; lines of later steps, which will be taken again, are removed.

    Raises:
        OSError: the disk is full; so do all methods but `close`.
    """

    def __init__(self, folder: Path, step: int = 0) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._path = folder / "metrics.jsonl"
        if self._path.exists():
            write_text(self._path, "".join(_lines_until(self._path, step)))
        self._file = self._path.open("a", encoding="utf-8")
        self._board = _Events(folder / "tensorboard", step + 1)

    def __call__(self, step: int, values: Mapping[str, float]) -> None:
        """Write the values of one step; a number that is not finite has no form in JSON and becomes null."""
        finite = {name: value if math.isfinite(value) else None for name, value in values.items()}
        with named_when_full(self._path):
            self._file.write(json.dumps({"step": step, **finite}) + "\n")
            self._file.flush()
        self._board.add(step, values)

    def close(self) -> None:
        """Close both; what a full disk did not take was said when it was written."""
        for file in (self._file, self._board):
            with suppress(OSError):
                file.close()


class _Events:
    """A file of events that TensorBoard reads, written in this thread, so that a full disk is an error here.

    Args:
        folder: of all such files of a run.
        purged: from which step on those of earlier files no longer count.
    """

    def __init__(self, folder: Path, purged: int) -> None:
        from tensorboard.compat.proto.event_pb2 import SessionLog
        from tensorboard.summary.writer.record_writer import RecordWriter

        folder.mkdir(exist_ok=True)
        seconds, rest = divmod(time.time_ns(), 10**9)  # later files come later by name too
        self._path = folder / f"events.out.tfevents.{seconds:010d}.{rest:09d}.{os.getpid()}"
        self._file = self._path.open("wb")
        self._records = RecordWriter(self._file)
        self._write(file_version="brain.Event:2")
        self._write(step=purged, session_log=SessionLog(status=SessionLog.START))

    def add(self, step: int, values: Mapping[str, float]) -> None:
        """Append numbers by name."""
        from tensorboard.compat.proto.summary_pb2 import Summary

        found = [Summary.Value(tag=name, simple_value=value) for name, value in values.items()]
        self._write(step=step, summary=Summary(value=found))

    def _write(self, **content: Any) -> None:
        from tensorboard.compat.proto.event_pb2 import Event

        with named_when_full(self._path):
            self._records.write(Event(wall_time=time.time(), **content).SerializeToString())
            self._file.flush()

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _lines_until(path: Path, step: int) -> Iterable[str]:
    """The whole lines up to a step; a process that was killed may have left half a line."""
    for line in path.read_text(encoding="utf-8").splitlines(keepends=True):
        try:
            if line.endswith("\n") and json.loads(line)["step"] <= step:
                yield line
        except (ValueError, KeyError, TypeError):
            continue
