"""Features are those of the plain definitions, bit for bit, and plain data."""

import math
import pickle

import numpy as np
import pytest
from rdkit import Chem, rdBase
from rdkit.Chem import QED, AllChem, Crippen, Descriptors
from rdkit.Chem.rdFingerprintGenerator import GetMorganGenerator
from rdkit.Chem.Scaffolds import MurckoScaffold
from support.molecules import ROWS

from molgen_plugins.molecules.chemistry import features, properties
from molgen_plugins.molecules.chemistry.features import FEATURES, compute
from molgen_plugins.molecules.chemistry.inspection import canonical_inspector, inspector
from molgen_plugins.molecules.domain import EXAMPLES, Molecules
from molgen_plugins.molecules.geometry.features import FEATURES as SPATIAL

#: With isotopes, a dative bond and hydrogen atoms too, which the faster ways do not know.
SPECIAL = ("[13CH3]c1ccccc1C(=O)OCC", "[2H]OCCN", "Cl[Pt](Cl)<-N1CCCC1", "[H][H]", "[Na+].[Cl-]", "OC(O)=O", "CC", "C")
SMILES = [smiles for smiles, _ in ROWS] + [*EXAMPLES, *SPECIAL]


def mol(smiles):
    return Chem.MolFromSmiles(smiles)


def scaffold(molecule):
    found = MurckoScaffold.GetScaffoldForMol(molecule)
    return Chem.MolToSmiles(found) if found.GetRingInfo().NumRings() >= 2 else ""


def sa(molecule):
    return properties._sascorer().calculateScore(molecule)


#: The definitions of MOSES, word for word.
PLAIN = {
    "fragments": lambda molecule: Chem.MolToSmiles(AllChem.FragmentOnBRICSBonds(molecule)).split("."),
    "scaffold": scaffold,
    "logp": Crippen.MolLogP,
    "sa": sa,
    "qed": QED.qed,
    "mw": Descriptors.MolWt,
}


@pytest.mark.parametrize("name", PLAIN)
def test_features_are_those_of_the_definition(name):
    compute(mol("CC"), [name])  # loads tables
    assert {s: FEATURES[name](mol(s)) for s in SMILES} == {s: PLAIN[name](mol(s)) for s in SMILES}


