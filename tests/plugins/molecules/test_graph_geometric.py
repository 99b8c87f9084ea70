"""Graphs as torch-geometric's `Data`: they are decoded to themselves, and what belongs to no class has a reason."""

import subprocess
import sys

import numpy as np
import pytest
import torch

from molgen.batch import collate, separate
from molgen.domain import Invalid
from molgen_plugins.molecules.domain import EXAMPLES
from molgen_plugins.molecules.graph.encoder import Graph, GraphConfig
from molgen_plugins.molecules.graph.pyg import from_data, to_data

ITEMS = [*EXAMPLES, "c1cc[nH]c1", "C[C@H](N)O", "C/C=C/F", "[NH3+]CC(=O)[O-]", "O"]


def encoded(encoder):
    samples = [encoder.encode(item) for item in ITEMS]
    return [sample for sample in samples if not isinstance(sample, Invalid)]


@pytest.mark.parametrize(
    "values", [{}, {"aromatic": True}, {"hydrogens": True}, {"aromatic": True, "stereo": "keep"}], ids=str
)
def test_samples_come_back(values):
    encoder = Graph(GraphConfig(**values))
    samples = encoded(encoder)
    batch = collate(encoder.space, samples)
    for given in (samples, batch):
        graphs = to_data(encoder, given)
        for graph in graphs:
            graph.validate()
            assert not graph.is_directed()
        back = from_data(encoder, graphs)
        assert all(torch.equal(back.fields[name], batch.fields[name]) for name in encoder.space)
        assert torch.equal(back.sizes["atom"], batch.sizes["atom"])
    for before, after in zip(samples, separate(encoder.space, back), strict=True):
        assert all(np.array_equal(before[name], after[name]) for name in encoder.space)


def test_one_molecule_in_full():
    (graph,) = to_data(Graph(), [Graph().encode("[O-]C=O")])
    assert (graph.z.tolist(), graph.charge.tolist()) == ([8, 6, 8], [0, 0, -1])
    edges = dict(zip(map(tuple, graph.edge_index.T.tolist()), graph.edge_attr.tolist(), strict=True))
    assert edges == {(0, 1): 2, (1, 0): 2, (1, 2): 1, (2, 1): 1}


def test_graphs_of_others_need_no_charges():
    encoder = Graph()
    (graph,) = to_data(encoder, [encoder.encode("CCO")])
    del graph.charge
    assert encoder.decode(separate(encoder.space, from_data(encoder, [graph]))[0]) == "CCO"


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("z", torch.tensor([6, 6, 92]), "no class of atoms has the atomic number 92 and the charge .0"),
        ("charge", torch.tensor([0, 3, 0]), "the atomic number 6 and the charge .3"),
        ("edge_attr", torch.tensor([1, 1, 1, 4]), "from 1 to 3: single, double, triple"),
        ("edge_attr", torch.tensor([1, 1, 1, 2]), "in both directions"),
        ("edge_attr", torch.ones(4, 4), "shape .E,."),
    ],
)
def test_what_belongs_to_no_class_is_refused(name, value, reason):
    encoder = Graph()
    (graph,) = to_data(encoder, [encoder.encode("CCO")])
    graph[name] = value
    with pytest.raises(ValueError, match=reason):
        from_data(encoder, [graph])


def test_too_many_atoms_and_spare_rows_are_refused():
    encoder = Graph(GraphConfig(max_atoms=2))
    with pytest.raises(ValueError, match="a molecule has 3 atoms, and this encoder writes 2 at most"):
        from_data(encoder, to_data(Graph(), [Graph().encode("CCO")]))
    spare = {"atoms": np.array([len(encoder.atom_names) - 1]), "bonds": np.zeros((1, 1), int)}
    with pytest.raises(ValueError, match="is a spare row"):
        to_data(encoder, [spare])


def test_torch_geometric_is_imported_on_first_use_only():
    code = "import sys, molgen_plugins.molecules.graph.pyg; sys.exit('torch_geometric' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 0
