"""Who does the tasks of a set: this process, processes of this machine, or Ray. All of them leave the same bytes.

A worker may die at any moment: its task goes to another one. A task that fails for a reason ends the work.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from multiprocessing import connection, get_all_start_methods, get_context, parent_process
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, Protocol

from molgen.errors import MolgenError
from molgen.workers.pool import STARTING, uninterrupted, usable_processes, without_main
from molgen_datasets.synthetic.task import Result, Task, TaskError

#: How often one task may lose its worker.
RETRIES = 10
#: Modules that the process which forks local workers loads once for all of them.
_PRELOADED = ["torch", "pyarrow.parquet", "molgen.model.generative_model", "molgen_datasets.synthetic.worker"]


class Executor(Protocol):
    """Does tasks, in whatever order; close it in the end."""

    def run(self, tasks: Sequence[Task]) -> Iterator[tuple[Task, Result]]:
        """Each task with its result, as they come.

        Raises:
            TaskError: a task failed.
            MolgenError: a task lost its worker too often.
        """

    def close(self) -> None:
        """End the workers at once; what is not finished is lost."""


def checked(result: Result) -> Result:
    """A result that is none of a failure.

    Raises:
        TaskError: it is.
    """
    if "error" in result:
        raise TaskError(result["error"], result["exit_code"])
    return result


class Attempts:
    """Counts how often tasks lost their workers.

    Args:
        most: how often one may.
    """

    def __init__(self, most: int) -> None:
        self._most, self._lost = most, dict[str, int]()

    def lost(self, task: Task) -> None:
        """Take note of one more.

        Raises:
            MolgenError: that is too often.
        """
        name = " ".join(str(value) for value in task.values() if not isinstance(value, dict))
        self._lost[name] = self._lost.get(name, 0) + 1
        if self._lost[name] > self._most:
            raise MolgenError(
                f"the task {name} lost its worker {self._lost[name]} times: it may need more memory than there is; "
                "type --resume to go on, with fewer --workers"
            )


class Serial:
    """Does the tasks in this process, one after the other.

    Args:
        path: of the folder of the set.
        device: of the models.
    """

    def __init__(self, path: Path, device: str = "cpu") -> None:
        from molgen_datasets.synthetic.worker import Worker

        self._worker = Worker(path, device)

    def run(self, tasks: Sequence[Task]) -> Iterator[tuple[Task, Result]]:
        """Each task with its result."""
        for task in tasks:
            yield task, self._worker.do(task)

    def close(self) -> None:
        """End the processes that inspect."""
        self._worker.close()


# --- processes of this machine --------------------------------------------------------------------


@dataclass(eq=False)
class _Child:
    process: BaseProcess
    pipe: connection.Connection
    task: Task | None = None


class Processes:
    """Does the tasks in processes of this machine, which are forked from one that has the packages loaded.

    Args:
        path: of the folder of the set.
        workers: how many; by default one for every two processors that can be used, because each has a process beside
            it that inspects.
        device: of the models.
        retries: how often one task may lose its worker.
    """

    def __init__(self, path: Path, workers: int | None = None, device: str = "cpu", retries: int = RETRIES) -> None:
        self._setup = (str(path), device)
        self._most = workers or max(1, usable_processes() // 2)
        self._children: list[_Child] = []
        self._attempts = Attempts(retries)
        method = "forkserver" if "forkserver" in get_all_start_methods() else "spawn"
        self._context: Any = get_context(method)
        if method == "forkserver":
            self._context.set_forkserver_preload(_PRELOADED)

    def run(self, tasks: Sequence[Task]) -> Iterator[tuple[Task, Result]]:
        """Each task with its result, as they come; where a worker dies, its task is done again."""
        waiting = deque(tasks)
        while waiting or any(child.task is not None for child in self._children):
            self._assign(waiting)
            for child in self._ready():
                task, result = child.task, self._received(child)
                if result is None:
                    self._bury(child)
                    if task is not None:
                        self._attempts.lost(task)
                        waiting.appendleft(task)
                elif task is not None:
                    child.task = None
                    yield task, checked(result)

    def _assign(self, waiting: deque[Task]) -> None:
        idle = [child for child in self._children if child.task is None]
        while waiting and (idle or len(self._children) < self._most):
            child = idle.pop() if idle else self._started()
            child.task = waiting.popleft()
            try:
                child.pipe.send(child.task)
            except OSError:  # it died while it had nothing to do; reading from it will tell
                continue

    def _started(self) -> _Child:
        ours, theirs = self._context.Pipe()
        process = self._context.Process(target=serve, args=(theirs, *self._setup))
        with STARTING, uninterrupted(), without_main():
            process.start()
        theirs.close()
        self._children.append(_Child(process, ours))
        return self._children[-1]

    def _ready(self) -> list[_Child]:
        found = set(connection.wait([end for child in self._children for end in (child.pipe, child.process.sentinel)]))
        return [child for child in self._children if child.pipe in found or child.process.sentinel in found]

    def _received(self, child: _Child) -> Result | None:
        """What a worker answered; None where it is dead."""
        try:
            return child.pipe.recv() if child.pipe.poll() else None
        except (EOFError, OSError):
            return None

    def _bury(self, child: _Child) -> None:
        self._children.remove(child)
        child.process.kill()
        child.process.join()
        child.pipe.close()

    def close(self) -> None:
        """Kill the workers."""
        for child in tuple(self._children):
            self._bury(child)


def serve(pipe: connection.Connection, path: str, device: str) -> None:
    """What runs in a local worker: it does what comes through the pipe, and ends when whoever started it does."""
    import signal

    from molgen_datasets.synthetic.worker import Worker

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # an interrupt is for whoever leads, who ends the workers
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    worker = Worker(path, device)
    try:
        while True:
            pipe.send(worker.attempt(pipe.recv()))
    except (EOFError, OSError):
        return
    finally:
        worker.close()


def _end_with_parent() -> None:
    """A worker whose leader was killed would go on with its task, and with it the next one of a resumed set."""
    parent = parent_process()
    if parent is not None:
        connection.wait([parent.sentinel])
        os._exit(1)
