"""What an audit says: figures with intervals and where they would lie if nothing were remembered, in sections."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import NormalDist
from typing import Any

from molgen.metric import Estimate

#: Standard errors on each side of a value: 95 % of a normal distribution.
SIDE = NormalDist().inv_cdf(0.975)

Interval = tuple[float, float]


@dataclass(frozen=True)
class Finding:
    """One figure.

    Attributes:
        label: what it is, in a few words.
        estimate: the value with its interval.
        null: where it lies, 19 times in 20, if the generator remembers nothing; None where nothing says so.
        control: the same figure of real items that were held out, or NaN.
    """

    label: str
    estimate: Estimate
    null: Interval | None = None
    control: float = math.nan

    @property
    def above(self) -> bool:
        """Whether it is more than nothing remembered explains."""
        return self.null is not None and self.estimate.value > self.null[1]

    def to_json(self) -> dict[str, Any]:
        """JSON values; null where there is no number."""
        one = self.estimate
        return {
            "label": self.label,
            "value": _finite(one.value),
            "low": _finite(one.low),
            "high": _finite(one.high),
            "null": list(self.null) if self.null else None,
            "above_null": self.above,
            "control": _finite(self.control),
            "count": one.count,
            "note": one.note,
        }


@dataclass(frozen=True)
class Table:
    """Numbers that are read beside each other.

    Attributes:
        title: what they are.
        columns: the names of the columns.
        rows: the cells: texts, numbers, or None for no value.
    """

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str | float | None]]

    def to_json(self) -> dict[str, Any]:
        """JSON values."""
        cells = [[_finite(cell) if isinstance(cell, float) else cell for cell in row] for row in self.rows]
        return {"title": self.title, "columns": list(self.columns), "rows": cells}


@dataclass(frozen=True)
class Section:
    """What one part of an audit found.

    Attributes:
        name: of the part, as programs ask for it.
        title: as people read it.
        findings: the figures.
        tables: further numbers.
        words: what to know before the numbers are quoted, a sentence or two each.
    """

    name: str
    title: str
    findings: Sequence[Finding] = ()
    tables: Sequence[Table] = ()
    words: Sequence[str] = ()

    def to_json(self) -> dict[str, Any]:
        """JSON values."""
        return {
            "name": self.name,
            "title": self.title,
            "findings": [one.to_json() for one in self.findings],
            "tables": [one.to_json() for one in self.tables],
            "words": list(self.words),
        }


@dataclass(frozen=True)
class Audit:
    """All that was found.

    Attributes:
        sections: in the order in which they are read.
        about: which sets were compared, and how; JSON values.
        items: figures of single items, one value of each column for each; no item itself is in it.
    """

    sections: Sequence[Section]
    about: Mapping[str, Any]
    items: Mapping[str, Sequence[Any]] = field(default_factory=dict)

    def section(self, name: str) -> Section:
        """A section by its name.

        Raises:
            KeyError: it is not there.
        """
        return {one.name: one for one in self.sections}[name]

    def figure(self, section: str, label: str) -> Finding:
        """A finding by its label.

        Raises:
            KeyError: it is not there.
        """
        return {one.label: one for one in self.section(section).findings}[label]

    def to_json(self) -> dict[str, Any]:
        """JSON values, without those of single items."""
        return {**self.about, "sections": [one.to_json() for one in self.sections]}


def shares_null(share: float, count: int, control: float, controls: int) -> Interval:
    """Where a share lies if what it counts is as frequent among `controls` other items as their share says.

    The normal interval of the difference of two shares of one probability, around the control.
    """
    pooled = (share * count + control * controls) / (count + controls)
    side = SIDE * math.sqrt(pooled * (1 - pooled) * (1 / count + 1 / controls))
    return max(0.0, control - side), min(1.0, control + side)


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
