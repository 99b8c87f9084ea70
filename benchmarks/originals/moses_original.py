"""The metrics of molsets 0.3.1, by its own code: `python moses_original.py REQUEST.json ANSWER.json`.

A request holds the arguments of the original's `get_all_metrics`; lists that it leaves out are those
of the benchmark, with the statistics of its wheel (a pickle, read as the original reads it). An answer
holds its metrics by its own names, with the seconds and the error of each.
"""

from __future__ import annotations

import json
import math
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import packages
import shims
from clock import Clock

#: The names under which the original gives its metrics to the sets that it compares with, in the order of its calls.
_SETS = ("Test", "TestSF")


def main(request: Path, answer: Path) -> None:
    """Answer one request."""
    shims.apply()
    packages.add_to_path(packages.MOSES, packages.FCD_TORCH)
    from moses.metrics import metrics

    clock = Clock()
    watch(metrics, clock)
    start, processor = time.perf_counter(), time.process_time()
    values = metrics.get_all_metrics(**json.loads(request.read_text()))
    found = {name: None if math.isnan(value) else float(value) for name, value in values.items()}
    total = {"wall": time.perf_counter() - start, "processor": time.process_time() - processor}
    answer.write_text(json.dumps({"metrics": found, "total": total, **clock.report()}))


def watch(metrics: Any, clock: Clock) -> None:
    """Have the clock run every metric that `get_all_metrics` calls. The metrics themselves stay as they are."""
    for name, label in (
        ("fraction_valid", lambda *_, **__: "valid"),
        ("fraction_unique", lambda gen, k, *_: f"unique@{k}"),
        ("internal_diversity", lambda *_, p=1, **__: "IntDiv" if p == 1 else f"IntDiv{p}"),
        ("fraction_passes_filters", lambda *_: "Filters"),
        ("novelty", lambda *_: "Novelty"),
    ):
        setattr(metrics, name, _function(clock, label, getattr(metrics, name)))
    for name in ("FCDMetric", "SNNMetric", "FragMetric", "ScafMetric"):
        setattr(metrics, name, _class(clock, getattr(metrics, name), _numbered(name.removesuffix("Metric"))))
    metrics.WassersteinMetric = _class(clock, metrics.WassersteinMetric, lambda one: one.func.__name__)
    metrics.compute_intermediate_statistics = _block(clock, "references", metrics.compute_intermediate_statistics)
    metrics.remove_invalid = _block(clock, "canonical form", metrics.remove_invalid)


def _function(clock: Clock, label: Callable[..., str], function: Callable[..., Any]) -> Callable[..., Any]:
    return lambda *args, **options: clock.run(label(*args, **options), function, *args, **options)


def _block(clock: Clock, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    def run(*args: Any, **options: Any) -> Any:
        with clock.of(name):
            return function(*args, **options)

    return run


def _class(clock: Clock, cls: type, label: Callable[[Any], str]) -> type:
    class Watched(cls):  # type: ignore[misc]
        def __call__(self, *args: Any, **options: Any) -> Any:
            return clock.run(label(self), super().__call__, *args, **options)

    return Watched


def _numbered(name: str) -> Callable[[Any], str]:
    calls: Counter[str] = Counter()

    def label(_: Any) -> str:
        calls[name] += 1
        return f"{name}/{_SETS[calls[name] - 1]}"

    return label


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
