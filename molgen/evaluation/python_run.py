"""What `GenerativeModel.evaluate` does: samples, or items of the caller, against sets given by name, file or items."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from molgen.data.cache import cache_folder
from molgen.domain import Domain, Item
from molgen.errors import UsageError
from molgen.evaluation.evaluate import Evaluation, Figure, chosen
from molgen.evaluation.reference_cache import ItemSet
from molgen.evaluation.references import Reference, References
from molgen.model.devices import resolve_device
from molgen.versions import versions

if TYPE_CHECKING:
    from molgen.model.generative_model import GenerativeModel

Set = str | Path | Sequence[Item]


def evaluate_model(
    model: GenerativeModel,
    reference: Set,
    training: Set | None,
    items: Iterable[Item] | None,
    count: int,
    metrics: Sequence[str],
    seed: int,
    device: str,
    workers: int | None,
    options: Mapping[str, Any],
) -> dict[str, Figure]:
    """The figures by label; see `GenerativeModel.evaluate`."""
    domain = model.domain
    find = References(domain, model.config.domain)
    references = find.references([str(reference)]) if _named(reference) else [_given(domain, reference, "reference")]
    if training is None or _named(training):
        learned = find.training(None if training is None else str(training), references)
    else:
        learned = _given(domain, training, "training")
    evaluation = Evaluation(
        domain,
        chosen(domain, metrics),
        [one.items for one in references],
        learned.items if learned else None,
        cache_folder() / "summaries",
        versions(),
        resolve_device(device),
        workers,
        seed,
    )
    if items is None:
        items = (sample.item for sample in model.sample(count, seed=seed, **options))
    return {figure.label: figure for figure in evaluation.evaluate(items)}


def _named(items: Set) -> bool:
    return isinstance(items, str | Path)


def _given(domain: Domain, items: Set, name: str) -> Reference:
    assert not isinstance(items, str | Path)
    listed = list(items)
    if not listed:
        raise UsageError(f"the {name} set holds no item")
    digest = hashlib.sha256("\n".join(map(domain.key, listed)).encode()).hexdigest()
    return Reference(ItemSet(name, lambda: iter(listed), digest, len(listed)), name)
