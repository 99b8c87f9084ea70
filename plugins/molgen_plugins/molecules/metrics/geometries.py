"""How near the lengths, angles and torsions of molecules are to those of a reference, and how strained they are.

Letters in shapes: K kinds of bonds, H cells of a histogram, G groups, M molecules.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np

from molgen.evaluation.intervals import GroupedMean, jackknife_error, normal_interval, with_interval
from molgen.metric import GROUPS, Against, Better, Chunk, Estimate, Metric, PublishedStatistics, Summary, undefined

#: The first and the last value of each measure, and the cells between: hundredths of ångström, and degrees.
RANGES: Mapping[str, tuple[float, float, int]] = {
    "bond_lengths": (0.5, 3.5, 600),
    "bond_angles": (0.0, 180.0, 180),
    "dihedrals": (0.0, 180.0, 90),
}


@dataclass(frozen=True)
class MeasureConfig:
    """Settings of `GeometryDistance`.

    Attributes:
        measure: what is compared: bond lengths in ångström, bond angles or torsion angles in degrees.
    """

    measure: Literal["bond_lengths", "bond_angles", "dihedrals"] = "bond_lengths"


class Histograms:
    """How often each kind has values in each cell, for each group.

    Values beyond the range are in its first or last cell.
    """

    def __init__(self, measure: str, groups: int) -> None:
        self._low, self._high, self._cells = RANGES[measure]
        self._groups = groups
        self.counts: dict[int, np.ndarray] = {}

    @property
    def width(self) -> float:
        """Of a cell, in the unit of the measure."""
        return (self._high - self._low) / self._cells

    def add(self, group: int, kinds: np.ndarray, values: np.ndarray) -> None:
        """Take in the values of a molecule."""
        cells = np.clip((values - self._low) / self.width, 0, self._cells - 1).astype(np.int64)
        for kind, cell in zip(kinds.tolist(), cells.tolist(), strict=True):
            if kind not in self.counts:
                self.counts[kind] = np.zeros((self._groups, self._cells), np.int64)
            self.counts[kind][group, cell] += 1


class Measures(Summary):
    """The histograms of a measure in a set, int64 (K, H), and their kinds, int64 (K,)."""

    reads_items: ClassVar[bool] = False

    def __init__(self, config: Any = None) -> None:
        super().__init__(config if config is not None else MeasureConfig())
        self.histograms = Histograms(self.config.measure, 1)

    @classmethod
    def name(cls, config: Any) -> str:
        """One for each measure."""
        return f"histograms-{config.measure}"

    @classmethod
    def needed(cls, config: Any) -> tuple[str, ...]:
        """The measure."""
        return (config.measure,)

    def add(self, chunk: Chunk) -> None:
        """Take in some rows."""
        for kinds, values in chunk.features[self.config.measure] if len(chunk.items) else ():
            self.histograms.add(0, kinds, values)

    def include_published(self, published: PublishedStatistics) -> bool:
        """No published set says anything of geometries."""
        return False

    def arrays(self) -> dict[str, np.ndarray]:
        """The kinds and their histograms."""
        found = self.histograms.counts
        cells = np.stack([counts[0] for counts in found.values()]) if found else np.zeros((0, 0), np.int64)
        return {"kinds": np.array(list(found), np.int64), "counts": cells}

    def load(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Take back what `arrays` gave."""
        rows = zip(arrays["kinds"].tolist(), arrays["counts"], strict=True)
        self.histograms.counts = {kind: counts[None] for kind, counts in rows}


