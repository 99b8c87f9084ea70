"""Messages for people: on stderr, so that stdout holds data and nothing else."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from molgen.errors import printable, printable_lines

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress


def say(text: str, *, quiet: bool = False) -> None:
    """Print a note for people, unless they asked for quiet."""
    if not quiet:
        _write(printable_lines(text))


def warn(text: str) -> None:
    """Print one line that people must know even when they asked for quiet."""
    _write(f"molgen: {printable(text)}")


def show(text: str) -> None:
    """Print text for people on stdout."""
    print(printable_lines(text))


def table(rows: Sequence[Mapping[str, object]]) -> str:
    """Rows of equal keys as aligned text under a heading; columns that are empty throughout are left out."""
    columns = [name for name in (rows[0] if rows else ()) if any(str(row[name]) for row in rows)]
    cells = [list(map(printable, columns)), *([printable(str(row[name])) for name in columns] for row in rows)]
    widths = [max(len(line[i]) for line in cells) for i in range(len(columns))]
    return "\n".join("  ".join(map(str.ljust, line, widths)).rstrip() for line in cells)


def on_terminal() -> bool:
    """Whether a person watches stderr on a terminal that can redraw a line."""
    return sys.stderr is not None and sys.stderr.isatty() and os.environ.get("TERM") != "dumb"


class Progress:
    """How far the work is. This one shows nothing: nobody watches."""

    def advance(self, count: int = 1, note: str = "") -> None:
        """Say that `count` more items are done; `note` stands behind the bar, such as a loss."""


@contextmanager
def progress(description: str, total: int | None = None, *, quiet: bool = False) -> Iterator[Progress]:
    """A bar with rate and time left while the block runs; silent unless a person watches a terminal.

    Args:
        description: what is being done, in a word or two.
        total: how many items there will be, if that is known.
        quiet: show nothing in any case. Set it too where data goes to the same terminal.
    """
    if quiet or not on_terminal():
        yield Progress()
        return
    with _rich_progress() as bars:
        yield _Bar(bars, printable(description), total)


class _Bar(Progress):
    def __init__(self, bars: RichProgress, description: str, total: int | None) -> None:
        self._bars = bars
        self._task = bars.add_task(description, total=total, rate="", note="")
        self._started = time.monotonic()
        self._done = 0

    def advance(self, count: int = 1, note: str = "") -> None:
        self._done += count
        rate = self._done / max(time.monotonic() - self._started, 1e-9)
        self._bars.update(self._task, advance=count, rate=f"{rate:,.0f}/s", note=note)


def _rich_progress() -> RichProgress:
    from rich.console import Console  # rich takes a tenth of a second, which a script need not pay
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}", markup=False),
        console=Console(stderr=True, no_color=bool(os.environ.get("NO_COLOR"))),
        redirect_stdout=False,  # stdout is for data, never for the bar's console
        transient=True,
    )


def _write(text: str) -> None:
    with suppress(OSError, ValueError):  # nobody listens any more, which is no reason to stop the work
        print(text, file=sys.stderr, flush=True)


class Stopwatch:
    """Seconds since the verb began, with named laps."""

    def __init__(self) -> None:
        self._start = self._last = time.perf_counter()
        self.laps: dict[str, float] = {}

    def lap(self, name: str) -> float:
        """Say what ended now, and how long it took."""
        now = time.perf_counter()
        self.laps[name] = round(now - self._last, 3)
        self._last = now
        return self.laps[name]

    def record(self) -> Mapping[str, float]:
        """The laps and their sum."""
        return {**self.laps, "all": round(self._last - self._start, 3)}
