"""A run from a source of items to a trained model: the same for the command line and for Python."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from molgen.data.cache import cache_folder
from molgen.data.condition_columns import with_classes
from molgen.data.prepare import TrainingData, training_data
from molgen.data.source import RowSource, computed_conditions, embedded_name
from molgen.model.devices import resolve_device
from molgen.training.config import TrainingConfig
from molgen.training.fit import Watcher, fit

if TYPE_CHECKING:
    from molgen.model.generative_model import GenerativeModel


class TrainingRun:
    """What a model is to learn from, and how.

    Args:
        model: that is to learn; its configuration names the conditions.
        source: of the items, None where the data are prepared already.
        config: of the training.
        device: where to train; `auto` is a CUDA device if there is one.
        classes: the conditions whose numbers stand for classes.

    Attributes:
        source: with the classes of its conditions.

    Raises:
        UsageError: a condition is neither a column of the source nor computed, or there is no such device.
    """

    def __init__(
        self,
        model: GenerativeModel,
        source: RowSource | None,
        config: TrainingConfig,
        device: str = "auto",
        classes: Sequence[str] = (),
    ) -> None:
        self.model, self.config, self.device = model, config, resolve_device(device)
        self.source, self._computed = source, list[str]()
        if source is not None:
            self.source = with_classes(source, model.config.conditions, classes, model.conditions.classes)
            self._computed = _computed(model, self.source)

    def prepare(self, advance: Callable[[int], object] = lambda count: None) -> TrainingData:
        """The items in canonical form, each once, under a name by which a model that knows others keeps them apart.

        Args:
            advance: called with the number of records that were inspected since.
        """
        model = self.model
        assert self.source is not None
        conditions = model.config.conditions
        data = training_data(self.source, model.domain, conditions, self._computed, _shared_stores(), advance)
        assert data.keys is not None
        # The same items once more are no further data.
        others = [name for name, known in model.keys.items() if not known.same_as(data.keys)]
        return replace(data, name=embedded_name(self.source, others))

    def fit(self, data: TrainingData, folder: Path, resume: bool = False, watcher: Watcher | None = None) -> None:
        """Train in the folder of the run; see `training.fit.fit`, which says what comes of it.

        Encoded items of a data set lie in the cache, a user's own in the folder.
        """
        stores = _shared_stores() if self.source is not None and self.source.digest else folder / "store"
        fit(self.model, data, self.config, folder, store=stores, device=self.device, resume=resume, watcher=watcher)


def _computed(model: GenerativeModel, source: RowSource) -> list[str]:
    """The conditions that the domain computes; one that the model was not asked for before has to be found."""
    names = model.config.conditions
    gained = [name for name in names if name not in model.conditions.names]
    kept = [name for name in names if name not in gained]
    return [
        *computed_conditions(source, model.domain, gained, required=True),
        *computed_conditions(source, model.domain, kept, required=False),
    ]


def _shared_stores() -> Path:
    return cache_folder() / "stores"
