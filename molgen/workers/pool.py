"""Child processes for items that nobody has vouched for: one that hangs, crashes or swells harms only itself.

A child is killed by the system, not asked to stop: an item may never come back from compiled code. The
pools of the standard library do not survive that. Pebble's takes a child that ended with exit code 0 for
a finished one and waits on, and breaks as a whole when a child dies before the parent has read that it began.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing import connection, get_context, resource_tracker
from types import ModuleType, TracebackType
from typing import Any

from molgen.domain import Invalid
from molgen.workers import child as worker
from molgen.workers.stream import byte_size, chunked

#: Seconds that the start of a child may take, with all its imports.
_START = 300.0
#: Seconds that the end of a killed child may take, which is far less unless it hangs in the system.
_END = 10.0
#: Seconds beyond an item's own time after which the parent kills a child that did not end itself.
_GRACE = 10.0


#: Bytes of items that a child is given at a time, and of results that may wait for their turn.
_TASK_BYTES, _WAITING_BYTES = 4 << 20, 64 << 20


class _Slot:
    """The results of one chunk, as far as they are there; they are taken in the order of its items."""

    def __init__(self, number: int, count: int) -> None:
        self.number, self.count = number, count
        self.taken = self.bytes = 0
        self._results: dict[int, tuple[Any, int]] = {}

    def settle(self, start: int, results: list[Any]) -> None:
        for place, result in enumerate(results, start):
            self._results[place] = result, (size := byte_size(result))
            self.bytes += size

    def ready(self) -> Iterator[Any]:
        """The results whose turn it is."""
        while self.taken in self._results:
            result, size = self._results.pop(self.taken)
            self.bytes -= size
            self.taken += 1
            yield result

    @property
    def done(self) -> bool:
        return self.taken == self.count


@dataclass
class _Task:
    """Items to do, and where their results belong."""

    items: list[Any]
    slot: _Slot
    start: int = 0

    @property
    def place(self) -> tuple[int, int]:
        """Where it stands among all tasks, by the order of items."""
        return self.slot.number, self.start

    def rest(self, done: int) -> _Task:
        return _Task(self.items[done:], self.slot, self.start + done)

    def singles(self) -> list[_Task]:
        return [_Task([item], self.slot, self.start + i) for i, item in enumerate(self.items)]

    def settle(self, results: list[Any]) -> None:
        self.slot.settle(self.start, results)


@dataclass(eq=False)
class _Child:
    process: Any
    pipe: connection.Connection
    deadline: float = field(default_factory=lambda: time.monotonic() + _START)
    ready: bool = False
    task: _Task | None = None

    @property
    def idle(self) -> bool:
        return self.ready and self.task is None

    def kill(self) -> None:
        self.process.kill()
        self.process.join()
        self.pipe.close()


class Workers:
    """Processes that apply one function to many items, in order, and outlive what the items do to them.

    Items and results are plain data. Children start with a fresh interpreter and never import the script that
    runs, so it needs no `if __name__ == "__main__"` guard. Memory is bounded where the system can bound it
    (Linux); results that wait for those before them are bounded in bytes.
    """

    def __init__(
        self,
        target: str,
        config: Mapping[str, Any] | None = None,
        *,
        processes: int = 2,
        timeout: float = 5.0,
        memory: int = 2 << 30,
        chunk: int = 256,
    ) -> None:
        """Prepare the processes; they start with the first items.

        Args:
            target: "module:factory"; each child calls `factory(**config)` once for its function of an item.
            config: arguments of the factory, plain data.
            processes: how many children.
            timeout: seconds of processor time that one item may take; on the clock, a few times that.
            memory: bytes that a child may use beyond what it has once the factory has run.
            chunk: items that a child is given at a time.

        Raises:
            ValueError: the target is not of the form "module:factory", or a number is not positive.
        """
        if not all(target.partition(":")):
            raise ValueError(f'a target is named "module:factory", not {target!r}')
        if min(processes, timeout, memory, chunk) <= 0:
            raise ValueError("processes, timeout, memory and chunk must be positive")
        self._setup = (target, dict(config or {}), timeout, memory)
        self._timeout, self._memory, self._processes, self._chunk = timeout, memory, processes, chunk
        self._children: list[_Child] = []
        self._queue: list[_Task] = []
        self._lock = threading.RLock()  # for the list of children and the two flags
        self._mapping = self._closed = False

    def __enter__(self) -> Workers:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Kill the children at once and see them end; what they have not returned is lost. Any thread may close."""
        with self._lock:
            self._closed = True
            killed = tuple(self._children)
            for child in killed:
                child.process.kill()
            if not self._mapping:  # else the thread that maps sees to it
                self._remove_all()
        for child in killed:
            child.process.join(_END)

    def map(self, items: Iterable[Any]) -> Iterator[Any]:
        """The result of each item in order, or an `Invalid` that says what the item did to its worker.

        When a child dies, the items that it had are done again one by one, so that only the guilty one
        is `Invalid`; so is an item for which the function raises. Few chunks are read ahead, so
        `items` may be endless.

        Raises:
            RuntimeError: the children cannot make the function, another `map` is not finished, or the
                workers are closed.
        """
        with self._lock:
            if self._mapping:
                raise RuntimeError("the workers are still busy with another map")
            self._mapping = True
        try:
            yield from self._mapped(iter(items))
        finally:
            self._end_map()

    def _end_map(self) -> None:
        with self._lock:
            self._mapping = False
            self._queue.clear()
            if self._closed:
                self._remove_all()
            for child in [child for child in self._children if child.task]:
                self._remove(child)

    def _mapped(self, source: Iterator[Any]) -> Iterator[Any]:
        slots: deque[_Slot] = deque()
        tasks = chunked(source, self._chunk, _TASK_BYTES)
        number = 0
        while True:
            while len(slots) <= self._processes and (items := next(tasks, None)):
                slots.append(_Slot(number, len(items)))
                self._queue.append(_Task(items, slots[-1]))
                number += 1
            if not slots:
                return
            self._assign(slots)
            yield from slots[0].ready()
            if slots[0].done:
                slots.popleft()
            else:
                self._wait()

    def _assign(self, slots: Sequence[_Slot]) -> None:
        """Give waiting tasks to idle children, of which there are as many as there is work for.

        While many bytes of results wait for those before them, only what comes first is worked on.
        """
        with self._lock:
            self._require_open()
            while len(self._children) < self._processes and len(self._queue) > sum(not c.task for c in self._children):
                self._children.append(_started(self._setup))
        crowded = sum(slot.bytes for slot in slots) > _WAITING_BYTES
        for child in self._children:
            if not child.idle or not self._queue:
                continue
            task = min(self._queue, key=lambda task: task.place)
            if crowded and task.slot is not slots[0]:
                break
            self._queue.remove(task)
            child.task = task
            child.deadline = time.monotonic() + 2 * worker.CLOCK * self._timeout + _GRACE
            _send(child.pipe, task.items)

    def _wait(self) -> None:
        """Wait until a child answers, dies or overstays, and take note of it."""
        busy = [child for child in self._children if not child.idle]
        patience = max(0.0, min(child.deadline for child in busy) - time.monotonic())
        connection.wait([end for child in busy for end in (child.pipe, child.process.sentinel)], patience)
        self._require_open()
        for child in busy:
            alive = child.process.is_alive()  # asked first: a child may answer and then end
            answer = _received(child.pipe)
            if answer is not None:
                self._note(child, answer)
            elif not alive:
                self._bury(child, self._reason(child.process.exitcode))
            elif time.monotonic() > child.deadline:
                self._bury(child, self._too_slow())

    def _note(self, child: _Child, answer: list[Any] | str) -> None:
        """Take the results of a child, or the news that it is ready, or that it never will be."""
        task, child.task = child.task, None
        if isinstance(answer, str):
            self._remove(child)
            raise RuntimeError(f"{self._setup[0]} cannot be used: {answer}")
        child.ready, child.deadline = True, float("inf")
        if task is not None:
            task.settle(answer)
            if len(answer) < len(task.items):  # it stops between items once it has taken the time of one
                self._queue.append(task.rest(len(answer)))

    def _bury(self, child: _Child, reason: str) -> None:
        """Do the items of a dead child again one by one, unless there was only one."""
        self._remove(child)
        if not child.ready:
            raise RuntimeError(f"{self._setup[0]} cannot be used: it ended its process before it was ready")
        if child.task and len(child.task.items) == 1:
            child.task.settle([Invalid(reason)])
        elif child.task:
            self._queue.extend(child.task.singles())

    def _require_open(self) -> None:
        if self._closed:
            raise RuntimeError("the workers are closed")

    def _remove(self, child: _Child) -> None:
        with self._lock:
            self._children.remove(child)
        child.kill()

    def _remove_all(self) -> None:
        for child in tuple(self._children):
            self._remove(child)

    def _reason(self, exit_code: int) -> str:
        if exit_code in worker.TOO_SLOW:
            return self._too_slow()
        if exit_code == worker.OUT_OF_MEMORY:
            return f"needed more than {_readable(self._memory)}"
        return "crashed its worker"

    def _too_slow(self) -> str:
        return f"took longer than {self._timeout:g} s"


