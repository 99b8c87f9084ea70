"""From a source to what a run learns from: the same for the command line and for Python."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from molgen.data.cache import cache_folder
from molgen.data.condition_columns import with_classes
from molgen.data.prepare import TrainingData, training_data
from molgen.data.source import RowSource, computed_conditions, embedded_name

if TYPE_CHECKING:
    from molgen.model.generative_model import GenerativeModel


def with_conditions(
    model: GenerativeModel, source: RowSource, names: Sequence[str], classes: Sequence[str] = ()
) -> tuple[RowSource, list[str]]:
    """The source with the classes of its conditions, and those conditions that the domain computes.

    Args:
        model: whose classes stay as they are; what it was not asked for before has to be in the source or computed.
        source: of the items.
        names: of all conditions.
        classes: those of them whose numbers stand for classes.

    Raises:
        UsageError: a condition is neither a column nor computed.
    """
    source = with_classes(source, names, classes, model.conditions.classes)
    gained = [name for name in names if name not in model.conditions.names]
    kept = [name for name in names if name not in gained]
    return source, [
        *computed_conditions(source, model.domain, gained, required=True),
        *computed_conditions(source, model.domain, kept, required=False),
    ]


def prepared_data(
    model: GenerativeModel,
    source: RowSource,
    conditions: Sequence[str],
    computed: Sequence[str],
    advance: Callable[[int], object] = lambda count: None,
) -> TrainingData:
    """The items in canonical form, each once, under a name by which a model that knows others keeps them apart.

    Args:
        model: that is to learn.
        source: with its conditions, see `with_conditions`.
        conditions: names of all conditions.
        computed: those that the domain computes.
        advance: called with the number of records that were inspected since.
    """
    data = training_data(source, model.domain, conditions, computed, _shared_stores(), advance)
    assert data.keys is not None
    # The same items once more are no further data.
    others = [name for name, known in model.keys.items() if not known.same_as(data.keys)]
    return replace(data, name=embedded_name(source, others))


def store_folder(source: RowSource | None, folder: Path) -> Path:
    """Where encoded items lie: those of a data set in the cache, a user's own in the folder of the run."""
    return _shared_stores() if source is not None and source.digest else folder / "store"


def _shared_stores() -> Path:
    return cache_folder() / "stores"
