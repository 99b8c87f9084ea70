"""What `GenerativeModel.fit` does: whatever holds items becomes prepared data, and those a trained model."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from molgen import registry
from molgen.backbone import fitting_batch_size
from molgen.config import Part, make_settings, part_class, to_settings
from molgen.data.prepare import TrainingData, rejected_records
from molgen.data.source import RowSource, dataset_source, file_source, source_of
from molgen.data.store import Store
from molgen.dataset import Dataset
from molgen.domain import Invalid, Record
from molgen.errors import UsageError
from molgen.training.config import TrainingConfig
from molgen.training.fit import Watcher
from molgen.training.run import TrainingRun
from molgen.training.trainer import Progress

if TYPE_CHECKING:
    from molgen.model.generative_model import GenerativeModel

#: Rejected rows that a report keeps; all of them are counted.
KEPT = 10_000


@dataclass(frozen=True)
class Rejected:
    """A row that was left out: its number from 0, what it held as far as that is text, and why."""

    row: int
    text: str
    reason: str


@dataclass(frozen=True)
class FitReport:
    """What training made of the data.

    Attributes:
        items: how many were learned from.
        counts: how many were left out, by reason.
        rejected: the first `KEPT` of them in their order.
        notes: how the columns of conditions were read, a line each.
        folder: of the run, None where nothing was kept.
    """

    items: int
    counts: Mapping[str, int]
    rejected: Sequence[Rejected]
    notes: Sequence[str] = ()
    folder: Path | None = None


def fit_model(
    model: GenerativeModel,
    data: Any,
    conditions: Sequence[str] | Mapping[str, Sequence[Any]] | None,
    column: str | None,
    training: TrainingConfig | None,
    settings: Mapping[str, Any],
    output: str | Path | None,
    device: str,
    resume: bool,
    *,
    progress: Callable[[Progress], None] | None = None,
) -> GenerativeModel:
    """Train a model; see `GenerativeModel.fit`."""
    if training is None:
        causal: bool = part_class("family", model.config.family.name).causal
        usual = fitting_batch_size(model.encoder.space, causal, TrainingConfig.batch_size)
        training = TrainingConfig(batch_size=usual)
    config = make_settings(TrainingConfig, {**to_settings(training), **settings}, "training")
    fresh = model._family is None
    if conditions is not None:
        _take_conditions(model, tuple(conditions), fresh)
    source = None if isinstance(data, TrainingData) else _source(model, data, conditions, column)
    run = TrainingRun(model, source, config, device)
    prepared = data if isinstance(data, TrainingData) else run.prepare()
    with _folder(output, resume) as folder:
        seen: list[Store] = []
        watcher = Watcher(stored=seen.append, progress=progress or (lambda progress: None))
        with warnings.catch_warnings():
            if output is None:  # nobody will load what is gone in a moment
                warnings.filterwarnings("ignore", message=".*this model can be loaded only where")
            run.fit(prepared, folder, resume, watcher)
        model.fit_report = _report(seen[0], prepared, run.source, folder if output is not None else None)
    return model


def _take_conditions(model: GenerativeModel, names: tuple[str, ...], fresh: bool) -> None:
    if not fresh and names != model.config.conditions:
        raise UsageError("the conditions of a trained model stay as they are")
    model.config = replace(model.config, conditions=names)


def _source(model: GenerativeModel, data: Any, conditions: Any, column: str | None) -> RowSource:
    if isinstance(data, Dataset):
        return source_of(data, type(data).__name__.lower(), model.config.domain)
    if isinstance(data, Path) or (isinstance(data, str) and Path(data).exists()):
        return file_source(Path(data), model.domain, column)
    if isinstance(data, str):
        if data not in registry.names("dataset"):
            known = ", ".join(registry.names("dataset")) or "none"
            raise UsageError(f"{data!r} is neither a file nor a data set ({known}); items come as a list")
        return dataset_source(Part(data), model.config.domain)
    return _items_source(data, conditions if isinstance(conditions, Mapping) else {})


def _items_source(data: Iterable[Any], columns: Mapping[str, Sequence[Any]]) -> RowSource:
    try:
        items = list(data)
    except TypeError:
        raise UsageError(
            f"nothing can be learned from {type(data).__name__}; give a list of items, a file or a name"
        ) from None
    if not items:
        raise UsageError("there is no item to learn from")
    if wrong := [name for name, values in columns.items() if len(values) != len(items)]:
        raise UsageError(f"the condition {wrong[0]!r} has {len(columns[wrong[0]])} values for {len(items)} items")

    def records() -> Iterator[Record]:
        for row, item in enumerate(items):
            values = {name: str(values[row]) for name, values in columns.items()}
            yield Record(row, item, values, item if isinstance(item, str) else "")

    card = {"licence": "not stated: the items were given in Python"}
    return RowSource("items", records, list(columns), count=len(items), card=card)


@contextmanager
def _folder(output: str | Path | None, resume: bool) -> Iterator[Path]:
    if output is None:
        if resume:
            raise UsageError("resume goes on with the run in a folder; give output= as well")
        with TemporaryDirectory(prefix="molgen-fit-") as temporary:
            yield Path(temporary)
        return
    folder = Path(output)
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder} is a file; choose another output")
    if folder.exists() and any(folder.iterdir()) and not resume:
        raise UsageError(f"{folder} is not empty; choose another output, or resume=True to go on with the run in it")
    folder.mkdir(parents=True, exist_ok=True)
    yield folder


def _report(store: Store, data: TrainingData, source: RowSource | None, folder: Path | None) -> FitReport:
    rejections = list(store.rejections())[:KEPT]
    if source is None:
        rejected = [Rejected(row, "", reason) for row, reason in rejections]
    else:
        rejected = [Rejected(one.row, _text(one), reason) for one, reason in rejected_records(source, rejections)]
    return FitReport(len(store), store.rejected, rejected, source.notes if source else (), folder)


def _text(record: Record) -> str:
    if record.text or isinstance(record.item, Invalid):
        return record.text
    return record.item if isinstance(record.item, str) else ""
