"""Ours and a peer of torch-molecule, trained for the same wall minutes on the same molecules, and timed alike."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from molgen.data.prepare import TrainingData
from molgen.model.generative_model import GenerativeModel
from molgen.model.sampling import RawSample
from molgen.training.config import TrainingConfig
from molgen.training.fit import fit
from molgen.workers.inspector import Inspector

#: Training steps of ours, and molecules of the peer, by which a training rate is measured before the real training.
TRIAL_STEPS, TRIAL_MOLECULES = 20, 768


def train_ours(
    make: Callable[[], GenerativeModel], config: TrainingConfig, smiles: Sequence[str], minutes: float
) -> tuple[GenerativeModel, dict[str, float]]:
    """One of our models, for as many steps as the minutes allow at a rate measured first, and what it took."""
    with TemporaryDirectory() as folder:
        rate = _fit(make(), replace(config, steps=TRIAL_STEPS), smiles, Path(folder) / "trial")
        model, steps = make(), max(1, int(rate * minutes * 60))
        start = time.perf_counter()
        _fit(model, replace(config, steps=steps), smiles, Path(folder) / "run")
        return model, {
            "molecules seen": steps * config.batch_size,
            "minutes": (time.perf_counter() - start) / 60,
        }


def _fit(model: GenerativeModel, config: TrainingConfig, smiles: Sequence[str], folder: Path) -> float:
    """Train, and return the steps per second."""
    rows = smiles[: config.steps * config.batch_size]
    data = TrainingData("molecules", lambda: ((one, {}) for one in rows))
    start = time.perf_counter()
    fit(model, data, config, folder, store=folder / "stores")
    return config.steps / (time.perf_counter() - start)


def train_peer(make: Callable[[], Any], smiles: Sequence[str], minutes: float) -> tuple[Any, dict[str, float]]:
    """The peer, one epoch over as many molecules as the minutes allow, and what it took."""
    start = time.perf_counter()
    make().fit(list(smiles[:TRIAL_MOLECULES]))
    count = int(TRIAL_MOLECULES / (time.perf_counter() - start) * minutes * 60)
    rows = [smiles[k % len(smiles)] for k in range(count)]
    start = time.perf_counter()
    peer = make().fit(rows)
    return peer, {"molecules seen": count, "minutes": (time.perf_counter() - start) / 60}


def time_ours(
    model: GenerativeModel, count: int, seed: int, batch_size: int = 1024, **options: Any
) -> tuple[dict[str, float], list[RawSample], float]:
    """Raw draws, decoded, and judged in workers meanwhile: the figures, the draws, and the seconds of drawing alone.

    As `molgen generate` works, but without the density of canonical forms, which the peers have not.
    """
    drawn: list[RawSample] = []
    with Inspector(model.domain) as inspector:
        inspector.submit(["C"] * 64).result()
        start = time.perf_counter()
        batches = _Batches(model, count, seed, batch_size, options)
        valid = 0
        for batch, inspections in inspector.stream(batches, lambda draw: draw.item):
            drawn += batch
            valid += sum(inspection.item is not None for inspection in inspections)
        seconds = time.perf_counter() - start
    return {"molecules per second": count / seconds, "valid": valid / count}, drawn, batches.seconds


class _Batches:
    """Draws in batches; `seconds` is how long they have taken."""

    def __init__(self, model: GenerativeModel, count: int, seed: int, size: int, options: Mapping[str, Any]) -> None:
        self._model, self._count, self._seed, self._size, self._options = model, count, seed, size, options
        self.seconds = 0.0

    def __iter__(self) -> Iterator[list[RawSample]]:
        for first in range(0, self._count, self._size):
            size, start = min(self._size, self._count - first), time.perf_counter()
            drawn = list(self._model.sample(size, seed=self._seed, first=first, batch_size=size, **self._options))
            self.seconds += time.perf_counter() - start
            yield drawn


def time_peer(peer: Any, count: int) -> dict[str, float]:
    """The peer's own generation, which ends with canonical SMILES or nothing.

    What it takes for valid may be several fragments; `connected` is the share of those that are one molecule.
    """
    start = time.perf_counter()
    found = peer.generate(batch_size=count)
    seconds = time.perf_counter() - start
    connected = sum(bool(one) and "." not in one for one in found)
    return {
        "molecules per second": count / seconds,
        "valid": sum(map(bool, found)) / count,
        "connected": connected / count,
    }


def medians(runs: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """The median of each figure."""
    return {name: statistics.median(run[name] for run in runs) for name in runs[0]}
