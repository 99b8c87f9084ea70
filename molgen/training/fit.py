"""A whole run: items to a store, the store to a trained model, in a folder that can be resumed.

A run folder holds `model/` (the finished model), `resume/` (the last state, a checkpoint as well),
`metrics.jsonl`, `tensorboard/`.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from molgen.config import ModelConfig, make_settings, to_settings, with_all_settings
from molgen.data.conditions import Conditions
from molgen.data.encode import encode
from molgen.data.loader import Data
from molgen.data.prepare import TrainingData
from molgen.data.statistics import count
from molgen.data.store import Store
from molgen.domain import Invalid
from molgen.errors import UsageError
from molgen.family import Family
from molgen.model.checkpoint import Checkpoint, named_damage
from molgen.model.trained import description
from molgen.training.config import TrainingConfig, current_names
from molgen.training.metrics_log import MetricsLog
from molgen.training.trainer import Progress, Trainer

if TYPE_CHECKING:
    from molgen.model.generative_model import GenerativeModel

#: Training items that `Family.initialise` sees.
FIRST_ITEMS = 512
#: What a held-out loss is called in the record of a training; a unit may follow in brackets.
HELD_OUT = "held-out loss"


@dataclass
class Watcher:
    """What a caller wants to see of a run; each has a silent default, but for what deserves attention."""

    encoded: Callable[[int], None] = lambda count: None
    stored: Callable[[Store], None] = lambda store: None
    progress: Callable[[Progress], None] = lambda progress: None
    #: takes one sentence: what the family warns of, and how a resumed run differs from the one before.
    notice: Callable[[str], None] = lambda text: warnings.warn(text, stacklevel=2)


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
    conditions stay as they are, new ones come beside them, and the keys of what it learned from before stay beside
    those of the new data.

    Args:
        model: its configuration, and weights to start from if it has any.
        data: the rows.
        config: of the training.
        folder: of the run.
        store: the folder under which encoded stores are kept.
        device: where to train.
        resume: go on from `folder/resume` if it is there; with other `steps` than the run had, it goes on to those.
        watcher: callbacks for display; what `progress` raises ends the run after a save, so that it can go on.

    Raises:
        UsageError: no row could be encoded, or the run in the folder is of another configuration.
        TrainingError: the loss or a weight is no longer finite.
    """
    watcher = watcher or Watcher()
    encoded = _encode(model, data, store, watcher)
    with named_damage(folder / "resume"):
        saved = _saved_run(model, config, folder, data, watcher.notice) if resume else None
    split = _prepare(model, data, encoded, config, saved)
    trainer = Trainer(model.family, split, config, device)
    if saved is not None:
        with named_damage(saved.path):
            trainer.load(saved.config["info"]["resume"]["state"], saved.tensors("training"), saved.tensors())
    with closing(MetricsLog(folder, trainer.state.step)) as log:
        trainer.run(partial(_save_state, model, config, folder, data), watcher.progress, log, watcher.notice)
    model.use(trainer.finished_family())
    _describe(model, data, encoded, trainer)
    model.save(folder / "model")
    return model


def _encode(model: GenerativeModel, data: TrainingData, store: Path, watcher: Watcher) -> Store:
    model.encoder.prepare(item for item, _ in data.rows() if not isinstance(item, Invalid))
    if model._family is None:
        model.choose_backbone()
    encoded = encode(model.encoder, model.config.encoder, data, store, model.config.conditions, watcher.encoded)
    watcher.stored(encoded)
    if not len(encoded):
        raise UsageError(f"no row of {data.name} can be encoded: {_first_reason(encoded)}")
    return encoded


def _prepare(
    model: GenerativeModel, data: TrainingData, encoded: Store, config: TrainingConfig, saved: Checkpoint | None
) -> Data:
    """Count the data, and make the family where it is fresh, or that of the saved run; the data to train it on."""
    fresh = model._family is None
    counted = count(encoded)
    if not fresh or model.trained:
        # Weights know real values in the units that they were trained in.
        counted.moments = model.statistics.moments
    model.statistics = counted
    if fresh:
        before = model.conditions.only(model.config.conditions)
        columns = {name: encoded.columns[name] for name in model.config.conditions if name not in before.names}
        model.conditions = before.joined(_fitted(columns, data, config))
    elif gained := [name for name in model.config.conditions if name not in model.conditions.names]:
        model.gain_conditions(_fitted({name: encoded.columns[name] for name in gained}, data, config))
    split = Data.split(
        encoded,
        model.conditions,
        config.validation,
        limit=config.validation_limit,
        seed=config.seed,
        statistics=counted,
    )
    if saved is not None:
        model.trained = type(model).trained_from_json(saved.config, saved.path)
        model.build(config.seed, saved.config.get("family_state", {}))
    elif fresh:
        first, _ = split.batch(split.some(FIRST_ITEMS, config.seed))
        model.build(config.seed).initialise(first, counted)
    model.family.set_statistics(counted)
    return split


