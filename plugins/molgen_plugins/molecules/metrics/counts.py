"""How alike two sets are in what their molecules consist of: fragments and scaffolds, compared by their counts.

Letters in shapes: G groups of items, K distinct strings.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from scipy.sparse import csr_array

from molgen.evaluation.intervals import GroupedMean, jackknife_error, normal_interval
from molgen.metric import (
    GROUPS,
    Against,
    Better,
    Chunk,
    Estimate,
    Metric,
    PublishedStatistics,
    Summary,
    pack_strings,
    undefined,
    unpack_strings,
)
from molgen.metrics.identity import Seen, contained, hashed

#: Numbers that wait before they are merged into the counts.
_WAITING = 1 << 20


@dataclass(frozen=True)
class CountsConfig:
    """Settings of `Fragments` and `Scaffolds`.

    Attributes:
        as_original: multiply the squared norms of the counts as 64-bit integers, to which the MOSES code comes
            down with current scipy. For the published sets their product leaves the range and wraps: the value
            is then wrong, or undefined where the product has become negative and that code stops with an
            error. By default nothing wraps, which is what that code gave with scipy of its time.
    """

    as_original: bool = False


class GroupedCounts:
    """How often each string occurs in the items of each group."""

    def __init__(self) -> None:
        #: each string and its number, in the order of their appearance.
        self.numbers: dict[str, int] = {}
        self._places, self._counts = np.empty(0, np.int64), np.empty(0, np.int64)
        self._waiting: list[np.ndarray] = []

    def add(self, groups: np.ndarray, strings: Sequence[str]) -> None:
        """Take in strings and the groups of the items that they are of, int64 of the same length."""
        numbers = [self.numbers.setdefault(string, len(self.numbers)) for string in strings]
        self._waiting.append(np.array(numbers, np.int64) * GROUPS + groups)
        if sum(map(len, self._waiting)) > max(_WAITING, len(self._places)):
            self._merge()

    def _merge(self) -> None:
        places = np.concatenate([self._places, *self._waiting])
        counts = np.ones(len(places), np.int64)
        counts[: len(self._counts)] = self._counts
        self._places, found = np.unique(places, return_inverse=True)
        # exact: sums of whole numbers below 2^53
        self._counts = np.bincount(found, counts, len(self._places)).astype(np.int64)
        self._waiting = []

    def table(self) -> csr_array:
        """The counts, float64 (G, K)."""
        self._merge()
        places = self._places % GROUPS, self._places // GROUPS
        return csr_array((self._counts.astype(float), places), shape=(GROUPS, len(self.numbers)))


class Counts(Summary):
    """How often each string occurs in a set.

    Attributes:
        counter: the counts by string.
    """

    #: the feature that holds the strings of each item.
    feature: ClassVar[str]

    def __init__(self, config: Any = None) -> None:
        super().__init__(config)
        self.counter: Counter[str] = Counter()

    @classmethod
    def needed(cls, config: Any) -> tuple[str, ...]:
        """The feature that holds the strings."""
        return (cls.feature,)

    def include_published(self, published: PublishedStatistics) -> bool:
        """Take in the counts."""
        if self.feature not in published.counts:
            return False
        self.counter.update(published.counts[self.feature])
        return True

    def arrays(self) -> dict[str, np.ndarray]:
        """The strings in order, and int64 counts."""
        strings = sorted(self.counter)
        return {"strings": pack_strings(strings), "counts": np.array([self.counter[s] for s in strings], np.int64)}

    def load(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Take back what `arrays` gave."""
        self.counter = Counter(dict(zip(unpack_strings(arrays["strings"]), arrays["counts"].tolist(), strict=True)))


class FragmentCounts(Counts):
    """How often each BRICS fragment occurs in a set."""

    feature: ClassVar[str] = "fragments"

    def add(self, chunk: Chunk) -> None:
        """Take in some rows."""
        self.counter.update(string for strings in chunk.features.get(self.feature, ()) for string in strings)


class ScaffoldCounts(Counts):
    """How often each scaffold of two rings or more occurs in a set."""

    feature: ClassVar[str] = "scaffold"

    def add(self, chunk: Chunk) -> None:
        """Take in some rows."""
        self.counter.update(string for string in chunk.features.get(self.feature, ()) if string)


class CosineSimilarity(Metric):
    """The cosine between the counts of strings in the items and in the reference."""

    Config: ClassVar[type] = CountsConfig
    against: ClassVar[Against] = Against.REFERENCE
    better: ClassVar[Better] = Better.HIGHER
    enough: ClassVar[int] = 30_000
    #: what the strings are, for reasons.
    what: ClassVar[str]

    def __init__(self, config: Any = None, reference: Any = None, training: Any = None) -> None:
        super().__init__(config, reference, training)
        self._reference: Counts = reference
        self._found, self._count = GroupedCounts(), 0

    @abstractmethod
    def strings(self, chunk: Chunk) -> Iterator[tuple[int, str]]:
        """The strings of the valid rows, each with the place of its row among them."""

    def add(self, chunk: Chunk) -> None:
        """Take in some rows."""
        pairs = list(self.strings(chunk)) if len(chunk.items) else []
        self._found.add(chunk.groups[[row for row, _ in pairs]], [string for _, string in pairs])
        self._count += len({row for row, _ in pairs})

    def estimate(self, rng: np.random.Generator) -> Estimate:
        """The cosine, of which a jackknife over groups gives the interval; undefined where a side has no string."""
        table, counter, count = self._found.table(), self._reference.counter, self._count
        if not count or not counter:
            return undefined(f"no {self.what}" + (" in the reference" if count else ""), count)
        known = np.array([counter.get(string, 0) for string in self._found.numbers], float)
        total, norm = table.sum(0), math.fsum(float(number) ** 2 for number in counter.values())
        product, square = float(total @ known), float(total @ total)
        products, both, squares = table @ known, table @ total, table.multiply(table).sum(1)

        def without(group: int) -> float:
            rest = square - 2 * both[group] + squares[group]
            return (product - products[group]) / math.sqrt(rest * norm) if rest > 0 else math.nan

        error = jackknife_error(without, np.flatnonzero(both).tolist())
        value = min(product / math.sqrt(square * norm), 1.0)
        if self.config.as_original:
            value = _wrapped(total, known, np.array(list(counter.values())))
            if math.isnan(value):
                return undefined("the product of the squared norms wraps to a negative number", count)
        return normal_interval(value, error, count, (0.0, 1.0))


