"""Molecules with positions: the canonical form, and that they remain strings to all that want no positions."""

import copy
import pickle

import numpy as np
import pytest
from rdkit import Chem
from support.geometries import conformers, plainly, records

from molgen.domain import Invalid
from molgen.workers.stream import byte_size
from molgen_plugins.molecules.domain import Molecules
from molgen_plugins.molecules.geometry.conformer import Conformer
from molgen_plugins.molecules.geometry.standard import canonical, conformer_of, molecule_of

WATER = Conformer("", [8, 1, 1], [[0.0, 0.0, 0.12], [0.0, 0.76, -0.47], [0.0, -0.76, -0.47]])


@pytest.fixture
def domain():
    return Molecules()


def turned(positions):
    angle = 0.7
    rotation = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    return positions @ rotation.T + [3.0, -1.0, 2.0]


def test_bonds_of_real_geometries_are_found():
    for record, conformer in zip(records(), conformers(), strict=True):
        assert plainly(str(conformer)) == plainly(record.columns["qm9_smiles"])


def test_atoms_stand_in_the_order_of_the_smiles_with_hydrogens_behind():
    for conformer in conformers():
        symbols = [atom.GetAtomicNum() for atom in Chem.MolFromSmiles(conformer).GetAtoms()]
        heavy = [number for number in symbols if number != 1]
        assert conformer.elements[: len(heavy)].tolist() == heavy
        assert set(conformer.elements[len(heavy) :].tolist()) <= {1}


def test_the_canonical_form_depends_on_neither_the_order_of_the_atoms_nor_the_frame(domain):
    rng = np.random.default_rng(0)
    for conformer in conformers():
        order = rng.permutation(len(conformer.elements))
        shuffled = Conformer("", conformer.elements[order], turned(conformer.positions[order]))
        again = domain.canonical(shuffled)
        assert again == conformer
        assert again.elements.tolist() == conformer.elements.tolist()
        assert domain.canonical(again).content == again.content


def test_a_mirror_image_is_another_molecule_where_the_molecule_is_chiral(domain):
    for conformer in conformers():
        mirrored = domain.canonical(Conformer("", conformer.elements, conformer.positions * [1, 1, -1]))
        assert plainly(mirrored) == plainly(conformer)
        assert (mirrored == conformer) is ("@" not in conformer)


def test_it_is_a_string_and_survives_what_strings_survive(domain):
    conformer = domain.canonical(WATER)
    assert conformer == "O"
    assert hash(conformer) == hash("O")
    assert isinstance(conformer, Conformer)
    for twin in (pickle.loads(pickle.dumps(conformer)), copy.deepcopy(conformer)):
        assert isinstance(twin, Conformer)
        assert twin == conformer
        assert twin.content == conformer.content
        assert np.array_equal(twin.positions, conformer.positions)
    assert type(domain.key(conformer)) is str
    assert byte_size(conformer) > 3 * 3 * 8
    with pytest.raises(ValueError, match="read-only"):
        conformer.positions[0, 0] = 1.0


def test_equal_molecules_at_other_positions_differ_in_content_alone(domain):
    first = domain.canonical(WATER)
    second = domain.canonical(Conformer("", WATER.elements, WATER.positions * 1.01))
    assert domain.key(first) == domain.key(second) == domain.key("O")
    assert domain.content(first) != domain.content(second) != domain.content("O") == "O"
    near = domain.canonical(Conformer("", WATER.elements, WATER.positions + 1e-9))
    assert domain.content(near) == domain.content(first)


def test_bonds_and_charges_are_kept_where_they_are_known(domain):
    zwitterion = next(conformer for conformer in conformers() if conformer.charges.any())
    assert zwitterion.charges.sum() == 0
    assert domain.canonical(zwitterion).content == zwitterion.content
    methyl = Conformer("", [6, 1, 1, 1], np.eye(4)[:, :3], bonds=[[0, 1, 1, 1], *[[1, 0, 0, 0]] * 3])
    assert domain.canonical(methyl) == "[CH3]"


def test_a_charged_molecule_of_an_xyz_file_says_its_charge(domain):
    text = "5\ncharge=1\nN 0 0 0\nH .59 .59 .59\nH -.59 -.59 .59\nH -.59 .59 -.59\nH .59 -.59 -.59\n"
    assert domain.canonical(text) == "[NH4+]"
    assert isinstance(domain.canonical(text.replace("charge=1", "")), Invalid)