def _started(setup: tuple[Any, ...]) -> _Child:
    context = get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=worker.run, args=(theirs, *setup), daemon=True)
    with STARTING, uninterrupted(), without_main():
        process.start()
    theirs.close()
    return _Child(process, ours)


#: One child starts at a time, because the main module is hidden meanwhile.
STARTING = threading.Lock()


@contextmanager
def without_main() -> Iterator[None]:
    """Hide the main module from a child that starts here: it needs nothing of it, and would run a script again."""
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Keep interrupts from the children that start here: they take over the mask of signals."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    resource_tracker.ensure_running()  # its own start would lift the mask
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def _send(pipe: connection.Connection, items: list[Any]) -> None:
    try:
        pipe.send(items)
    except (BrokenPipeError, ConnectionResetError):
        return  # it died; waiting for it will tell


def _received(pipe: connection.Connection) -> list[Any] | str | None:
    try:
        return pipe.recv() if pipe.poll() else None
    except (EOFError, OSError):
        return None


def _readable(size: int) -> str:
    return f"{size / (1 << 30):.3g} GiB" if size >= 1 << 30 else f"{size / (1 << 20):.3g} MiB"


#: Workers when nobody says how many: more than these rarely have enough to do beside the sampling.
MOST_PROCESSES = 8


def usable_processes() -> int:
    """How many workers to start when nobody says."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(usable, MOST_PROCESSES)
