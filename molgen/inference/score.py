"""Densities of the items of a file, row by row, in bounded memory. This module knows no domain and imports no torch."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from molgen.domain import Invalid, Item, Record, Sample
from molgen.errors import UsageError
from molgen.workers.inspector import Inspection, Inspector
from molgen.workers.stream import chunked

if TYPE_CHECKING:
    from molgen.family import Density
    from molgen.model.generative_model import GenerativeModel
    from molgen.model.sampling import Parts
    from molgen.model.stages import Model

#: Kinds of a density that say nothing of probabilities.
UNNORMALISED = ("unnormalised", "critic")
#: Decimals of a log-density; those behind depend on the size of the batch.
DECIMALS = 5


class Score(NamedTuple):
    """log p of an item in nats and what the number means, or NaN, nothing, and why there is none; and its elements.

    Where log p is a sum, its parts are given by name, each with what it means.
    """

    log_density: float = math.nan
    kind: str = ""
    error: str = ""
    elements: int = 0
    parts: Mapping[str, tuple[float, str]] = MappingProxyType({})

    def columns(self) -> dict[str, Any]:
        """The density as columns of a table, and each of its parts; None where there is none."""
        found = {"": (self.log_density, self.kind), **{f"_{name}": part for name, part in self.parts.items()}}
        columns: dict[str, Any] = {}
        for name, (value, kind) in found.items():
            columns[f"log_density{name}"] = cell(round(value, DECIMALS))
            columns[f"log_density{name}_kind"] = kind
        return columns


def score(
    model: Model,
    encoded: Sequence[Sample | Invalid],
    condition: Mapping[str, float | str] | None = None,
    batch_size: int = 1024,
    options: Mapping[str, Any] | None = None,
) -> list[Score]:
    """The scores of what the encoder made of canonical items.

    Raises:
        UsageError: the family's density has no such option, or not this value.
    """
    if not encoded:
        return []
    try:
        scored = model.log_density_of(encoded, condition=condition, batch_size=batch_size, **(options or {}))
    except (TypeError, ValueError) as error:
        if not options:
            raise
        raise UsageError(str(error)) from error
    return [
        Score(one.log_density, kind_name(one.kind), one.error or "", one.elements, named_parts(one.parts))
        for one in scored
    ]


def kind_name(kind: Density | None) -> str:
    """What a density means, as tables have it; empty where there is none."""
    return "" if kind is None else kind.name.lower()


def named_parts(parts: Parts) -> dict[str, tuple[float, str]]:
    """Parts of a log-density with the names of what they mean."""
    return {name: (value, kind_name(kind)) for name, (value, kind) in parts.items()}


def number_columns(values: Mapping[str, float], names: Iterable[str]) -> dict[str, Any]:
    """A column of a table for each name, to six significant digits; None where there is no number."""
    return {name: cell(float(f"{values.get(name, math.nan):.6g}")) for name in names}


def asked_columns(condition: Mapping[str, Any] | None) -> dict[str, Any]:
    """A column for each condition with what was asked for."""
    return {f"condition_{name}": value for name, value in (condition or {}).items()}


def cell(value: float) -> float | None:
    """The number, or None where it is none."""
    return value if math.isfinite(value) else None


def written(record: Record) -> Item:
    """What a row of a file holds for an item, be it one or not."""
    return record.text if isinstance(record.item, Invalid) else record.item


def beside(record: Record, ours: Mapping[str, Any]) -> dict[str, Any]:
    """Our columns around those of the file; none of either is lost, see `kept_columns`."""
    names = kept_columns(tuple(record.columns), tuple(ours))
    theirs = dict(zip(names, record.columns.values(), strict=True))
    first = next(iter(ours))
    return {first: ours[first], **theirs, **ours}


@lru_cache(maxsize=16)
def kept_columns(theirs: tuple[str, ...], ours: tuple[str, ...]) -> tuple[str, ...]:
    """Names under which the columns of a file stand beside ours.

    Those that we have too get `input_` before their names, and a number behind them where the file has that as well.
    """
    taken = {*theirs, *ours}
    found = []
    for name in theirs:
        free, number = name, 1
        if name in ours:
            while (free := f"input_{name}" + (f"_{number}" if number > 1 else "")) in taken:
                number += 1
            taken.add(free)
        found.append(free)
    return tuple(found)


class ScoredRows:
    """Rows of a file with their densities: workers inspect ahead while the model scores.

    Columns of the file that have the name of one of ours stay, with `input_` before their name.

    Args:
        model: gives the densities, each of the canonical form of an item.
        inspector: of the model's domain.
        properties: those that get columns.
        chunk: rows at a time.
        condition: what the density is conditional on, by name.
        options: of the family's density.
    """

    def __init__(
        self,
        model: GenerativeModel,
        inspector: Inspector,
        properties: Sequence[str] = (),
        chunk: int = 512,
        condition: Mapping[str, float | str] | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        self._model, self._inspector, self._properties = model, inspector, properties
        self._chunk, self._condition, self._options = chunk, condition, options
        self._column = model.domain.column
        self._nats, self._elements = 0.0, 0

    @property
    def bits_per_element(self) -> float:
        """The mean of -log2 p for each element of the items so far, such as a pixel or a moment of a sound.

        NaN where nothing has a density that is normalised.
        """
        return -self._nats / self._elements / math.log(2) if self._elements else math.nan

    def rows(self, records: Iterator[Record]) -> Iterator[dict[str, Any]]:
        """One row for each record, in their order, with a `status` of `valid`, `invalid` or `unsupported`.

        Unsupported are items of the domain that this model cannot represent.
        """
        chunks = chunked(records, self._chunk)
        for chunk, inspections in self._inspector.stream(chunks, lambda record: record.item):
            yield from self._rows(chunk, inspections)

    def _rows(self, records: Sequence[Record], inspections: Sequence[Inspection]) -> Iterator[dict[str, Any]]:
        items = [inspection.item for inspection in inspections if inspection.item is not None]
        encoded = [self._model.encoder.encode(item) for item in items]
        scores = iter(score(self._model, encoded, self._condition, self._chunk, self._options))
        for record, inspection in zip(records, inspections, strict=True):
            invalid = inspection.item is None
            found = Score(error=inspection.error or "invalid") if invalid else next(scores)
            self._count(found)
            yield self._row(record, inspection, found)

    def _count(self, found: Score) -> None:
        if math.isfinite(found.log_density) and found.kind not in UNNORMALISED:
            self._nats, self._elements = self._nats + found.log_density, self._elements + found.elements

    def _row(self, record: Record, inspection: Inspection, found: Score) -> dict[str, Any]:
        status = "invalid" if inspection.item is None else "unsupported" if found.error else "valid"
        ours = {
            f"canonical_{self._column}": inspection.item,
            **found.columns(),
            "status": status,
            "error": found.error,
            **number_columns(inspection.properties, self._properties),
            **asked_columns(self._condition),
        }
        return beside(record, {self._column: written(record), **ours})
