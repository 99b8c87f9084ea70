"""The scores of GuacaMol that compare distributions (Brown et al., J. Chem. Inf. Model. 59(3), 2019).

Both compare 10,000 molecules with 10,000 of the training set. Molecules are told apart as GuacaMol does,
without their stereochemistry.

Letters in shapes: N molecules, B bytes of a fingerprint, G groups of items, P points.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, NamedTuple

import numpy as np
from rdkit import DataStructs
from scipy.stats import entropy

from molgen.evaluation.intervals import jackknife_error, normal_interval
from molgen.metric import GROUPS, Against, Better, Chunk, Estimate, Metric, Summary, undefined
from molgen.metrics.frechet import FrechetDistance, Moments
from molgen.metrics.identity import Seen, hashed
from molgen.metrics.sample import feature_vectors

#: What is compared, in order; the numbers of the continuous ones, which are estimated by kernels.
NAMES = (
    *("BertzCT", "MolLogP", "MolWt", "TPSA", "NumHAcceptors", "NumHDonors", "NumRotatableBonds"),
    *("NumAliphaticRings", "NumAromaticRings", "internal similarity"),
)
_CONTINUOUS = (0, 1, 2, 3, 9)
#: Points at which continuous densities are compared, bins of discrete ones, what is added to either.
_POINTS, _BINS, _FLOOR = 1000, 10, 1e-10
#: Values whose kernels are evaluated together.
_BLOCK = 1000
#: The draws that choose among the rows of a larger reference.
_SEED = 42


class RandomRows:
    """A random choice among the rows of a set, whatever the portions that they come in.

    Attributes:
        columns: what is kept of the rows chosen, in the order of the rows.
    """

    def __init__(self, size: int) -> None:
        self._size, self._rng = size, np.random.default_rng(_SEED)
        self._draws = np.empty(0)
        self.columns: dict[str, np.ndarray] = {}

    def add(self, valid: np.ndarray, columns: Mapping[str, np.ndarray]) -> None:
        """Take in rows, of which those that are valid, bool (R,), have columns (V, ...)."""
        draws = self._rng.random(len(valid))[valid]
        limit = self._draws.max() if len(self._draws) == self._size else math.inf
        new = draws < limit
        draws = np.concatenate([self._draws, draws[new]])
        chosen = np.sort(np.argsort(draws)[: self._size])
        self._draws = draws[chosen]
        for name, values in columns.items():
            known = self.columns.get(name, values[:0])
            self.columns[name] = np.concatenate([known, values[new]])[chosen]


@dataclass(frozen=True)
class KLConfig:
    """Settings of `KLScore`.

    Attributes:
        size: how many distinct molecules are compared: the first ones of the items, random rows of the reference.
    """

    size: int = 10_000


class KLReference(Summary):
    """What `KLScore` compares with: random rows of a set, each molecule once.

    Attributes:
        numbers: the nine descriptors and the internal similarity, float64 (N, 10).
    """

    def __init__(self, config: Any = None) -> None:
        super().__init__(config if config is not None else KLConfig())
        self._rows = RandomRows(self.config.size)
        self.numbers = np.empty((0, len(NAMES)))

    @classmethod
    def name(cls, config: Any) -> str:
        """One for each size."""
        return f"guacamol-{config.size}"

    @classmethod
    def needed(cls, config: Any) -> tuple[str, ...]:
        """Those of the score."""
        return KLScore.needs

    def add(self, chunk: Chunk) -> None:
        """Take in some rows."""
        self._rows.add(chunk.valid, _columns(chunk) if len(chunk.items) else {})

    def arrays(self) -> dict[str, np.ndarray]:
        """The numbers."""
        if self._rows.columns:
            columns = self._rows.columns
            first = Seen().first(columns["hashes"]) & np.isfinite(columns["descriptors"]).all(1)
            similarity = internal_similarity(columns["fingerprints"][first])
            self.numbers = np.column_stack([columns["descriptors"][first], similarity])
        return {"numbers": self.numbers}

    def load(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Take back what `arrays` gave."""
        self.numbers = arrays["numbers"]


