"""The first walk: items to a store, the store to a trained model, in a folder that can be resumed.

A run folder holds `model/` (the finished model), `resume/` (the last state, a checkpoint as well),
`metrics.jsonl`, `tensorboard/`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from molgen.checkpoint import Checkpoint
from molgen.conditions import Conditions
from molgen.config import ModelConfig, Part, settings_of, to_settings
from molgen.domain import Encoder
from molgen.errors import UsageError
from molgen.keys import KeySet
from molgen.model import GenerativeModel
from molgen.statistics import Statistics, measure
from molgen.store import FORMAT, Row, Store, write_store
from molgen.training import Data, MetricsLog, Progress, Trainer, TrainingConfig

#: Rows of the store that are counted at a time.
COUNTED = 8192


@dataclass
class TrainingData:
    """What a run learns from.

    Attributes:
        name: of the data set; names the key set and goes into the card.
        rows: gives the rows from the start each time: an item, or `Invalid`, and its numbers.
        digest: names the content; the same digest lets an encoded store be used again.
        keys: gives the keys of the canonical items, for telling new ones from seen ones.
        card: what the model card says of the data.
    """

    name: str
    rows: Callable[[], Iterable[Row]]
    digest: str | None = None
    keys: Callable[[], Iterable[str]] | None = None
    card: Mapping[str, Any] = field(default_factory=dict)


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

    A model that already has weights is tuned from them; its vocabulary may grow into spare rows.

    Args:
        model: its configuration, and weights to start from if it has any.
        data: the rows.
        config: of the training.
        folder: of the run.
        store: the folder under which encoded stores are kept.
        device: where to train.
        resume: go on from `folder/resume` if it is there.
        watcher: callbacks for display.

    Raises:
        UsageError: no row could be encoded, or the run in the folder is of another configuration.
        TrainingError: the loss is no longer finite.
    """
    watcher = watcher or Watcher()
    fresh = model._family is None
    model.encoder.prepare(item for item, _ in data.rows())
    encoded = encode(model.encoder, model.config.encoder, data, store, model.config.conditions, watcher.encoded)
    watcher.stored(encoded)
    if not len(encoded):
        raise UsageError(f"no row of {data.name} can be encoded: {_first_reason(encoded)}")
    model.statistics = count(encoded)
    if fresh:
        model.conditions = Conditions.fit({name: encoded.columns[name] for name in model.config.conditions})
        model.build(config.seed).initialise(encoded.batch(np.arange(min(len(encoded), 512))), model.statistics)
    trainer = Trainer(model.family, Data.split(encoded, model.conditions, config), config, device, folder)
    if resume:
        _resume(trainer, model, folder, config)
    with closing(MetricsLog(folder)) as log:
        trainer.run(partial(_save_state, model, config, folder), watcher.progress, log)
    model.use(trainer.averaged_family)
    _describe(model, data, encoded, trainer)
    model.save(folder / "model")
    return model


def encode(
    encoder: Encoder,
    part: Part,
    data: TrainingData,
    folder: Path,
    columns: Iterable[str],
    progress: Callable[[int], None] | None = None,
) -> Store:
    """The store of the data under this encoder; made on first use, found again by content after that."""
    columns = sorted(columns)
    state = encoder.state()
    name = _store_name(part, state, data, columns)
    path = folder / name
    if data.digest is not None and (path / "meta.json").exists():
        return Store(path, encoder.space)
    make = partial(make_encoder, part, state)
    return write_store(path, make, encoder.space, data.rows(), columns, progress=progress)


def make_encoder(part: Part, state: Mapping[str, Any]) -> Encoder:
    """A prepared encoder; worker processes make theirs by this."""
    cls, config = settings_of("encoder", part)
    encoder: Encoder = cls(config)
    encoder.load_state(state)
    return encoder


def _store_name(part: Part, state: Mapping[str, Any], data: TrainingData, columns: list[str]) -> str:
    content = json.dumps([FORMAT, part.to_json(), state, data.digest or data.name, columns], sort_keys=True)
    return f"{data.name}-{part.name}-{hashlib.sha256(content.encode()).hexdigest()[:16]}"


def count(store: Store) -> Statistics:
    """The statistics of a whole store."""
    rows = np.arange(len(store))
    return measure(store.space, (store.batch(rows[k : k + COUNTED]) for k in range(0, len(rows), COUNTED)))


def _first_reason(store: Store) -> str:
    reasons = sorted(store.rejected.items(), key=lambda pair: -pair[1])
    return f"{reasons[0][0]} ({reasons[0][1]} rows)" if reasons else "there are no rows"


def _save_state(model: GenerativeModel, config: TrainingConfig, folder: Path, trainer: Trainer) -> None:
    running = model.family
    model.use(trainer.averaged_family)
    try:
        model.info["resume"] = {"training": to_settings(config), "state": trainer.state_json()}
        model.save(folder / "resume", training=trainer.state_tensors())
    finally:
        model.info.pop("resume", None)
        model.use(running)


def _resume(trainer: Trainer, model: GenerativeModel, folder: Path, config: TrainingConfig) -> None:
    if not (folder / "resume").exists() and not (folder / ".resume.superseded").exists():
        return
    checkpoint = Checkpoint(folder / "resume")
    saved = checkpoint.config["info"]["resume"]
    if ModelConfig.from_json(checkpoint.config["model"]) != model.config:
        raise UsageError(f"{folder} holds a run of another model configuration; choose another --output")
    if saved["training"] != to_settings(config):
        changed = sorted(k for k, v in to_settings(config).items() if saved["training"].get(k) != v)
        raise UsageError(f"{folder} holds a run with other training settings ({', '.join(changed)}); choose another --output")
    trainer.load(saved["state"], checkpoint.tensors("training"), checkpoint.tensors())


def _describe(model: GenerativeModel, data: TrainingData, store: Store, trainer: Trainer) -> None:
    model.info["data"] = {"name": data.name, "items": len(store), "rejected": sum(store.rejected.values()), **data.card}
    history = trainer.state.history
    model.info["training"] = {
        "steps": trainer.state.step,
        "items seen": trainer.state.step * trainer.config.batch_size,
        "held-out loss (nats)": round(history[-1][1], 4) if history else "not measured",
        "settings": json.dumps(to_settings(trainer.config)),
    }
    if data.keys is not None:
        model.keys[data.name] = KeySet.of(data.keys(), expected=len(store))
