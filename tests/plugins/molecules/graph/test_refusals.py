"""Reasons for what has no molecular graph, and for graphs that are no molecule."""

import time

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from support.molecular_graphs import graph

from molgen.domain import Invalid
from molgen_plugins.molecules.chemistry import rdkit_io as chem
from molgen_plugins.molecules.graph.atoms import ATOMS
from molgen_plugins.molecules.graph.encoder import Graph, GraphConfig


@pytest.mark.parametrize(
    ("smiles", "reason"),
    [
        ("[Na+].[Cl-]", "not connected: several fragments"),
        ("CC[Xe]", "atom '[Xe]' is not in the vocabulary of this model"),
        ("[2H]C", "an isotope"),
        ("[13CH4]", "an isotope"),
        ("[CH3:1]C", "an atom-map number"),
        ("*CC", "an attachment point is no atom"),
        ("N->[Fe]", "a dative bond"),
        ("C$C", "a quadruple bond"),
        ("[CH2]C", "a radical"),
        ("C[O]", "a radical"),
        ("[PH5]", "its graph stands for another molecule"),
        ("C" * 65, "more than the 64 atoms that this model can write"),
        (
            "C[C@H](N)O",
            "stereochemistry is refused; encoder.stereo=drop leaves it out, encoder.stereo=keep keeps it",
        ),
        ("c1cccc1", "cannot be kekulised: atoms 0 1 2 3 4"),
        ("CF(C)C", "valence of F atom 1: 3 > 1"),
        ("", "the string is empty"),
        (None, "a molecule is written as a SMILES string, not as NoneType"),
        ("(" * 10**6, "1,000,000 characters are more than the 10,000 that are read of one molecule"),
    ],
)
def test_what_has_no_graph_has_a_reason(smiles, reason):
    assert Graph().encode(smiles) == Invalid(reason)


def test_hydrogens_that_are_atoms_can_be_of_any_number():
    encoder = Graph(GraphConfig(hydrogens=True))
    for smiles in ("[CH2]C", "C[O]", "[PH5]", "[CH2]"):
        assert encoder.decode(encoder.encode(smiles)) == chem.canonical(smiles)
    assert encoder.encode("C" * 22) == Invalid("more than the 64 atoms that this model can write")


@given(st.text(alphabet="CNOSFIPBcnos[]H+()=#:12%.@/\\*$-", max_size=40) | st.text(max_size=20))
@settings(max_examples=200, deadline=None)
@example("B:B")
def test_encoding_never_raises(text):
    for values in ({}, {"aromatic": True, "stereo": "keep"}):
        encoder = Graph(GraphConfig(**values))
        sample = encoder.encode(text)
        assert isinstance(sample, Invalid) or chem.canonical(encoder.decode(sample)) == chem.canonical(text)


@pytest.mark.parametrize("values", [{}, {"aromatic": True}, {"hydrogens": True}])
def test_a_string_with_an_aromatic_bond_outside_of_rings_is_refused(values):
    assert Graph(GraphConfig(**values)).encode("B:B") == Invalid("an aromatic bond outside of rings")


@pytest.mark.parametrize(
    ("atoms", "bonds", "reason"),
    [
        (["C", "C"], [], "not connected: 2 fragments"),
        (["F", "C", "C"], [(0, 1, "single"), (0, 2, "single")], "valence of F atom 0: 2 > 1"),
        (["C", "N+"], [(0, 1, "triple")], None),
        (["O", "C", "O"], [(0, 1, "triple"), (1, 2, "double")], "valence of O atom 0: 3 > 2"),
        (["C"] * 3, [(0, 1, "double"), (1, 2, "triple")], "valence of C atom 1: 5 > 4"),
    ],
)
def test_what_is_no_molecule_has_a_reason(atoms, bonds, reason):
    decoded = Graph().decode(graph(atoms, bonds))
    assert decoded == Invalid(reason) if reason else isinstance(decoded, str)


@pytest.mark.parametrize(
    ("atoms", "bonds", "drawn"),
    [
        (["C", "C", "O"], [(0, 1, "single")], "CC.O"),
        (["F", "C", "C"], [(0, 1, "single"), (0, 2, "single")], "CFC"),
        (["C"] * 6, [(0, k, "single") for k in range(1, 6)], "CC(C)(C)(C)C"),
        (["C", "C"], [(0, 1, "aromatic")], "cc"),
    ],
)
def test_what_is_no_molecule_shows_its_atoms_and_bonds(atoms, bonds, drawn):
    encoder = Graph(GraphConfig(aromatic=True))
    assert encoder.decode(graph(atoms, bonds, encoder)).raw == drawn


def test_aromatic_bonds_outside_rings_are_refused():
    encoder = Graph(GraphConfig(aromatic=True))
    assert encoder.decode(graph(["C", "C"], [(0, 1, "aromatic")], encoder)) == Invalid(
        "atom 0 is aromatic but in no ring"
    )
    ring = [(k, (k + 1) % 5, "aromatic") for k in range(5)]
    assert encoder.decode(graph(["C"] * 5, ring, encoder)) == Invalid("cannot be kekulised: atoms 0 1 2 3 4")
    assert encoder.decode(graph(["C"] * 4 + ["NH"], ring, encoder)) == "c1cc[nH]c1"


def test_a_free_spare_row_decodes_to_a_reason():
    number = len(ATOMS)
    sample = {"atoms": np.array([0, number]), "bonds": np.ones((2, 2), int) - np.eye(2, dtype=int)}
    reason = f"class {number} is a spare row of the vocabulary, to which no atom belongs"
    assert Graph().decode(sample) == Invalid(reason)
    assert sorted(Graph().decode(sample).raw) == ["*", "C"]
    assert Graph().repaired(sample, "valence") is sample


@pytest.mark.parametrize("values", [{}, {"aromatic": True, "stereo": "keep"}, {"hydrogens": True}], ids=str)
def test_decoding_random_sparse_graphs_never_raises_and_is_quick(values):
    """Trees with a few more bonds, up to the largest size: most are no molecules, some are strange ones."""
    encoder = Graph(GraphConfig(**values, max_atoms=200))
    random = np.random.default_rng(0)
    kinds = {name: field.classes for name, field in encoder.space.items()}
    began = time.process_time()
    for size in [*range(1, 30), 100, 200]:
        atoms = np.where(random.random(size) < 0.9, 0, random.integers(0, kinds["atoms"], size))
        bonds = np.zeros((size, size), int)
        for i in range(1, size):
            for j in {i - 1, int(random.integers(i))} if random.random() < 0.3 else {int(random.integers(i))}:
                bonds[i, j] = bonds[j, i] = 1 if random.random() < 0.9 else random.integers(1, kinds["bonds"])
        sample = {"atoms": atoms, "bonds": bonds}
        if "chirality" in kinds:
            sample["chirality"] = np.where(random.random(size) < 0.9, 0, random.integers(0, 3, size))
        decoded = encoder.decode(sample)
        assert isinstance(decoded, str | Invalid)
        for name in encoder.repairs:
            assert isinstance(encoder.decode(encoder.repaired(sample, name)), str | Invalid)
    assert time.process_time() - began < 10