class KLScore(Metric):
    """GuacaMol's KL score: the mean of exp(-KL) over nine descriptors and the internal similarity, 0 to 1.

    KL is that of the reference from the items. Densities of BertzCT, logP, weight, TPSA and of the similarity
    to the most similar other molecule of the set are estimated by Gaussian kernels of Scott's width and
    compared at 1,000 points between the extremes of both sets; those of the five counts by 10 bins over the
    range of the reference. 1e-10 is added to every density. The first `size` distinct valid molecules count.

    In the interval, the widths of the kernels and the similarities stay those of the whole set.
    """

    Config: ClassVar[type] = KLConfig
    needs: ClassVar[tuple[str, ...]] = ("flat", "guacamol", "guacamol_fingerprint")
    against: ClassVar[Against] = Against.REFERENCE
    reference: ClassVar[type[Summary] | None] = KLReference
    better: ClassVar[Better] = Better.HIGHER
    enough: ClassVar[int] = 10_000

    def __init__(self, config: Any = None, reference: Any = None, training: Any = None) -> None:
        super().__init__(config, reference, training)
        self._reference: np.ndarray = reference.numbers
        self._seen, self._count = Seen(), 0
        self._descriptors, self._groups = [np.empty((0, len(NAMES) - 1))], [np.empty(0, np.int64)]
        self._fingerprints: list[np.ndarray] = []

    def add(self, chunk: Chunk) -> None:
        """Take in some rows, as many as still count."""
        room = self.config.size - self._count
        if not room or not len(chunk.items):
            return
        columns = _columns(chunk)
        first = self._seen.first(columns["hashes"]) & np.isfinite(columns["descriptors"]).all(1)
        places = np.flatnonzero(first)[:room]
        self._descriptors.append(columns["descriptors"][places])
        self._fingerprints.append(columns["fingerprints"][places])
        self._groups.append(chunk.groups[places])
        self._count += len(places)

    def estimate(self, rng: np.random.Generator) -> Estimate:
        """The score, of which a jackknife over groups gives the interval; undefined where a density is."""
        if min(self._count, len(self._reference)) < 2:
            side = "valid items" if self._count < 2 else "molecules in the reference"
            return undefined(f"fewer than 2 distinct {side}", self._count)
        similarity = internal_similarity(np.concatenate(self._fingerprints))
        numbers = np.column_stack([np.concatenate(self._descriptors), similarity])
        for place in _CONTINUOUS:
            for values in (numbers[:, place], self._reference[:, place]):
                if values.min() == values.max():
                    return undefined(f"all values of {NAMES[place]} are equal", self._count)
        groups = np.concatenate(self._groups)
        densities = [self._densities(place, numbers[:, place], groups) for place in range(len(NAMES))]
        value = _score(densities, np.ones(GROUPS))
        if not math.isfinite(value):
            return undefined("no item is within the range of the reference", self._count)
        error = jackknife_error(lambda group: _score(densities, np.arange(GROUPS) != group), np.unique(groups).tolist())
        return normal_interval(value, error, self._count, (0.0, 1.0))

    def _densities(self, place: int, values: np.ndarray, groups: np.ndarray) -> Densities:
        return (_kernels if place in _CONTINUOUS else _bins)(self._reference[:, place], values, groups)


class Densities(NamedTuple):
    """Densities of a number in both sets.

    Attributes:
        expected: of the reference, float64 (P,).
        masses: of each group of items, times its weight, float64 (G, P).
        weights: of the groups, float64 (G,).
    """

    expected: np.ndarray
    masses: np.ndarray
    weights: np.ndarray


def _score(densities: list[Densities], kept: np.ndarray) -> float:
    """The mean of exp(-KL), where each group counts as often as `kept` (G,) says; NaN where a density has no mass."""
    parts = []
    for expected, masses, weights in densities:
        weight = kept @ weights
        found = kept @ masses / weight if weight else np.full(len(expected), math.nan)
        parts.append(math.exp(-float(entropy(expected + _FLOOR, found + _FLOOR))))
    return sum(parts) / len(parts)


def _kernels(reference: np.ndarray, values: np.ndarray, groups: np.ndarray) -> Densities:
    points = np.linspace(min(reference.min(), values.min()), max(reference.max(), values.max()), _POINTS)
    expected = _kernel_sums(reference, points, _width(reference)) / len(reference)
    width = _width(values)
    masses = np.stack([_kernel_sums(values[groups == group], points, width) for group in range(GROUPS)])
    return Densities(expected, masses, np.bincount(groups, minlength=GROUPS).astype(float))


def _width(values: np.ndarray) -> float:
    """Scott's rule in one dimension (Scott, Multivariate Density Estimation, 1992)."""
    return float(values.std(ddof=1)) * len(values) ** -0.2


