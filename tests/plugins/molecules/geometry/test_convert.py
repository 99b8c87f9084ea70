"""Conformers to and from RDKit and ASE."""

import builtins

import numpy as np
import pytest
from rdkit import Chem
from rdkit.Chem import rdDistGeom
from support.geometries import conformers

from molgen.domain import Invalid
from molgen.errors import MolgenError
from molgen_plugins.molecules.domain import Molecules
from molgen_plugins.molecules.geometry.conformer import Conformer
from molgen_plugins.molecules.geometry.convert import from_ase, from_rdkit, to_ase, to_rdkit


def test_rdkit_and_back():
    for conformer in conformers():
        molecule = to_rdkit(conformer)
        assert Chem.MolToSmiles(Chem.RemoveHs(molecule)) == conformer
        assert from_rdkit(molecule).content == conformer.content


def test_each_conformer_of_a_molecule_can_be_taken():
    molecule = Chem.AddHs(Chem.MolFromSmiles("CCCO"))
    first, second = rdDistGeom.EmbedMultipleConfs(molecule, 2, randomSeed=5)
    found = [from_rdkit(molecule, identifier) for identifier in (first, second)]
    assert found[0] == found[1] == "CCCO"
    assert found[0].content != found[1].content
    assert isinstance(from_rdkit(Chem.MolFromSmiles("CCO")), Invalid)


def test_atoms_without_bonds_are_bonded_on_the_way():
    conformer = conformers()[0]
    assert to_rdkit(Conformer("", conformer.elements, conformer.positions)).GetNumBonds() == 6
    assert isinstance(to_rdkit(Conformer("", [6, 6], [[0, 0, 0], [9, 0, 0]])), Invalid)


def test_ase_and_back():
    pytest.importorskip("ase")
    for conformer in conformers():
        atoms = to_ase(conformer)
        assert atoms.numbers.tolist() == conformer.elements.tolist()
        np.testing.assert_array_equal(atoms.positions, conformer.positions)
        assert Molecules().canonical(from_ase(atoms)) == conformer
    atoms.pbc = True
    with pytest.raises(MolgenError, match="periodic atoms are no molecule"):
        from_ase(atoms)


def test_a_missing_ase_says_what_to_type(monkeypatch):
    real = builtins.__import__

    def without(name, *rest, **named):
        if name == "ase":
            raise ImportError(name)
        return real(name, *rest, **named)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(MolgenError, match="pip install 'molgen-toolkit"):
        to_ase(conformers()[0])
