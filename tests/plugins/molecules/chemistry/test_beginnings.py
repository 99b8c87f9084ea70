"""Beginnings that no molecule has are told from those that some molecule has."""

import pytest
from support.molecules import SMILES

from molgen_plugins.molecules.chemistry.beginnings import contradiction
from molgen_plugins.molecules.domain import EXAMPLES
from molgen_plugins.molecules.smiles.encoder import tokenise


@pytest.mark.parametrize(
    ("beginning", "reason"),
    [
        ("CN(C)(C)C(", "valence of N atom 1: 4 > 3"),
        ("C(=O)(=O)C", "valence of C atom 0: 5 > 4"),
        ("C11", "ring 1 closes on its own atom 0"),
        ("CC)C", "branch closed that was never opened at position 3"),
        ("CF(C)", "valence of F atom 1: 2 > 1"),
    ],
)
def test_what_no_molecule_begins_with(beginning, reason):
    assert contradiction(tokenise(beginning)) == reason


@pytest.mark.parametrize(
    "beginning", ["C(", "c1cc", "C[N+](C)(C)C(", "CC=", "C%12CC", "O=C1C=", "CS(=O)(=O)(", "C.", "C=1CC"]
)
def test_what_some_molecule_begins_with(beginning):
    assert contradiction(tokenise(beginning)) == ""


@pytest.mark.parametrize("smiles", [*SMILES, *EXAMPLES])
def test_every_beginning_of_a_molecule_is_one(smiles):
    tokens = tokenise(smiles)
    assert [tokens[:count] for count in range(len(tokens) + 1) if contradiction(tokens[:count])] == []
