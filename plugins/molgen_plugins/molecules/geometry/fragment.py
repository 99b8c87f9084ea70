"""Parts in space that every molecule is to contain: a fragment to grow from, or several to link.

Letters in shapes: N atoms of the part, its attachment points not among them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from rdkit import Chem, rdBase

from molgen.domain import Invalid
from molgen_plugins.molecules.chemistry import rdkit_io as chem
from molgen_plugins.molecules.geometry import standard
from molgen_plugins.molecules.geometry.conformer import Conformer
from molgen_plugins.molecules.geometry.embedding import embedded

_NEEDS_POINT = "a part without positions needs an attachment point, as in c1ccccc1*; or give a file with positions"


@dataclass(frozen=True)
class Fragment:
    """A part in space.

    Attributes:
        atoms: its atoms with positions and bonds.
        open: those that new atoms may be bonded to, bool (N,).
    """

    atoms: Conformer
    open: np.ndarray


def fragment_of(item: str, seconds: int) -> Fragment | Invalid:
    """The part that the text of a molecule file, or SMILES with attachment points, stands for; or why it is none.

    Attachment points are atoms of no element (`*`), which stand where something new comes to. A file may have several
    parts, at the places that they are to keep; without any attachment point all its atoms are open. Of SMILES, whose
    positions are found as those of a whole molecule, with a hydrogen at each attachment point, one part is taken.

    Args:
        item: the text of one entry of a file, a conformer, or a SMILES string.
        seconds: that finding positions may take.
    """
    with rdBase.BlockLogs():
        if not standard.is_spatial(item):
            return _of_smiles(item, seconds)
        found = standard.scattered(item)
    if found is None or not np.isfinite(found.positions).all():
        return Invalid("it has no positions in space")
    return _without_points(found)


def _of_smiles(smiles: str, seconds: int) -> Fragment | Invalid:
    if "*" not in smiles:
        return Invalid(_NEEDS_POINT)
    molecule = chem.parse(smiles)
    if isinstance(molecule, Invalid):
        return molecule
    if len(Chem.GetMolFrags(molecule)) > 1:
        return Invalid("several parts need positions, which a file has; of SMILES give one part")
    if any(not atom.GetAtomicNum() and atom.GetDegree() != 1 for atom in molecule.GetAtoms()):
        return Invalid("an attachment point has exactly one bond")
    return _embedded(molecule, seconds)


def _embedded(molecule: Chem.Mol, seconds: int) -> Fragment | Invalid:
    """The part of a molecule that is whole once a hydrogen is at each of its attachment points."""
    capped = Chem.RWMol(molecule)
    for atom in capped.GetAtoms():
        if not atom.GetAtomicNum():
            atom.SetAtomicNum(1)
            atom.SetIsotope(_POINT)
            atom.SetAtomMapNum(0)
    found = embedded(Chem.MolToSmiles(capped), seconds)
    if isinstance(found, Invalid):
        return found
    whole = Chem.Mol(found[0])
    Chem.Kekulize(whole, clearAromaticFlags=True)
    elements = [0 if atom.GetIsotope() == _POINT else atom.GetAtomicNum() for atom in whole.GetAtoms()]
    charges = [atom.GetFormalCharge() for atom in whole.GetAtoms()]
    orders = Chem.GetAdjacencyMatrix(whole, useBO=True, force=True)
    return _without_points(Conformer("", elements, whole.GetConformer().GetPositions(), charges, orders, found[1]))


#: The isotope by which a hydrogen at an attachment point is known: it stays an atom of its own.
_POINT = 3


def _without_points(atoms: Conformer) -> Fragment | Invalid:
    points = atoms.elements == 0
    kept = np.flatnonzero(~points)
    if not len(kept):
        return Invalid("attachment points only, no atom")
    kept = kept[np.argsort(atoms.elements[kept] == 1, kind="stable")]  # hydrogens behind, as in every sample
    bonds = atoms.bonds
    reached = np.ones(len(kept), bool)
    if points.any() and bonds is not None:
        reached = (bonds[np.ix_(kept, np.flatnonzero(points))] > 0).max(axis=1)
    inside = None if bonds is None else bonds[np.ix_(kept, kept)]
    part = Conformer("", atoms.elements[kept], atoms.positions[kept], atoms.charges[kept], inside, atoms.origin)
    return Fragment(part, reached)
