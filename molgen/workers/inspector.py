"""What a domain says of untrusted items: their canonical form, properties and filters, found beside other work.

This module knows no domain and imports no torch.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any, Self, TypeVar

from molgen.domain import Domain, Invalid, Item
from molgen.errors import UsageError
from molgen.workers.pool import Workers, usable_processes
from molgen.workers.stream import stream

T = TypeVar("T")

#: Items that all workers together are given at a time, and the fewest for one worker.
TASKS, SMALLEST_TASK = 256, 16


@dataclass(frozen=True)
class Inspection:
    """What the domain says of one item.

    Attributes:
        item: the canonical form, or None where the item is invalid.
        error: why it is invalid.
        properties: numbers by name, NaN where one cannot be computed.
        passes: whether it passes all filters; None where that was not asked.
        features: what metrics read, by name; empty for no item.
        flags: whether it passes each filter, by name; empty where that was not asked.
        matches: whether it has each pattern, by its text; empty for no item.
    """

    item: Item | None
    error: str | None = None
    properties: Mapping[str, float] = field(default_factory=dict)
    passes: bool | None = None
    features: Mapping[str, Any] = field(default_factory=dict)
    flags: Mapping[str, bool] = field(default_factory=dict)
    matches: Mapping[str, bool] = field(default_factory=dict)


class Inspector:
    """Inspects items in the order given, in worker processes that a hostile item cannot take down with it.

    A domain without an inspector is served in this process. Close the inspector, or use it in a `with` block.

    Args:
        domain: what the items are.
        properties: names of the properties to compute.
        filters: whether to apply the filters.
        processes: how many workers; by default as many as the usable processors.
        features: names of the features to compute.
        patterns: what to look for in each item; see `Domain.pattern`.
        canonical: the items are in canonical form already, so a domain may leave out finding that.

    Raises:
        UsageError: the domain has no such property, or a pattern is none.
    """

    def __init__(
        self,
        domain: Domain,
        properties: Sequence[str] = (),
        filters: bool = False,
        processes: int | None = None,
        features: Sequence[str] = (),
        patterns: Sequence[str] = (),
        canonical: bool = False,
    ) -> None:
        self._settings = (domain, properties, filters, processes, features, patterns, canonical)
        asked = patterns_of(domain, patterns)
        self._column = domain.column
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="inspector")
        self._turn = threading.Lock()  # one stream or list of items at a time
        self._workers: Workers | None = None
        target = (domain.canonical_inspector if canonical else None) or domain.inspector
        if target is None:
            self._inspect: Callable[[Iterable[Item]], Iterator[Any]] = _here(
                domain, properties, filters, features, asked
            )
            return
        config: dict[str, Any] = {"properties": list(properties), "filters": filters, "features": list(features)}
        if patterns:  # which an inspector of a domain without them need not know
            config["patterns"] = list(patterns)
        processes = processes or usable_processes()
        chunk = max(SMALLEST_TASK, TASKS // processes)
        self._workers = Workers(target, config, processes=processes, chunk=chunk)
        self._inspect = self._workers.map
        self.submit(domain.examples()[:1])  # so that the workers start while the first items are being made

    def another(self) -> Inspector:
        """A second inspector with the same settings, for use within a stream of this one."""
        return Inspector(*self._settings)

    def stream(
        self, chunks: Iterable[Sequence[T]], item: Callable[[T], Item | Invalid]
    ) -> Generator[tuple[Sequence[T], list[Inspection]]]:
        """Chunks of something with the inspections of their items, in order, bounded in bytes; see `stream.stream`.

        The workers are ahead of the caller, who must not `submit` to this inspector meanwhile (see `another`).

        Args:
            chunks: of whatever has an item.
            item: finds it, or the `Invalid` that stands for it.
        """
        return stream(chunks, lambda chunk: self._inspections(list(map(item, chunk))))

    def submit(self, items: Sequence[Item | Invalid]) -> Future[list[Inspection]]:
        """Begin to inspect a few items; the caller goes on meanwhile. What is `Invalid` already stays so."""
        return self._thread.submit(lambda: list(self._inspections(items)))

    def canonical(self, items: Sequence[Item | Invalid]) -> list[Item | Invalid]:
        """The canonical form of each of a few items, or why there is none."""
        found = self.submit(items).result()
        return [Invalid(one.error or "invalid") if one.item is None else one.item for one in found]

    def _inspections(self, items: Sequence[Item | Invalid]) -> Iterator[Inspection]:
        with self._turn, closing(self._found(items)) as found:
            for item in items:
                yield self._inspection(item if isinstance(item, Invalid) else next(found))

    def _found(self, items: Sequence[Item | Invalid]) -> Generator[Any]:
        yield from self._inspect([item for item in items if not isinstance(item, Invalid)])

    def _inspection(self, result: Any) -> Inspection:
        if isinstance(result, Inspection):
            return result
        if isinstance(result, Invalid):
            return Inspection(None, result.reason)
        return Inspection(
            getattr(result, self._column),
            result.error,
            result.properties,
            result.passes,
            result.features,
            getattr(result, "flags", {}),
            getattr(result, "matches", {}),
        )

    def close(self) -> None:
        """End the workers at once; what was submitted and not waited for is dropped."""
        self._thread.shutdown(wait=False, cancel_futures=True)
        if self._workers is not None:
            self._workers.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *failure: object) -> None:
        self.close()


def chosen_properties(domain: Domain, names: Sequence[str]) -> list[str]:
    """The names, once each and in their order, when the domain has all of them.

    Raises:
        UsageError: it has not.
    """
    known = domain.descriptors().properties
    for name in names:
        if name not in known:
            raise UsageError(f"no property is named {name!r}; known: {', '.join(known) or 'none'}")
    return list(dict.fromkeys(names))


def patterns_of(domain: Domain, texts: Sequence[str]) -> dict[str, Callable[[Item], bool]]:
    """What tells whether an item has each pattern.

    Raises:
        UsageError: a text is none in the language of the domain, or it has no such language.
    """
    found = {}
    for text in texts:
        pattern = domain.pattern(text)
        if isinstance(pattern, Invalid):
            raise UsageError(f"the pattern {text!r}: {pattern.reason}")
        found[text] = pattern
    return found


def _here(
    domain: Domain,
    properties: Sequence[str],
    filters: bool,
    features: Sequence[str],
    patterns: Mapping[str, Callable[[Item], bool]],
) -> Callable[[Iterable[Item]], Iterator[Inspection]]:
    descriptors = domain.descriptors()

    def inspect(item: Item) -> Inspection:
        canonical = domain.canonical(item)
        if isinstance(canonical, Invalid):
            of_rows = (name for name in features if name in domain.row_features)
            return Inspection(None, canonical.reason, features={n: descriptors.features[n](item) for n in of_rows})
        numbers = {name: descriptors.properties[name](canonical) for name in properties}
        flags = {name: passes(canonical) for name, passes in descriptors.filters.items()} if filters else {}
        passes = all(flags.values()) if filters else None
        found = {name: descriptors.features[name](canonical) for name in features}
        matches = {text: has(canonical) for text, has in patterns.items()}
        return Inspection(canonical, None, numbers, passes, found, flags, matches)

    return lambda items: map(inspect, items)
