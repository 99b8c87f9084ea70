"""What goes to a worker and comes back; plain data, so that it may cross any border."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from molgen.errors import MolgenError

Task = Mapping[str, Any]
Result = dict[str, Any]


class TaskError(MolgenError):
    """A task failed for a reason that another try would meet again; the message and the exit code are the worker's."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code