def _wrapped(found: np.ndarray, known: np.ndarray, reference: np.ndarray) -> float:
    """The cosine of counts found and known (K,) as scipy finds it for integers, or NaN where it stops.

    Args:
        found: counts of the items.
        known: counts of the same strings in the reference.
        reference: all counts of the reference.
    """
    vectors = [vector.astype(np.int64) for vector in (found, known, reference)]
    square, norm = (int(vector @ vector) for vector in (vectors[0], vectors[2]))
    product = (square * norm + 2**63) % 2**64 - 2**63
    if product <= 0:
        return math.nan
    return 1.0 - min(max(1.0 - int(vectors[0] @ vectors[1]) / math.sqrt(product), 0.0), 2.0)


class Fragments(CosineSimilarity):
    """The cosine between the counts of BRICS fragments in the items and in the reference: Frag of MOSES.

    Every fragment of every molecule counts, repeats included (Polykovskiy et al., Frontiers in Pharmacology
    11:565644, 2020).
    """

    needs: ClassVar[tuple[str, ...]] = ("fragments",)
    reference: ClassVar[type[Summary] | None] = FragmentCounts
    what: ClassVar[str] = "fragment"

    def strings(self, chunk: Chunk) -> Iterator[tuple[int, str]]:
        """The fragments of the valid rows."""
        return ((row, string) for row, found in enumerate(chunk.features["fragments"]) for string in found)


class Scaffolds(CosineSimilarity):
    """The cosine between the counts of scaffolds in the items and in the reference: Scaf of MOSES.

    Molecules whose Bemis-Murcko scaffold has fewer than two rings do not count, on either side (Polykovskiy
    et al., Frontiers in Pharmacology 11:565644, 2020).
    """

    needs: ClassVar[tuple[str, ...]] = ("scaffold",)
    reference: ClassVar[type[Summary] | None] = ScaffoldCounts
    what: ClassVar[str] = "scaffold of two rings or more"

    def strings(self, chunk: Chunk) -> Iterator[tuple[int, str]]:
        """The scaffolds of the valid rows that have one."""
        return ((row, string) for row, string in enumerate(chunk.features["scaffold"]) if string)


# --- scaffolds of the training set ----------------------------------------------------------------


class ScaffoldHashes(Summary):
    """Which scaffolds of two rings or more occur in a set: their 64-bit hashes in ascending order."""

    def __init__(self, config: Any = None) -> None:
        super().__init__(config)
        self._waiting: list[np.ndarray] = []
        #: the hashes, uint64 (K,), in ascending order.
        self.hashes = np.empty(0, np.uint64)

    @classmethod
    def needed(cls, config: Any) -> tuple[str, ...]:
        """The scaffold."""
        return ("scaffold",)

    def add(self, chunk: Chunk) -> None:
        """Take in some rows."""
        self._waiting.append(hashed({scaffold for scaffold in chunk.features.get("scaffold", ()) if scaffold}))

    def arrays(self) -> dict[str, np.ndarray]:
        """The hashes."""
        self.hashes, self._waiting = np.unique(np.concatenate([self.hashes, *self._waiting])), []
        return {"hashes": self.hashes}

    def load(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Take back what `arrays` gave."""
        self.hashes, self._waiting = arrays["hashes"], []


class ScaffoldNovelty(Metric):
    """The share of the distinct scaffolds of the items that do not occur in the training set.

    Scaffolds of fewer than two rings do not count. A scaffold belongs to the first item that has it, so
    that drawing groups of items again repeats none.
    """

    needs: ClassVar[tuple[str, ...]] = ("scaffold",)
    against: ClassVar[Against] = Against.TRAINING
    training: ClassVar[type[Summary] | None] = ScaffoldHashes
    better: ClassVar[Better] = Better.HIGHER

    def __init__(self, config: Any = None, reference: Any = None, training: Any = None) -> None:
        super().__init__(config, reference, training)
        self._known: np.ndarray = training.hashes
        self._seen, self._share = Seen(), GroupedMean((0.0, 1.0))

    def add(self, chunk: Chunk) -> None:
        """Take in some rows."""
        scaffolds = chunk.features.get("scaffold", ())
        places = [place for place, scaffold in enumerate(scaffolds) if scaffold]
        hashes = hashed(scaffolds[place] for place in places)
        first = self._seen.first(hashes)
        self._share.add(chunk.groups[places][first], ~contained(hashes, self._known)[first])

    def estimate(self, rng: np.random.Generator) -> Estimate:
        """The share; undefined where no item has a scaffold."""
        return self._share.estimate(rng, "no scaffold of two rings or more")
