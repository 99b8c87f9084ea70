"""Whether the conformers of a set cover those of a reference, molecule by molecule (Ganea et al., NeurIPS 2021).

Both sets have several conformers of the same molecules; a molecule that one of them lacks does not count. The distance
of two conformers is the root mean square deviation of their heavy atoms after the best alignment, over all ways to map
the molecule onto itself.

Letters in shapes: M conformers, N atoms of all of them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np

from molgen.evaluation.intervals import GroupedMean
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
from molgen.metrics.identity import hashed

#: Mappings of a molecule onto itself that are tried.
_MAPPINGS = 10_000


@dataclass(frozen=True)
class ConformerConfig:
    """Settings of a metric of conformers.

    Attributes:
        of: recall asks how well each conformer of the reference is met, precision how well each of the set is.
        within: the distance in ångström up to which one is covered: 1.25 is usual of drug-like molecules, 0.5 of QM9.
        enough: rows that the protocol asks for; fewer give a warning.
    """

    of: Literal["recall", "precision"] = "recall"
    within: float = 0.5
    enough: int = 0

    def __post_init__(self) -> None:
        if not self.within > 0:
            raise ValueError(f"within must be a positive distance in ångström, not {self.within}")


class Conformers(Summary):
    """All conformers of a set: their SMILES, elements, positions and bonds."""

    reads_items: ClassVar[bool] = True

    def __init__(self, config: Any = None) -> None:
        super().__init__(config)
        self.by_key: dict[str, list[Any]] = {}

    def add(self, chunk: Chunk) -> None:
        """Take in some rows; those without positions do not count."""
        for key, item in zip(chunk.keys, chunk.items, strict=True):
            if hasattr(item, "positions"):
                self.by_key.setdefault(key, []).append(item)

    def include_published(self, published: PublishedStatistics) -> bool:
        """No published set has conformers."""
        return False

    def arrays(self) -> dict[str, np.ndarray]:
        """Everything, one conformer behind the other."""
        all_of_them = [one for some in self.by_key.values() for one in some]
        return {
            "smiles": pack_strings([str(one) for one in all_of_them]),
            "sizes": np.array([len(one.elements) for one in all_of_them], np.int64),
            "elements": np.concatenate([np.zeros(0, np.uint8), *(one.elements for one in all_of_them)]),
            "positions": np.concatenate([np.zeros((0, 3)), *(one.positions for one in all_of_them)]),
            "charges": np.concatenate([np.zeros(0, np.int8), *(one.charges for one in all_of_them)]),
            "bonds": np.concatenate([np.zeros(0, np.uint8), *(one.bonds.ravel() for one in all_of_them)]),
        }

    def load(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Take back what `arrays` gave."""
        from molgen_plugins.molecules.geometry.conformer import Conformer

        sizes = arrays["sizes"]
        cuts, squares = np.cumsum(sizes)[:-1], np.cumsum(sizes**2)[:-1]
        parts = (np.split(arrays[name], cuts) for name in ("elements", "positions", "charges"))
        rows = zip(
            unpack_strings(arrays["smiles"]), *parts, np.split(arrays["bonds"], squares), sizes.tolist(), strict=True
        )
        for smiles, elements, positions, charges, bonds, size in rows if len(sizes) else ():
            found = Conformer(smiles, elements, positions, charges, bonds.reshape(size, size))
            self.by_key.setdefault(smiles, []).append(found)


class ConformerMetric(Metric):
    """The nearest conformer of the other side, for each of one side; molecules are the groups of the interval."""

    Config: ClassVar[type] = ConformerConfig
    against: ClassVar[Against] = Against.REFERENCE
    reference: ClassVar[type[Summary] | None] = Conformers

    def __init__(self, config: Any = None, reference: Any = None, training: Any = None) -> None:
        super().__init__(config, reference, training)
        self._reference: dict[str, list[Any]] = reference.by_key
        self._own = Conformers()

    def add(self, chunk: Chunk) -> None:
        """Take in some rows."""
        self._own.add(chunk)

    def nearest(self) -> tuple[np.ndarray, np.ndarray]:
        """The mean of a value over the conformers of each shared molecule, float64 (M,), and its group, int64 (M,)."""
        shared = [key for key in self._reference if key in self._own.by_key]
        values = [self._of_molecule(self._own.by_key[key], self._reference[key]) for key in shared]
        return np.array(values, float), (hashed(shared) % np.uint64(GROUPS)).astype(np.int64)

    def _of_molecule(self, own: Sequence[Any], reference: Sequence[Any]) -> float:
        sides = (reference, own) if self.config.of == "recall" else (own, reference)
        first, others = ([heavy(one) for one in side] for side in sides)
        return float(np.mean([self.value(min(distance(one, other) for other in others)) for one in first]))

    def value(self, distance: float) -> float:
        """What the distance to the nearest conformer counts."""
        return distance

    def estimate(self, rng: np.random.Generator) -> Estimate:
        """The mean over molecules."""
        if not self._reference:
            return undefined("no positions in the reference")
        values, groups = self.nearest()
        share = GroupedMean(self.bounds)
        share.add(groups, values)
        note = f"{len(self._reference) - len(values):,} molecules of the reference have no conformer here"
        lacking = len(values) < len(self._reference)
        return share.estimate(rng, "no molecule of the reference has a conformer here", note if lacking else "")

    #: the smallest and the largest value of a molecule.
    bounds: ClassVar[tuple[float, float]] = (0.0, math.inf)


class ConformerCoverage(ConformerMetric):
    """The share of conformers with one of the other side within a distance, averaged over molecules: COV."""

    better: ClassVar[Better] = Better.HIGHER
    bounds: ClassVar[tuple[float, float]] = (0.0, 1.0)

    def value(self, distance: float) -> float:
        """Whether it is within."""
        return float(distance <= self.config.within)


class ConformerMatching(ConformerMetric):
    """The distance in ångström to the nearest conformer of the other side, averaged over molecules: MAT."""

    better: ClassVar[Better] = Better.LOWER


def heavy(conformer: Any) -> Any:
    """The molecule of RDKit without hydrogens; the last one stays, of hydrogen alone."""
    from rdkit import Chem

    from molgen_plugins.molecules.geometry.standard import molecule_of

    molecule = molecule_of(conformer)
    Chem.SanitizeMol(molecule)
    return Chem.RemoveAllHs(molecule) if (conformer.elements > 1).any() else molecule


def distance(probe: Any, reference: Any) -> float:
    """The root mean square deviation in ångström; the probe is moved."""
    from rdkit.Chem import rdMolAlign

    return float(rdMolAlign.GetBestRMS(probe, reference, maxMatches=_MAPPINGS))
