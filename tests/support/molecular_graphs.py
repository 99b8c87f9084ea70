"""Samples of the encoder of molecular graphs, written by hand."""

import numpy as np
import pytest

from molgen_plugins.molecules.graph.encoder import Graph

FORMS = {
    "kekule": {},
    "aromatic": {"aromatic": True},
    "hydrogens": {"hydrogens": True},
    "aromatic, hydrogens": {"aromatic": True, "hydrogens": True},
}
form = pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)


def graph(atoms, bonds=(), encoder=None):
    """A sample with atoms by name and bonds (i, j, class)."""
    encoder = encoder or Graph()
    matrix = np.zeros((len(atoms), len(atoms)), np.int64)
    for i, j, kind in bonds:
        matrix[i, j] = matrix[j, i] = encoder.bond_names.index(kind)
    return {"atoms": np.array([encoder.atom_names.index(name) for name in atoms]), "bonds": matrix}