def _fitted(columns: Mapping[str, np.ndarray], data: TrainingData, config: TrainingConfig) -> Conditions:
    """Conditions of columns; where training is private, without their distributions, which are values of items."""
    found = Conditions.fit(columns, data.classes)
    return replace(found, ranges={}, marginals={}) if config.private else found


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


def _saved_run(
    model: GenerativeModel, config: TrainingConfig, folder: Path, data: TrainingData, notice: Callable[[str], None]
) -> Checkpoint | None:
    """The last state of the run in a folder, if there is one.

    Raises:
        UsageError: the run is of another configuration, or on other data.
    """
    if not (folder / "resume").exists() and not (folder / ".resume.superseded").exists():
        return None
    checkpoint = Checkpoint(folder / "resume")
    saved = checkpoint.config["info"]["resume"]
    if with_all_settings(ModelConfig.from_json(checkpoint.config["model"])) != model.config:
        raise UsageError(f"{folder} holds a run of another model configuration; choose another --output")
    # Settings that came after the run was started had no effect then, which is what their defaults mean.
    before = make_settings(TrainingConfig, current_names(saved["training"]), "training")
    # How often a run is saved, spoken of and, without patience, checked changes nothing that it learns.
    before = replace(before, save_every=config.save_every, log_every=config.log_every)
    if not before.patience:
        before = replace(before, check_every=config.check_every)
    state = saved["state"]
    if config.steps != before.steps and config.steps >= state["step"]:
        notice(
            f"training goes on to step {config.steps:,} instead of {before.steps:,}; "
            "from here on the learning rate is that of a run of so many steps"
        )
        state["plans"] = [*state.get("plans", ()), (state["step"], before.steps)]
        before = replace(before, steps=config.steps)
    if changed := sorted(name for name, value in to_settings(config).items() if to_settings(before)[name] != value):
        raise UsageError(
            f"{folder} holds a run with other training settings ({', '.join(changed)}); choose another --output"
        )
    if saved.get("data") not in (None, data.digest):
        raise UsageError(f"{folder} holds a run on other data than {data.name}; choose another --output")
    return checkpoint


def _describe(model: GenerativeModel, data: TrainingData, store: Store, trainer: Trainer) -> None:
    model.info["data"] = {
        "name": data.name,
        "items": len(store),
        "rejected": sum(store.rejected.values()),
        **{source: f"{count:,} items" for source, count in store.provenance.items()},
        **data.card,
        **{f"family.{name}": description(trained) for name, trained in model.trained.items()},
    }
    earlier = model.info.get("training")
    model.info["training"] = {
        **({"before": _in_short(earlier)} if earlier else {}),
        "steps": trainer.state.step,
        **_former_plans(trainer),
        "items seen": trainer.state.step * trainer.config.batch_size * trainer.batches,
        _held_out_name(model.family): _held_out_loss(trainer),
        "minutes": round(trainer.state.seconds / 60, 1),
        "settings": json.dumps(to_settings(trainer.config)),
    }
    model.info.pop("privacy", None)
    if trainer.private is not None:
        report = trainer.private.report(trainer.state.step)
        model.info["privacy"] = {**report, "not covered": "; ".join(_uncovered(model, trainer.config, earlier))}
        model.info["training"]["privacy"] = f"epsilon {report['epsilon']:g} at delta {report['delta']:.2g}"
    elif data.keys is not None:  # which say of every item whether it was there
        model.keys[data.name] = data.keys


def _uncovered(model: GenerativeModel, config: TrainingConfig, earlier: object) -> Iterator[str]:
    """What of the data reaches a privately trained model without noise."""
    yield "counts and scales of all items beside the weights (sizes, frequencies, means, quantiles, vocabulary)"
    yield "how many items there are"
    yield "the items held out, whose mean loss is stated" + (" and chooses the weights" if config.patience else "")
    if earlier:
        yield "what the model had learned before"
    yield from (f"what the model in family.{name} learned" for name in model.trained)


def _former_plans(trainer: Trainer) -> dict[str, str]:
    """What the learning rate followed before the number of steps was changed, if it was."""
    plans = [f"of a run of {steps:,} steps up to step {step:,}" for step, steps in trainer.state.plans]
    return {"learning rate": "; ".join(plans)} if plans else {}


def _in_short(training: Mapping[str, Any]) -> str:
    """What a model had learned before it was tuned."""
    return "; ".join(f"{name}: {value}" for name, value in training.items() if name != "settings")


def held_out_loss(training: Mapping[str, Any]) -> str:
    """The held-out loss with its unit, as a sentence names it, from the record of a training."""
    name, value = next(pair for pair in training.items() if pair[0].startswith(HELD_OUT))
    unit = name.removeprefix(HELD_OUT).strip(" ()")
    return f"{value} {unit}" if unit and isinstance(value, float) else str(value)


def _held_out_name(family: Family) -> str:
    return f"{HELD_OUT} ({family.loss_unit})" if family.loss_unit else HELD_OUT


def _held_out_loss(trainer: Trainer) -> float | str:
    """The loss of the weights that are kept: the best of the checks where training may stop early, else the last."""
    if not trainer.state.history:
        return "not measured"
    return round(trainer.state.best if trainer.best else trainer.state.history[-1][1], 4)
