"""What follows from an atom and its surroundings alone, found once for each kind of surroundings.

Molecules are many, but the surroundings of their atoms are few: some thousand kinds of atoms with their
neighbours make up nearly all molecules of a set. Whether an atom fits a pattern that looks no further, or
what it adds to a sum over atoms, is therefore remembered by a 64-bit code of its surroundings.

Letters in shapes: A atoms.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Generic, NamedTuple, TypeVar

import numpy as np
from rdkit import Chem
from rdkit.Chem import rdMolDescriptors

from molgen_plugins.molecules.chemistry.memo import once

T = TypeVar("T")

#: Kinds of surroundings after which a memory starts anew; those beyond are rare and would only fill it.
LIMIT = 1 << 18

#: Isotopes are no part of RDKit's invariants, and a dative bond has the order of a single one.
_UNCODED = tuple(Chem.MolFromSmarts(smarts) for smarts in ("[!0*]", "*->*"))
#: A random odd number for each kind of bond, twice its order and 16 more in a ring; 0 for none.
_BONDS = np.random.default_rng(0).integers(1 << 63, size=64, dtype=np.uint64) << np.uint64(1) | np.uint64(1)
_BONDS[0] = 0
_AROMATIC, _IN_RING, _CARBON = 1.5, 16, 6
_STEP, _FACTOR, _SHIFT = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xBF58476D1CE4E5B9), np.uint64(31)
#: RDKit's invariant of an atom -> its atomic number, which is part of it.
_numbers: dict[int, int] = {}


class Codes(NamedTuple):
    """Codes of what surrounds each atom of a molecule, A of each; stereochemistry is no part of them.

    Attributes:
        near: of its element, charge, hydrogens, number of rings and kinds of bonds, and those of its neighbours.
        far: for carbon the same; for others also of the elements, aromatic or not, two bonds away, and their bonds.
    """

    near: list[int]
    far: list[int]


@once
def codes(molecule: Chem.Mol) -> Codes | None:
    """The codes of a sanitised molecule, or None for one with isotopes or dative bonds, which are not told apart."""
    if any(molecule.HasSubstructMatch(pattern) for pattern in _UNCODED):
        return None
    bonds, rings, aromatic = _bonds(molecule)
    invariants = list(rdMolDescriptors.GetConnectivityInvariants(molecule))
    elements = _elements(molecule, invariants)
    own = _mixed(np.array(invariants, np.uint64) + rings * _STEP + bonds.sum(1))
    beside, beyond = (bonds @ np.stack([own, _mixed(2 * elements + aromatic)], 1)).T
    near = _mixed(own * _STEP + beside)
    far = _mixed(own * _STEP + bonds @ _mixed(own * _STEP + beyond))
    return Codes(near.tolist(), np.where(elements == _CARBON, near, far).tolist())


def _bonds(molecule: Chem.Mol) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The numbers of the bonds, uint64 (A, A); of the rings of each atom, and whether it is aromatic, uint64 (A,)."""
    orders = Chem.GetAdjacencyMatrix(molecule, useBO=True)
    ends: list[int] = []
    others: list[int] = []
    for ring in molecule.GetRingInfo().AtomRings():
        ends += ring
        others += ring[1:] + ring[:1]
    heads, tails = np.array([ends + others, others + ends], np.int64)
    kinds = (2 * orders).astype(np.int64)
    kinds[heads, tails] |= _IN_RING
    rings = np.bincount(heads[: len(ends)], minlength=len(orders)).astype(np.uint64)
    return _BONDS[kinds], rings, (orders == _AROMATIC).any(1).astype(np.uint64)


def _elements(molecule: Chem.Mol, invariants: Sequence[int]) -> np.ndarray:
    """The atomic numbers, uint64 (A,)."""
    if not _numbers.keys() >= set(invariants):
        _numbers.update(zip(invariants, (atom.GetAtomicNum() for atom in molecule.GetAtoms()), strict=True))
    return np.array([_numbers[invariant] for invariant in invariants], np.uint64)


def _mixed(code: np.ndarray) -> np.ndarray:
    code = code * _FACTOR
    return code ^ code >> _SHIFT


class Remembered(Generic[T]):
    """A fact about each atom of a molecule that its surroundings decide, looked up where it is known.

    Args:
        part: chooses among `Codes` those that decide.
        find: finds the facts of some atoms of a molecule, given by their numbers.
    """

    def __init__(
        self, part: Callable[[Codes], list[int]], find: Callable[[Chem.Mol, Sequence[int]], Sequence[T]]
    ) -> None:
        self._part, self._find = part, find
        self._known: dict[int, T] = {}

    def __call__(self, molecule: Chem.Mol) -> list[T]:
        """The facts of all atoms, in their order."""
        found = codes(molecule)
        if found is None:
            return list(self._find(molecule, range(molecule.GetNumAtoms())))
        kinds = self._part(found)
        if len(self._known) > LIMIT:
            self._known.clear()
        unknown = [atom for atom, kind in enumerate(kinds) if kind not in self._known]
        if unknown:
            facts = self._find(molecule, unknown)
            self._known.update(zip((kinds[atom] for atom in unknown), facts, strict=True))
        return [self._known[kind] for kind in kinds]
