"""The distribution benchmarks of guacamol 0.5.5: `python guacamol_original.py REQUEST.json ANSWER.json`.

A request holds `generated`, `reference` (for KL and FCD) and `training` (for novelty), lists of SMILES. The
original draws from a model until it has enough valid, or unique, molecules; here the model is the list, which
gives all at the first call and nothing after. Its divisors are the number of molecules asked for, so it is
asked for as many as there are, and the scores are shares of valid, or unique, molecules.
"""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import packages
import shims
from clock import Clock

#: The weights in current releases of `fcd`; the original names those of an older one unless it is told.
WEIGHTS = "ChemNet_v0.13_pretrained.pt"


class Listed:
    """A model that has drawn already."""

    def __init__(self, molecules: Sequence[str]) -> None:
        self._molecules = list(molecules)

    def generate(self, number_samples: int) -> list[str]:
        """Everything at once, then nothing."""
        molecules, self._molecules = self._molecules, []
        return molecules


def main(request: Path, answer: Path) -> None:
    """Answer one request."""
    shims.apply()
    packages.add_to_path(packages.GUACAMOL)
    asked = json.loads(request.read_text())
    clock, parts = Clock(), {}
    start, processor = time.perf_counter(), time.process_time()
    values = {name: clock.run(name, _score, make, asked, parts) for name, make in benchmarks(asked).items()}
    found = {name: None if math.isnan(value) else float(value) for name, value in values.items()}
    total = {"wall": time.perf_counter() - start, "processor": time.process_time() - processor}
    answer.write_text(json.dumps({"metrics": found, "parts": parts, "total": total, **clock.report()}))


def _score(make: Callable[[], Any], asked: dict[str, list[str]], parts: dict[str, Any]) -> float:
    result = make().assess_model(Listed(asked["generated"]))
    parts[result.benchmark_name] = {name: _plain(value) for name, value in result.metadata.items()}
    return result.score


def benchmarks(asked: dict[str, list[str]]) -> dict[str, Callable[[], Any]]:
    """What makes each benchmark, by the name of its score."""
    from guacamol import distribution_learning_benchmark as learning
    from guacamol.frechet_benchmark import FrechetBenchmark
    from guacamol.utils.chemistry import canonicalize_list, is_valid

    generated, reference = asked["generated"], asked["reference"]
    valid = [smiles for smiles in generated if is_valid(smiles)]
    unique = len(canonicalize_list(valid))
    return {
        "Validity": lambda: learning.ValidityBenchmark(len(generated)),
        "Uniqueness": lambda: learning.UniquenessBenchmark(len(valid)),
        "Novelty": lambda: learning.NoveltyBenchmark(unique, asked["training"]),
        "KL score": lambda: learning.KLDivBenchmark(len(reference), reference),
        "FCD score": lambda: FrechetBenchmark(reference, WEIGHTS, len(reference)),
    }


def _plain(value: Any) -> Any:
    return {name: _plain(one) for name, one in value.items()} if isinstance(value, dict) else float(value)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
