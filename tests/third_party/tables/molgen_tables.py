"""Rows of a table: columns of numbers and of classes, in any mixture, with missing values.

A row is a mapping from the names of columns to cells as text; an empty cell is a missing value. What each column holds
is learned from the training data: numbers, as finely as they are written, or one of some classes.
"""

from collections import Counter
from dataclasses import dataclass
from decimal import Decimal
from math import isfinite
from typing import ClassVar

import numpy as np

from molgen import Categorical, Descriptors, Domain, Encoder, Invalid, Real, UsageError
from molgen.data.item_tables import read_rows, write_rows

MISSING = frozenset({"", "?", "na", "n/a", "nan", "null", "none"})


@dataclass(frozen=True)
class Columns:
    """A column of at most `classes` different values holds classes, be they numbers or not; no column has `most`."""

    classes: int = 12
    most: int = 200


class Tables(Domain, Encoder):
    """One field for each column, in their order; a column with gaps has a field before it that says where they are."""

    molgen_api: ClassVar[int] = 1
    Config = Columns
    column = "row"
    repeats = True
    metrics = ("column_fidelity", "pair_fidelity", "novelty")
    distance_feature = "columns"
    predictor = "boosting"
    molgen_tiny: ClassVar = {"classes": 3}

    def __init__(self, config=None):
        super().__init__(config)
        self.prepare(self.examples())

    def examples(self):
        cells = ["ant,0.25,2,6", "bee,,1,6", "crab,12.5,4,10", "dog,31.75,,4", "eel,8.5,3,0", "fox,6.25,2,4"]
        return [dict(zip(("name", "kilograms", "litter", "legs"), row.split(","), strict=True)) for row in cells]

    def canonical(self, item):
        found = {name: " ".join(str(cell).split()) for name, cell in item.items()}
        return {name: "" if cell.lower() in MISSING else cell for name, cell in found.items()}

    def key(self, item):
        numbers = {name: number(item[name]) for name in sorted(item)}
        return repr([(name, item[name] if n is None else f"{n + 0.0:.6g}") for name, n in numbers.items()])

    def descriptors(self):
        return Descriptors(features={"columns": lambda item: {k: number_or_text(v) for k, v in item.items()}})

    def canary(self, rng, items):
        """Each cell from another row."""
        return {name: items[int(rng.integers(len(items)))][name] for name in items[0]}

    def prepare(self, items):
        rows = list(items)
        columns = {name: [row.get(name, "") for row in rows] for name in dict.fromkeys(k for row in rows for k in row)}
        self.columns = {name: self._learned(name, cells) for name, cells in columns.items()}

    def _learned(self, name, cells):
        """What a column holds: the digits of its numbers, or its classes; and whether values are missing."""
        counts = Counter(cell for cell in cells if cell)
        numbers = all(number(cell) is not None for cell in counts)
        if numbers and len(counts) > self.config.classes:
            return {"digits": max(digits(cell) for cell in counts), "gaps": "" in cells}
        if len(counts) > self.config.most:
            raise UsageError(f"column {name!r}: {len(counts)} different texts; leave it out, or raise encoder.most")
        return {"classes": sorted(counts) + [""] * ("" in cells)}

    def state(self):
        return {"columns": self.columns}

    def load_state(self, state):
        self.columns = dict(state["columns"])

    @property
    def space(self):
        fields = {}
        for place, learned in enumerate(self.columns.values()):
            if "classes" in learned:
                fields[f"class_{place}"] = Categorical(classes=max(1, len(learned["classes"])))
                continue
            if learned["gaps"]:
                fields[f"known_{place}"] = Categorical(classes=2)
            fields[f"number_{place}"] = Real()
        return fields

    def encode(self, item):
        sample = {}
        for place, (name, learned) in enumerate(self.columns.items()):
            cell = item.get(name, "")
            if "classes" in learned:
                if cell not in learned["classes"]:
                    return Invalid(f"{cell!r} is no class of the column {name!r}" if cell else f"{name!r} is missing")
                sample[f"class_{place}"] = np.array(learned["classes"].index(cell))
                continue
            value = number(cell) if cell else 0.0
            if value is None or not (cell or learned["gaps"]):
                return Invalid(f"{cell!r} in the column {name!r} is no number" if cell else f"{name!r} is missing")
            sample[f"known_{place}"] = np.array(int(bool(cell)))
            sample[f"number_{place}"] = np.array(value, np.float32)
        return {name: sample[name] for name in self.space}

    def decode(self, sample):
        item = {}
        for place, (name, learned) in enumerate(self.columns.items()):
            if "classes" in learned:
                item[name] = learned["classes"][sample[f"class_{place}"]]
            elif sample.get(f"known_{place}", True):
                item[name] = f"{float(sample[f'number_{place}']):.{learned['digits']}f}"
            else:
                item[name] = ""
        return item

    def read(self, source, *, format=None, column=None):
        return read_rows(source, self.canonical, format=format)

    def write(self, rows, target, *, format=None):
        return write_rows(rows, target, self.column, lambda _, item: [item], format=format)


def number(cell):
    """The number that a cell holds, or None."""
    try:
        return value if isfinite(value := float(cell)) else None
    except ValueError:
        return None


def number_or_text(cell):
    """What a cell holds: a number, a text, or nothing."""
    return (cell or None) if (found := number(cell)) is None else found


def digits(cell):
    """How many digits a number has behind the point, as it is written."""
    return max(0, -int(Decimal(cell).as_tuple().exponent))
