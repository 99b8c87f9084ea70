"""The metrics of `molgen evaluate` for the sample of a synthetic set, against the holdout and the training set."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from molgen.domain import Domain, Invalid, Item
from molgen.evaluation.evaluate import Evaluation, Figure, chosen
from molgen.evaluation.reference_cache import ItemSet
from molgen_datasets.audit.findings import Finding, Section


def section(
    domain: Domain,
    names: Sequence[str],
    items: Iterable[Item | Invalid],
    holdout: ItemSet,
    training: ItemSet,
    **how: object,
) -> Section:
    """Each metric with its interval; one that failed says why, and the others stand.

    Args:
        domain: of the items.
        names: of metrics and suites; those of the domain by default.
        items: rows of the synthetic set, invalid ones among them.
        holdout: what the items should be like.
        training: what they should not repeat.
        **how: further fields of `Evaluation`.

    Raises:
        UsageError: a name is none of a metric.
    """
    reference = replace(holdout, name="holdout")
    evaluation = Evaluation(domain, chosen(domain, names), [reference], training, **how)  # type: ignore[arg-type]
    return Section("metrics", "Metrics of molgen evaluate", [_finding(one) for one in evaluation.evaluate(items)])


def _finding(one: Figure) -> Finding:
    note = "; ".join(text for text in (one.error and f"failed: {one.error}", one.warning, one.estimate.note) if text)
    return Finding(one.label, replace(one.estimate, note=note))
