"""What a person sees of a training run, and how a signal stops it between two steps."""

from __future__ import annotations

import math
import signal
import threading
import time
from contextlib import ExitStack
from types import FrameType, TracebackType
from typing import Self

from molgen.training.trainer import Progress
from molgen_cli.console import Progress as Bar
from molgen_cli.console import on_terminal, progress, say
from molgen_cli.signals import Terminated

#: Seconds between two lines where no terminal shows a bar.
INTERVAL = 30.0


class View:
    """A bar on a terminal, a line now and then elsewhere, nothing when quiet. Use it in a `with` block.

    Once training runs, SIGINT and SIGTERM wait for the end of a step: `show` raises them then, and the
    loop saves its state. A second signal ends the process at once.
    """

    def __init__(self, quiet: bool) -> None:
        self.quiet = quiet
        self.last: Progress | None = None
        self._stack = ExitStack()
        self._bar: Bar | None = None
        self._encoded = 0
        self._first = 0
        self._started = self._spoken = time.monotonic()
        self._signals = PatientSignals()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()
        self._signals.release()

    def begin(self, description: str, total: int | None = None) -> Bar:
        """Start the bar of the next part of the work, in place of the one before."""
        self._stack.close()
        self._bar = self._stack.enter_context(progress(description, total, quiet=self.quiet))
        return self._bar

    def end(self) -> None:
        """Take the bar away."""
        self._stack.close()

    def encoded(self, count: int) -> None:
        """`count` rows are encoded by now."""
        if self._bar is not None:
            self._bar.advance(count - self._encoded)
        self._encoded = count

    def show(self, now: Progress) -> None:
        """A step is done.

        Raises:
            KeyboardInterrupt, Terminated: a signal arrived meanwhile.
        """
        if self.last is None:
            self._signals.hold()
            self._first = now.step - 1
            self._started = self._spoken = time.monotonic()
            self.begin("training", now.steps - self._first)
        self.last = now
        if self._bar is not None:
            self._bar.advance(1, _losses(now))
        if not on_terminal() and time.monotonic() - self._spoken >= INTERVAL:
            self._spoken = time.monotonic()
            say(self._line(now), quiet=self.quiet)
        self._signals.check()

    def _line(self, now: Progress) -> str:
        per_step = (time.monotonic() - self._started) / max(1, now.step - self._first)
        return (
            f"step {now.step:,} of {now.steps:,} · {_losses(now)} · {duration(per_step * (now.steps - now.step))} left"
        )


def _losses(now: Progress) -> str:
    held_out = "" if math.isnan(now.validation_loss) else f" · held-out {now.validation_loss:.3f}"
    return f"loss {now.loss:.3f}{held_out} · {now.items_per_second:,.0f} items/s"


def duration(seconds: float) -> str:
    """A time in the two largest units."""
    minutes, hours = round(seconds / 60), int(seconds // 3600)
    if seconds < 60:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 60 else f"{hours} h {minutes % 60} min"


class PatientSignals:
    """From `hold` to `release`, SIGINT and SIGTERM are kept until `check` raises them."""

    def __init__(self) -> None:
        self._arrived: int | None = None
        self._before: dict[int, signal._HANDLER] = {}

    def hold(self) -> None:
        """Keep signals from now on; outside the main thread, where Python takes no handlers, nothing changes."""
        if threading.current_thread() is not threading.main_thread():
            return
        for number in (signal.SIGINT, signal.SIGTERM):
            if signal.getsignal(number) is not signal.SIG_IGN:
                self._before[number] = signal.signal(number, self._note)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self._arrived = number
        # The second one must end even a step that hangs.
        for each in self._before:
            signal.signal(each, signal.SIG_DFL)

    def check(self) -> None:
        """Raise what a signal means, if one arrived."""
        if self._arrived == signal.SIGINT:
            raise KeyboardInterrupt
        if self._arrived is not None:
            raise Terminated

    def release(self) -> None:
        """Put back the handlers from before."""
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}
