"""What was asked for against what came: the properties of generated items that the condition names."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from statistics import fmean
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from molgen.generation import Row


class Obtained:
    """Collects the properties of rows for which a number was asked.

    Args:
        condition: what was asked for, by name.
        properties: those that the domain computes; others, such as a class, can only be asked for.
    """

    def __init__(self, condition: Mapping[str, str], properties: Iterable[str]) -> None:
        numbers = {name: _number(condition[name]) for name in properties if name in condition}
        self.asked = {name: value for name, value in numbers.items() if math.isfinite(value)}
        self._found: dict[str, list[float]] = {name: [] for name in self.asked}

    def take(self, row: Row) -> None:
        """Take in one row; values that cannot be computed do not count."""
        for name, values in self._found.items():
            value = row.properties.get(name, math.nan)
            if math.isfinite(value):
                values.append(value)

    def facts(self) -> dict[str, dict[str, Any]]:
        """For each property the number asked for and, over the rows that have it, the mean and how far they are off."""
        return {
            name: {
                "asked": asked,
                "rows": len(values),
                "mean": fmean(values),
                "mean absolute difference": fmean(abs(value - asked) for value in values),
            }
            for (name, asked), values in zip(self.asked.items(), self._found.values(), strict=True)
            if values
        }

    def lines(self) -> Iterator[str]:
        """The same for people."""
        for name, found in self.facts().items():
            yield (
                f"  {name}: asked for {found['asked']:g}, obtained {found['mean']:.4g} on average; "
                f"{found['mean absolute difference']:.4g} off on average, over {found['rows']:,} rows"
            )


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan
