"""What a report shows of a set, taken from its chunks as they pass, in bounded memory.

An observer is called with each chunk of a set and names the features that it reads in `needs`. What it
draws at random depends on the seed and on row numbers alone: not on the size of chunks.

Letters in shapes: V valid rows of a chunk, K rows that are kept, M rows of a training set, B bytes of the
bits of an item.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from typing import Any, ClassVar, Protocol

import numpy as np

from molgen.domain import Domain, Item
from molgen.metric import Chunk, PublishedStatistics, Summary, pack_strings, unpack_strings

#: Random items that are shown, values that a distribution is drawn from, and distinct groups that are counted.
ITEMS, VALUES, GROUPS = 60, 100_000, 1_000_000
#: Random items whose nearest training item is shown.
NEIGHBOURS = 12
#: Bit vectors that are compared at a time.
_ROWS = 65_536


class Observer(Protocol):
    """Sees every chunk of a set."""

    @property
    def needs(self) -> tuple[str, ...]:
        """Names of the features that it reads."""

    def __call__(self, chunk: Chunk) -> None:
        """Take in the next rows."""


def shown_properties(domain: Domain) -> tuple[str, ...]:
    """The properties whose distributions a report shows: those that are features too."""
    descriptors = domain.descriptors()
    return tuple(name for name in descriptors.properties if name in descriptors.features)


class RandomRows:
    """Which rows of a stream to keep: those whose numbers have the smallest hashes, so many of them.

    Args:
        count: how many to keep.
        seed: other seeds choose other rows.
    """

    def __init__(self, count: int, seed: int = 0) -> None:
        self._count, self._seed = count, seed
        self._hashes = np.empty(0, np.uint64)

    def keep(self, rows: np.ndarray) -> np.ndarray:
        """Places to keep among those kept so far followed by some new rows, in the order of their hashes.

        Args:
            rows: numbers of the new rows, (V,).
        """
        hashes = np.concatenate([self._hashes, _hashed(rows, self._seed)])
        places = np.argsort(hashes, kind="stable")[: self._count]
        self._hashes = hashes[places]
        return places


def _hashed(rows: np.ndarray, seed: int) -> np.ndarray:
    """One number for each row that looks random: the finaliser of SplitMix64 (Steele et al., OOPSLA 2014)."""
    mixed = (rows.astype(np.uint64) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
    mixed ^= np.random.default_rng(seed).integers(2**64, dtype=np.uint64)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        mixed = (mixed ^ (mixed >> np.uint64(shift))) * np.uint64(factor)
    return mixed ^ (mixed >> np.uint64(31))


class RandomItems:
    """Valid items drawn at random, with some of their features.

    Attributes:
        items: those drawn so far, in random order: the first few are a random sample too.
        features: by name, the values of those items.
    """

    def __init__(self, count: int = ITEMS, seed: int = 0, needs: tuple[str, ...] = ()) -> None:
        self._rows = RandomRows(count, seed)
        self.needs = needs
        self.items: list[Item] = []
        self.features: dict[str, list[Any]] = {name: [] for name in needs}

    def __call__(self, chunk: Chunk) -> None:
        """Take in the next rows."""
        if not chunk.items:
            return
        places = self._rows.keep(chunk.rows)
        self.items = _taken(self.items, chunk.items, places)
        self.features = {name: _taken(self.features[name], chunk.features[name], places) for name in self.needs}


def _taken(kept: Sequence[Any], new: Sequence[Any], places: np.ndarray) -> list[Any]:
    return [kept[k] if k < len(kept) else new[k - len(kept)] for k in places.tolist()]


class Values:
    """Properties of the items: of all, or of many of them drawn at random.

    Args:
        names: features that are numbers.
        count: items whose properties are kept.
        seed: other seeds draw other items.
    """

    def __init__(self, names: Sequence[str], count: int = VALUES, seed: int = 0) -> None:
        self.needs = tuple(names)
        self._rows = RandomRows(count, seed)
        self._kept = np.empty((0, len(self.needs)), np.float32)

    def __call__(self, chunk: Chunk) -> None:
        """Take in the next rows."""
        if not chunk.items or not self.needs:
            return
        self.include(chunk.rows, chunk.features)

    def include(self, rows: np.ndarray, features: Mapping[str, Any]) -> None:
        """Take in the features of some rows (V,)."""
        new = np.stack([np.asarray(features[name], np.float32) for name in self.needs], axis=1)
        self._kept = np.concatenate([self._kept, new])[self._rows.keep(rows)]

    @property
    def values(self) -> dict[str, np.ndarray]:
        """Property -> values, float32 (K,)."""
        return {name: self._kept[:, k] for k, name in enumerate(self.needs)}


class Groups:
    """How many items belong to each group.

    Args:
        feature: the name of the group of an item; empty for an item of none.
        most: distinct groups that are held; when there are more, those seen once so far are forgotten.
    """

    def __init__(self, feature: str, most: int = GROUPS) -> None:
        self.needs = (feature,)
        self._most = most
        self._counts: Counter[str] = Counter()

    def __call__(self, chunk: Chunk) -> None:
        """Take in the next rows."""
        if chunk.items:
            self.include(Counter(name for name in chunk.features[self.needs[0]] if name))

    def include(self, counts: Mapping[str, int]) -> bool:
        """Take in how often groups occur, if there are any."""
        self._counts.update(counts)
        if len(self._counts) > self._most:
            self._counts = Counter({name: count for name, count in self._counts.items() if count > 1})
        return bool(counts)

    @property
    def counts(self) -> list[tuple[str, int]]:
        """Groups and their counts, the most frequent first, equally frequent ones by name."""
        return sorted(self._counts.items(), key=lambda found: (-found[1], found[0]))


class Gathering:
    """Everything that a report shows of an evaluated set: one observer for all.

    Args:
        domain: what it can tell decides what is gathered.
        seed: of the random samples.
    """

    def __init__(self, domain: Domain, seed: int = 0) -> None:
        likeness = () if domain.bits_feature is None else (domain.bits_feature,)
        self.sample = RandomItems(seed=seed, needs=likeness)
        self.values = Values(shown_properties(domain), seed=seed)
        self.groups = Groups(domain.group_feature) if domain.group_feature else None
        self._parts: list[Observer] = [self.sample, self.values, *([self.groups] if self.groups else [])]

    @property
    def needs(self) -> tuple[str, ...]:
        """Names of the features that any part reads."""
        return tuple(dict.fromkeys(chain.from_iterable(part.needs for part in self._parts)))

    def __call__(self, chunk: Chunk) -> None:
        """Take in the next rows."""
        for part in self._parts:
            part(chunk)


class Portrait(Summary):
    """What a report shows of a reference set, kept in the cache: values and groups.

    Args:
        config: the names of the properties, and the feature that groups items, if one does: see `portrayed`.
    """

    def __init__(self, config: tuple[tuple[str, ...], str | None]) -> None:
        super().__init__(config)
        names, groups = config
        self.values: Mapping[str, np.ndarray] = {}
        self.groups: Sequence[tuple[str, int]] = ()
        self._values, self._groups = Values(names), Groups(groups) if groups else None

    @classmethod
    def name(cls, config: Any) -> str:
        """The properties are part of it."""
        names, groups = config
        return "-".join([cls.__name__, *names, *([groups] if groups else [])])

    @classmethod
    def needed(cls, config: Any) -> tuple[str, ...]:
        """The properties, and the feature that groups items."""
        names, groups = config
        return (*names, groups) if groups else names

    def add(self, chunk: Chunk) -> None:
        """Take in some rows of the set."""
        self._values(chunk)
        if self._groups is not None:
            self._groups(chunk)

    def include_published(self, published: PublishedStatistics) -> bool:
        """Take in the values of all properties and the counts of groups."""
        if not published.values.keys() >= set(self._values.needs):
            return False
        if self._groups is not None and not self._groups.include(published.counts.get(self._groups.needs[0], {})):
            return False
        self._values.include(np.arange(published.rows), published.values)
        return True

    def arrays(self) -> dict[str, np.ndarray]:
        """Values of each property, groups and their counts."""
        counts = self._groups.counts if self._groups is not None else []
        return {
            **{f"values.{name}": values for name, values in self._values.values.items()},
            "groups": pack_strings([name for name, _ in counts]),
            "counts": np.array([count for _, count in counts], np.int64),
        }

    def load(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Take back what `arrays` gave."""
        self.values = {name: arrays[f"values.{name}"] for name in self.config[0]}
        self.groups = list(zip(unpack_strings(arrays["groups"]), arrays["counts"].tolist(), strict=True))


def portrayed(domain: Domain) -> tuple[tuple[str, ...], str | None]:
    """The config of a `Portrait` of this domain's items."""
    return shown_properties(domain), domain.group_feature


class BitVectors(Summary):
    """The bits of the items of a training set, kept in the cache, where neighbours are searched.

    Args:
        config: the feature that gives them.

    Attributes:
        rows: the numbers of its valid rows, int64 (M,).
        bits: those of these rows, uint8 (M, B).
    """

    reads_items: ClassVar[bool] = False

    def __init__(self, config: Any = None) -> None:
        super().__init__(config)
        self.rows, self.bits = np.empty(0, np.int64), np.empty((0, 0), np.uint8)
        self._chunks: list[tuple[np.ndarray, np.ndarray]] = []

    @classmethod
    def name(cls, config: Any) -> str:
        """One for each feature."""
        return f"{cls.__name__}-{config}"

    @classmethod
    def needed(cls, config: Any) -> tuple[str, ...]:
        """The feature."""
        return (config,)

    def add(self, chunk: Chunk) -> None:
        """Take in some rows of the set."""
        if chunk.items:
            self._chunks.append((chunk.rows, np.asarray(chunk.features[self.config], np.uint8)))

    def arrays(self) -> dict[str, np.ndarray]:
        """Row numbers and bits."""
        rows, bits = zip(*self._chunks, strict=True) if self._chunks else ([self.rows], [self.bits])
        return {"rows": np.concatenate(rows), "bits": np.concatenate(bits)}

    def load(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Take back what `arrays` gave."""
        self.rows, self.bits = arrays["rows"], arrays["bits"]


def nearest(
    sample: RandomItems, training: BitVectors, items: Iterable[Item], most: int = NEIGHBOURS
) -> list[tuple[Item, Item, float]]:
    """The first items of a sample, the training item nearest to each, and the share of bits that both have.

    Args:
        sample: drawn with the feature of `training`.
        training: the bits of the training set.
        items: the training set itself, in the order of its rows.
        most: items of the sample.
    """
    if not len(training.rows):
        return []
    found = [_nearest(np.asarray(bits, np.uint8), training.bits) for bits in sample.features[training.config][:most]]
    rows = [int(training.rows[place]) for place, _ in found]
    wanted = set(rows)
    others = {row: item for row, item in enumerate(items) if row in wanted}
    return [
        (item, others[row], similarity) for item, row, (_, similarity) in zip(sample.items, rows, found, strict=False)
    ]


def _nearest(one: np.ndarray, others: np.ndarray) -> tuple[int, float]:
    """The place of the most similar bits, the first of several, and the similarity; `others` has a row."""
    found = np.concatenate([shared_bits(one, others[first : first + _ROWS]) for first in range(0, len(others), _ROWS)])
    place = int(found.argmax())
    return place, float(found[place])


def shared_bits(one: np.ndarray, others: np.ndarray) -> np.ndarray:
    """The Jaccard index: bits that two items share, of those that either has; 1 where neither has any.

    Args:
        one: uint8 (B,).
        others: uint8 (M, B).

    Returns:
        float64 (M,).
    """
    if not len(one) % 8:  # a word at a time
        one, others = np.ascontiguousarray(one).view(np.uint64), np.ascontiguousarray(others).view(np.uint64)
    shared = np.bitwise_count(one & others).sum(axis=1, dtype=np.int64)
    either = np.bitwise_count(one | others).sum(axis=1, dtype=np.int64)
    return np.where(either, shared / np.maximum(either, 1), 1.0)
