"""Shares of rows that are valid, distinct, and not among the training items, by the domain's own equality.

Items are compared by 64-bit hashes of their keys, 8 bytes each. The chance that any two of n distinct
keys share a hash is below n^2 / 2^65: one in nine million for two million keys.

Letters in shapes: R rows of a chunk, V valid ones among them, N hashes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from molgen.evaluation.intervals import GroupedMean
from molgen.metric import Against, Better, Chunk, Estimate, Metric, PublishedStatistics, Summary, groups_of


def hashed(keys: Iterable[str]) -> np.ndarray:
    """The 64-bit hash (BLAKE2b) of each key, uint64 (N,)."""
    digests = (hashlib.blake2b(key.encode(errors="surrogatepass"), digest_size=8).digest() for key in keys)
    return np.frombuffer(b"".join(digests), "<u8").astype(np.uint64)


def contained(hashes: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Whether each hash (N,) is among the known ones, which are in ascending order; bool (N,)."""
    if not len(known):
        return np.zeros(len(hashes), bool)
    return known[np.minimum(np.searchsorted(known, hashes), len(known) - 1)] == hashes


class Seen:
    """Hashes that were there before."""

    def __init__(self) -> None:
        self._known = np.empty(0, np.uint64)

    def first(self, hashes: np.ndarray) -> np.ndarray:
        """Take in hashes (N,) and say which of them are there for the first time, bool (N,)."""
        distinct, places = np.unique(hashes, return_index=True)
        new = ~contained(distinct, self._known)
        self._known = np.insert(self._known, np.searchsorted(self._known, distinct[new]), distinct[new])
        first = np.zeros(len(hashes), bool)
        first[places[new]] = True
        return first


# --- settings -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Protocol:
    """Settings of every metric here.

    Attributes:
        enough: rows that the protocol asks for; fewer give a warning.
    """

    enough: int = 0


@dataclass(frozen=True)
class Equality(Protocol):
    """Settings of a metric that tells items apart.

    Attributes:
        by: the name of a feature, a string: items of the same value are equal. GuacaMol compares
            molecules without their stereochemistry, for example. By default the domain's key decides.
    """

    by: str = ""


@dataclass(frozen=True)
class UniquenessConfig(Equality):
    """Settings of `Uniqueness`.

    Attributes:
        first: how many of the first valid rows count; 0 stands for all.
    """

    first: int = 0


@dataclass(frozen=True)
class TrainingConfig(Equality):
    """Settings of a metric that compares with the training items.

    Attributes:
        as_stored: compare canonical items with the training items as they are written, which is the
            letter of the MOSES code. Where those are not in today's canonical form, known items then
            count as new. By default both sides are brought into canonical form.
    """

    as_stored: bool = False

    def __post_init__(self) -> None:
        if self.as_stored and self.by:
            raise ValueError("as_stored compares items as they are written, so it cannot go with by")


def _keys(chunk: Chunk, config: Equality) -> np.ndarray:
    return hashed(chunk.features[config.by] if config.by else chunk.keys)


# --- the training items ---------------------------------------------------------------------------


class Keys(Summary):
    """The hashes of the items of a set, in the form in which `TrainingConfig` compares them."""

    def __init__(self, config: Any = None) -> None:
        super().__init__(config if config is not None else TrainingConfig())
        self._chunks: list[np.ndarray] = [np.empty(0, np.uint64)]

    @classmethod
    def name(cls, config: Any) -> str:
        """One for each form."""
        return "keys-as-stored" if config.as_stored else f"keys-{config.by}" if config.by else "keys"

    @classmethod
    def needed(cls, config: Any) -> tuple[str, ...]:
        """The feature that tells items apart, if one does."""
        return (config.by,) if config.by else ()

    def add(self, chunk: Chunk) -> None:
        """Take in some rows."""
        stored = self.config.as_stored
        self._chunks.append(hashed(map(str, chunk.raw)) if stored else _keys(chunk, self.config))

    def include_published(self, published: PublishedStatistics) -> bool:
        """Take in the keys, where it is those that tell items apart."""
        if published.keys is None or self.config.by or self.config.as_stored:
            return False
        self._chunks.append(hashed(published.keys()))
        return True

    @property
    def hashes(self) -> np.ndarray:
        """The distinct ones in ascending order, uint64 (N,)."""
        return np.unique(np.concatenate(self._chunks))

    def arrays(self) -> dict[str, np.ndarray]:
        """The hashes."""
        return {"hashes": self.hashes}

    def load(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Take back what `arrays` gave."""
        self._chunks = [arrays["hashes"]]


# --- metrics --------------------------------------------------------------------------------------


class Proportion(Metric):
    """The share of rows of which something is true."""

    Config: ClassVar[type] = Equality
    better: ClassVar[Better] = Better.HIGHER
    #: why there is no share where there are no rows of the kind it is of.
    nothing: ClassVar[str] = "no valid item"

    def __init__(self, config: Any = None, reference: Any = None, training: Any = None) -> None:
        super().__init__(config, reference, training)
        self.share = GroupedMean((0.0, 1.0))

    @classmethod
    def needed(cls, config: Any) -> tuple[str, ...]:
        """The feature that tells items apart, if one does."""
        return (config.by,) if config.by else ()

    def estimate(self, rng: np.random.Generator) -> Estimate:
        """The share so far."""
        return self.share.estimate(rng, self.nothing)


class TrainingProportion(Proportion):
    """A share that depends on which items are among the training items."""

    Config: ClassVar[type] = TrainingConfig
    against: ClassVar[Against] = Against.TRAINING
    training: ClassVar[type[Summary] | None] = Keys

    def __init__(self, config: Any = None, reference: Any = None, training: Any = None) -> None:
        super().__init__(config, reference, training)
        self._known: np.ndarray = training.hashes

    def known(self, chunk: Chunk, hashes: np.ndarray) -> np.ndarray:
        """Whether each valid row, whose hashes (V,) are given, is a training item; bool (V,)."""
        return contained(hashed(map(str, chunk.items)) if self.config.as_stored else hashes, self._known)

    def estimate(self, rng: np.random.Generator) -> Estimate:
        """The share so far; a note says where it is not of canonical forms alone."""
        note = "training items compared as they are written" if self.config.as_stored else ""
        return self.share.estimate(rng, self.nothing, note)


class Validity(Proportion):
    """The share of all rows that are items."""

    Config: ClassVar[type] = Protocol
    nothing: ClassVar[str] = "no rows"

    @classmethod
    def needed(cls, config: Any) -> tuple[str, ...]:
        """None."""
        return ()

    def add(self, chunk: Chunk) -> None:
        """Take in some rows."""
        self.share.add(_all_groups(chunk), chunk.valid)


class Uniqueness(Proportion):
    """The share of distinct items among the first k valid rows (Unique@k of MOSES), or among all valid rows.

    A row counts where it is the first of its kind, so that drawing groups again repeats no item.
    """

    Config: ClassVar[type] = UniquenessConfig

    def __init__(self, config: Any = None, reference: Any = None, training: Any = None) -> None:
        super().__init__(config, reference, training)
        self._seen = Seen()

    def add(self, chunk: Chunk) -> None:
        """Take in some rows, as many as still count."""
        first = self.config.first
        room = max(0, first - self.share.count) if first else None
        if room != 0:
            hashes = _keys(chunk, self.config)[:room]
            self.share.add(chunk.groups[:room], self._seen.first(hashes))

    def estimate(self, rng: np.random.Generator) -> Estimate:
        """The share among those rows that there are; a note says where they are fewer than asked for."""
        count, first = self.share.count, self.config.first
        note = f"of {count:,} valid rows; there are no {first:,}" if count < first else ""
        return self.share.estimate(rng, self.nothing, note)


class Novelty(TrainingProportion):
    """The share of the distinct valid items that are not among the training items."""

    def __init__(self, config: Any = None, reference: Any = None, training: Any = None) -> None:
        super().__init__(config, reference, training)
        self._seen = Seen()

    def add(self, chunk: Chunk) -> None:
        """Take in some rows."""
        hashes = _keys(chunk, self.config)
        first = self._seen.first(hashes)
        self.share.add(chunk.groups[first], ~self.known(chunk, hashes)[first])


class ValidUnique(Proportion):
    """The share of all rows that are valid and the first of their kind: V.U. of the graph papers."""

    nothing: ClassVar[str] = "no rows"

    def __init__(self, config: Any = None, reference: Any = None, training: Any = None) -> None:
        super().__init__(config, reference, training)
        self._seen = Seen()

    def add(self, chunk: Chunk) -> None:
        """Take in some rows."""
        _add_to_all(self.share, chunk, self._seen.first(_keys(chunk, self.config)))


class ValidUniqueNovel(TrainingProportion):
    """The share of all rows that are valid, the first of their kind and not among the training items: V.U.N."""

    nothing: ClassVar[str] = "no rows"

    def __init__(self, config: Any = None, reference: Any = None, training: Any = None) -> None:
        super().__init__(config, reference, training)
        self._seen = Seen()

    def add(self, chunk: Chunk) -> None:
        """Take in some rows."""
        hashes = _keys(chunk, self.config)
        _add_to_all(self.share, chunk, self._seen.first(hashes) & ~self.known(chunk, hashes))


class Copies(TrainingProportion):
    """The share of valid rows that are exact copies of training items, repeats included."""

    better: ClassVar[Better] = Better.LOWER

    def add(self, chunk: Chunk) -> None:
        """Take in some rows."""
        self.share.add(chunk.groups, self.known(chunk, _keys(chunk, self.config)))


def _all_groups(chunk: Chunk) -> np.ndarray:
    return groups_of(chunk.first + np.arange(len(chunk.valid)))


def _add_to_all(share: GroupedMean, chunk: Chunk, good: np.ndarray) -> None:
    """Count all rows of a chunk, of which those are good that are valid and good (V,)."""
    numbers = np.zeros(len(chunk.valid), bool)
    numbers[chunk.valid] = good
    share.add(_all_groups(chunk), numbers)
