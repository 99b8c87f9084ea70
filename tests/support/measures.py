"""A domain of words with features, and metrics of it: what a third party writes, and what it may get wrong."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import numpy as np

from molgen.domain import Descriptors, Domain, Invalid, Record
from molgen.evaluation.intervals import GroupedMean
from molgen.metric import Against, Better, Chunk, Estimate, Metric, Summary, undefined


class Words(Domain):
    """Words of letters; case does not matter. A file has one in each line."""

    column: ClassVar[str] = "word"
    metrics: ClassVar[tuple[str, ...]] = ("plain",)
    networks: ClassVar = {
        "embedding": "support.measures:embedding",
        "absent": "no_such_module:network",
        "broken": "support.measures:broken",
    }

    def examples(self):
        return ["cat", "House"]

    def canonical(self, item):
        return item.lower() if isinstance(item, str) and item.isalpha() else Invalid("not a word")

    def key(self, item):
        return item

    def descriptors(self):
        return Descriptors(
            properties={"length": lambda item: float(len(item))},
            features={"length": len, "initial": lambda item: item[0], "letters": letters},
        )

    def suites(self):
        return {
            "plain": {
                "Valid": ("validity", {}),
                "Unique": ("uniqueness", {}),
                "Novel": ("novelty", {}),
                "Length/{}": ("length_distance", {}),
            },
            "strict": {"Valid": ("validity", {"enough": 1000})},
        }

    def read(self, source, *, format=None, column=None):
        text = source.read() if hasattr(source, "read") else Path(source).read_bytes()
        for row, line in enumerate(text.decode(errors="replace").splitlines()):
            yield Record(row, line or Invalid("an empty line"))


def letters(word):
    return np.array([word.count(letter) for letter in "abc"], np.int64)


def embedding(device):
    return lambda items: np.array([[len(item), 1.0] for item in items], np.float32)


def broken(device):
    def network(items):
        raise MemoryError("no room")

    return network


class MeanLength(Metric):
    """The mean length of the valid words."""

    needs: ClassVar = ("length",)

    def __init__(self, config=None, reference=None, training=None):
        super().__init__(config, reference, training)
        self.mean = GroupedMean()

    def add(self, chunk):
        self.mean.add(chunk.groups, chunk.features["length"])

    def estimate(self, rng):
        return self.mean.estimate(rng)


class Lengths(Summary):
    """The sum of the lengths and the count of the words."""

    made: ClassVar[list] = []

    def __init__(self, config=None):
        super().__init__(config)
        self.total = np.zeros(2)
        Lengths.made.append(self)

    @classmethod
    def needed(cls, config):
        return ("length",)

    def add(self, chunk):
        self.total += [np.sum(chunk.features["length"]), len(chunk.items)]

    def arrays(self):
        return {"total": self.total}

    def load(self, arrays):
        self.total = arrays["total"]


class LengthDistance(MeanLength):
    """How far the mean length is from that of the reference."""

    against: ClassVar = Against.REFERENCE
    reference: ClassVar = Lengths
    better: ClassVar = Better.LOWER
    enough: ClassVar = 5

    def __init__(self, config=None, reference=None, training=None):
        super().__init__(config, reference, training)
        self.other = reference.total[0] / reference.total[1]

    def estimate(self, rng):
        if not self.mean.count:
            return undefined("no word")
        return Estimate(abs(self.mean.value - self.other), count=self.mean.count)


class BetweenLengths(LengthDistance):
    """A metric that needs both sets."""

    against: ClassVar = Against.BOTH
    training: ClassVar = Lengths


class Embedded(MeanLength):
    """Reads a network."""

    needs: ClassVar = ("embedding",)

    def add(self, chunk):
        assert chunk.features["embedding"].shape == (len(chunk.items), 2)
        self.mean.add(chunk.groups, chunk.features["embedding"][:, 0])


class Absent(MeanLength):
    """Reads a network that cannot be imported."""

    needs: ClassVar = ("absent",)


class Overloaded(MeanLength):
    """Reads a network that fails."""

    needs: ClassVar = ("broken",)


class Foreign(MeanLength):
    """Reads a feature that the domain does not have."""

    needs: ClassVar = ("colour",)


class FailsToStart(MeanLength):
    def __init__(self, config=None, reference=None, training=None):
        raise ValueError("cannot start")


class FailsToAdd(MeanLength):
    def add(self, chunk):
        raise ValueError("cannot\nadd")


class FailsToEstimate(MeanLength):
    def estimate(self, rng):
        raise ZeroDivisionError("cannot estimate")


class GivesNumber(MeanLength):
    def estimate(self, rng):
        return 0.5


class BadLengths(Lengths):
    def add(self, chunk):
        raise ValueError("cannot summarise")


class FailsToSummarise(LengthDistance):
    reference: ClassVar = BadLengths


class AbsentLengths(Lengths):
    @classmethod
    def needed(cls, config):
        return ("absent",)


class AbsentInSummary(LengthDistance):
    reference: ClassVar = AbsentLengths


METRICS = {
    "mean_length": "MeanLength",
    "length_distance": "LengthDistance",
    "between_lengths": "BetweenLengths",
    "embedded": "Embedded",
    "absent": "Absent",
    "overloaded": "Overloaded",
    "foreign": "Foreign",
    "fails_to_start": "FailsToStart",
    "fails_to_add": "FailsToAdd",
    "fails_to_estimate": "FailsToEstimate",
    "gives_number": "GivesNumber",
    "fails_to_summarise": "FailsToSummarise",
    "absent_in_summary": "AbsentInSummary",
    "not_there": "NotThere",
}


def register(install):
    """Make the words and their metrics known as a third party's distribution; `install` is `fake_distribution`."""
    metrics = {name: f"support.measures:{cls}" for name, cls in METRICS.items()}
    install("measures", plugins={"domain": {"words": "support.measures:Words"}, "metric": metrics})


def chunks(rows, sizes=None, features=None):
    """Rows as portions of some sizes; None stands for an invalid row, and keys are the items."""
    features, first = features or {}, 0
    for size in sizes or [len(rows)]:
        block = rows[first : first + size]
        items = [row for row in block if row is not None]
        found = {name: [feature(item) for item in items] for name, feature in features.items()}
        valid = np.array([row is not None for row in block], bool)
        yield Chunk(first, valid, items, items, found, items)
        first += size


def measured(metric, rows, sizes=None, features=None, seed=0):
    """The estimate of a metric of some rows."""
    for chunk in chunks(rows, sizes, features=features):
        metric.add(chunk)
    return metric.estimate(np.random.default_rng(seed))
