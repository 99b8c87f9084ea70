"""A molecule as the text of a MOL file, version 2000, whose coordinates have four decimals."""

from __future__ import annotations

from rdkit import Chem, rdBase
from rdkit.Chem import rdDepictor

from molgen.domain import Invalid
from molgen_plugins.molecules.chemistry.rdkit_io import parse
from molgen_plugins.molecules.geometry.conformer import Conformer
from molgen_plugins.molecules.geometry.standard import molecule_of


def molblock(item: str | None, title: str = "") -> str:
    """The text of a conformer as it is, of SMILES as a drawing, and of what is no molecule without any atom.

    Of a conformer whose bonds the format cannot hold it is the atoms alone.
    """
    with rdBase.BlockLogs():
        molecule = _molecule(item)
        molecule.SetProp("_Name", title)
        try:
            # Of a geometry the positions say all; RDKit would mark double bonds that nobody described as undecided.
            return Chem.MolToMolBlock(molecule, includeStereo=not isinstance(item, Conformer), kekulize=False)
        except (ValueError, RuntimeError):
            # The format has no place for more bonds of an atom than 14, as a model may draw; positions are kept.
            if isinstance(item, Conformer) and item.bonds is not None:
                return molblock(Conformer("", item.elements, item.positions), title)
            return Chem.MolToMolBlock(Chem.Mol())


def _molecule(item: str | None) -> Chem.Mol:
    if isinstance(item, Conformer):
        molecule = molecule_of(item)
        molecule.GetConformer().Set3D(True)
        if item:  # in canonical form: its unpaired electrons are known
            Chem.AssignRadicals(molecule)
        return molecule
    found = parse(item) if item else Invalid("nothing")
    if isinstance(found, Invalid):
        return Chem.Mol()
    rdDepictor.Compute2DCoords(found)
    Chem.Kekulize(found, clearAromaticFlags=True)  # bonds that stay aromatic do not say where hydrogens are
    return found
