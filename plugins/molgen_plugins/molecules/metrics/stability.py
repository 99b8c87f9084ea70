"""Shares of atoms and molecules in space with as many bonds as they should have, and the protocol of EDM.

There bonds follow from a table of lengths whatever the model said of them (Hoogeboom et al., ICML 2022): so validity,
uniqueness and novelty are other numbers than those of the molecules that the domain finds, and compare with published
ones. Novelty there compares with SMILES that were found in the same way from the geometries of the training set.

Letters in shapes: R rows of a chunk.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np

from molgen.evaluation.intervals import GroupedMean, spread, wilson
from molgen.metric import GROUPS, Better, Chunk, Estimate, Metric, PublishedStatistics, Summary, groups_of, undefined
from molgen.metrics.identity import Equality, Keys, Novelty, Protocol, TrainingConfig, Validity, ValidUnique

_NO_POSITIONS = "no row has positions"
#: What a row without atoms counts as: an unstable molecule of no atom.
_NO_ATOMS = ("", 0, 0)


@dataclass(frozen=True)
class StabilityConfig(Protocol):
    """Settings of a stability.

    Attributes:
        bonds: those of the table of lengths, as in the protocol of EDM; or the molecule's own with its charges, as a
            model of bonds gave them, as a file names them, or as they were found from the positions.
    """

    bonds: Literal["lengths", "own"] = "lengths"


class Stability(Metric):
    """What both stabilities count: rows, their stable atoms, and their atoms."""

    Config: ClassVar[type] = StabilityConfig
    better: ClassVar[Better] = Better.HIGHER

    def __init__(self, config: Any = None, reference: Any = None, training: Any = None) -> None:
        super().__init__(config, reference, training)
        self._any = False

    @classmethod
    def needed(cls, config: Any) -> tuple[str, ...]:
        """What the bonds make of the atoms."""
        return ("by_lengths",) if config.bonds == "lengths" else ("by_bonds",)

    def counted(self, chunk: Chunk) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The group, the stable atoms and the atoms of each row, int64 (R,)."""
        found = chunk.every[self.needed(self.config)[0]]
        self._any = self._any or any(value is not None for value in found)
        rows = [(0, 0) if value is None else tuple(value[-2:]) for value in found]
        stable, atoms = np.array(rows, np.int64).reshape(-1, 2).T
        return _groups(chunk), stable, atoms


class AtomStability(Stability):
    """The share of atoms, over all rows, that have as many bonds as their element has."""

    def __init__(self, config: Any = None, reference: Any = None, training: Any = None) -> None:
        super().__init__(config, reference, training)
        self._stable, self._atoms = np.zeros(GROUPS), np.zeros(GROUPS)

    def add(self, chunk: Chunk) -> None:
        """Take in some rows."""
        groups, stable, atoms = self.counted(chunk)
        self._stable += np.bincount(groups, stable, GROUPS)
        self._atoms += np.bincount(groups, atoms, GROUPS)

    def estimate(self, rng: np.random.Generator) -> Estimate:
        """The share; its interval counts atoms of one molecule as no more than they tell."""
        total = self._atoms.sum()
        if not total:
            return undefined(_NO_POSITIONS)
        value, deviation = self._share(np.ones(GROUPS)), spread(self._share, rng)
        trials = value * (1 - value) / deviation**2 if deviation > 1e-12 else total
        return Estimate(value, *wilson(value, trials or total), int(total))

    def _share(self, weights: np.ndarray) -> float:
        atoms = weights @ self._atoms
        return float(weights @ self._stable / atoms) if atoms else float("nan")


class MoleculeStability(Stability):
    """The share of rows all of whose atoms are stable; a row without atoms is not."""

    def __init__(self, config: Any = None, reference: Any = None, training: Any = None) -> None:
        super().__init__(config, reference, training)
        self._share = GroupedMean((0.0, 1.0))

    def add(self, chunk: Chunk) -> None:
        """Take in some rows."""
        groups, stable, atoms = self.counted(chunk)
        self._share.add(groups, (stable == atoms) & (atoms > 0))

    def estimate(self, rng: np.random.Generator) -> Estimate:
        """The share."""
        return self._share.estimate(rng, "no rows") if self._any else undefined(_NO_POSITIONS)


class ConnectedValidity(Validity):
    """The share of rows that are one whole molecule each: a geometry that falls into several parts is none."""

    def add(self, chunk: Chunk) -> None:
        """Take in some rows."""
        super().add(chunk.take([place for place, key in enumerate(chunk.keys) if "." not in key]))


# --- the protocol of EDM ----------------------------------------------------------------------------


def by_lengths(chunk: Chunk) -> Chunk:
    """The same rows, of which those are valid that the table of lengths makes a molecule, known by its SMILES."""
    found: Sequence[tuple[str, int, int]] = [value or _NO_ATOMS for value in chunk.every["by_lengths"]]
    keys = [smiles for smiles, _, _ in found if smiles]
    return Chunk(chunk.first, np.array([bool(smiles) for smiles, _, _ in found], bool), keys, keys)


class ByLengths(Metric):
    """A metric of rows as the table of lengths sees them; mixed in before a metric of items."""

    Config: ClassVar[type] = Protocol

    @classmethod
    def needed(cls, config: Any) -> tuple[str, ...]:
        """What lengths make of the atoms."""
        return ("by_lengths",)

    def add(self, chunk: Chunk) -> None:
        """Take in some rows."""
        super().add(by_lengths(chunk))  # type: ignore[safe-super]


class LengthValidity(ByLengths, Validity):
    """The share of rows where no atom has too many bonds by the table of lengths; those that lack some are valid."""


class LengthValidUnique(ByLengths, ValidUnique):
    """The share of all rows that are valid by the table of lengths and the first of their kind."""

    def __init__(self, config: Any = None, reference: Any = None, training: Any = None) -> None:
        super().__init__(Equality(), reference, training)


class LengthKeys(Keys):
    """The hashes of the molecules that the table of lengths makes of a set."""

    def __init__(self, config: Any = None) -> None:
        super().__init__(None)

    @classmethod
    def name(cls, config: Any) -> str:
        """One for all settings."""
        return "keys-by-lengths"

    @classmethod
    def needed(cls, config: Any) -> tuple[str, ...]:
        """What lengths make of the atoms."""
        return ("by_lengths",)

    def add(self, chunk: Chunk) -> None:
        """Take in some rows."""
        super().add(by_lengths(chunk))

    def include_published(self, published: PublishedStatistics) -> bool:
        """Published keys are of other strings."""
        return False


class LengthNovelty(ByLengths, Novelty):
    """The share of the distinct valid molecules, by the table of lengths, that no training geometry makes."""

    training: ClassVar[type[Summary] | None] = LengthKeys

    def __init__(self, config: Any = None, reference: Any = None, training: Any = None) -> None:
        super().__init__(TrainingConfig(), reference, training)


def _groups(chunk: Chunk) -> np.ndarray:
    return groups_of(chunk.first + np.arange(len(chunk.valid)))
