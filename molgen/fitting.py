"""The first walk: items to a store, the store to a trained model, in a folder that can be resumed.

A run folder holds `model/` (the finished model), `resume/` (the last state, a checkpoint as well),
`metrics.jsonl`, `tensorboard/`.
"""

from __future__ import annotations

import hashlib
import json
import math
import secrets
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from molgen.checkpoint import Checkpoint
from molgen.conditions import Conditions
from molgen.config import ModelConfig, Part, make_settings, settings_of, to_settings
from molgen.domain import Encoder, Invalid
from molgen.errors import UsageError
from molgen.files import write_text
from molgen.keys import KeySet
from molgen.loading import Data
from molgen.model import GenerativeModel
from molgen.space import Categorical
from molgen.standard import standardise
from molgen.statistics import Statistics, measure
from molgen.store import FORMAT, Row, Store, write_store
from molgen.training import Progress, Trainer, TrainingConfig

#: Rows of the store that are counted at a time, and numbers of a field.
COUNTED, COUNTED_NUMBERS = 8192, 1 << 22


@dataclass
class TrainingData:
    """What a run learns from.

    Attributes:
        name: of the data set; names the key set and goes into the card.
        rows: gives the rows from the start each time: an item, or `Invalid`, and its numbers; a class is the
            number of its name in `classes`, NaN where it is not known.
        digest: names the content; the same digest lets an encoded store be used again.
        keys: of the canonical items, for telling new ones from seen ones.
        card: what the model card says of the data.
        classes: the names of the classes of each condition that is no number.
    """

    name: str
    rows: Callable[[], Iterable[Row]]
    digest: str | None = None
    keys: KeySet | None = None
    card: Mapping[str, Any] = field(default_factory=dict)
    classes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


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
    model.family.observe(model.statistics)
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
    # Data without a digest may have changed since, so their store is used for one run only.
    digest = data.digest or secrets.token_hex(16)
    content = json.dumps([FORMAT, part.to_json(), state, digest, columns], sort_keys=True)
    return f"{data.name}-{part.name}-{hashlib.sha256(content.encode()).hexdigest()[:16]}"


def count(store: Store) -> Statistics:
    """The statistics of a whole store."""
    if all(isinstance(field, Categorical) for field in store.space.values()):
        return _count_classes(store)
    rows = np.arange(len(store))
    return measure(store.space, (store.batch(rows[k : k + COUNTED]) for k in range(0, len(rows), COUNTED)))


def _count_classes(store: Store) -> Statistics:
    """The same for classes alone: the store holds them packed, so they need not become batches first."""
    statistics = Statistics(len(store))
    if store.sizes:
        sizes, counts = np.unique(np.stack(list(store.sizes.values()), 1), axis=0, return_counts=True)
        statistics.sizes = Counter(dict(zip(map(tuple, sizes.tolist()), counts.tolist(), strict=True)))
    for name, kind in store.space.items():
        assert isinstance(kind, Categorical)
        flat, total = store.fields[name], np.zeros(kind.classes, dtype=np.int64)
        for start in range(0, len(flat), COUNTED_NUMBERS):
            total += np.bincount(flat[start : start + COUNTED_NUMBERS], minlength=kind.classes)
        statistics.marginals[name] = total.tolist()
    return statistics


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
