"""Metrics of a set of items, in one pass over it. This module knows no domain and imports no torch.

A metric that fails is reported as failed and the others go on; one that has nothing to compare with, or
no items, is undefined and says why. Neither is ever zero.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from molgen import registry
from molgen.config import make_settings
from molgen.domain import Domain, Invalid, Item
from molgen.errors import PluginError, UsageError, hint
from molgen.evaluation.features import FeatureExtractor, require_features
from molgen.evaluation.reference_cache import Attempt, ItemSet, Request, Summaries, Watch, unwatched
from molgen.metric import Against, Better, Chunk, Estimate, Metric, Summary, undefined

#: Label -> name of the metric, its settings.
Wanted = Mapping[str, tuple[str, Mapping[str, Any]]]
#: Is shown each portion, such as to count its rows or to keep some.
Observer = Callable[[Chunk], None]


@dataclass(frozen=True)
class Figure:
    """One metric of one set.

    Attributes:
        label: of the metric, with the name of the reference in it.
        metric: its registry name.
        estimate: the value with its interval.
        better: which values are good.
        reference: the name of the set that it compares with, or an empty string.
        warning: what to know before quoting it, such as a sample smaller than the protocol's.
        error: why it failed; the value is NaN then, never zero.
        seconds: that it took in the main process.
        settings: of the metric.
    """

    label: str
    metric: str
    estimate: Estimate
    better: Better
    reference: str = ""
    warning: str = ""
    error: str = ""
    seconds: float = 0.0
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class _Choice:
    """A metric that was asked for; `cls` is none where it cannot be imported, and `error` says why."""

    label: str
    name: str
    settings: Mapping[str, Any]
    cls: type[Metric] | None
    config: Any = None
    error: str = ""

    @property
    def against(self) -> Against:
        return self.cls.against if self.cls is not None else Against.NOTHING

    @property
    def compares(self) -> bool:
        if self.cls is None:
            return "{}" in self.label
        return self.against in (Against.REFERENCE, Against.BOTH)

    def labelled(self, reference: str) -> str:
        """The label of the comparison with a set."""
        return self.label.replace("{}", reference) if "{}" in self.label else f"{self.label}/{reference}"

    @property
    def needs(self) -> tuple[str, ...]:
        return self.cls.needed(self.config) if self.cls is not None else ()

    @property
    def enough(self) -> int:
        """The rows that the protocol asks for."""
        return getattr(self.config, "enough", 0) or (self.cls.enough if self.cls is not None else 0)

    def request(self, training: bool) -> Request | None:
        """How the metric has the training set, or else a reference set, summarised."""
        summary = None if self.cls is None else self.cls.training if training else self.cls.reference
        if summary is None:
            return None
        plugin = registry.find("metric", self.name)
        return Request(summary, self.config, "" if plugin.ours else plugin.origin)


@dataclass
class _Running:
    """A metric of one comparison while it takes portions in; `missing` says why it has nothing to compare with."""

    choice: _Choice
    label: str
    reference: ItemSet | None
    training: ItemSet | None
    missing: str = ""
    metric: Metric | None = None
    attempt: Attempt = field(default_factory=Attempt)

    def requests(self, domain: Domain) -> Iterator[tuple[Request, ItemSet]]:
        """The summaries that it needs, of which sets; none where it cannot be computed anyway."""
        for training, items in ((False, self.reference), (True, self.training)):
            request = self.choice.request(training)
            if request and items and not self.missing and _has_features(domain, request):
                yield request, items

    def start(self, domain: Domain, summaries: Summaries) -> None:
        """Make the metric with its summaries, unless there is nothing to compare with."""
        if self.choice.cls is None:
            raise PluginError(self.choice.error)
        if self.missing:
            return
        require_features(domain, self.choice.needs)
        found = [self._summary(training, summaries) for training in (False, True)]
        self.metric = self.choice.cls(self.choice.config, *found)

    def _summary(self, training: bool, summaries: Summaries) -> Summary | None:
        request, items = self.choice.request(training), self.training if training else self.reference
        return summaries.get(request, items) if request and items else None

    def add(self, chunk: Chunk, examiner: FeatureExtractor) -> None:
        """Take in some rows."""
        if self.metric is not None:
            examiner.require(self.choice.needs)
            self.metric.add(chunk)

    def estimate(self, seed: int) -> Estimate:
        """The value with its interval, whose draws depend on the seed and the label alone."""
        if self.metric is None:
            return undefined(self.missing)
        found = self.metric.estimate(np.random.default_rng([seed, *hashlib.sha256(self.label.encode()).digest()]))
        if not isinstance(found, Estimate):
            raise PluginError(f"metric {self.choice.name}: it gave {type(found).__name__}, not an Estimate")
        return found

    def figure(self, seed: int, rows: int) -> Figure:
        """What came out."""
        estimate = self.attempt(self.estimate, seed) or undefined(self.attempt.error)
        choice, enough = self.choice, self.choice.enough
        return Figure(
            self.label,
            choice.name,
            estimate,
            choice.cls.better if choice.cls is not None else Better.NEITHER,
            self.reference.name if self.reference is not None else "",
            f"{rows:,} rows; the protocol asks for {enough:,}" if rows < enough else "",
            self.attempt.error,
            self.attempt.seconds,
            choice.settings,
        )


@dataclass
class Evaluation:
    """Which metrics, of which domain, against which sets.

    Attributes:
        domain: what the items are.
        wanted: the metrics by label; see `chosen`.
        references: sets that the items should be like; a metric of a comparison is computed for each.
        training: what the model learned from.
        cache: the folder for summaries.
        versions: of the libraries that features depend on; other versions make new summaries.
        device: where feature networks run; `auto` is a CUDA device if there is one.
        processes: workers; by default as many as the usable processors.
        seed: of the intervals, from 0.
        watch: called for each set that is summarised.

    Raises:
        UsageError: a metric, or a setting of one, does not exist.
    """

    domain: Domain
    wanted: Wanted
    references: Sequence[ItemSet] = ()
    training: ItemSet | None = None
    cache: Path = Path(".molgen-summaries")
    versions: Mapping[str, str] = field(default_factory=dict)
    device: str = "auto"
    processes: int | None = None
    seed: int = 0
    watch: Watch = unwatched

    def __post_init__(self) -> None:
        self._choices = [_choice(label, name, settings) for label, (name, settings) in self.wanted.items()]
        self.summaries = Summaries(self.domain, self.cache, self.versions, self.device, self.processes)
        #: seconds of the main process by what took them, in the last evaluation.
        self.seconds: dict[str, float] = {}

    def prepare(self, others: Iterable[tuple[Request, ItemSet]] = ()) -> None:
        """Summarise every set whose summaries are not in the cache: one pass over each.

        Args:
            others: summaries that the caller wants beside those of the metrics.
        """
        wanted: dict[str, tuple[ItemSet, list[Request]]] = {}
        requests = [pair for one in self._running() for pair in one.requests(self.domain)]
        for request, items in [*requests, *others]:
            wanted.setdefault(items.digest, (items, []))[1].append(request)
        for items, of_items in wanted.values():
            self.summaries.make(items, of_items, self.watch)

    def evaluate(
        self, items: Iterable[Item | Invalid], observers: Sequence[Observer] = (), features: Iterable[str] = ()
    ) -> list[Figure]:
        """All metrics of a set, in the order wanted.

        Args:
            items: the rows of the set.
            observers: are shown each portion as well.
            features: that they need.

        Raises:
            UsageError: the domain has no such feature.
        """
        self.prepare()
        running = list(self._running())
        for one in running:
            one.attempt(one.start, self.domain, self.summaries)
        needs = {need for one in running if one.metric is not None for need in one.choice.needs}
        rows = 0
        with FeatureExtractor(self.domain, {*needs, *features}, self.device, self.processes) as examiner:
            for chunk in examiner.chunks(items):
                for one in running:
                    one.attempt(one.add, chunk, examiner)
                for set_statistics in observers:
                    set_statistics(chunk)
                rows += len(chunk.valid)
        figures = [one.figure(self.seed, rows) for one in running]
        self.seconds = {**examiner.seconds, "metrics": sum(figure.seconds for figure in figures)}
        return figures

    def _running(self) -> Iterator[_Running]:
        for choice in self._choices:
            learns = choice.against in (Against.TRAINING, Against.BOTH)
            missing = "there is no training set to compare with" if learns and self.training is None else ""
            if not choice.compares:
                yield _Running(choice, choice.label, None, self.training, missing)
            elif not self.references:
                label = choice.label.replace("/{}", "").replace("{}", "reference")
                yield _Running(choice, label, None, self.training, "there is no reference set to compare with")
            for reference in self.references if choice.compares else ():
                yield _Running(choice, choice.labelled(reference.name), reference, self.training, missing)


def _has_features(domain: Domain, request: Request) -> bool:
    try:
        require_features(domain, request.cls.needed(request.config))
    except UsageError:  # its metric will say so
        return False
    return True


def _choice(label: str, name: str, settings: Mapping[str, Any]) -> _Choice:
    registry.find("metric", name)
    try:
        cls: type[Metric] = registry.get("metric", name)
    except PluginError as error:  # it is there, but broken or without what it needs: the others go on
        return _Choice(label, name, settings, None, error=str(error))
    return _Choice(label, name, settings, cls, make_settings(cls.Config, settings, f"metric {name}"))


# --- which metrics --------------------------------------------------------------------------------


def chosen(domain: Domain, names: Sequence[str] = ()) -> Wanted:
    """The metrics that names mean: suites of the domain, labels in them, or plugins with their own settings.

    Two suites may use one label for different things; the later one then has the name of its suite behind it, and the
    label alone means that of the domain's usual suites.

    Args:
        domain: what the items are; its `metrics` are taken where no name is given.
        names: of suites, of metrics as suites label them ("FCD" for "FCD/{}"), and of plugins.

    Raises:
        UsageError: a name is none of these.
    """
    suites = domain.suites()
    labels = _labels({name: suites[name] for name in (*domain.metrics, *suites) if name in suites})
    wanted: dict[str, tuple[str, Mapping[str, Any]]] = {}
    for name in names or domain.metrics:
        known = suites.get(name) or labels.get(name) or _single(name, suites, labels)
        for label, choice in known.items():
            clashes = wanted.get(label, choice) != choice
            wanted[f"{label} ({name})" if clashes else label] = choice
    return wanted


def _labels(suites: Mapping[str, Wanted]) -> Mapping[str, Wanted]:
    """Each metric of the suites by its label without the set; the first suite that has it counts."""
    found: dict[str, Wanted] = {}
    for suite in suites.values():
        for label, choice in suite.items():
            found.setdefault(label.removesuffix("/{}"), {label: choice})
    return found


def _single(name: str, suites: Iterable[str], labels: Iterable[str]) -> Wanted:
    try:
        registry.find("metric", name)
    except PluginError as error:
        groups = {"Suites": [*suites], "in them": [*labels], "plugins": registry.names("metric")}
        known = "; ".join(f"{group}: {', '.join(members)}" for group, members in groups.items() if members)
        found = hint(name, chain.from_iterable(groups.values()))
        raise UsageError(f"no metric and no suite of metrics is named {name!r}{found} {known}") from error
    against = registry.get("metric", name).against
    return {f"{name}/{{}}" if against in (Against.REFERENCE, Against.BOTH) else name: (name, {})}
