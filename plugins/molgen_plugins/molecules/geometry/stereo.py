"""Which of its stereoisomers a molecule is, as classes of ordered pairs of atoms: to be given to what draws positions.

Names such as R and S depend on all of the molecule, and clockwise on an order of atoms, which their axis has not. A
network of vectors sees at once whether the first three neighbours of a centre, in a given order, form a right-handed
frame; so that order is what is said, and any of its even permutations says the same.

Letters in shapes: N atoms.
"""

from __future__ import annotations

import numpy as np
from rdkit import Chem

from molgen.domain import Invalid
from molgen_plugins.molecules.chemistry import rdkit_io as chem

#: Classes of an ordered pair: nothing; the neighbours of a centre (the first atom) whose directions form a right-handed
#: frame in this order; two atoms on the same side, or on opposite sides, of a double bond.
CLASSES = ("none", "first", "second", "third", "cis", "trans")
_FRAME, _CIS, _TRANS = (1, 2, 3), 4, 5
_SAME_SIDE = {Chem.BondStereo.STEREOZ: _CIS, Chem.BondStereo.STEREOCIS: _CIS}
_SIDES = {**_SAME_SIDE, Chem.BondStereo.STEREOE: _TRANS, Chem.BondStereo.STEREOTRANS: _TRANS}
#: Whether the first three neighbours of a centre, in the order of its bonds, form a right-handed frame.
_RIGHT = {Chem.ChiralType.CHI_TETRAHEDRAL_CCW: True, Chem.ChiralType.CHI_TETRAHEDRAL_CW: False}


def pair_classes(smiles: str, bonds: np.ndarray) -> np.ndarray:
    """The classes of all pairs of atoms of a canonical SMILES string, with its hydrogens behind: uint8 (N, N).

    Centres that the string says nothing of have no class.

    Args:
        smiles: in canonical form.
        bonds: orders of its bonds, (N, N).
    """
    found = np.zeros(bonds.shape, np.uint8)
    molecule = chem.parse(smiles) if "@" in smiles or "/" in smiles else None
    if molecule is None or isinstance(molecule, Invalid):
        return found
    place = _places(molecule, bonds)
    for atom in molecule.GetAtoms():
        right = _RIGHT.get(atom.GetChiralTag())
        neighbours = [place[bond.GetOtherAtomIdx(atom.GetIdx())] for bond in atom.GetBonds()]
        if right is not None and len(neighbours) >= len(_FRAME):
            first, second, third = neighbours[: len(_FRAME)]
            found[place[atom.GetIdx()], [first, second, third] if right else [second, first, third]] = _FRAME
    for bond in molecule.GetBonds():
        if side := _SIDES.get(bond.GetStereo()):
            one, other = (place[index] for index in bond.GetStereoAtoms())
            found[one, other] = found[other, one] = side
    return found


def is_open(smiles: str) -> bool:
    """Whether a string leaves open which of several stereoisomers it is."""
    molecule = chem.parse(smiles)
    if isinstance(molecule, Invalid):
        return False
    possible = Chem.FindPotentialStereo(molecule, cleanIt=False, flagPossible=True)
    return any(one.specified == Chem.StereoSpecified.Unspecified for one in possible)


def _places(molecule: Chem.Mol, bonds: np.ndarray) -> list[int]:
    """Where each atom of a molecule stands once all hydrogens are behind; one that is written is its neighbour's."""
    place, count = [], 0
    for atom in molecule.GetAtoms():
        place.append(count)
        count += atom.GetAtomicNum() != 1
    for atom in molecule.GetAtoms():
        if atom.GetAtomicNum() == 1 and atom.GetDegree():
            beside = bonds[place[atom.GetNeighbors()[0].GetIdx()], count:]
            place[atom.GetIdx()] = count + int(np.argmax(beside))
    return place


def as_positions_have_it(classes: np.ndarray, bonds: np.ndarray, positions: np.ndarray) -> np.ndarray:
    """The same centres and double bonds, with the frames and sides that the positions show."""
    found = classes.copy()
    for centre, frame in _frames(classes).items():
        if len(frame) == len(_FRAME) and np.linalg.det(positions[frame] - positions[centre]) < 0:
            found[centre, frame[:2]] = _FRAME[1], _FRAME[0]
    for one, other in np.argwhere(classes >= _CIS).tolist():
        found[one, other] = _side(one, other, bonds, positions) or 0
    return found


def _frames(classes: np.ndarray) -> dict[int, list[int]]:
    """The neighbours of each centre in their order; fewer or more than three where the classes are of no frame."""
    centres = np.flatnonzero(np.isin(classes, _FRAME).any(axis=1)).tolist()
    return {
        centre: [place for rank in _FRAME for place in np.flatnonzero(classes[centre] == rank).tolist()]
        for centre in centres
    }


def contradiction(classes: np.ndarray, bonds: np.ndarray, positions: np.ndarray) -> str:
    """Why positions are not those of the stereoisomer that the classes of pairs say; empty where they are."""
    for centre, frame in _frames(classes).items():
        if len(frame) != len(_FRAME) or sorted(classes[centre, frame]) != list(_FRAME):
            return "a centre whose neighbours are in no order"
        if np.linalg.det(positions[frame] - positions[centre]) <= 0:
            return _ANOTHER
    for one, other in np.argwhere(classes >= _CIS).tolist():
        side = _side(one, other, bonds, positions)
        if side is None:
            return "two sides of no double bond"
        if side != classes[one, other]:
            return _ANOTHER
    return ""


_ANOTHER = "another stereoisomer than was given"


def _side(one: int, other: int, bonds: np.ndarray, positions: np.ndarray) -> int | None:
    """On which sides of the double bond between them two atoms are; None where there is none."""
    ends = [(a, b) for a in np.flatnonzero(bonds[one]) for b in np.flatnonzero(bonds[other]) if bonds[a, b] == 2]
    if not ends:
        return None
    start, end = ends[0]
    along = positions[end] - positions[start]
    along = along / max(float(np.linalg.norm(along)), 1e-12)
    across = [positions[one] - positions[start], positions[other] - positions[end]]
    first, second = (vector - (vector @ along) * along for vector in across)
    return _CIS if first @ second > 0 else _TRANS
