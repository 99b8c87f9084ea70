"""Repairs of graphs that stand for no molecule; nothing repairs unless it is asked to.

Letters in shapes: N atoms of one molecule.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from rdkit import Chem
from scipy.sparse.csgraph import connected_components

from molgen.domain import Sample

#: The next lower class of a bond.
_LOWER = {"single": "none", "double": "single", "triple": "double", "aromatic": "single"}


class Repair(ABC):
    """One way to change a sample so that it has a better chance to be a molecule."""

    def __init__(self, build: Callable[[Sample], Chem.Mol], bonds: Sequence[str]) -> None:
        """Take how the encoder builds a molecule, not sanitised, and the names of its classes of bonds."""
        self._build, self._bonds = build, bonds

    @abstractmethod
    def __call__(self, sample: Sample) -> Sample:
        """The changed sample, or the same one where this repair has nothing to do."""


class Valence(Repair):
    """While an atom has too many bonds, its highest bond is lowered by one order; the last one among equals.

    The idea is that of the valency correction of Zang and Wang (KDD 2020), without their choice of a fragment.
    """

    def __call__(self, sample: Sample) -> Sample:
        """The sample with fewer bonds; what else may be wrong with it stays."""
        bonds = np.array(sample["bonds"])
        changed = {**sample, "bonds": bonds}
        while (atom := _overloaded(self._build(changed))) is not None and bonds[atom].any():
            self._lower(bonds, atom)
        return changed

    def _lower(self, bonds: np.ndarray, atom: int) -> None:
        names = [self._bonds[number] for number in bonds[atom]]
        order = [("none", "single", "aromatic", "double", "triple").index(name.split()[0]) for name in names]
        other = max(range(len(order)), key=lambda k: (order[k], k))
        bonds[atom, other] = bonds[other, atom] = self._bonds.index(_LOWER[names[other].split()[0]])


def _overloaded(molecule: Chem.Mol) -> int | None:
    """The first atom with a valence that it cannot have."""
    try:
        Chem.SanitizeMol(molecule)
    except Chem.AtomValenceException as error:
        cause: Any = getattr(error, "cause", None)
        return int(cause.GetAtomIdx())
    except (ValueError, RuntimeError):
        return None
    return None


class LargestFragment(Repair):
    """Only the fragment with the most atoms stays; the first one among equals."""

    def __call__(self, sample: Sample) -> Sample:
        """The sample with fewer atoms."""
        _, fragment = connected_components(sample["bonds"] != 0, directed=False)
        kept = np.flatnonzero(fragment == np.bincount(fragment).argmax())
        return {name: array[np.ix_(*[kept] * array.ndim)] for name, array in sample.items()}


#: Repairs by name.
REPAIRS: Mapping[str, type[Repair]] = {"valence": Valence, "largest-fragment": LargestFragment}
