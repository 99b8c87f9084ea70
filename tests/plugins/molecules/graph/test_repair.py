"""Repairs of graphs: they make molecules of what were none, on request only, and leave what is one as it is."""

import numpy as np
import pytest
from support.molecular_graphs import graph

from molgen.domain import Invalid
from molgen_plugins.molecules.graph.encoder import Graph, GraphConfig
from molgen_plugins.molecules.graph.repair import REPAIRS


@pytest.mark.parametrize(
    ("atoms", "bonds", "smiles"),
    [
        (["C", "C", "C"], [(0, 1, "double"), (1, 2, "triple")], "C=C=C"),
        (["O", "C"], [(0, 1, "triple")], "C=O"),
        (["N", "C", "C", "C", "C"], [(0, k, "single") for k in range(1, 5)], Invalid("not connected: 2 fragments")),
    ],
)
def test_bonds_are_lowered_until_the_valence_allows_them(atoms, bonds, smiles):
    encoder, sample = Graph(), graph(atoms, bonds)
    assert isinstance(encoder.decode(sample), Invalid)
    repaired = encoder.repaired(sample, "valence")
    assert encoder.decode(repaired) == smiles
    assert repaired["atoms"].tolist() == sample["atoms"].tolist()
    assert (repaired["bonds"] == repaired["bonds"].T).all()


def test_an_aromatic_bond_or_a_labelled_one_becomes_a_single_one():
    encoder = Graph(GraphConfig(aromatic=True, stereo="keep"))
    for kind in ("double E", "double Z"):
        sample = graph(["F", "C", "C"], [(0, 1, kind), (1, 2, "single")], encoder)
        sample["chirality"] = np.zeros(3, int)
        assert encoder.decode(encoder.repaired(sample, "valence")) == "CCF"
    sample = graph(["F", "C", "C"], [(0, 1, "aromatic"), (0, 2, "aromatic")], encoder)
    repaired = encoder.repaired({**sample, "chirality": np.zeros(3, int)}, "valence")
    # One is enough for the valence; that the other one is in no ring is no matter of it.
    assert repaired["bonds"].tolist() == [[0, 4, 1], [4, 0, 0], [1, 0, 0]]


def test_the_largest_fragment_is_kept_with_all_its_fields():
    encoder = Graph(GraphConfig(stereo="keep"))
    whole = encoder.encode("C[C@H](N)O")
    sample = {
        "atoms": np.concatenate([[1], whole["atoms"], [2, 2]]),
        "chirality": np.concatenate([[0], whole["chirality"], [0, 0]]),
        "bonds": np.pad(whole["bonds"], (1, 2)),
    }
    sample["bonds"][5, 6] = sample["bonds"][6, 5] = 1
    assert encoder.decode(sample) == Invalid("not connected: 3 fragments")
    assert encoder.decode(encoder.repaired(sample, "largest-fragment")) == "C[C@H](N)O"


def test_the_first_of_equally_large_fragments_is_kept():
    encoder = Graph()
    assert encoder.decode(encoder.repaired(graph(["O", "N"]), "largest-fragment")) == "O"


@pytest.mark.parametrize("name", REPAIRS)
def test_molecules_stay_as_they_are(name):
    encoder = Graph()
    for smiles in ("c1ccccc1", "C[N+](=O)[O-]", "CC#N", "C"):
        sample = encoder.encode(smiles)
        repaired = encoder.repaired(sample, name)
        assert all(np.array_equal(repaired[field], sample[field]) for field in sample)


def test_repairs_leave_the_sample_that_they_were_given():
    encoder, sample = Graph(), graph(["O", "C"], [(0, 1, "triple")])
    before = sample["bonds"].copy()
    encoder.repaired(sample, "valence")
    assert np.array_equal(sample["bonds"], before)
