"""The MOSES filters decide as the plain definition does, only sooner."""

import csv
from importlib import resources

import pytest
from rdkit import Chem
from support.molecules import ROWS

from molgen_plugins.molecules.chemistry.filters import ELEMENTS, passes, violation
from molgen_plugins.molecules.chemistry.rdkit_io import parse

DATA = resources.files("molgen_plugins.molecules") / "data"


def patterns():
    mcf = list(csv.DictReader((DATA / "mcf.csv").read_text().splitlines()))
    pains = list(csv.reader((DATA / "wehi_pains.csv").read_text().splitlines()))
    return [Chem.MolFromSmarts(smarts) for smarts in [row["smarts"] for row in mcf] + [row[0] for row in pains]]


def plain(molecule, alerts):
    """The definition, word for word: all alerts on the molecule with hydrogens."""
    if any(len(ring) >= 8 for ring in molecule.GetRingInfo().AtomRings()):
        return False
    if any(atom.GetFormalCharge() or atom.GetSymbol() not in ELEMENTS for atom in molecule.GetAtoms()):
        return False
    complete = Chem.AddHs(molecule)
    return not any(complete.HasSubstructMatch(alert) for alert in alerts)


def test_all_patterns_are_there():
    alerts = patterns()
    assert len(alerts) == 502
    assert None not in alerts


def test_decisions_are_those_of_the_definition():
    alerts = patterns()
    sample = [smiles for smiles, _ in ROWS][::2]
    decisions = {smiles: passes(parse(smiles)) for smiles in sample}
    assert decisions == {smiles: plain(parse(smiles), alerts) for smiles in sample}
    assert {True, False} == set(decisions.values())


def test_every_pattern_finds_the_molecule_that_it_draws():
    """No pattern is lost to the fingerprints: where it matches, the molecule fails."""
    found = 0
    for pattern in patterns():
        molecule = parse(Chem.MolToSmiles(pattern))
        if isinstance(molecule, Chem.Mol) and Chem.AddHs(molecule).HasSubstructMatch(pattern):
            assert not passes(molecule)
            found += 1
    assert found > 300


def test_moses_molecules_pass():
    assert all(passes(parse(smiles)) for smiles, source in ROWS if source == "MOSES")


@pytest.mark.parametrize(
    ("smiles", "reason"),
    [
        ("CC(=O)[O-].[Na+]", "a charged atom"),
        ("C[N+](C)(C)CC(=O)[O-]", "a charged atom"),
        ("CCI", "an atom of I"),
        ("CC*", "an atom of *"),
        ("C1CCCCCCC1", "a ring of 8 or more atoms"),
        ("CCN=C=O", "the alert MCF6"),
        ("O=C1CSC(=S)N1C", "the alert rhod_sat_A(33)"),
        ("C1CCCCCC1", None),
        ("[2H]C([2H])([2H])c1ccccc1", None),
        ("CCO.c1ccccc1", None),
    ],
)
def test_the_first_violation_is_named(smiles, reason):
    assert violation(parse(smiles)) == reason
