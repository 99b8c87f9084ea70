"""What each metric of an original package took, and what it failed with."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


class Clock:
    """Runs functions, notes their wall and processor seconds by name, and turns an exception into NaN."""

    def __init__(self) -> None:
        self.seconds: dict[str, dict[str, float]] = {}
        self.errors: dict[str, str] = {}
        self.warnings: set[str] = set()

    def run(self, name: str, function: Callable[..., Any], *args: Any, **options: Any) -> Any:
        """The function's result, or NaN where it raises: the original would end there, without any result."""
        with self.of(name):
            try:
                return function(*args, **options)
            except Exception as error:
                self.errors[name] = f"{type(error).__name__}: {error}"
                return math.nan

    @contextmanager
    def of(self, name: str) -> Iterator[None]:
        """Note the seconds of a block; processor seconds are those of this process, not of its workers."""
        wall, processor = time.perf_counter(), time.process_time()
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", RuntimeWarning)
            yield
        self.warnings |= {f"{name}: {one.message}" for one in caught if one.category is RuntimeWarning}
        spent = self.seconds.setdefault(name, {"wall": 0.0, "processor": 0.0})
        spent["wall"] += time.perf_counter() - wall
        spent["processor"] += time.process_time() - processor

    def report(self) -> dict[str, Any]:
        """All of it, for an answer."""
        return {"seconds by metric": self.seconds, "errors": self.errors, "warnings": sorted(self.warnings)}
