"""The small spaces over which families and networks are checked, and what a family is given to train on.

Letters in shapes: B batch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from molgen.batch import Batch, collate, size_of
from molgen.data.standardise import standardise
from molgen.data.statistics import Statistics, measure
from molgen.domain import Sample
from molgen.space import Axis, Categorical, Real, Space, variable_axes
from molgen.testing.random_samples import draw_samples

_NODE = Axis("node", 3, ordered=False)
_ATOM = Axis("atom", 4, ordered=False)
_ROW, _COLUMN = Axis("row", 2, variable=False), Axis("column", 3, variable=False)

#: One space for each layout and for each kind of field; no samples of a domain.
SPACES: Mapping[str, Space] = {
    "words": {"letters": Categorical((Axis("length", 3, minimum=0),), classes=3)},
    "classes": {"colour": Categorical(classes=3), "member": Categorical(classes=2)},
    "record": {"colour": Categorical(classes=3), "height": Real()},
    "signal": {"amplitude": Real((Axis("instant", 8, minimum=4),), channels=(1,))},
    "bitmap": {"pixels": Categorical((_ROW, _COLUMN), classes=2)},
    "picture": {"pixels": Real((_ROW, _COLUMN), channels=(1,), levels=2)},
    "set": {"kind": Categorical((_NODE,), classes=2), "weight": Real((_NODE,))},
    "graph": {
        "nodes": Categorical((_NODE,), classes=2),
        "edges": Categorical((_NODE, _NODE), classes=2, symmetric=True),
    },
    "distances": {
        "nodes": Categorical((_NODE,), classes=2),
        "lengths": Real((_NODE, _NODE), symmetric=True),
    },
    "points": {
        "types": Categorical((_ATOM,), classes=3),
        "places": Real((_ATOM,), channels=(3,), centred=True, rotates=True),
    },
    "numbers": {"height": Real(), "position": Real(channels=(2,))},
    "weather": {"hours": Real((Axis("hour", 6, minimum=3),), channels=(2,))},
    "cloud": {"places": Real((_ATOM,), channels=(3,), centred=True, rotates=True)},
    "molecule": {
        "types": Categorical((_ATOM,), classes=3),
        "bonds": Categorical((_ATOM, _ATOM), classes=2, symmetric=True),
        "places": Real((_ATOM,), channels=(3,), centred=True, rotates=True),
    },
}

#: Sequences longer than a network can be expected to attend over; checked for less, see `suites.LONG_CHECKS`.
LONG_SPACES: Mapping[str, Space] = {
    "recording": {"samples": Categorical((Axis("instant", 1200, minimum=1100),), classes=4)},
}

#: Means and scales of the channels of fields whose channels have units of their own: degrees and pascals.
UNITS: Mapping[str, Mapping[str, tuple[Sequence[float], Sequence[float]]]] = {
    "weather": {"hours": ((20.0, 101_300.0), (5.0, 500.0))},
}

#: Samples of a case.
ROWS = 6


@dataclass(frozen=True)
class Case:
    """A space under a name, and a few samples as an encoder gives them."""

    name: str
    space: Space
    samples: Sequence[Sample]

    @classmethod
    def of(cls, name: str, space: Space, samples: Sequence[Sample] = ()) -> Case:
        """Given samples, and as many random ones, of sizes like theirs, as are missing."""
        given = list(samples[:ROWS])
        largest = {
            axis.name: max(size_of(space, sample, axis) for sample in given)
            for axis in variable_axes(space).values()
            if given
        }
        missing = ROWS - len(given)
        drawn = draw_samples(space, missing, 0, largest) if missing else []
        return cls(name, space, given + [_in_units(sample, UNITS.get(name, {})) for sample in drawn])

    @cached_property
    def statistics(self) -> Statistics:
        """What the samples look like."""
        return measure(self.space, [collate(self.space, self.samples)])

    @cached_property
    def batch(self) -> Batch:
        """All samples as one batch as families are given them: numbers without levels have unit scale."""
        return standardise(self.space, self.statistics, collate(self.space, self.samples))


def _in_units(sample: Sample, units: Mapping[str, tuple[Sequence[float], Sequence[float]]]) -> Sample:
    own = {name: sample[name] * np.array(scales) + np.array(means) for name, (means, scales) in units.items()}
    return {**sample, **{name: values.astype(np.float32) for name, values in own.items()}}
