"""The canonical form of a molecule in space, from the text of a molecule file or from atoms and positions.

RDKit's logs are silenced here. Letters in shapes: N atoms.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from rdkit import Chem, rdBase

from molgen.domain import Invalid
from molgen_plugins.molecules.chemistry import rdkit_io as chem
from molgen_plugins.molecules.geometry import xyz
from molgen_plugins.molecules.geometry.conformer import Conformer
from molgen_plugins.molecules.geometry.perception import determine_bonds

#: Atoms beyond which nothing is read: bonds are found among all pairs.
MAX_ATOMS = 2000
#: How each kind of text begins to be known.
_MOL2, _MOL_VERSIONS = "@<TRIPOS>", ("V2000", "V3000")
_ORDERS = {1: Chem.BondType.SINGLE, 2: Chem.BondType.DOUBLE, 3: Chem.BondType.TRIPLE}
_INDEX = "_molgenIndex"


def is_spatial(item: object) -> bool:
    """Whether an item is a conformer or the text of a molecule file, and no line of SMILES."""
    return isinstance(item, Conformer) or (isinstance(item, str) and "\n" in item)


def canonical(item: str) -> tuple[str, Chem.Mol] | Invalid:
    """The canonical form of a conformer or of the text of a molecule file, and its molecule as SMILES have it.

    Where bonds are missing they are found by `determine_bonds`, where hydrogens are missing they are placed, and
    stereochemistry follows from the positions. A file that holds a drawing, without a third dimension, becomes the
    plain SMILES string. Never raises on bad data; what hostile geometries may take is for a worker to limit.
    """
    with rdBase.BlockLogs():
        try:
            found = _molecule(item)
            return found if isinstance(found, Invalid) else _standard(*found)
        except (ValueError, RuntimeError) as error:  # broken preconditions inside RDKit
            reason = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
            return Invalid(f"cannot be read: {reason[:200]}")


def scattered(item: object) -> Conformer | None:
    """The atoms of an item at their positions with the bonds that it names, whatever chemistry makes of them.

    None where it has no positions, or cannot be read.
    """
    if isinstance(item, Conformer) or not is_spatial(item):
        return item if isinstance(item, Conformer) else None
    with rdBase.BlockLogs():
        try:
            found = _entry(str(item))
            return None if isinstance(found, Invalid) else found if isinstance(found, Conformer) else _atoms_of(found)
        except (ValueError, RuntimeError):
            return None


def molecule_of(conformer: Conformer) -> Chem.RWMol:
    """Atoms, bonds as far as they are known, and one RDKit conformer; not sanitised, and no hydrogen is implied."""
    molecule = Chem.RWMol()
    for number, charge in zip(conformer.elements.tolist(), conformer.charges.tolist(), strict=True):
        atom = Chem.Atom(number)
        atom.SetFormalCharge(charge)
        atom.SetNoImplicit(True)
        molecule.AddAtom(atom)
    if conformer.bonds is not None:
        for i, j in np.argwhere(np.triu(conformer.bonds, 1)).tolist():
            molecule.AddBond(i, j, _ORDERS[int(conformer.bonds[i, j])])
    places = Chem.Conformer(molecule.GetNumAtoms())
    places.SetPositions(np.array(conformer.positions))
    molecule.AddConformer(places)
    return molecule


def conformer_of(molecule: Chem.Mol, origin: str = "") -> Conformer | Invalid:
    """The canonical conformer of a molecule with one RDKit conformer; what it implies of hydrogens is placed."""
    with rdBase.BlockLogs():
        found = _standard(Chem.RWMol(molecule), origin)
    if isinstance(found, Invalid):
        return found
    return found[0] if isinstance(found[0], Conformer) else Invalid("it has no positions in three dimensions")


def without_positions(smiles: str) -> Conformer | Invalid:
    """The atoms and bonds that a canonical conformer of a molecule has, in its order, with all atoms at one place."""
    with rdBase.BlockLogs():
        written = chem.canonical(smiles)
        molecule = written if isinstance(written, Invalid) else chem.parse(written)
        if isinstance(molecule, Invalid):
            return molecule
        whole = Chem.AddHs(molecule)
        nowhere = Chem.Conformer(whole.GetNumAtoms())
        whole.AddConformer(nowhere)
        return _conformer(str(written), Chem.RenumberAtoms(whole, _written(whole)[1]), "")


# --- reading ----------------------------------------------------------------------------------------


def _molecule(item: str) -> tuple[Chem.RWMol, str] | Invalid:
    """The molecule of an item with its bonds, not sanitised, and the origin of its positions."""
    found = item if isinstance(item, Conformer) else _entry(item)
    if isinstance(found, Invalid):
        return found
    if isinstance(found, Chem.RWMol):
        return found, ""
    if fault := _problem(found):
        return Invalid(fault)
    molecule = molecule_of(found)
    if found.bonds is None and (problem := determine_bonds(molecule, int(found.charges.sum()))):
        return problem
    return molecule, found.origin


def _entry(text: str) -> Chem.RWMol | Conformer | Invalid:
    """What an entry of a file holds: a molecule with bonds, or atoms whose bonds are to be found."""
    if _MOL2 in text:
        return _checked(Chem.MolFromMol2Block(text, sanitize=False, removeHs=False), "MOL2")
    if any(version in text for version in _MOL_VERSIONS):
        found = _checked(Chem.MolFromMolBlock(text, sanitize=False, removeHs=False), "MOL")
        atoms = _atoms_of(found) if isinstance(found, Chem.RWMol) and _lacks_bonds(found) else None
        return found if atoms is None else atoms
    entry = xyz.parsed(text)
    if isinstance(entry, Invalid):
        return entry
    elements, positions, columns = entry
    # Which atom bears the charge is found with the bonds; until then it is the first one.
    charges = np.zeros(len(elements))
    charges[0] = _charge(columns.get("charge", "0"))
    return Conformer("", elements, positions, charges)


def _checked(molecule: Chem.Mol | None, kind: str) -> Chem.RWMol | Invalid:
    if molecule is None:
        return Invalid(f"not the syntax of a {kind} file")
    if not molecule.GetNumAtoms():
        return Invalid("there is no atom")
    if molecule.GetNumAtoms() > MAX_ATOMS:
        return Invalid(_too_many(molecule.GetNumAtoms()))
    return Chem.RWMol(molecule)


def _lacks_bonds(molecule: Chem.Mol) -> bool:
    """Whether it is atoms in space that nobody has bonded yet, as a model writes where it is no molecule."""
    return molecule.GetNumAtoms() > 1 and not molecule.GetNumBonds() and _is_spatial(molecule)


def _atoms_of(molecule: Chem.Mol) -> Conformer | None:
    """The atoms of a molecule in space with the bonds that it has; None where it is a drawing."""
    if not molecule.GetNumConformers() or not _is_spatial(molecule):
        return None
    kekule = Chem.Mol(molecule)
    if any(bond.GetIsAromatic() for bond in kekule.GetBonds()):
        Chem.Kekulize(kekule, clearAromaticFlags=True)
    orders = Chem.GetAdjacencyMatrix(kekule, useBO=True, force=True) if kekule.GetNumBonds() else None
    return Conformer(
        "",
        [atom.GetAtomicNum() for atom in kekule.GetAtoms()],
        kekule.GetConformer().GetPositions(),
        [atom.GetFormalCharge() for atom in kekule.GetAtoms()],
        orders,
    )


def _problem(conformer: Conformer) -> str:
    count = len(conformer.elements)
    if not count:
        return "there is no atom"
    if count > MAX_ATOMS:
        return _too_many(count)
    if not np.isfinite(conformer.positions).all():
        return "positions that are no numbers"
    if not conformer.elements.all() or conformer.elements.max() >= len(xyz.SYMBOLS):
        return "an atom of no element"
    if conformer.bonds is not None and conformer.bonds.max() > 3:
        return "a bond of an order beyond 3"
    return ""


def _too_many(count: int) -> str:
    return f"{count:,} atoms are more than the {MAX_ATOMS:,} that are read of one molecule"


def _charge(text: str) -> int:
    try:
        return max(-100, min(100, int(float(text))))
    except (ValueError, OverflowError):
        return 0


# --- the canonical form -----------------------------------------------------------------------------


def _standard(molecule: Chem.RWMol, origin: str) -> tuple[str, Chem.Mol] | Invalid:
    sane = chem.sanitised(molecule)
    if isinstance(sane, Invalid):
        return sane
    if any(atom.GetIsotope() for atom in sane.GetAtoms()):
        return Invalid("isotopes have no place in a geometry")
    if not sane.GetNumConformers() or not _is_spatial(sane):
        return chem.standard(Chem.MolToSmiles(Chem.RemoveHs(sane)))
    if any(atom.GetTotalNumHs() for atom in sane.GetAtoms()):
        sane = Chem.AddHs(sane, addCoords=True)
        origin = ", ".join(filter(None, [origin, "hydrogens placed by RDKit"]))
    for bond in sane.GetBonds():  # what a file says of double bonds is less than what their positions say
        bond.SetBondDir(Chem.BondDir.NONE)
        if bond.GetStereo() == Chem.BondStereo.STEREOANY:
            bond.SetStereo(Chem.BondStereo.STEREONONE)
    Chem.AssignStereochemistryFrom3D(sane)
    smiles, order = _written(sane)
    found = chem.standard(smiles)
    if isinstance(found, Invalid):
        return found
    return _conformer(found[0], Chem.RenumberAtoms(sane, order), origin), found[1]


def _is_spatial(molecule: Chem.Mol) -> bool:
    """Whether its conformer is a geometry: one atom, a file that says so, or a third dimension in use."""
    conformer = molecule.GetConformer()
    return molecule.GetNumAtoms() == 1 or conformer.Is3D() or bool(np.ptp(conformer.GetPositions()[:, 2]) > 0.0)


def _written(molecule: Chem.Mol) -> tuple[str, list[int]]:
    """The SMILES without hydrogens, and the atoms in its order; hydrogens are behind, in that of their neighbours."""
    for atom in molecule.GetAtoms():
        atom.SetIntProp(_INDEX, atom.GetIdx())
    bare = Chem.RemoveHs(molecule)
    smiles = Chem.MolToSmiles(bare)
    written: Sequence[int] = bare.GetProp("_smilesAtomOutputOrder", autoConvert=True)
    order = [bare.GetAtomWithIdx(place).GetIntProp(_INDEX) for place in written]
    place = {index: number for number, index in enumerate(order)}
    atoms = list(molecule.GetAtoms())
    heavy = [index for index in order if atoms[index].GetAtomicNum() != 1]
    hydrogens = [atom.GetIdx() for atom in atoms if atom.GetAtomicNum() == 1]

    def beside(index: int) -> int:
        return min((place.get(other.GetIdx(), len(order)) for other in atoms[index].GetNeighbors()), default=0)

    return smiles, [*heavy, *sorted(hydrogens, key=lambda index: (beside(index), index))]


def _conformer(smiles: str, molecule: Chem.Mol, origin: str) -> Conformer:
    kekule = Chem.Mol(molecule)
    Chem.Kekulize(kekule, clearAromaticFlags=True)
    return Conformer(
        smiles,
        [atom.GetAtomicNum() for atom in kekule.GetAtoms()],
        kekule.GetConformer().GetPositions(),
        [atom.GetFormalCharge() for atom in kekule.GetAtoms()],
        Chem.GetAdjacencyMatrix(kekule, useBO=True, force=True),
        origin,
    )
