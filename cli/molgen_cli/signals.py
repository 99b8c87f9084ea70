"""Signals as exceptions, so that a verb can finish its files before the command ends."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from molgen.errors import Interruption


class Terminated(Interruption):
    """SIGTERM arrived. Not an `Exception`, so that only code that cleans up takes notice of it."""


@contextmanager
def signals_as_exceptions() -> Iterator[None]:
    """Within the block SIGTERM raises `Terminated` and SIGINT raises `KeyboardInterrupt`, each once.

    A second signal of either kind ends the process at once. The handlers that stood before are put
    back at the end. Outside the main thread, where Python takes no handlers, nothing is changed.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    previous = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    # An ignored signal stays ignored: that is how a shell protects what it started in the background.
    taken = [number for number, handler in previous.items() if handler is not signal.SIG_IGN]
    for number in taken:
        signal.signal(number, _handler(taken, os.getpid()))
    try:
        yield
    finally:
        for number in taken:
            signal.signal(number, previous[number] or signal.SIG_DFL)


def _handler(taken: list[signal.Signals], owner: int) -> Callable[[int, FrameType | None], None]:
    def handle(number: int, frame: FrameType | None) -> None:
        # From here on the kernel ends the process, even one that is deep in compiled code.
        for each in taken:
            signal.signal(each, signal.SIG_DFL)
        if os.getpid() != owner:  # a forked worker inherits the handler, but has no files to finish
            os.kill(os.getpid(), number)
        elif number == signal.SIGTERM:
            raise Terminated
        else:
            raise KeyboardInterrupt

    return handle