def test_missing_hydrogens_are_placed_and_that_is_noted(domain):
    ethanol = Chem.MolFromSmiles("CCO")
    places = Chem.Conformer(3)
    places.SetPositions(np.array([[0.0, 0.0, 0.0], [1.5, 0.0, 0.0], [2.0, 1.35, 0.1]]))
    ethanol.AddConformer(places)
    found = domain.canonical(Chem.MolToMolBlock(ethanol))
    assert found == "CCO"
    assert len(found.elements) == 9
    assert found.origin == "hydrogens placed by RDKit"


def test_a_drawing_is_a_molecule_without_positions(domain):
    from rdkit.Chem import rdDepictor

    molecule = Chem.MolFromSmiles("OCC")
    rdDepictor.Compute2DCoords(molecule)
    found = domain.canonical(Chem.MolToMolBlock(molecule))
    assert found == "CCO"
    assert type(found) is str


def test_positions_decide_about_double_bonds(domain):
    for smiles in ("C/C=C/C", "C/C=C\\C"):
        from rdkit.Chem import rdDistGeom

        molecule = Chem.AddHs(Chem.MolFromSmiles(smiles))
        rdDistGeom.EmbedMolecule(molecule, randomSeed=1)
        found = conformer_of(molecule)
        assert found == domain.canonical(smiles)
        Chem.RemoveStereochemistry(molecule)
        assert domain.canonical(Chem.MolToMolBlock(molecule)) == found


@pytest.mark.parametrize(
    ("item", "reason"),
    [
        ("2\n\nC 0 0 0\n", "2 atoms are announced and 1 follow"),
        ("1\n\nXx 0 0 0\n", "'Xx 0 0 0' is not an element and three coordinates"),
        ("1\n\nC 0 0 nan\n", "'C 0 0 nan' is not an element and three coordinates"),
        ("not\nany format\n", "an XYZ entry begins with its number of atoms"),
        ("\n\n\n  0  0  0  0  0  0  0  0  0  0999 V2000\nM  END\n", "there is no atom"),
        ("\n\n\nnonsense V2000\n", "not the syntax of a MOL file"),
        ("@<TRIPOS>MOLECULE\nnothing\n", "not the syntax of a MOL2 file"),
        (Conformer("", [6, 6], [[0, 0, 0], [0, 0, np.inf]]), "positions that are no numbers"),
        (Conformer("", [], np.zeros((0, 3))), "there is no atom"),
        (Conformer("", [0, 6], [[0, 0, 0], [0, 0, 1.5]]), "an atom of no element"),
        (Conformer("", [6] * 2001, np.zeros((2001, 3))), "2,001 atoms are more than the 2,000"),
    ],
)
def test_what_is_no_molecule_says_why(domain, item, reason):
    found = domain.canonical(item)
    assert isinstance(found, Invalid)
    assert reason in found.reason
    assert "\n" not in found.reason


def test_too_many_bonds_and_coinciding_atoms_are_no_molecule(domain):
    five = Conformer("", [6, *[1] * 5], np.eye(6)[:, :3], bonds=[[0, 1, 1, 1, 1, 1], *[[1, 0, 0, 0, 0, 0]] * 5])
    assert "valence of C atom 0: 5 > 4" in domain.canonical(five).reason
    assert isinstance(domain.canonical(Conformer("", [6] * 8, np.zeros((8, 3)))), Invalid)


def test_several_molecules_are_an_item_of_a_file_and_no_product_of_a_model(domain):
    two = Conformer("", [*WATER.elements] * 2, np.concatenate([WATER.positions, WATER.positions + 5]))
    found = domain.canonical(two)
    assert found == "O.O"
    assert domain.unfinished(found) == "not connected: 2 fragments"
    assert domain.unfinished("O.O") == ""  # a salt that a model of strings wrote


def test_arrays_of_different_molecules_are_refused():
    with pytest.raises(ValueError, match="2 atoms have"):
        Conformer("", [6, 6], [[0, 0, 0]])


def test_molecules_of_rdkit_come_and_go():
    conformer = conformers()[3]
    molecule = molecule_of(conformer)
    assert conformer_of(molecule).content == conformer.content
    assert canonical(conformer)[1].GetNumAtoms() == Chem.MolFromSmiles(conformer).GetNumAtoms()
