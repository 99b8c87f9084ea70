"""Time series of several channels, each in a unit of its own, as tables in which a series is several rows.

A column `series` says which rows belong together; all others are channels, whose names come from the training data.
"""

from dataclasses import dataclass
from itertools import groupby
from typing import ClassVar

import numpy as np

from molgen import Axis, Descriptors, Domain, Encoder, Invalid, Real, Record
from molgen.data.item_tables import read_rows, write_rows

ID = "series"
MOMENTS = 8


@dataclass(frozen=True)
class Steps:
    """`steps`: the most points in time of a series."""

    steps: int = 100


class Series(Domain, Encoder):
    """An item is a mapping from the name of each channel to its numbers, all of one length."""

    molgen_api: ClassVar[int] = 1
    Config = Steps
    column = ID
    distance_feature = "course"
    predictor = "boosting"
    molgen_tiny: ClassVar = {"steps": 6}

    def __init__(self, config=None):
        super().__init__(config)
        self.prepare(self.examples())

    def examples(self):
        day = {"temperature": [11.5, 14.0, 19.25, 16.0], "pressure": [1013.0, 1012.5, 1009.0, 1010.0]}
        return [day, {"temperature": [3.5, 2.0], "pressure": [1021.0, 1023.0]}]

    def canonical(self, item):
        try:
            found = {name: np.array(values, float) for name, values in item.items()}
        except (TypeError, ValueError) as error:
            return Invalid(f"a channel holds something else than numbers: {error}")
        if len({values.shape for values in found.values()}) != 1 or not next(iter(found.values())).ndim:
            return Invalid("the channels have different lengths")
        if not all(np.isfinite(values).all() for values in found.values()):
            return Invalid("a number is missing")
        return {name: values.tolist() for name, values in found.items()}

    def key(self, item):
        return repr({name: [float(np.float32(value)) for value in item[name]] for name in sorted(item)})

    def descriptors(self):
        return Descriptors(features={"course": course})

    @classmethod
    def settings_for(cls, items):
        return {"steps": max((len(next(iter(item.values()))) for item in items), default=1)}

    def prepare(self, items):
        self.channels = sorted({name for item in items for name in item})

    def state(self):
        return {"channels": self.channels}

    def load_state(self, state):
        self.channels = list(state["channels"])

    @property
    def space(self):
        return {"values": Real((Axis("step", self.config.steps),), channels=(len(self.channels),))}

    def encode(self, item):
        if missing := [name for name in self.channels if name not in item]:
            return Invalid(f"there is no channel {missing[0]!r}")
        values = np.array([item[name] for name in self.channels], np.float32).T
        if not 1 <= len(values) <= self.config.steps:
            return Invalid(f"the series has {len(values)} steps, not 1 to {self.config.steps}")
        return {"values": values}

    def decode(self, sample):
        return dict(zip(self.channels, sample["values"].T.astype(float).tolist(), strict=True))

    def read(self, source, *, format=None, column=None):
        rows = read_rows(source, dict, format=format)
        for number, (name, part) in enumerate(groupby(rows, lambda row: row.columns.get(column or ID, ""))):
            records = list(part)
            bad = next((row.item for row in records if isinstance(row.item, Invalid)), None)
            cells = {name: [row.item[name] for row in records] for name in records[0].item} if bad is None else {}
            yield Record(number, bad or series_of(cells, column or ID), {"name": name}, records[0].text)

    def write(self, rows, target, *, format=None):
        return write_rows(rows, target, ID, steps_of, format=format)


def series_of(cells, identity):
    """The item of some rows, or why they hold none."""
    try:
        return {name: [float(cell) for cell in column] for name, column in cells.items() if name != identity}
    except ValueError as error:
        return Invalid(f"a cell holds no number: {error}")


def course(item):
    """Cells, each compared by its range over the training data, whatever its unit: each channel at even moments."""
    steps = len(next(iter(item.values())))
    moments = np.linspace(0, steps - 1, MOMENTS)
    values = {name: np.interp(moments, range(steps), channel).tolist() for name, channel in item.items()}
    return {f"{name} {n}": value for name in values for n, value in enumerate(values[name])}


def steps_of(number, item):
    """A row for each point in time."""
    return ({ID: number, **dict(zip(item, step, strict=True))} for step in zip(*item.values(), strict=True))
