"""Which molecules are valid, which have a closed shell, and which are no product of a model."""

import pytest

from molgen_plugins.molecules.chemistry.inspection import inspector
from molgen_plugins.molecules.chemistry.rdkit_io import canonical
from molgen_plugins.molecules.domain import Molecules

RADICALS = {"CC(=O)N[CH]C(N)=O": 1, "[CH2]": 2, "C[O]": 1, "CCO": 0, "C[N+](C)(C)CC(=O)[O-]": 0, "[O][O]": 2}


@pytest.mark.parametrize("smiles", ["C" * 201, "N" + "CC(=O)N" * 60 + "CC(=O)O", "C1CC1" * 50])
def test_size_makes_no_molecule_invalid(smiles):
    assert isinstance(canonical(smiles), str)
    assert inspector()(smiles).error is None


@pytest.mark.parametrize(("smiles", "electrons"), RADICALS.items())
def test_radicals_are_valid_and_fail_the_filters(smiles, electrons):
    found = inspector(properties=["radicals"], filters=True)(smiles)
    assert found.error is None
    assert found.properties["radicals"] == electrons
    assert found.flags["closed-shell"] is (electrons == 0)
    assert found.passes is all(found.flags.values())
    rules = Molecules().descriptors().filters
    assert {name: rule(smiles) for name, rule in rules.items()} == dict(found.flags)


def test_parts_of_molecules_are_readable_and_no_product():
    assert inspector()("*c1ccccc1").error is None
    assert "attachment points" in Molecules().unfinished("*c1ccccc1")
    assert Molecules().unfinished("c1ccccc1") == ""
