"""Rows of a file with what the latent space of a model makes of their items, in bounded memory.

Letters in shapes: D numbers of a latent.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from molgen.domain import Domain, Invalid, Item, Record, Sample
from molgen.inference.score import ScoredRows, asked_columns, beside, number_columns, written
from molgen.model.generative_model import GenerativeModel
from molgen.workers.inspector import Inspection, Inspector

#: Names of columns.
LATENT, SAME = "latent", "same"


class LatentRows(ScoredRows, ABC):
    """One row for each record, in their order, with a `status` of `valid`, `invalid` or `unsupported`.

    As for densities (see `ScoredRows`), it is the canonical form of an item that counts.
    """

    def _rows(self, records: Sequence[Record], inspections: Sequence[Inspection]) -> Iterator[dict[str, Any]]:
        samples = [self._encoded(inspection) for inspection in inspections]
        found = self._found(samples, inspections)
        for record, inspection, sample, ours in zip(records, inspections, samples, found, strict=True):
            invalid = "invalid" if inspection.item is None else "unsupported"
            columns = {
                **self._about(record, inspection),
                "status": invalid if isinstance(sample, Invalid) else "valid",
                "error": sample.reason if isinstance(sample, Invalid) else "",
                **number_columns(inspection.properties, self._properties),
                **asked_columns(self._condition),
                **ours,
            }
            yield beside(record, columns)

    def _encoded(self, inspection: Inspection) -> Sample | Invalid:
        if inspection.item is None:
            return Invalid(inspection.error or "invalid")
        return self._model.encoder.encode(inspection.item)

    def _about(self, record: Record, inspection: Inspection) -> dict[str, Any]:
        """The columns of the item as it is written and in canonical form."""
        return {self._column: written(record), f"canonical_{self._column}": inspection.item}

    @abstractmethod
    def _found(
        self, samples: Sequence[Sample | Invalid], inspections: Sequence[Inspection]
    ) -> Sequence[Mapping[str, Any]]:
        """Further columns of each row; those may overrule others."""


class Encoding(LatentRows):
    """Rows with the column `latent`: float32 (D,), the mean of q(z | x), None where there is none."""

    def _found(
        self, samples: Sequence[Sample | Invalid], inspections: Sequence[Inspection]
    ) -> Sequence[Mapping[str, Any]]:
        latents = self._model.encode_of(samples, condition=self._condition, batch_size=self._chunk)
        return [
            {LATENT: None if isinstance(sample, Invalid) else latent}
            for sample, latent in zip(samples, latents, strict=True)
        ]


class Reconstruction(LatentRows):
    """Rows of what comes back: the column of the item holds its canonical form, `same` whether it is the same item.

    What went in stands as text in a column with `input_` before its name. An item of which nothing valid comes back
    keeps the status of the input, with the reason as the error.
    """

    def rows(self, records: Iterator[Record]) -> Iterator[dict[str, Any]]:
        """One row for each record; what comes back is inspected by workers of its own."""
        with self._inspector.another() as self._second:
            yield from super().rows(records)

    def _about(self, record: Record, inspection: Inspection) -> dict[str, Any]:
        was = written(record)
        before = {f"input_{self._column}": was if isinstance(was, str) else record.text}
        return {self._column: None, **before, "as_generated": None, SAME: None}

    def _found(
        self, samples: Sequence[Sample | Invalid], inspections: Sequence[Inspection]
    ) -> Sequence[Mapping[str, Any]]:
        back = self._model.reconstruct_of(samples, condition=self._condition, batch_size=self._chunk)
        # An input without a sample comes back as the reason why; there is nothing to inspect then.
        inspections_of_back = self._second.submit(back).result()
        domain = self._model.domain
        return [
            number_columns({}, self._properties)
            if isinstance(sample, Invalid)
            else self._of(domain, was, raw, inspection)
            for sample, was, raw, inspection in zip(samples, inspections, back, inspections_of_back, strict=True)
        ]

    def _of(self, domain: Domain, was: Inspection, raw: Item | Invalid, inspection: Inspection) -> dict[str, Any]:
        found = {
            self._column: inspection.item,
            "as_generated": raw.raw if isinstance(raw, Invalid) else raw,
            SAME: inspection.item is not None and domain.key(inspection.item) == domain.key(was.item),
            **number_columns(inspection.properties, self._properties),
        }
        return found if inspection.error is None else {**found, "error": f"what comes back is none: {inspection.error}"}


def way(
    model: GenerativeModel,
    inspector: Inspector,
    ends: tuple[Item, Item],
    steps: int,
    properties: Sequence[str] = (),
    condition: Mapping[str, float | str] | None = None,
) -> Iterator[dict[str, Any]]:
    """A row for each item on the way from one to another, with `share`, which is 0 at the first and 1 at the last.

    Args:
        model: has a latent space.
        inspector: of the domain of the model.
        ends: two canonical items.
        steps: how many rows.
        properties: those that get columns.
        condition: what is asked for, by name.

    Raises:
        UsageError: see `WithLatents.interpolate`.
    """
    items = model.interpolate(*ends, steps, condition=condition)
    column = model.domain.column
    shares = np.linspace(0, 1, steps).tolist()
    for share, raw, inspection in zip(shares, items, inspector.submit(items).result(), strict=True):
        yield {
            column: inspection.item,
            "as_generated": raw.raw if isinstance(raw, Invalid) else raw,
            "share": round(share, 6),
            "status": "invalid" if inspection.item is None else "valid",
            "error": inspection.error or "",
            **number_columns(inspection.properties, properties),
            **asked_columns(condition),
        }