def _kernel_sums(values: np.ndarray, points: np.ndarray, width: float) -> np.ndarray:
    """The sum of the normal densities about values (N,) at points (P,)."""
    found = np.zeros(len(points))
    for start in range(0, len(values), _BLOCK):
        block = values[start : start + _BLOCK, None]
        found += np.exp(-0.5 * ((points - block) / width) ** 2).sum(0)
    return found / (width * math.sqrt(2 * math.pi))


def _bins(reference: np.ndarray, values: np.ndarray, groups: np.ndarray) -> Densities:
    expected, edges = np.histogram(reference, _BINS, density=True)
    counts = np.stack([np.histogram(values[groups == group], edges)[0] for group in range(GROUPS)])
    return Densities(expected, counts / np.diff(edges), counts.sum(1).astype(float))


def _columns(chunk: Chunk) -> dict[str, np.ndarray]:
    return {
        "hashes": hashed(chunk.features["flat"]),
        "descriptors": np.asarray(chunk.features["guacamol"], float),
        "fingerprints": np.asarray(chunk.features["guacamol_fingerprint"], np.uint8),
    }


def internal_similarity(fingerprints: np.ndarray) -> np.ndarray:
    """The largest Tanimoto similarity of each fingerprint to any other, 0 where there is none; float64 (N,).

    Args:
        fingerprints: packed little-endian, uint8 (N, B).
    """
    vectors = [DataStructs.CreateFromBinaryText(row.tobytes()) for row in fingerprints]
    best = np.zeros(len(vectors))
    for number in range(1, len(vectors)):
        found = np.array(DataStructs.BulkTanimotoSimilarity(vectors[number], vectors[:number]))
        best[number] = found.max()
        np.maximum(best[:number], found, out=best[:number])
    return best


# --- the Fréchet ChemNet distance -----------------------------------------------------------------


@dataclass(frozen=True)
class FCDConfig:
    """Settings of `FCDScore`.

    Attributes:
        feature: the name of the domain's feature, an array of a fixed shape for each item.
        size: how many molecules are compared: the first valid ones of the items, random rows of the reference.
    """

    feature: str = "chemnet"
    size: int = 10_000


class RandomMoments(Moments):
    """The moments of a feature of random rows of a set."""

    def __init__(self, config: Any = None) -> None:
        super().__init__(config if config is not None else FCDConfig())
        self._rows = RandomRows(self.config.size)

    @classmethod
    def name(cls, config: Any) -> str:
        """One for each feature and size."""
        return f"{super().name(config)}-{config.size}"

    def add(self, chunk: Chunk) -> None:
        """Take in some rows."""
        features = {"features": feature_vectors(chunk, self.config.feature)} if len(chunk.items) else {}
        self._rows.add(chunk.valid, features)

    def arrays(self) -> dict[str, np.ndarray]:
        """The count, the mean and the scatter."""
        if self._rows.columns and not self.count:
            self.include(self._rows.columns["features"])
        return super().arrays()


class FCDScore(Metric):
    """GuacaMol's FCD score: exp(-0.2 d), with d the Fréchet ChemNet distance of the first `size` valid molecules.

    Repeats count. It is nearer to 1 for more items, so compare scores of 10,000 only; see `FrechetDistance`.
    """

    Config: ClassVar[type] = FCDConfig
    against: ClassVar[Against] = Against.REFERENCE
    reference: ClassVar[type[Summary] | None] = RandomMoments
    better: ClassVar[Better] = Better.HIGHER
    enough: ClassVar[int] = 10_000

    def __init__(self, config: Any = None, reference: Any = None, training: Any = None) -> None:
        super().__init__(config, reference, training)
        self._distance = FrechetDistance(self.config, reference)
        self._count = 0

    @classmethod
    def needed(cls, config: Any) -> tuple[str, ...]:
        """The feature."""
        return (config.feature,)

    def add(self, chunk: Chunk) -> None:
        """Take in some rows, as many as still count.

        Raises:
            MolgenError: see `FrechetDistance.add`.
        """
        places = range(min(len(chunk.items), self.config.size - self._count))
        if len(places):
            self._distance.add(chunk.take(places))
            self._count += len(places)

    def estimate(self, rng: np.random.Generator) -> Estimate:
        """The score; undefined where the distance is."""
        found = self._distance.estimate(rng)
        value, low, high = (math.exp(-0.2 * distance) for distance in (found.value, found.high, found.low))
        return replace(found, value=value, low=low, high=high)
