"""What is remembered by an atom's surroundings, and what is found once for a molecule."""

import random
from operator import attrgetter

import pytest
from rdkit import Chem

from molgen_plugins.molecules.chemistry import atom_environment as surroundings
from molgen_plugins.molecules.chemistry.atom_environment import Remembered, codes
from molgen_plugins.molecules.chemistry.memo import once, together
from molgen_plugins.molecules.domain import EXAMPLES


def mol(smiles):
    return Chem.MolFromSmiles(smiles)


# --- codes ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("smiles", [smiles for smiles in EXAMPLES if codes(mol(smiles)) is not None])
def test_codes_do_not_depend_on_the_order_of_atoms(smiles):
    molecule = mol(smiles)
    order = random.Random(0).sample(range(molecule.GetNumAtoms()), molecule.GetNumAtoms())
    found, renumbered = codes(molecule), codes(Chem.RenumberAtoms(molecule, order))
    assert renumbered.near == [found.near[atom] for atom in order]
    assert renumbered.far == [found.far[atom] for atom in order]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("CC", "NC"),  # the element
        ("C=C", "CC"),  # hydrogens
        ("[O-]C", "[O]C"),  # the charge
        ("C1(C2CCCCC2)CCCCC1", "C12CCCCC1CCCC2"),  # whether a bond is in a ring
        ("C12CC1C2", "C1(C)CC1"),  # the number of rings
        ("c1ccccc1", "C1=CCC=CC1"),  # aromatic or not
        ("CF", "CCl"),  # a neighbour
        ("C#C", "C=C"),  # the kind of a bond
    ],
)
def test_first_atoms_that_differ_have_different_codes(first, second):
    assert codes(mol(first)).near[0] != codes(mol(second)).near[0]
    assert codes(mol(first)).far[0] != codes(mol(second)).far[0]


def test_codes_look_two_bonds_far_but_from_carbon():
    acid, ether = codes(mol("OC(=O)C")), codes(mol("OC(=S)C"))
    assert acid.far[0] != ether.far[0]
    chain, other = codes(mol("CCCCO")), codes(mol("CCCCN"))
    assert (chain.near[1], chain.far[1]) == (other.near[1], other.far[1])
    assert chain.near[3] != other.near[3]


def test_equal_atoms_have_equal_codes():
    found = codes(mol("c1ccccc1"))
    assert len(set(found.near)) == len(set(found.far)) == 1


@pytest.mark.parametrize("smiles", ["[13CH4]", "[2H]C", "N->[Fe]", "CB<-N"])
def test_isotopes_and_dative_bonds_have_no_codes(smiles):
    assert codes(mol(smiles)) is None


# --- memory ---------------------------------------------------------------------------------------


class Counting:
    """Finds degrees, and counts for how many atoms it was asked."""

    def __init__(self):
        self.asked = 0

    def __call__(self, molecule, atoms):
        self.asked += len(atoms)
        return [molecule.GetAtomWithIdx(atom).GetDegree() for atom in atoms]


def test_facts_are_found_once_for_each_kind_of_atom():
    find = Counting()
    degrees = Remembered(attrgetter("near"), find)
    assert degrees(mol("CCO")) == [1, 2, 1]
    assert find.asked == 3
    assert degrees(mol("OCC")) == [1, 2, 1]
    assert find.asked == 3
    assert degrees(mol("CCCO")) == [1, 2, 2, 1]
    assert find.asked == 3 + 2  # the two in the middle have new neighbours


def test_without_codes_facts_are_found_each_time():
    find = Counting()
    degrees = Remembered(attrgetter("near"), find)
    assert [degrees(mol("[13CH3]C")) for _ in range(2)] == [[1, 1]] * 2
    assert find.asked == 4


def test_a_full_memory_starts_anew(monkeypatch):
    monkeypatch.setattr(surroundings, "LIMIT", 2)
    find = Counting()
    degrees = Remembered(attrgetter("near"), find)
    assert [degrees(mol(smiles)) for smiles in ("CCO", "CN", "CCO")] == [[1, 2, 1], [1, 1], [1, 2, 1]]
    assert find.asked == 3 + 2 + 3


# --- once -----------------------------------------------------------------------------------------


def test_results_are_kept_for_the_molecule_at_hand_alone():
    calls = []

    @once
    def atoms(molecule):
        calls.append(molecule)
        return molecule.GetNumAtoms()

    first, second = mol("CC"), mol("CCC")
    with together(first):
        assert [atoms(first), atoms(first), atoms(second), atoms(second)] == [2, 2, 3, 3]
        with together(first):
            assert atoms(first) == 2
        with together(second):
            assert [atoms(second), atoms(second)] == [3, 3]
        assert atoms(first) == 2
    assert calls == [first, second, second, second]
    assert [atoms(first), atoms(first)] == [2, 2]
    assert len(calls) == 6


def test_a_failure_is_not_kept():
    @once
    def fails(molecule):
        raise ValueError("no")

    molecule = mol("CC")
    with together(molecule):
        for _ in range(2):
            with pytest.raises(ValueError, match="no"):
                fails(molecule)
