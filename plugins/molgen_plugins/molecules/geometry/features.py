"""What metrics read of a molecule in space, by name: bonds by two protocols, lengths, angles, torsions, strain.

Those of `ROW_FEATURES` are found of whatever atoms a row has, be they a molecule or not. A SMILES string has no
positions: its features are empty, or NaN.

Letters in shapes: N atoms, M lengths, angles or torsions of a molecule.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable, Mapping
from itertools import combinations
from typing import Any

import numpy as np
from rdkit import Chem, rdBase
from rdkit.Chem import rdForceFieldHelpers

from molgen.errors import MolgenError
from molgen_plugins.molecules.geometry.conformer import Conformer
from molgen_plugins.molecules.geometry.perception import orders_by_length, stable_atoms
from molgen_plugins.molecules.geometry.standard import molecule_of, scattered
from molgen_plugins.molecules.geometry.xyz import NUMBERS

#: Bonds of an atom by its element and charge, double ones counted twice: usual valences of Kekulé forms, as in the
#: corrected protocol of Nikitin et al. (arXiv 2505.00169), without the exceptions that aromatic bonds would need.
VALENCES: Mapping[tuple[str, int], tuple[int, ...]] = {
    **{
        ("H", 0): (1,),
        ("C", 0): (4,),
        ("C", 1): (3,),
        ("C", -1): (3,),
        ("N", 0): (3,),
        ("N", 1): (4,),
        ("N", -1): (2,),
    },
    **{
        ("O", 0): (2,),
        ("O", 1): (3,),
        ("O", -1): (1,),
        ("F", 0): (1,),
        ("B", 0): (3,),
        ("B", -1): (4,),
        ("Si", 0): (4,),
    },
    **{("P", 0): (3, 5), ("P", 1): (4,), ("S", 0): (2, 4, 6), ("S", 1): (3, 5), ("S", -1): (1,), ("Se", 0): (2, 4, 6)},
    **{("Cl", 0): (1,), ("Br", 0): (1,), ("I", 0): (1,), ("As", 0): (3, 5), ("Se", 1): (3,), ("Se", -1): (1,)},
}
_VALENCES = {(NUMBERS[symbol], charge): counts for (symbol, charge), counts in VALENCES.items()}
#: Steps of the force field in a strain energy.
_STEPS = 1000
_FAILURES = (ValueError, RuntimeError)

#: Of one row: the SMILES of its largest part (empty where it is no molecule), stable atoms, and atoms.
ByLengths = tuple[str, int, int]


# --- of any row -------------------------------------------------------------------------------------


def by_lengths(atoms: Conformer) -> ByLengths:
    """What the bonds of the table of lengths make of some atoms: the protocol of EDM (Hoogeboom et al., ICML 2022).

    A molecule is valid there where no atom has too many bonds; what has too few is given hydrogens. Of several parts
    the largest one counts. Its SMILES spells out all hydrogens that have a position, and no stereochemistry.
    """
    orders = orders_by_length(atoms.elements, atoms.positions)
    stable = int(stable_atoms(atoms.elements, orders).sum())
    return _largest_part(atoms.elements, orders), stable, len(atoms.elements)


def _largest_part(elements: np.ndarray, orders: np.ndarray) -> str:
    molecule = Chem.RWMol()
    for number in elements.tolist():
        molecule.AddAtom(Chem.Atom(number))
    for i, j in np.argwhere(np.tril(orders)).tolist():
        molecule.AddBond(i, j, Chem.BondType.values[int(orders[i, j])])
    try:
        Chem.SanitizeMol(molecule)
        parts = Chem.GetMolFrags(molecule, asMols=True)
        largest = max(parts, key=lambda part: part.GetNumAtoms())
        return Chem.MolToSmiles(largest)
    except _FAILURES:
        return ""


def by_bonds(atoms: Conformer) -> tuple[int, int]:
    """Stable atoms by the bonds and charges that the molecule has itself, and atoms; none is where it has no bonds."""
    if atoms.bonds is None:
        return 0, len(atoms.elements)
    counts = atoms.bonds.sum(axis=1, dtype=np.int64).tolist()
    kinds = zip(atoms.elements.tolist(), atoms.charges.tolist(), counts, strict=True)
    return sum(count in _VALENCES.get((number, charge), ()) for number, charge, count in kinds), len(atoms.elements)


# --- of a molecule ----------------------------------------------------------------------------------

#: The kind of each length, angle or torsion, int64 (M,), and its value, float32 (M,).
Measured = tuple[np.ndarray, np.ndarray]
_NOTHING: Measured = (np.zeros(0, np.int64), np.zeros(0, np.float32))


def bond_lengths(conformer: Conformer) -> Measured:
    """Lengths of bonds in ångström; their kind is both elements and the order."""
    bonds, places = _bonds(conformer), conformer.positions
    i, j = np.nonzero(np.triu(bonds))
    return _kinds(conformer, i, j, bonds[i, j]), np.linalg.norm(places[i] - places[j], axis=1).astype(np.float32)


def bond_angles(conformer: Conformer) -> Measured:
    """Angles between bonds at one atom in degrees; their kind is its element and those of the ends."""
    beside = _neighbours(conformer)
    rows = [(i, centre, k) for centre, others in enumerate(beside) for i, k in combinations(others, 2)]
    i, centre, k = np.array(rows, np.int64).reshape(-1, 3).T
    places = conformer.positions
    values = _angles(places[i] - places[centre], places[k] - places[centre])
    return _kinds(conformer, i, k, conformer.elements[centre]), values


def dihedrals(conformer: Conformer) -> Measured:
    """Torsion angles along bonds, from 0 to 180 degrees; their kind is both elements of the bond and its order."""
    bonds, beside = _bonds(conformer), _neighbours(conformer)
    rows = [
        (i, j, k, m)
        for j, k in np.argwhere(np.triu(bonds)).tolist()
        for i in beside[j]
        for m in beside[k]
        if i not in (k, m) and m != j
    ]
    i, j, k, m = np.array(rows, np.int64).reshape(-1, 4).T
    places = conformer.positions
    axis = places[k] - places[j]
    values = _angles(np.cross(places[i] - places[j], axis), np.cross(places[m] - places[k], axis))
    return _kinds(conformer, j, k, bonds[j, k]), values


def _bonds(conformer: Conformer) -> np.ndarray:
    return conformer.bonds if conformer.bonds is not None else np.zeros((len(conformer.elements),) * 2, np.uint8)


def _neighbours(conformer: Conformer) -> list[list[int]]:
    return [np.flatnonzero(row).tolist() for row in _bonds(conformer)]


def _kinds(conformer: Conformer, first: np.ndarray, second: np.ndarray, what: np.ndarray) -> np.ndarray:
    """A number for the elements of two atoms, in any order, and what is between them; int64 (M,)."""
    ends = np.sort(np.stack([conformer.elements[first], conformer.elements[second]]), axis=0).astype(np.int64)
    return (ends[0] * 128 + ends[1]) * 128 + what


def _angles(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """The angles between vectors (M, 3) in degrees, float32 (M,)."""
    lengths = np.linalg.norm(first, axis=1) * np.linalg.norm(second, axis=1)
    cosines = (first * second).sum(1) / np.maximum(lengths, 1e-12)
    return np.degrees(np.arccos(np.clip(cosines, -1, 1))).astype(np.float32)


def strain(conformer: Conformer) -> float:
    """The energy that MMFF94 releases on relaxing a molecule, in kcal/mol; NaN where it lacks parameters."""
    molecule = molecule_of(conformer)
    try:
        Chem.SanitizeMol(molecule)
        properties = rdForceFieldHelpers.MMFFGetMoleculeProperties(molecule)
        field = properties and rdForceFieldHelpers.MMFFGetMoleculeForceField(molecule, properties)
        if not field:
            return math.nan
        before = field.CalcEnergy()
        field.Minimize(maxIts=_STEPS)
        return float(before - field.CalcEnergy())
    except _FAILURES:
        return math.nan


def posebusters(conformer: Conformer) -> bool:
    """Whether a molecule passes all checks of PoseBusters for one alone (Buttenschoen et al., Chem. Sci. 15, 2024).

    Raises:
        MolgenError: PoseBusters is not installed.
    """
    molecule = molecule_of(conformer)
    try:
        Chem.SanitizeMol(molecule)
        return bool(_buster()(molecule))
    except _FAILURES:
        return False


def prepare(names: Iterable[str]) -> None:
    """Load what features need, so that its time is charged to no molecule.

    Raises:
        MolgenError: PoseBusters is needed and not installed.
    """
    if "posebusters" in names:
        _buster()


def _buster() -> Callable[[Chem.Mol], bool]:
    global _made
    if _made is None:
        try:
            from posebusters import PoseBusters
        except ImportError:
            raise MolgenError("PoseBusters is not installed; type: pip install 'molgen-toolkit[posebusters]'") from None
        logging.getLogger("posebusters").setLevel(logging.CRITICAL)  # a line for each molecule that it cannot judge
        bust = PoseBusters(config="mol").bust
        _made = lambda molecule: bool(bust([molecule], None, None).all(axis=None))  # noqa: E731
    return _made


_made: Callable[[Chem.Mol], bool] | None = None

#: Features of the atoms of any row, and of conformers in canonical form with the value of what has no positions.
ROW_FEATURES: Mapping[str, Callable[[Conformer], Any]] = {"by_lengths": by_lengths, "by_bonds": by_bonds}
CONFORMER_FEATURES: Mapping[str, tuple[Callable[[Conformer], Any], Any]] = {
    "bond_lengths": (bond_lengths, _NOTHING),
    "bond_angles": (bond_angles, _NOTHING),
    "dihedrals": (dihedrals, _NOTHING),
    "strain": (strain, math.nan),
    "posebusters": (posebusters, False),
}
FEATURES = (*ROW_FEATURES, *CONFORMER_FEATURES)


def of_row(item: Any, canonical: str | None, names: Iterable[str]) -> dict[str, Any]:
    """Features of the atoms of a row by name; none where it has no positions.

    Args:
        item: what the row holds.
        canonical: its canonical form, or None where it is no molecule.
        names: of `ROW_FEATURES`.
    """
    names = list(names)
    atoms = canonical if isinstance(canonical, Conformer) else scattered(item) if names else None
    if not isinstance(atoms, Conformer) or not len(atoms.elements):
        return dict.fromkeys(names) if canonical is not None else {}
    with rdBase.BlockLogs():
        return {name: ROW_FEATURES[name](atoms) for name in names}


def of_molecule(canonical: str, names: Iterable[str]) -> dict[str, Any]:
    """Features of a molecule in canonical form by name.

    Args:
        canonical: with positions or without.
        names: of `CONFORMER_FEATURES`.
    """
    with rdBase.BlockLogs():
        return {
            name: CONFORMER_FEATURES[name][0](canonical)
            if isinstance(canonical, Conformer)
            else CONFORMER_FEATURES[name][1]
            for name in names
        }
