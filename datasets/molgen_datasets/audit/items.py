"""A sample of a set, examined: items in canonical form, their keys, columns, properties and features.

Letters in shapes: N valid items of a sample.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from molgen.domain import Domain, Invalid, Item
from molgen.errors import UsageError
from molgen.evaluation.features import FeatureExtractor
from molgen.metric import Chunk
from molgen.metrics.identity import hashed
from molgen.workers.inspector import Inspector
from molgen_datasets.audit.sets import RecordSet, sampled


@dataclass(frozen=True)
class Items:
    """The valid items of a sample, in random order.

    Attributes:
        name: of the set.
        rows: of the set, and in the sample; those that are no items are left out below.
        items: in canonical form.
        keys: hashes of their keys, uint64 (N,).
        columns: what stood beside each in its file.
        features: by name, an array (N, ...) or a list.
        properties: by name, float64 (N,), NaN where one cannot be computed.
    """

    name: str
    rows: tuple[int, int]
    items: Sequence[Item]
    keys: np.ndarray
    columns: Sequence[Mapping[str, str]]
    features: Mapping[str, Any] = field(default_factory=dict)
    properties: Mapping[str, np.ndarray] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.items)

    def take(self, chosen: slice) -> Items:
        """Some of them, by their places."""
        return Items(
            self.name,
            self.rows,
            self.items[chosen],
            self.keys[chosen],
            self.columns[chosen],
            {name: values[chosen] for name, values in self.features.items()},
            {name: values[chosen] for name, values in self.properties.items()},
        )


class Examiner:
    """Samples sets and examines the samples, all with the same workers; use it in a `with` block.

    Args:
        domain: what the items are.
        features: names of those to find.
        properties: names of those to compute.
        most: rows of a sample.
        seed: of the samples.
        device: where feature networks run.
        processes: workers.
    """

    def __init__(
        self,
        domain: Domain,
        features: Sequence[str] = (),
        properties: Sequence[str] = (),
        most: int = 10_000,
        seed: int = 0,
        device: str = "auto",
        processes: int | None = None,
    ) -> None:
        self._features, self._properties, self._most, self._seed = features, properties, most, seed
        self._open = ExitStack()
        self._extractor = self._open.enter_context(FeatureExtractor(domain, features, device, processes))
        self._inspector: Inspector | None = None
        if properties:
            inspector = Inspector(domain, properties, processes=processes, canonical=True)
            self._inspector = self._open.enter_context(inspector)

    def __enter__(self) -> Examiner:
        return self

    def __exit__(self, *failure: object) -> None:
        self._open.close()

    def examine(self, found: RecordSet) -> Items:
        """A sample of a set.

        Raises:
            UsageError: no row of it is an item, or features of its items do not go together.
        """
        records, rows = sampled(found.records(), self._most, self._seed)
        items = [record.item for record in records]
        return self._found(found.name, (rows, len(records)), items, [record.columns for record in records])

    def examine_all(self, name: str, items: Sequence[Item]) -> Items:
        """All of some items.

        Raises:
            UsageError: none of them is one, or their features do not go together.
        """
        return self._found(name, (len(items), len(items)), items, [{}] * len(items))

    def _found(
        self,
        name: str,
        rows: tuple[int, int],
        raw: Sequence[Item | Invalid],
        columns: Sequence[Mapping[str, str]],
    ) -> Items:
        chunks = list(self._chunks(name, raw))
        items = [item for chunk in chunks for item in chunk.items]
        if not items:
            raise UsageError(f"{name}: none of {rows[0]:,} rows is an item")
        places = np.concatenate([chunk.rows for chunk in chunks])
        return Items(
            name,
            rows,
            items,
            hashed(key for chunk in chunks for key in chunk.keys),
            [columns[place] for place in places],
            {name: _joined([c.features[name] for c in chunks if len(c.items)]) for name in self._features},
            self._numbers(items),
        )

    def _chunks(self, name: str, raw: Sequence[Item | Invalid]) -> Iterator[Chunk]:
        try:
            for chunk in self._extractor.chunks(raw):
                self._extractor.require(self._features)
                yield chunk
        except ValueError as error:
            raise UsageError(f"{name}: its items cannot be compared with each other: {error}") from error

    def _numbers(self, items: Sequence[Item]) -> dict[str, np.ndarray]:
        """The properties of canonical items by name."""
        if self._inspector is None:
            return {}
        found = self._inspector.submit(items).result()
        return {name: np.array([one.properties.get(name, np.nan) for one in found], float) for name in self._properties}


def _joined(parts: Sequence[Any]) -> Any:
    if isinstance(parts[0], np.ndarray):
        return np.concatenate(parts)
    return [value for part in parts for value in part]
