"""Molecules from graphs and graphs from molecules, by RDKit, whose logs the caller silences.

Letters in shapes: N atoms of one molecule.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from rdkit import Chem, rdBase

from molgen.domain import Invalid
from molgen_plugins.molecules.graph.atoms import parsed

#: Classes of bonds that every graph has, and the one of aromatic rings.
BONDS, AROMATIC = ("none", "single", "double", "triple"), "aromatic"
_TYPES = {
    "single": Chem.BondType.SINGLE,
    "double": Chem.BondType.DOUBLE,
    "triple": Chem.BondType.TRIPLE,
    AROMATIC: Chem.BondType.AROMATIC,
}
#: The order of an aromatic bond as RDKit counts.
_AROMATIC_ORDER = 1.5

#: For each atom, of what is still written as SMILES though it is no molecule.
MOST_BONDS = 4


def read_again(smiles: str) -> Chem.Mol | Invalid:
    """The molecule of a canonical SMILES string, whose chemistry need not be checked again: not sanitised."""
    molecule = Chem.MolFromSmiles(smiles, sanitize=False)
    return Invalid("its canonical SMILES cannot be read back") if molecule is None else molecule


def graph_of(molecule: Chem.Mol, *, aromatic: bool, kekulise: bool, hydrogens: bool) -> Chem.Mol | Invalid:
    """The molecule, sanitised or not, with the atoms and the bonds that its graph has; it may be changed.

    Args:
        molecule: its atoms in the order of a canonical SMILES string.
        aromatic: whether it has aromatic atoms.
        kekulise: give aromatic rings alternating bonds; which, the order alone decides.
        hydrogens: append each hydrogen as an atom, in the order of the atoms that bear them.
    """
    if not (hydrogens or (aromatic and kekulise)):
        return molecule
    try:
        if molecule.NeedsUpdatePropertyCache():
            molecule.UpdatePropertyCache(strict=False)
            Chem.FastFindRings(molecule)  # any do to find double bonds; the smallest ones take longer
        if hydrogens:
            molecule = Chem.AddHs(molecule)
        if aromatic and kekulise:
            Chem.Kekulize(molecule, clearAromaticFlags=True)
    except (ValueError, RuntimeError):
        return Invalid("it has no Kekulé form")
    return molecule


def bond_classes(molecule: Chem.Mol, *, aromatic: bool) -> np.ndarray:
    """The classes of all pairs of atoms, uint8 (N, N): up to triple bonds their order, then perhaps aromatic ones."""
    orders = Chem.GetAdjacencyMatrix(molecule, useBO=True, force=True)
    classes: np.ndarray = orders.astype(np.uint8)
    # No index by an array here: for so few numbers that would take longer than all the rest.
    if aromatic:
        classes += (orders == _AROMATIC_ORDER) * np.uint8(3)
    return classes


def built(atoms: Sequence[str | None], bonds: np.ndarray, names: Sequence[str], *, explicit: bool) -> Chem.RWMol:
    """The molecule of a graph, not sanitised.

    Args:
        atoms: the class of each atom; None is the attachment point `*`.
        bonds: class numbers, (N, N), symmetric.
        names: of the classes of bonds; what follows a space, as in "double E", is no matter of the order.
        explicit: whether all hydrogens are atoms of the graph.
    """
    molecule = Chem.RWMol()
    for name in atoms:
        molecule.AddAtom(_atom(name, explicit))
    types = [_TYPES.get(name.split()[0]) for name in names]
    for end, row in enumerate(bonds.tolist()):
        for start, kind in enumerate(row[:end]):
            if kind:
                molecule.AddBond(start, end, types[kind])
    return molecule


@lru_cache(1024)
def _atom(name: str | None, explicit: bool) -> Chem.Atom:
    if name is None:
        return Chem.Atom(0)
    symbol, charge, hydrogens = parsed(name)
    atom = Chem.Atom(symbol)
    atom.SetFormalCharge(charge)
    if explicit or hydrogens is not None:
        atom.SetNoImplicit(True)
        atom.SetNumExplicitHs(hydrogens or 0)
    return atom


def atomic_number(symbol: str) -> int:
    """The atomic number of an element, 0 where RDKit knows none by this symbol."""
    with rdBase.BlockLogs():
        try:
            return max(0, Chem.GetPeriodicTable().GetAtomicNumber(symbol))
        except RuntimeError:
            return 0


def written(molecule: Chem.Mol, *, merge_hydrogens: bool = False) -> str | Invalid:
    """The canonical SMILES of a sanitised molecule.

    Args:
        molecule: sanitised.
        merge_hydrogens: hydrogens that are atoms become a part of their neighbours, as in every SMILES that is read.
    """
    try:
        if merge_hydrogens:
            molecule = Chem.RemoveHs(molecule)
            Chem.AssignStereochemistry(molecule)  # or the writer does it, and forgets the sides of double bonds
        return Chem.MolToSmiles(molecule)
    except (ValueError, RuntimeError) as error:
        return Invalid(f"cannot be written as SMILES: {next(iter(str(error).splitlines()), 'unknown reason')}")


def unchecked(molecule: Chem.RWMol) -> str | None:
    """SMILES of atoms and bonds as they are, whatever chemistry makes of them; None where RDKit cannot write it.

    Atoms may have too many bonds, and there may be several fragments: most such strings are no molecules. None too
    where there are many more bonds than in any molecule: writing the string would take up to a second.
    """
    if molecule.GetNumBonds() > MOST_BONDS * molecule.GetNumAtoms():
        return None
    try:
        molecule.UpdatePropertyCache(strict=False)
        return Chem.MolToSmiles(molecule)
    except (ValueError, RuntimeError):
        return None


def connected(molecule: Chem.Mol) -> Chem.Mol | Invalid:
    """The same molecule, or why it is several."""
    fragments = len(Chem.GetMolFrags(molecule))
    return molecule if fragments == 1 else Invalid(f"not connected: {fragments} fragments")
