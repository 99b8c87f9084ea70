"""What to generate, and what comes of it: the request, its rows, and what became of all samples.

This module knows no domain and imports no torch.
"""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from molgen.domain import Invalid, Item
from molgen.errors import UsageError
from molgen.inference.score import Score, number_columns
from molgen.workers.inspector import Inspection

#: What a draw can be asked to be. Each one implies `valid`.
CRITERIA = ("valid", "unique", "novel", "filters")
#: Former names of criteria, which are still understood.
RENAMED = {"new": "novel"}


@dataclass(frozen=True)
class Request:
    """What to generate.

    Attributes:
        count: raw draws, or accepted ones where `accept` names a criterion.
        accept: names of `CRITERIA`, or of single filters of the domain, that a draw must meet to be counted and kept;
            none keeps every draw.
        seed: of all randomness.
        batch_size: the most draws at a time.
        condition: what is asked for, by name: a value for all draws, or a list with one for each, from `first` on.
        known: a beginning that every draw has.
        options: of the family, such as temperature.
        repair: what the encoder does, one after the other, to samples that are no items; none by default.
        max_samples: where `accept` names a criterion, stop after so many samples even if too few were accepted.
        first: the number of the first sample, to go on where an earlier request of the same seed ended.
        seen: keys of canonical items that an earlier request gave: they are no longer unique. Any container of
            strings will do, such as a set or a `BloomFilter`; it is only asked, never changed.
        density: whether rows have a log-density, which has to be computed for those that were not drawn as they are.
        given: items of which a model draws some fields: one for each draw, from `first` on, and after the last one the
            first again. A draw of what is no item is invalid, for the same reason.

    Raises:
        UsageError: a criterion that does not exist, no draw at all, or a number below 0.
    """

    count: int
    accept: tuple[str, ...] = ()
    seed: int = 0
    batch_size: int = 1024
    condition: Mapping[str, Any] = field(default_factory=dict)
    known: Item | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    repair: tuple[str, ...] = ()
    max_samples: int | None = None
    first: int = 0
    seen: Container[str] = ()
    density: bool = True
    given: Sequence[Item | Invalid] | None = None

    def __post_init__(self) -> None:
        if self.count < 1 or self.batch_size < 1:
            raise UsageError(f"at least 1 must be asked for, not {min(self.count, self.batch_size)}")
        object.__setattr__(self, "accept", tuple(RENAMED.get(name, name) for name in self.accept))
        if self.given is not None and not len(self.given):
            raise UsageError("there is no item of which to draw anything")
        if self.first < 0:
            raise UsageError(f"the number of the first draw is at least 0, not {self.first}")

    def condition_of(self, draws: Sequence[int]) -> dict[str, Any]:
        """What is asked for of some draws, by their numbers: a value for all of them, or an array (draws,)."""
        places = np.asarray(draws, np.int64) - self.first
        return {n: np.asarray(v)[places] if np.ndim(v) else v for n, v in self.condition.items()}

    def given_of(self, draws: Sequence[int]) -> list[Item | Invalid] | None:
        """The items that some draws are given, by the numbers of the draws; None for nothing."""
        if self.given is None:
            return None
        return [self.given[(draw - self.first) % len(self.given)] for draw in draws]

    @property
    def filtered(self) -> bool:
        """Whether a criterion is one of the domain's filters, or all of them."""
        return any(name not in CRITERIA or name == "filters" for name in self.accept)


@dataclass(frozen=True)
class Row:
    """One draw with what is known of it.

    Attributes:
        index: the number of the draw.
        item: the canonical form, or None where the draw is invalid.
        as_generated: what the sample decoded to, or can show of a sample that is no item; None where it is nothing.
        score: log p of `item`, or why it has none; why the draw is invalid, if it is.
        properties: numbers by name.
        repaired: why the draw was no item before it was repaired; empty where nothing was.
        inspection: all that the domain says of the draw.
    """

    index: int
    item: Item | None
    as_generated: Item | None
    score: Score = field(default_factory=Score)
    properties: Mapping[str, float] = field(default_factory=dict)
    repaired: str = ""
    inspection: Inspection = field(default_factory=lambda: Inspection(None), repr=False, compare=False)

    @property
    def status(self) -> str:
        """`valid`, `repaired` or `invalid`."""
        return "invalid" if self.item is None else "repaired" if self.repaired else "valid"

    def columns(self, name: str, properties: Sequence[str] = ()) -> dict[str, Any]:
        """The row as a table has it; None where a cell is empty.

        Args:
            name: of the column of the item.
            properties: those that have columns.
        """
        return {
            name: self.item,
            "as_generated": self.as_generated,
            **self.score.columns(),
            "status": self.status,
            "error": self.score.error or self.repaired,
            **number_columns(self.properties, properties),
        }


@dataclass
class Tally:
    """What became of the draws.

    Attributes:
        drawn: draws that were inspected.
        valid: those that are items of the domain without any repair.
        repaired: those that a repair made items; None where none was asked for. They count as items below.
        unique: distinct items.
        novel: distinct items outside the training data; None where the model cannot say.
        passing: items that pass all filters; None where filters were not asked for.
        accepted: those that meet every criterion of the request; None where it names none.
    """

    drawn: int = 0
    valid: int = 0
    repaired: int | None = None
    unique: int = 0
    novel: int | None = None
    passing: int | None = None
    accepted: int | None = None

    def rates(self) -> dict[str, float]:
        """Shares by criterion: valid and repaired of all draws, unique and filters of items, novel of unique ones."""
        items = self.valid + (self.repaired or 0)
        parts = {
            "valid": (self.valid, self.drawn),
            "repaired": (self.repaired, self.drawn),
            "unique": (self.unique, items),
            "novel": (self.novel, self.unique),
            "filters": (self.passing, items),
            "accepted": (self.accepted, self.drawn),
        }
        return {name: round(part / whole, 6) for name, (part, whole) in parts.items() if whole and part is not None}
