"""Samples against the splits of a data set, by the metrics of their domain: what the benchmarks of models share."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from typing import Any

from molgen.data.cache import cache_folder
from molgen.dataset import Dataset
from molgen.domain import Domain, Invalid, Item
from molgen.evaluation.evaluate import Evaluation, Figure, chosen
from molgen.evaluation.reference_cache import ItemSet
from molgen.versions import versions

#: What the training split is called.
TRAINING = "train"
#: Packages whose versions decide what is kept of a set.
KEYED = ("rdkit", "fcd")


def item_set(name: str, data: Dataset, split: str, limit: int | None = None) -> ItemSet:
    """A split to compare with, or its beginning."""
    digest = data.digest(split) + (f" {limit}" if limit else "")
    return ItemSet(name, lambda: islice(data.items(split), limit), digest, limit or data.splits[split])


def figures_of(
    items: Iterable[Item | Invalid], domain: Domain, data: Dataset, suites: Sequence[str], references: Mapping[str, str]
) -> dict[str, Any]:
    """The metrics of raw samples by label.

    Args:
        items: the samples.
        domain: what they are.
        data: what the model learned from.
        suites: names of suites and metrics.
        references: label -> split of the data that the samples should be like.
    """
    evaluation = Evaluation(
        domain,
        chosen(domain, suites),
        [item_set(label, data, split) for label, split in references.items()],
        item_set(TRAINING, data, TRAINING),
        cache_folder() / "summaries",
        summary_versions(),
    )
    return {figure.label: entry(figure) for figure in evaluation.evaluate(items)}


def summary_versions() -> dict[str, str]:
    """The versions under which summaries are kept."""
    return {name: version for name, version in versions().items() if name in KEYED}


def entry(figure: Figure) -> dict[str, Any]:
    """A value with its interval, or why there is none."""
    if figure.error:
        return {"error": figure.error}
    estimate = figure.estimate
    notes = {"note": estimate.note, "warning": figure.warning}
    found = {"value": estimate.value, "interval": [estimate.low, estimate.high]}
    return found | {name: text for name, text in notes.items() if text}
