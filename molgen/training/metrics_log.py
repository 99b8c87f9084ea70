"""Metrics as JSON lines and for TensorBoard."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from pathlib import Path

from molgen.atomic_files import write_text


class MetricsLog:
    """Metrics as JSON lines, one object a line, and for TensorBoard; resuming appends.

    Args:
        folder: of the run.
        step: where the run stands; lines of later steps, which will be taken again, are removed.
    """

    def __init__(self, folder: Path, step: int = 0) -> None:
        from torch.utils.tensorboard import SummaryWriter

        folder.mkdir(parents=True, exist_ok=True)
        path = folder / "metrics.jsonl"
        if path.exists():
            write_text(path, "".join(_lines_until(path, step)))
        self._file = path.open("a", encoding="utf-8")
        self._board = SummaryWriter(str(folder / "tensorboard"), purge_step=step + 1)

    def __call__(self, step: int, values: Mapping[str, float]) -> None:
        """Write the values of one step; a number that is not finite has no form in JSON and becomes null."""
        finite = {name: value if math.isfinite(value) else None for name, value in values.items()}
        self._file.write(json.dumps({"step": step, **finite}) + "\n")
        self._file.flush()
        for name, value in values.items():
            self._board.add_scalar(name, value, step)

    def close(self) -> None:
        """Flush and close both."""
        self._file.close()
        self._board.close()


def _lines_until(path: Path, step: int) -> Iterable[str]:
    """The whole lines up to a step; a process that was killed may have left half a line."""
    for line in path.read_text(encoding="utf-8").splitlines(keepends=True):
        try:
            if line.endswith("\n") and json.loads(line)["step"] <= step:
                yield line
        except (ValueError, KeyError, TypeError):
            continue
