"""The report of an evaluation: one HTML file that needs nothing else."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from molgen.domain import Domain
from molgen.errors import MolgenError
from molgen.evaluation.reference_cache import ItemSet, Request, Summaries
from molgen_cli.console import warn
from molgen_cli.figures import Evaluated
from molgen_cli.report.collect import BitVectors, Gathering, Portrait, nearest, portrayed
from molgen_cli.report.page import write

__all__ = ["write"]


class Reporting:
    """Gathers what one report shows.

    Args:
        domain: of all items.
        references: what the files are compared with.
        training: what the model learned from.
        seed: of random samples.
    """

    def __init__(self, domain: Domain, references: Sequence[ItemSet], training: ItemSet | None, seed: int) -> None:
        self._domain, self._seed = domain, seed
        self._references, self._training = references, training
        self._portrait = Request(Portrait, portrayed(domain))
        # Nearest neighbours need a domain that says how alike its items are.
        self._bits = Request(BitVectors, domain.bits_feature) if domain.bits_feature else None

    def summaries(self) -> Iterator[tuple[Request, ItemSet]]:
        """What it needs of the sets that files are compared with."""
        for items in self._references:
            yield self._portrait, items
        if self._bits is not None and self._training is not None:
            yield self._bits, self._training

    def observer(self) -> Gathering:
        """A new observer of a file."""
        return Gathering(self._domain, self._seed)

    def completed(self, one: Evaluated, gathered: Gathering, made: Summaries) -> Evaluated:
        """A file with what its observer has seen."""
        return replace(
            one,
            sample=gathered.sample.items,
            values=gathered.values.values,
            groups=gathered.groups.counts if gathered.groups else [],
            nearest=self._nearest(gathered, made),
        )

    def _nearest(self, gathered: Gathering, made: Summaries) -> list[tuple[Any, Any, float]]:
        if self._bits is None or self._training is None:
            return []
        found = _found(made, self._bits, self._training)
        return nearest(gathered.sample, found, self._training.items()) if found is not None else []

    def write(self, path: Path, files: Sequence[Evaluated], about: Mapping[str, Any], made: Summaries) -> None:
        """Write the report; see `report.write`."""
        write(path, files, [self._reference(items, made) for items in self._references], about, self._domain)

    def _reference(self, items: ItemSet, made: Summaries) -> Evaluated:
        portrait = _found(made, self._portrait, items)
        rows, valid = made.counts.get(items.digest, (items.count or 0, 0))
        if portrait is None:
            return Evaluated(items.name, rows, valid)
        return Evaluated(items.name, rows, valid, values=portrait.values, groups=list(portrait.groups))


def _found(made: Summaries, request: Request, items: ItemSet) -> Any:
    """A summary, or None where it cannot be had, which is no reason to go without the rest of the report."""
    try:
        return made.get(request, items)
    except MolgenError as error:
        warn(f"the report lacks a part: {error}")
        return None
