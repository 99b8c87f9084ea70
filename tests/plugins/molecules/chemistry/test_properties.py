"""Properties are RDKit's values, and NaN where there is none."""

import math

import pytest
from rdkit import Chem, RDConfig
from rdkit.Chem import QED, Crippen, Descriptors, Lipinski

from molgen.errors import MolgenError
from molgen_plugins.molecules.chemistry import properties
from molgen_plugins.molecules.chemistry.properties import PROPERTIES, compute
from molgen_plugins.molecules.chemistry.rdkit_io import parse
from molgen_plugins.molecules.domain import EXAMPLES

ASPIRIN = "CC(=O)Oc1ccccc1C(=O)O"
RDKIT = {
    "qed": QED.qed,
    "logp": Crippen.MolLogP,
    "mw": Descriptors.MolWt,
    "tpsa": Descriptors.TPSA,
    "rings": Lipinski.RingCount,
    "hba": Lipinski.NumHAcceptors,
    "hbd": Lipinski.NumHDonors,
    "rotatable_bonds": Lipinski.NumRotatableBonds,
    "charge": Chem.GetFormalCharge,
    "stereo_centres": lambda molecule: len(Chem.FindMolChiralCenters(molecule, includeUnassigned=True)),
}


@pytest.mark.parametrize("smiles", EXAMPLES)
def test_values_are_those_of_rdkit(smiles):
    values = compute(parse(smiles))
    assert list(values) == list(PROPERTIES)
    for name, function in RDKIT.items():
        assert values[name] == pytest.approx(function(Chem.MolFromSmiles(smiles)), abs=1e-9), name


def test_synthetic_accessibility_of_known_molecules():
    assert compute(parse(ASPIRIN), ["sa"])["sa"] == pytest.approx(1.58, abs=0.01)
    assert compute(parse(ASPIRIN), ["mw"]) == {"mw": pytest.approx(180.159, abs=1e-3)}


def test_the_scorer_is_named_where_it_is_missing(monkeypatch):
    properties._sascorer.cache_clear()
    monkeypatch.setattr(RDConfig, "RDContribDir", "/nowhere")
    with pytest.raises(MolgenError, match=r"sa needs .*sascorer.py"):
        compute(parse("CC"), ["sa"])


def test_what_cannot_be_computed_is_not_a_number(monkeypatch):
    def fails(molecule):
        raise ValueError("no parameters")

    monkeypatch.setattr(properties, "PROPERTIES", {"fails": fails, "endless": lambda molecule: math.inf})
    values = compute(parse("CC"), ["fails", "endless"])
    assert all(math.isnan(value) for value in values.values())


def test_with_attachment_points_only_rings_charge_and_radicals_are_known():
    values = compute(parse("*c1ccccc1[O-]"))
    assert {name for name, value in values.items() if not math.isnan(value)} == {"rings", "charge", "radicals"}
    assert (values["rings"], values["charge"]) == (1, -1)


def test_an_unknown_name_is_an_error():
    with pytest.raises(KeyError):
        compute(parse("CC"), ["weight"])
