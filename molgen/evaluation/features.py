"""A stream of items becomes chunks that metrics can take: inspected, keyed, with features.

Workers inspect the next rows while the feature networks and the metrics have those before. This module
imports torch only to ask it for a device.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from importlib import import_module
from typing import Any, TypeVar

import numpy as np

from molgen.domain import Domain, Invalid, Item
from molgen.errors import PluginError, UsageError
from molgen.metric import Chunk
from molgen.workers.inspector import Inspection, Inspector
from molgen.workers.stream import chunked

T = TypeVar("T")

#: The most rows of a chunk.
ROWS = 4096

Network = Callable[[Sequence[Item]], np.ndarray]


class FeatureExtractor:
    """Inspects items and finds their features; close it, or use it in a `with` block.

    Args:
        domain: what the items are.
        features: names of what its metrics need; feature networks are those of `Domain.networks`.
        device: where the networks run; `auto` is a CUDA device if there is one.
        processes: how many workers inspect; by default as many as the usable processors.
        canonical: the items are in canonical form already.

    Raises:
        UsageError: the domain has no such feature.
    """

    def __init__(
        self,
        domain: Domain,
        features: Iterable[str] = (),
        device: str = "auto",
        processes: int | None = None,
        canonical: bool = False,
    ) -> None:
        names = sorted(set(features))
        require_features(domain, names)
        self._domain, self._device = domain, device
        self._networked = [name for name in names if name in domain.networks]
        inspected = [name for name in names if name not in domain.networks]
        self._of_rows = [name for name in inspected if name in domain.row_features]
        self._inspector = Inspector(domain, features=inspected, processes=processes, canonical=canonical)
        self._networks: dict[str, Network] = {}
        self._nothing: Mapping[str, Any] | None = None
        #: why a network cannot be had, by its name; chunks lack its features.
        self._failures: dict[str, str] = {}
        #: seconds of the main process by what took them: waiting for workers, and each network.
        self.seconds: defaultdict[str, float] = defaultdict(float)

    def chunks(self, items: Iterable[Item | Invalid]) -> Iterator[Chunk]:
        """The items in their order."""
        first = 0
        for block, inspections in self._timed(self._inspector.stream(chunked(items, ROWS), lambda item: item)):
            yield self._chunk(first, block, inspections)
            first += len(block)

    def _timed(self, stream: Iterator[T]) -> Iterator[T]:
        """The same, with the time that it took to get each."""
        while True:
            start = time.perf_counter()
            found = next(stream, None)
            self.seconds["waiting for workers"] += time.perf_counter() - start
            if found is None:
                return
            yield found

    def require(self, features: Iterable[str]) -> None:
        """See that features come with the chunks.

        Raises:
            PluginError: one of them is of a network that failed.
        """
        for name in features:
            if name in self._failures:
                raise PluginError(f"{name}: {self._failures[name]}")

    def _chunk(self, first: int, block: Sequence[Item | Invalid], inspections: Sequence[Inspection]) -> Chunk:
        valid = np.array([inspection.item is not None for inspection in inspections], bool)
        good = [inspection for inspection in inspections if inspection.item is not None]
        items = [inspection.item for inspection in good]
        raw = [item for item, is_valid in zip(block, valid, strict=True) if is_valid]
        every = {name: [inspection.features.get(name) for inspection in inspections] for name in self._of_rows}
        return Chunk(first, valid, items, [self._domain.key(item) for item in items], self._features(good), raw, every)

    def _features(self, good: Sequence[Inspection]) -> Mapping[str, Any]:
        if good:
            found = {name: _joined([inspection.features[name] for inspection in good]) for name in good[0].features}
            return found | self._network_features([inspection.item for inspection in good])
        if self._nothing is None:  # metrics count on the shape that the features of an item have
            examples = self._examples()
            self._nothing = {name: values[:0] for name, values in self._features(examples).items()} if examples else {}
        return self._nothing

    def _examples(self) -> list[Inspection]:
        # Workers of their own: those of this extractor are in the middle of a stream.
        with self._inspector.another() as inspector:
            inspections = inspector.submit(self._domain.examples()).result()
        return [inspection for inspection in inspections if inspection.item is not None]

    def _network_features(self, items: Sequence[Item]) -> dict[str, np.ndarray]:
        found = {}
        for name in self._networked:
            if name in self._failures:
                continue
            start = time.perf_counter()
            try:
                found[name] = self._network(name)(items)
            except Exception as error:  # a plugin's network, and whatever it imports: the other metrics go on
                self._failures[name] = f"{type(error).__name__}: {error}"
            self.seconds[name] += time.perf_counter() - start
        return found

    def _network(self, name: str) -> Network:
        if name not in self._networks:
            module, _, factory = self._domain.networks[name].partition(":")
            self._networks[name] = getattr(import_module(module), factory)(_device(self._device))
        return self._networks[name]

    def close(self) -> None:
        """End the workers."""
        self._inspector.close()

    def __enter__(self) -> FeatureExtractor:
        return self

    def __exit__(self, *failure: object) -> None:
        self.close()


def require_features(domain: Domain, names: Iterable[str]) -> None:
    """See that a domain has features of these names.

    Raises:
        UsageError: it has not.
    """
    others = [name for name in names if name not in domain.networks]
    known = domain.descriptors().features if others else {}  # a domain may have to import much to say its rules
    for name in others:
        if name not in known:
            listed = ", ".join(sorted({*known, *domain.networks})) or "none"
            raise UsageError(f"the domain {type(domain).__name__} has no feature {name!r}; known: {listed}")


def _device(name: str) -> str:
    if name != "auto":
        return name
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def _joined(values: list[Any]) -> Any:
    """Arrays of one shape, and numbers, as one array; anything else as a list."""
    first = values[0]
    if isinstance(first, np.ndarray):
        return np.stack(values)
    return np.array(values) if isinstance(first, bool | int | float) else values
