"""A screen finds what trying every pattern finds."""

import re

import pytest
from rdkit import Chem
from rdkit.Chem import QED
from support.molecules import ROWS

from molgen_plugins.molecules.chemistry import filters
from molgen_plugins.molecules.chemistry.smarts import Screen, relaxed
from molgen_plugins.molecules.domain import EXAMPLES

SMILES = [smiles for smiles, _ in ROWS] + list(EXAMPLES)
#: What patterns may ask of an atom; a new kind of question must first be looked at by `screening._kind`.
QUESTIONS = {
    *("AtomAnd", "AtomOr", "AtomNull", "AtomType", "AtomAtomicNum", "AtomIsAromatic", "AtomIsAliphatic"),
    *("AtomFormalCharge", "AtomIsotope", "AtomHCount", "AtomExplicitDegree", "AtomTotalDegree"),
    *("AtomTotalValence", "AtomInNRings", "AtomInRing"),
}


def mol(smiles):
    return Chem.MolFromSmiles(smiles)


def patterns(*smarts):
    return [Chem.MolFromSmarts(pattern) for pattern in smarts]


def test_it_finds_the_alerts_of_the_definition():
    screen = Screen(QED.StructuralAlerts)
    for smiles in SMILES:
        molecule = mol(smiles)
        expected = [n for n, alert in enumerate(QED.StructuralAlerts) if molecule.HasSubstructMatch(alert)]
        assert list(screen.matching(molecule)) == expected, smiles


def test_hydrogens_are_seen_where_asked_for():
    asked = patterns("[#6](-[#1])-[#1]", "[#8]-[#1]", "[#1]", "[#6]-[#1]")
    assert list(Screen(asked, hydrogens=True).matching(mol("CO"))) == [0, 1, 2, 3]
    assert list(Screen(asked, hydrogens=True).matching(mol("FC(F)(F)F"))) == []
    assert list(Screen(asked, hydrogens=True).matching(mol("FC(F)F"))) == [2, 3]
    assert list(Screen(asked).matching(mol("CO"))) == []


@pytest.mark.parametrize(
    ("smarts", "yes", "no"),
    [
        ("C(C)(C)(C)C", "CC(C)(C)C", "CC(C)C"),  # how many neighbours
        ("[$(CO),$(CS)]F", "OCF", "NCF"),  # recursive, alternatives
        ("[N;!$(N=*)]", "CN", "C=N"),  # recursive, forbidden
        ("[CR2]", "C1CC2CC12", "C1CC1"),  # how many rings
        ("C-!@C", "CC", "C1CC1"),  # bonds outside rings
        ("F.F", "FCF", "CF"),  # several parts
        ("[13C]", "[13CH4]", "C"),  # isotopes, which have no codes
        ("[N+](=O)[O-]", "C[N+](=O)[O-]", "CN=O"),  # charges
    ],
)
def test_single_patterns(smarts, yes, no):
    screen = Screen(patterns(smarts))
    for _ in range(2):  # the second time from memory
        assert list(screen.matching(mol(yes))) == [0]
        assert list(screen.matching(mol(no))) == []


def test_patterns_ask_only_what_decides():
    asked = [relaxed(pattern) for pattern in (*filters._alerts().screen.patterns, *QED.StructuralAlerts)]
    found = {name for pattern in asked for atom in pattern.GetAtoms() for name in questions(atom)}
    assert found <= QUESTIONS


def questions(atom):
    return re.findall(r"^\s*(\w+)", atom.DescribeQuery(), re.MULTILINE)


@pytest.mark.parametrize(
    ("smarts", "expected"),
    [("[n;!R,$(n-[#6])]C", "nC"), ("[!$(N=*)&$(N(C)[$(C=O)])]=O", "*=O"), ("[C;R;!$(C=O)]", "[C&R]"), ("C", "C")],
)
def test_relaxed_patterns_ask_nothing_recursive(smarts, expected):
    assert Chem.MolToSmarts(relaxed(Chem.MolFromSmarts(smarts))) == expected


def test_no_pattern_is_no_match():
    assert list(Screen(patterns("C")).matching(mol("O"))) == []
