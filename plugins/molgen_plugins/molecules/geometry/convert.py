"""Molecules in space to and from the objects of other packages."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from rdkit import Chem

from molgen.domain import Invalid
from molgen.errors import MolgenError
from molgen_plugins.molecules.geometry import standard
from molgen_plugins.molecules.geometry.conformer import Conformer

if TYPE_CHECKING:
    from ase import Atoms


def from_rdkit(molecule: Chem.Mol, conformer: int = -1) -> Conformer | Invalid:
    """A molecule of RDKit with the positions of one of its conformers, hydrogens placed where they are missing.

    Args:
        molecule: sanitised or not.
        conformer: its identifier; -1 is the first one.
    """
    try:
        return standard.conformer_of(Chem.Mol(molecule, confId=conformer))
    except (ValueError, RuntimeError) as error:
        return Invalid(f"cannot be read: {next(iter(str(error).strip().splitlines()), type(error).__name__)}")


def to_rdkit(conformer: Conformer) -> Chem.Mol | Invalid:
    """The sanitised molecule of RDKit with one conformer, all hydrogens among its atoms."""
    if conformer.bonds is None:
        found = standard.canonical(conformer)
        if isinstance(found, Invalid):
            return found
        conformer = found[0] if isinstance(found[0], Conformer) else conformer
    molecule = standard.molecule_of(conformer)
    try:
        Chem.SanitizeMol(molecule)
        Chem.AssignStereochemistryFrom3D(molecule)
    except (ValueError, RuntimeError) as error:
        return Invalid(f"its bonds are no molecule: {next(iter(str(error).strip().splitlines()), '')}")
    return molecule


def from_ase(atoms: Atoms) -> Conformer:
    """Atoms of ASE as an item whose bonds the domain finds; `info["charge"]` is the charge of the whole.

    Raises:
        MolgenError: they are periodic, which no molecule is.
    """
    if np.any(atoms.pbc):
        raise MolgenError("periodic atoms are no molecule; set atoms.pbc = False")
    charges = np.zeros(len(atoms))
    charges[:1] = int(atoms.info.get("charge", 0))
    return Conformer("", atoms.numbers, atoms.positions, charges)


def to_ase(conformer: Conformer) -> Atoms:
    """Atoms of ASE in the order of the conformer; its charge is in `info["charge"]`, its SMILES in `info["smiles"]`.

    Raises:
        MolgenError: ASE is not installed.
    """
    try:
        from ase import Atoms
    except ImportError:
        raise MolgenError("ASE is not installed; type: pip install 'molgen-toolkit[ase]'") from None
    info = {"charge": int(conformer.charges.sum()), **({"smiles": str(conformer)} if conformer else {})}
    return Atoms(numbers=conformer.elements, positions=conformer.positions, info=info)
