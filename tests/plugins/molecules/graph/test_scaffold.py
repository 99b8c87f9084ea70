"""Scaffolds of the graph encoder: what is fixed, where new atoms may be bonded, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from rdkit import Chem

from molgen.config import Part
from molgen.domain import Invalid
from molgen.errors import UsageError
from molgen.model.generative_model import GenerativeModel
from molgen_plugins.molecules.graph.encoder import Graph, GraphConfig

#: Scaffold, and the molecule that it is with nothing attached.
SCAFFOLDS = [
    ("c1ccccc1*", "c1ccccc1"),
    ("*CCO", "CCO"),
    ("c1ccn(*)c1", "c1cc[nH]c1"),
    ("*c1ncnc2[nH]cnc12", "c1ncc2nc[nH]c2n1"),
    ("[*:1]C(=O)N[2*]", "NC=O"),
    ("C[N+](C)(C)*", None),
    ("O=[N+]([O-])c1ccc(*)cc1", "O=[N+]([O-])c1ccccc1"),
]
SETTINGS = [{}, {"aromatic": True}, {"hydrogens": True}, {"stereo": "keep"}]


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
@pytest.mark.parametrize(("scaffold", "alone"), SCAFFOLDS)
def test_a_part_has_its_atoms_and_bonds_and_is_open_where_it_says_so(scaffold, alone, settings):
    encoder = Graph(GraphConfig(**settings))
    part = encoder.known_part(scaffold)
    assert set(part.sample) == set(encoder.space)
    query = Chem.MolFromSmiles(scaffold)
    assert (~part.closed["bonds"]).sum() == sum(atom.GetAtomicNum() == 0 for atom in query.GetAtoms())
    bonds = part.sample["bonds"]
    assert (bonds == bonds.T).all()
    for number in range(1, len(bonds)):
        assert bonds[number, :number].any()
    if alone is not None and not settings.get("aromatic") and not settings.get("hydrogens"):
        assert encoder.decode(part.sample) == Chem.CanonSmiles(alone)


@pytest.mark.parametrize(
    ("scaffold", "reason"),
    [
        ("c1ccccc1", "needs at least one attachment point"),
        ("C*.C*", "one fragment"),
        ("C*C", "exactly one bond"),
        ("C[C@H](O)*", "no stereochemistry"),
        ("C(*", "unclosed branch"),
        ("*", "attachment points only"),
        ("[13CH3]*", "not in the vocabulary"),
        ("C" * 65 + "*", "more than the 64 atoms"),
        (7, "a SMILES string"),
    ],
)
def test_what_is_no_scaffold_is_refused_with_the_reason(scaffold, reason):
    found = Graph().known_part(scaffold)
    assert isinstance(found, Invalid)
    assert reason in found.reason


@pytest.fixture(scope="module", params=[("autoregressive", "recurrent"), ("diffusion", "graph")], ids=lambda p: p[0])
def model(request):
    torch.manual_seed(0)
    family, network = request.param
    settings = {"width": 16, "layers": 1, **({"heads": 2, "pair_width": 8} if network == "graph" else {})}
    made = GenerativeModel(Part("molecules.graph", {"max_atoms": 12}), Part(family), Part(network, settings))
    made.build()
    return made


@pytest.mark.parametrize("scaffold", ["c1ccccc1*", "C*", "*c1ccc(*)cc1"])
def test_draws_contain_the_part_and_are_bonded_to_it_at_open_atoms_alone(model, scaffold):
    part = model.encoder.known_part(scaffold)
    atoms, bonds, closed = part.sample["atoms"], part.sample["bonds"], part.closed["bonds"]
    count, larger, joined = len(atoms), 0, np.zeros(len(atoms), bool)
    for drawn in model.sample(40, seed=0, known=scaffold):
        assert (drawn.sample["atoms"][:count] == atoms).all()
        assert (drawn.sample["bonds"][:count, :count] == bonds).all()
        larger += len(drawn.sample["atoms"]) > count
        joined |= drawn.sample["bonds"][:count, count:].any(1)
    assert larger
    assert not joined[closed].any()
    assert joined[~closed].all()


def test_a_prefix_that_is_no_scaffold_is_a_usage_error(model):
    with pytest.raises(UsageError, match="attachment point"):
        list(model.sample(1, known="CC"))


@pytest.mark.parametrize(("scaffold", "points"), [("*c1ccccc1*", 2), ("*c1ccccc1", 0), ("C(*)(*)C", 0)])
def test_several_atoms_with_attachment_points_are_said_to_grow_perhaps(scaffold, points):
    note = Graph(GraphConfig()).known_part(scaffold).note
    assert note.startswith(f"{points} atoms have an attachment point") if points else not note