@pytest.mark.parametrize(("name", "bits"), [("fingerprint", 1024), ("fingerprint2048", 2048)])
def test_fingerprints_are_those_of_rdkit(name, bits):
    generator = GetMorganGenerator(radius=2, fpSize=bits)
    for smiles in SMILES:
        found = FEATURES[name](mol(smiles))
        assert (found.dtype, found.shape) == (np.uint8, (bits // 8,))
        expected = generator.GetFingerprintAsNumPy(mol(smiles))
        assert np.array_equal(np.unpackbits(found, bitorder="little"), expected), smiles


def test_fingerprints_are_those_of_the_older_function():
    with rdBase.BlockLogs():
        for smiles in SMILES[::20]:
            expected = np.array(AllChem.GetMorganFingerprintAsBitVect(mol(smiles), 2, nBits=1024))
            assert np.array_equal(np.unpackbits(FEATURES["fingerprint"](mol(smiles)), bitorder="little"), expected)


def test_together_features_are_what_they_are_alone():
    names = [name for name in FEATURES if not name.startswith("guacamol")]
    for smiles in SMILES[::10]:
        found = compute(mol(smiles), names)
        assert list(found) == names
        for name in names:
            assert np.array_equal(found[name], FEATURES[name](mol(smiles))), (smiles, name)


def test_by_hand():
    found = compute(mol("CC(=O)Oc1ccccc1C(=O)O"), FEATURES)
    assert sorted(found["fragments"]) == sorted(["[1*]C(C)=O", "[3*]O[3*]", "[16*]c1ccccc1[16*]", "[6*]C(=O)O"])
    assert found["scaffold"] == ""
    assert found["passes"] is True
    assert FEATURES["scaffold"](mol("Cc1ccc(cc1)C(=O)N2CCC[C@H](C)C2")) == "O=C(c1ccccc1)N1CCCCC1"
    assert FEATURES["flat"](mol("[13CH3][C@H](F)/C=C/Cl")) == "CC(F)C=CCl"


def test_numbers_of_guacamol_are_of_flat_molecules():
    generator = GetMorganGenerator(radius=2, fpSize=4096)
    for smiles in [*SMILES[::12], *SPECIAL]:
        found = compute(mol(smiles), ["guacamol", "guacamol_fingerprint"])
        flat = mol(Chem.MolToSmiles(mol(smiles), isomericSmiles=False))
        assert found["guacamol"].tolist() == [float(getattr(Descriptors, name)(flat)) for name in features.DESCRIPTORS]
        bits = np.unpackbits(found["guacamol_fingerprint"], bitorder="little")
        assert np.array_equal(bits, generator.GetFingerprintAsNumPy(flat))


# --- missing values, workers ----------------------------------------------------------------------


def test_a_feature_that_fails_is_missing(monkeypatch):
    def fails(molecule):
        raise ValueError("no parameters")

    replaced = {name: (fails, missing) for name, (_, missing) in features._FOUND.items()}
    monkeypatch.setattr(features, "_FOUND", replaced)
    found = compute(mol("CC"), FEATURES)
    assert all(math.isnan(found[name]) for name in ("logp", "sa", "qed"))
    assert (found["fragments"], found["scaffold"], found["flat"], found["passes"]) == ([], "", "", False)
    assert not found["fingerprint"].any()
    assert np.isnan(found["guacamol"]).all()


def test_numbers_of_parts_of_molecules_are_missing():
    found = compute(mol("*c1ccccc1"), ["qed", "mw", "fragments"])
    assert math.isnan(found["qed"])
    assert math.isnan(found["mw"])
    assert found["fragments"] == ["*c1ccccc1"]


def test_an_inspection_has_the_features_asked_for():
    inspect = inspector(["mw"], filters=True, features=list(FEATURES))
    found = inspect("OC(=O)c1ccccc1OC(C)=O")
    assert list(found.features) == list(FEATURES)
    assert found.features["mw"] == found.properties["mw"]
    assert found.features["passes"] is found.passes
    assert pickle.loads(pickle.dumps(found)).features["fragments"] == found.features["fragments"]
    assert inspector()("CC").features == {}
    assert inspector(features=["mw"])("C1CC").features == {}


def test_two_spellings_of_a_molecule_have_the_same_features():
    inspect = inspector(features=["logp", "sa", "qed", "fragments", "scaffold"])
    for smiles in SMILES[::25]:
        written = Chem.MolToSmiles(mol(smiles), doRandom=True)
        assert inspect(written) == inspect(smiles), smiles


def test_strings_that_count_as_canonical_are_not_rewritten_and_have_the_same_bits():
    names = ["fingerprint", "fingerprint2048"]
    inspect, as_stored = inspector(features=names), canonical_inspector(features=names)
    for smiles in ["OCC", "C1=CC=CC=C1O", "CN1C=NC2=C1C(=O)N(C(=O)N2C)C", "C[N+](=O)[O-]"]:
        mine, other = as_stored(smiles), inspect(smiles)
        assert mine.smiles == smiles
        assert all(np.array_equal(mine.features[name], other.features[name]) for name in names)
    assert as_stored("C1CC").error == inspect("C1CC").error


def test_an_unknown_feature_is_an_error():
    with pytest.raises(ValueError, match="no feature 'colour': there are fingerprint"):
        inspector(features=["colour"])


def test_the_domain_has_them_as_rules():
    descriptors = Molecules().descriptors()
    assert list(descriptors.features) == [*FEATURES, *SPATIAL]
    assert descriptors.features["scaffold"]("c1ccc2ccccc2c1") == "c1ccc2ccccc2c1"
