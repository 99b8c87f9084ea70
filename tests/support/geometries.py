"""Geometries of QM9, as its files have them, and what they become."""

from pathlib import Path

from molgen_plugins.molecules.domain import Molecules

QM9_FILE = Path(__file__).parents[1] / "data" / "qm9.xyz"


def records():
    """Sixteen molecules of QM9's test split with positions, among them a zwitterion and two aromatic rings."""
    return list(Molecules().read(QM9_FILE))


def conformers():
    """The same in canonical form."""
    return [Molecules().canonical(record.item) for record in records()]


def plainly(smiles):
    """The canonical SMILES without stereochemistry, by which a molecule of QM9 is known."""
    from rdkit import Chem

    molecule = Chem.MolFromSmiles(smiles)
    Chem.RemoveStereochemistry(molecule)
    return Chem.MolToSmiles(Chem.RemoveHs(molecule))
