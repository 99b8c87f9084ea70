"""The labels of items: a column of their file, or a property that their domain computes.

Letters in shapes: N items.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from molgen.data.condition_columns import MISSING, read_number
from molgen.domain import Domain
from molgen.errors import UsageError, hint
from molgen_datasets.audit.items import Items

#: A column of numbers with no more different values holds classes, as in tables.
CLASSES = 12
#: The name of a column that is a label when nobody names one.
USUAL = "label"


@dataclass(frozen=True)
class Labels:
    """The labels of some sets, in one form.

    Attributes:
        name: of the column or property.
        classes: whether they are classes and no numbers.
        values: of each set, str or float64 (N,); an empty string or NaN where an item has none.
    """

    name: str
    classes: bool
    values: Sequence[np.ndarray]

    def known(self, place: int) -> np.ndarray:
        """Which items of a set have one, bool (N,)."""
        values = self.values[place]
        return values != "" if self.classes else np.isfinite(values)


def chosen(asked: str | None, domain: Domain, sides: Sequence[Items]) -> str | None:
    """What is meant: the label asked for, else a column `label`, else the first usual property that differs; or none.

    Args:
        asked: the name of a column or a property, or None.
        domain: of the items.
        sides: the sets, the real ones first.

    Raises:
        UsageError: no set has what was asked for.
    """
    if asked is None:
        if all(_column(side, USUAL) is not None for side in sides):
            return USUAL
        varied = (name for name in domain.usual_properties if _varied(sides[0], name))
        return next(varied, next(iter(domain.usual_properties), None))
    columns = dict.fromkeys(name for side in sides[:1] for row in side.columns[:1] for name in row)
    known = dict.fromkeys([*columns, *domain.descriptors().properties])
    if asked not in known:
        listed = ", ".join(known) or "none"
        raise UsageError(
            f"the training set has no column and its domain no property {asked!r}{hint(asked, known)} Known: {listed}"
        )
    return asked


def _varied(side: Items, name: str) -> bool:
    """Whether a property differs among the items of a set: sounds of a data set often have one duration."""
    values = side.properties.get(name, np.empty(0))
    return len(np.unique(values[np.isfinite(values)])) > 1


def _column(side: Items, name: str) -> str | None:
    """The column of a set that holds a label; a generated item has what was asked for in `condition_NAME`."""
    names = side.columns[0] if side.columns else {}
    return next((column for column in (name, f"condition_{name}") if column in names), None)


def labels_of(name: str, sides: Sequence[Items]) -> Labels | None:
    """The labels of all sets, or None where one of them has none."""
    texts = [_texts(side, name) for side in sides]
    if any(found is None or not any(found) for found in texts):
        return None
    numbers = [np.array([read_number(text) for text in found or ()], float) for found in texts]
    first = [text for text in texts[0] or () if text]
    many = len(set(first)) > CLASSES
    if many and np.isfinite(numbers[0]).sum() == len(first):
        return Labels(name, False, numbers)
    return Labels(name, True, [np.array(list(map(_class, found or ())), object) for found in texts])


def _texts(side: Items, name: str) -> list[str] | None:
    """The labels of a set as text, empty where there is none; None where the set has no such label."""
    column = _column(side, name)
    if column is not None:
        found = (str(row.get(column, "")).strip() for row in side.columns)
        return ["" if text.lower() in MISSING else text for text in found]
    if name not in side.properties:
        return None
    return [repr(float(value)) if np.isfinite(value) else "" for value in side.properties[name]]


def _class(text: str) -> str:
    """A class by its name; a number is one however it is written."""
    number = read_number(text)
    return f"{number:g}" if np.isfinite(number) else text
