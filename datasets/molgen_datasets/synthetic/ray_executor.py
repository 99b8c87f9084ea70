"""Ray does the tasks: an actor for each worker, which loads the models once; what a dead one had, another one does.

The folder of the set must be on storage that all nodes share: tasks and results are small, the files are not sent.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from molgen.errors import MolgenError, UsageError
from molgen.workers.pool import usable_processes
from molgen_datasets.synthetic.executors import RETRIES, Attempts, checked
from molgen_datasets.synthetic.folder import Folder
from molgen_datasets.synthetic.task import Result, Task


class Ray:
    """Does the tasks on a Ray cluster, or on a local one that lives as long as this.

    Args:
        path: of the folder of the set.
        workers: how many actors; by default one for every two processors of the cluster.
        device: of the models.
        retries: how often one task may lose its worker.
        address: of a cluster that runs, such as `auto` or `ray://head:10001`; a local one is started without.

    Raises:
        UsageError: Ray is not installed, or there is no cluster at the address.
    """

    def __init__(
        self,
        path: Path,
        workers: int | None = None,
        device: str = "cpu",
        retries: int = RETRIES,
        address: str | None = None,
    ) -> None:
        self._ray = _ray()
        self._folder, self._device = Folder(path.resolve()), device
        self._ours = not self._ray.is_initialized()
        if self._ours:
            _connect(self._ray, address, workers)
        cpus = int(self._ray.cluster_resources().get("CPU", 1))
        self._most = workers or (cpus if self._ours and address is None else max(1, cpus // 2))
        self._attempts = Attempts(retries)
        self._idle: list[Any] = []
        self._busy: dict[Any, tuple[Any, Task]] = {}

    def run(self, tasks: Sequence[Task]) -> Iterator[tuple[Task, Result]]:
        """Each task with its result, as they come; where an actor dies, its task is done again."""
        waiting = deque(tasks)
        while waiting or self._busy:
            while waiting and len(self._busy) < self._most:
                self._give(waiting.popleft())
            done, _ = self._ray.wait(list(self._busy))
            actor, task = self._busy.pop(done[0])
            try:
                result = checked(self._ray.get(done[0]))
            except self._ray.exceptions.RayActorError:
                self._attempts.lost(task)
                waiting.appendleft(task)
                continue
            self._idle.append(actor)
            self._require_shared(task)
            yield task, result

    def _give(self, task: Task) -> None:
        actor = self._idle.pop() if self._idle else self._actor()
        self._busy[actor.attempt.remote(dict(task))] = actor, task

    def _actor(self) -> Any:
        gpus = 1 if self._device.startswith("cuda") else 0
        make = self._ray.remote(num_cpus=1, num_gpus=gpus, max_restarts=0)
        return make(_Actor).remote(str(self._folder.path), self._device)

    def _require_shared(self, task: Task) -> None:
        """See that what a worker wrote is here."""
        path = self._folder.part(task["number"]) if task["kind"] == "part" else self._folder.facts
        if not path.exists():
            raise MolgenError(f"{path}: a worker wrote it, and it is not here: the folder must be on shared storage")

    def close(self) -> None:
        """End the actors, and the cluster where it is ours."""
        for actor in [*self._idle, *(actor for actor, _ in self._busy.values())]:
            self._ray.kill(actor)
        self._idle, self._busy = [], {}
        if self._ours:
            self._ray.shutdown()


class _Actor:
    """What an actor is: a worker."""

    def __init__(self, path: str, device: str) -> None:
        from molgen_datasets.synthetic.worker import Worker

        self._worker = Worker(path, device)

    def attempt(self, task: Task) -> Result:
        """Do a task."""
        return self._worker.attempt(task)

    def process(self) -> int:
        """The number of its process."""
        return os.getpid()


def _ray() -> Any:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is reported to anybody
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    try:
        import ray
    except ModuleNotFoundError:
        raise UsageError("--engine ray needs Ray; type: pip install 'molgen-toolkit[ray]'") from None
    return ray


def _connect(ray: Any, address: str | None, workers: int | None) -> None:
    quiet = {"log_to_driver": False, "logging_level": "error"}
    try:
        if address is not None:
            ray.init(address=address, **quiet)
            return
        # one for each actor: Ray starts as many processes ahead of the work
        ray.init(num_cpus=workers or max(1, usable_processes() // 2), include_dashboard=False, **quiet)
    except Exception as error:  # Ray raises a bare one where a process of its own does not start
        raise UsageError(f"no Ray cluster at {address or 'this machine'}: {str(error).splitlines()[0]}") from None
