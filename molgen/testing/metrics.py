"""What every metric guarantees, as one function for each guarantee, over the examples of its domain."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from molgen import registry
from molgen.config import make_settings
from molgen.domain import API_VERSION, Descriptors, Domain, Invalid, Item
from molgen.errors import MolgenError
from molgen.metric import Against, Better, Chunk, Estimate, Metric, Summary
from molgen.testing.checks import Skipped, require

#: Rows that are judged; every fifth is no item.
ROWS = 40


class Words(Domain):
    """What a metric of any domain is checked over: words, with the features that such metrics read."""

    def examples(self) -> list[Item]:
        """Some words."""
        return ["a", "ab", "abc", "b", "ba", "cab", "bbb", "cc"]

    def descriptors(self) -> Descriptors:
        """How often each letter comes, as numbers, as shares, and in columns with the first letter."""
        return Descriptors(
            features={
                "embedding": lambda item: _letters(item),
                "classes": lambda item: _letters(item) / len(item),
                "columns": lambda item: {"first": item[0], "letters": float(len(item))},
            }
        )


def _letters(item: Item) -> np.ndarray:
    return np.array([item.count(letter) for letter in "abc"], float)


@dataclass(frozen=True)
class MetricTrial:
    """One metric with its usual settings, and the domain of its name."""

    cls: type[Metric]
    domain_name: str = ""

    @cached_property
    def domain(self) -> Domain:
        """The domain, or words for a metric of every domain."""
        if not self.domain_name:
            return Words()
        cls = registry.get("domain", self.domain_name)
        return cls(make_settings(cls.Config, {}, self.domain_name))

    @cached_property
    def config(self) -> Any:
        """The settings."""
        return make_settings(self.cls.Config, {}, self.cls.__name__)

    @cached_property
    def items(self) -> list[Item]:
        """Canonical items."""
        found = [self.domain.canonical(item) for item in self.domain.examples()]
        return [item for item in found if not isinstance(item, Invalid)]

    def chunk(self, first: int, valid: Sequence[bool]) -> Chunk:
        """Rows from one on with their features.

        Raises:
            Skipped: the domain does not compute a feature that the metric reads.
        """
        items = [self.items[(first + n) % len(self.items)] for n, own in enumerate(valid) if own]
        computed = self.domain.descriptors().features
        features = {}
        for name in sorted({*self.cls.needed(self.config), *self._of_summaries()}):
            if name not in computed:
                raise Skipped(f"the metric reads the feature {name!r}, which the domain computes elsewhere")
            features[name] = _stacked([computed[name](item) for item in items or self.items[:1]], len(items))
        return Chunk(first, np.array(valid, bool), items, [self.domain.key(i) for i in items], features, items)

    def _of_summaries(self) -> Iterator[str]:
        for summary in (self.cls.reference, self.cls.training):
            yield from summary.needed(self.config) if summary is not None else ()

    def summary(self, cls: type[Summary] | None) -> Summary | None:
        """The summary of all items, as the metric is given it: made once, kept as arrays, and read from these."""
        if cls is None:
            return None
        made, read = cls(self.config), cls(self.config)
        made.add(self.chunk(0, [True] * ROWS))
        read.load({name: array.copy() for name, array in made.arrays().items()})
        return read

    def metric(self) -> Metric:
        """A fresh one with its summaries."""
        return self.cls(self.config, self.summary(self.cls.reference), self.summary(self.cls.training))

    def estimate(self, *chunks: Chunk, seed: int = 0) -> Estimate:
        """The number for some chunks."""
        metric = self.metric()
        for chunk in chunks:
            metric.add(chunk)
        found = metric.estimate(np.random.default_rng(seed))
        require(isinstance(found, Estimate), f"estimate gives {type(found).__name__}, where an Estimate belongs")
        return found

    @property
    def rows(self) -> list[bool]:
        """Which rows are items."""
        return [n % 5 != 3 for n in range(ROWS)]


def _stacked(values: list[Any], count: int) -> Any:
    return np.stack(values)[:count] if isinstance(values[0], np.ndarray) else values[:count]


def speaks_the_plugin_api(trial: MetricTrial) -> None:
    """The class says for which plugin API it was written."""
    version = getattr(trial.cls, "molgen_api", None)
    require(version == API_VERSION, f"molgen_api is {version!r}, and this molgen speaks {API_VERSION}")


def says_what_it_compares(trial: MetricTrial) -> None:
    """`better` and `against` are said, and a set that is compared with has a summary."""
    cls = trial.cls
    require(isinstance(cls.better, Better), f"better is {cls.better!r}, not one of {', '.join(map(str, Better))}")
    require(isinstance(cls.against, Against), f"against is {cls.against!r}, not one of {', '.join(map(str, Against))}")
    for name, summary in (("reference", cls.reference), ("training", cls.training)):
        wanted = cls.against in (Against(name), Against.BOTH)
        require(summary is None or wanted, f"it has a summary of the {name} set, and against is {cls.against.value}")
        require(summary is not None or not wanted, f"against is {cls.against.value}, and {name} names no Summary")


def chunks_do_not_matter(trial: MetricTrial) -> None:
    """Rows in one chunk, and in several of any size, have one value."""
    rows = trial.rows
    whole = trial.estimate(trial.chunk(0, rows))
    parts = trial.estimate(*(trial.chunk(at, rows[at:to]) for at, to in ((0, 1), (1, 9), (9, 9), (9, ROWS))))
    _require_same(whole, parts, "in one chunk", "in several")


def estimates_repeat_with_their_seed(trial: MetricTrial) -> None:
    """The same rows and the same seed give the same value and interval."""
    chunk = trial.chunk(0, trial.rows)
    first, second = (trial.estimate(chunk, seed=7) for _ in range(2))
    _require_same(first, second, "the first time", "the second")
    same = np.array_equal([first.low, first.high], [second.low, second.high], equal_nan=True)
    require(same, f"with one seed the interval is {first.low} to {first.high}, then {second.low} to {second.high}")


def _require_same(one: Estimate, other: Estimate, first: str, second: str) -> None:
    neither = math.isnan(one.value) and math.isnan(other.value)
    same = neither or math.isclose(one.value, other.value, rel_tol=1e-9, abs_tol=1e-12)
    require(same, f"the value is {one.value} {first} and {other.value} {second}")
    require(one.count == other.count, f"the value rests on {one.count} items {first} and on {other.count} {second}")


def the_interval_holds_the_value(trial: MetricTrial) -> None:
    """The value lies in its interval, and rests on no more items than there are."""
    found = trial.estimate(trial.chunk(0, trial.rows))
    if math.isfinite(found.low) and math.isfinite(found.high):
        inside = found.low <= found.value <= found.high
        require(inside, f"the value {found.value} lies outside of its interval {found.low} to {found.high}")
    require(0 <= found.count <= ROWS, f"the value rests on {found.count} items, and there are {ROWS} rows")


def nothing_has_no_value(trial: MetricTrial) -> None:
    """Without an item there is a value that needs none, or NaN with a note that says why: no error, and no guess."""
    for rows, what in (([], "no row"), ([False] * 5, "five rows and no item")):
        try:
            found = trial.estimate(*([trial.chunk(0, rows)] if rows else []))
        except (Skipped, MolgenError):
            raise
        except Exception as error:
            raise AssertionError(f"with {what} it raises {type(error).__name__}: {error}") from error
        if math.isnan(found.value):
            require(bool(found.note.strip()), f"with {what} the value is NaN, and no note says why")


def summaries_are_arrays_of_numbers(trial: MetricTrial) -> None:
    """A summary is kept as arrays of numbers, by which whoever reads it makes the same one again."""
    summaries = [trial.summary(cls) for cls in (trial.cls.reference, trial.cls.training) if cls is not None]
    if not summaries:
        raise Skipped("the metric compares with no set")
    for summary in filter(None, summaries):
        for name, array in summary.arrays().items():
            what = f"{type(summary).__name__}.arrays gives {name}"
            require(isinstance(array, np.ndarray), f"{what} as {type(array).__name__}, not as an array")
            require(array.dtype.kind in "biuf", f"{what} as {array.dtype}; molgen.metric.pack_strings takes strings")
