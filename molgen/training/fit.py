"""The first walk: items to a store, the store to a trained model, in a folder that can be resumed.

A run folder holds `model/` (the finished model), `resume/` (the last state, a checkpoint as well),
`metrics.jsonl`, `tensorboard/`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from molgen.config import ModelConfig, make_settings, to_settings
from molgen.data.conditions import Conditions
from molgen.data.encode import encode
from molgen.data.loader import Data
from molgen.data.prepare import TrainingData
from molgen.data.standardise import standardise
from molgen.data.statistics import count
from molgen.data.store import Store
from molgen.domain import Invalid
from molgen.errors import UsageError
from molgen.model.checkpoint import Checkpoint
from molgen.model.generative_model import GenerativeModel
from molgen.training.config import TrainingConfig
from molgen.training.metrics_log import MetricsLog
from molgen.training.trainer import Progress, Trainer


@dataclass
class Watcher:
    """What a caller wants to see of a run; each has a silent default."""

    encoded: Callable[[int], None] = lambda count: None
    stored: Callable[[Store], None] = lambda store: None
    progress: Callable[[Progress], None] = lambda progress: None


def fit(
    model: GenerativeModel,
    data: TrainingData,
    config: TrainingConfig,
    folder: Path,
    *,
    store: Path,
    device: str = "cpu",
    resume: bool = False,
    watcher: Watcher | None = None,
) -> GenerativeModel:
    """Train a model on data and leave it, averaged and finished, in `folder/model`.

    A model that already has weights is tuned from them: its vocabulary may grow into spare rows, its
    conditions stay as they are, and the keys of what it learned from before stay beside the new ones.

    Args:
        model: its configuration, and weights to start from if it has any.
        data: the rows.
        config: of the training.
        folder: of the run.
        store: the folder under which encoded stores are kept.
        device: where to train.
        resume: go on from `folder/resume` if it is there.
        watcher: callbacks for display; what `progress` raises ends the run after a save, so that it can go on.

    Raises:
        UsageError: no row could be encoded, or the run in the folder is of another configuration.
        TrainingError: the loss is no longer finite.
    """
    watcher = watcher or Watcher()
    fresh = model._family is None
    model.encoder.prepare(item for item, _ in data.rows() if not isinstance(item, Invalid))
    encoded = encode(model.encoder, model.config.encoder, data, store, model.config.conditions, watcher.encoded)
    watcher.stored(encoded)
    if not len(encoded):
        raise UsageError(f"no row of {data.name} can be encoded: {_first_reason(encoded)}")
    counted = count(encoded)
    if not fresh:
        # The weights know real values in the units that they were trained in.
        counted.moments = model.statistics.moments
    model.statistics = counted
    if fresh:
        columns = {name: encoded.columns[name] for name in model.config.conditions}
        model.conditions = Conditions.fit(columns, data.classes)
        first = standardise(encoded.space, model.statistics, encoded.batch(np.arange(min(len(encoded), 512))))
        model.build(config.seed).initialise(first, model.statistics)
    model.family.set_statistics(model.statistics)
    split = Data.split(encoded, model.conditions, config, model.statistics)
    trainer = Trainer(model.family, split, config, device)
    if resume:
        _resume(trainer, model, folder, config, data)
    with closing(MetricsLog(folder, trainer.state.step)) as log:
        trainer.run(partial(_save_state, model, config, folder, data), watcher.progress, log)
    model.use(trainer.finished_family())
    _describe(model, data, encoded, trainer)
    model.save(folder / "model")
    return model


def _first_reason(store: Store) -> str:
    reasons = sorted(store.rejected.items(), key=lambda pair: -pair[1])
    return f"{reasons[0][0]} ({reasons[0][1]} rows)" if reasons else "there are no rows"


def _save_state(
    model: GenerativeModel, config: TrainingConfig, folder: Path, data: TrainingData, trainer: Trainer
) -> None:
    running = model.family
    model.use(trainer.averaged_family)
    state = {"training": to_settings(config), "data": data.digest, "state": trainer.state_json()}
    try:
        model.info["resume"] = state
        model.save(folder / "resume", training=trainer.state_tensors())
    finally:
        model.info.pop("resume", None)
        model.use(running)


def _resume(trainer: Trainer, model: GenerativeModel, folder: Path, config: TrainingConfig, data: TrainingData) -> None:
    if not (folder / "resume").exists() and not (folder / ".resume.superseded").exists():
        return
    checkpoint = Checkpoint(folder / "resume")
    saved = checkpoint.config["info"]["resume"]
    if _with_defaults(ModelConfig.from_json(checkpoint.config["model"])) != model.config:
        raise UsageError(f"{folder} holds a run of another model configuration; choose another --output")
    # Settings that came after the run was started had no effect then, which is what their defaults mean.
    before = to_settings(make_settings(TrainingConfig, saved["training"], "training"))
    if changed := sorted(name for name, value in to_settings(config).items() if before[name] != value):
        raise UsageError(
            f"{folder} holds a run with other training settings ({', '.join(changed)}); choose another --output"
        )
    if saved.get("data") not in (None, data.digest):
        raise UsageError(f"{folder} holds a run on other data than {data.name}; choose another --output")
    trainer.load(saved["state"], checkpoint.tensors("training"), checkpoint.tensors())


def _with_defaults(config: ModelConfig) -> ModelConfig:
    return GenerativeModel(config.encoder, config.family, config.backbone, config.conditions).config


def _describe(model: GenerativeModel, data: TrainingData, store: Store, trainer: Trainer) -> None:
    model.info["data"] = {
        "name": data.name,
        "items": len(store),
        "rejected": sum(store.rejected.values()),
        **data.card,
    }
    earlier = model.info.get("training")
    model.info["training"] = {
        **({"before": _in_short(earlier)} if earlier else {}),
        "steps": trainer.state.step,
        "items seen": trainer.state.step * trainer.config.batch_size,
        "held-out loss (nats)": _held_out_loss(trainer),
        "minutes": round(trainer.state.seconds / 60, 1),
        "settings": json.dumps(to_settings(trainer.config)),
    }
    if data.keys is not None:
        model.keys[data.name] = data.keys


def _in_short(training: Mapping[str, Any]) -> str:
    """What a model had learned before it was tuned."""
    said = [f"{name}: {value}" for name, value in training.items() if name != "settings"]
    return "; ".join(said)


def _held_out_loss(trainer: Trainer) -> float | str:
    """The loss of the weights that are kept: the best of the checks where training may stop early, else the last."""
    if not trainer.state.history:
        return "not measured"
    return round(trainer.state.best if trainer.best else trainer.state.history[-1][1], 4)
