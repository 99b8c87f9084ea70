"""Stereochemistry in molecular graphs: labels of Cahn, Ingold and Prelog."""

import numpy as np
from support.molecular_graphs import form

from molgen.domain import Invalid
from molgen_plugins.molecules.chemistry import rdkit_io as chem
from molgen_plugins.molecules.graph.encoder import Graph, GraphConfig

STEREO = [
    "C[C@H](N)C(=O)O",
    "OC[C@H]1O[C@@H](O)[C@H](O)[C@@H](O)[C@@H]1O",
    "C/C=C/C(=O)/C=C\\Br",
    "C[S@@](=O)c1ccccc1",
    "C[C@H]1CC[C@@H](C)CC1",
    "C[C@H]1CC[C@H](C)CC1",
    "O[C@H](C)[C@@H](O)[C@H](O)C",
    "C/C=N/O",
    "C/C(F)=C(/Cl)[C@H](O)CC",
    "CC[P@](=O)(O)C",
]


@form
def test_stereochemistry_is_kept_as_labels(form):
    encoder = Graph(GraphConfig(**form, stereo="keep", max_atoms=100))
    for smiles in STEREO:
        for each in (smiles, smiles.replace("@", "!").replace("!!", "@").replace("!", "@@")):  # and its mirror image
            assert chem.canonical(encoder.decode(encoder.encode(each))) == chem.canonical(each)


def test_labels_are_those_of_cahn_ingold_and_prelog():
    encoder = Graph(GraphConfig(stereo="keep"))
    centre = {"N[C@@H](C)C(=O)O": 2, "N[C@H](C)C(=O)O": 1}  # alanine: L is S, D is R
    for smiles, label in centre.items():
        assert encoder.encode(smiles)["chirality"].max() == label
    trans, cis = (encoder.encode(smiles)["bonds"].max() for smiles in ("C/C=C/C", "C/C=C\\C"))
    assert [encoder.bond_names[k] for k in (trans, cis)] == ["double E", "double Z"]


def test_labels_that_no_configuration_has_are_refused():
    encoder = Graph(GraphConfig(stereo="keep"))
    sample = dict(encoder.encode("CCO"))
    sample["chirality"] = np.array([0, 1, 0])
    assert encoder.decode(sample) == Invalid("atom 1 cannot be R")
    sample = dict(encoder.encode("CC=C"))
    sample["bonds"] = np.where(sample["bonds"] == 2, encoder.bond_names.index("double Z"), sample["bonds"])
    assert encoder.decode(sample) == Invalid("double bond 0-1 cannot be Z")