class GeometryDistance(Metric):
    """The Wasserstein-1 distance of lengths, angles or torsions from those of the reference, averaged over their kinds.

    A kind is the elements of a bond with its order, or of an angle, and counts as often as the reference has it. Kinds
    that the items lack do not count; a note says how much of the reference they are. Values fall into cells of 0.005 Å,
    1° and 2°, so distances below that mean nothing.
    """

    Config: ClassVar[type] = MeasureConfig
    against: ClassVar[Against] = Against.REFERENCE
    reference: ClassVar[type[Summary] | None] = Measures
    better: ClassVar[Better] = Better.LOWER
    enough: ClassVar[int] = 1000

    def __init__(self, config: Any = None, reference: Any = None, training: Any = None) -> None:
        super().__init__(config, reference, training)
        self._expected: dict[int, np.ndarray] = {
            kind: counts[0] for kind, counts in reference.histograms.counts.items()
        }
        self._found = Histograms(self.config.measure, GROUPS)
        self._molecules = 0

    @classmethod
    def needed(cls, config: Any) -> tuple[str, ...]:
        """The measure."""
        return (config.measure,)

    def add(self, chunk: Chunk) -> None:
        """Take in some rows."""
        found = chunk.features[self.config.measure] if len(chunk.items) else ()
        for group, (kinds, values) in zip(chunk.groups.tolist(), found, strict=True):
            self._found.add(group, kinds, values)
            self._molecules += bool(len(kinds))

    def estimate(self, rng: np.random.Generator) -> Estimate:
        """The distance, of which a jackknife over groups gives the interval; undefined where a side is empty."""
        if not self._expected or not self._found.counts:
            return undefined("no positions in the reference" if not self._expected else "no valid item with positions")
        shared = [kind for kind in self._expected if kind in self._found.counts]
        weights = np.array([self._expected[kind].sum() for kind in shared], float)
        if not shared:
            return undefined("it has no kind of bond that the reference has", self._molecules)
        expected = np.stack([_below(self._expected[kind]) for kind in shared])
        counts = np.stack([self._found.counts[kind] for kind in shared])
        missing = 1 - weights.sum() / sum(one.sum() for one in self._expected.values())
        total = counts.sum(1)

        def without(group: int) -> float:
            return self._distance(total - counts[:, group], expected, weights)

        groups = np.flatnonzero(counts.sum((0, 2))).tolist()
        note = f"kinds that are {missing:.1%} of the reference are not among the items" if missing > 0.0005 else ""
        value = self._distance(total, expected, weights)
        return normal_interval(value, jackknife_error(without, groups), self._molecules, (0.0, math.inf), note)

    def _distance(self, counts: np.ndarray, expected: np.ndarray, weights: np.ndarray) -> float:
        there = counts.sum(1) > 0
        if not there.any():
            return math.nan
        areas = np.abs(_below(counts[there]) - expected[there]).sum(1) * self._found.width
        return float(areas @ weights[there] / weights[there].sum())


def _below(counts: np.ndarray) -> np.ndarray:
    """The distribution function at the upper ends of the cells, (..., H)."""
    return counts.cumsum(-1) / counts.sum(-1, keepdims=True)


class Strain(Metric):
    """The median energy, in kcal/mol, that MMFF94 releases on relaxing a valid molecule.

    Molecules without positions or parameters do not count; a note says how many they are. Relaxed geometries of
    density-functional theory have some as well, because the force field has its minimum elsewhere.
    """

    needs: ClassVar[tuple[str, ...]] = ("strain",)
    better: ClassVar[Better] = Better.LOWER

    def __init__(self, config: Any = None, reference: Any = None, training: Any = None) -> None:
        super().__init__(config, reference, training)
        self._values, self._groups, self._rows = [np.empty(0)], [np.empty(0, np.int64)], 0

    def add(self, chunk: Chunk) -> None:
        """Take in some rows."""
        values = np.asarray(chunk.features["strain"] if len(chunk.items) else [], float)
        kept = np.isfinite(values)
        self._values.append(values[kept])
        self._groups.append(chunk.groups[kept])
        self._rows += len(values)

    def estimate(self, rng: np.random.Generator) -> Estimate:
        """The median with its interval."""
        values, groups = np.concatenate(self._values), np.concatenate(self._groups)
        if not len(values):
            return undefined("no valid item with positions")
        order = np.argsort(values)
        values, groups = values[order], groups[order]

        def median(weights: np.ndarray) -> float:
            reached = np.cumsum(weights[groups])
            return float(values[np.searchsorted(reached, reached[-1] / 2)]) if reached[-1] else math.nan

        left_out = self._rows - len(values)
        note = f"{left_out:,} valid items without an energy are left out" if left_out else ""
        return with_interval(float(np.median(values)), median, rng, len(values), note=note)


class PoseBusters(Metric):
    """The share of valid molecules that pass all checks of PoseBusters: lengths, angles, clashes, planarity, energy.

    It needs the extra `posebusters`, and about a tenth of a second for each molecule.
    """

    needs: ClassVar[tuple[str, ...]] = ("posebusters",)
    better: ClassVar[Better] = Better.HIGHER

    def __init__(self, config: Any = None, reference: Any = None, training: Any = None) -> None:
        super().__init__(config, reference, training)
        from molgen_plugins.molecules.geometry.features import prepare

        prepare(self.needs)  # says here, where the other metrics go on, that it is not installed
        self._share = GroupedMean((0.0, 1.0))

    def add(self, chunk: Chunk) -> None:
        """Take in some rows."""
        self._share.add(chunk.groups, np.asarray(chunk.features["posebusters"] if len(chunk.items) else [], bool))

    def estimate(self, rng: np.random.Generator) -> Estimate:
        """The share."""
        return self._share.estimate(rng)
