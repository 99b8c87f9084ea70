"""The graph encoder: round trips, spellings that do not matter, and the vocabulary of a model."""

import hashlib
import json
import pickle
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rdkit import Chem, rdBase
from support.molecular_graphs import FORMS, form, graph
from support.molecules import SMILES as SAMPLE

from molgen.config import make_settings
from molgen.domain import Invalid
from molgen.errors import UsageError
from molgen.space import Layout, layout
from molgen.testing import encoder_checks
from molgen_plugins.molecules.chemistry import rdkit_io as chem
from molgen_plugins.molecules.domain import EXAMPLES
from molgen_plugins.molecules.graph.atoms import AROMATIC_ATOMS, ATOMS, SPARE_ROWS, name_of, parsed
from molgen_plugins.molecules.graph.encoder import MOST_ATOMS, Graph, GraphConfig

#: Rings with one reading only when somebody says where hydrogens are, charges, cages, valences above the usual ones.
TRICKY = [
    "c1cc[nH]c1",
    "c1ccncc1",
    "c1c[nH]cn1",
    "Cn1ccnc1",
    "O=c1cc[nH]cc1",
    "c1cc[nH+]cc1",
    "C[n+]1ccccc1",
    "[O-][n+]1ccccc1",
    "c1cc[cH-]c1",
    "c1cc[o+]cc1",
    "c1ccc2[nH]c3ccccc3c2c1",
    "c1ccc(-c2ccccc2)cc1",
    "c1ccc2cccc-2cc1",
    "c1cc[pH]c1",
    "c1ccsc1",
    "c1cc[se]c1",
    "CN(=O)=O",
    "C[N+](=O)[O-]",
    "CS(=O)(=O)C",
    "OP(=O)(O)O",
    "FS(F)(F)(F)(F)F",
    "[O-]Cl(=O)(=O)=O",
    "O=I(=O)c1ccccc1",
    "[NH3+]CC(=O)[O-]",
    "C[N+](C)(C)C",
    "[C-]#[O+]",
    "CC#[N+][O-]",
    "C[N-][N+]#N",
    "F[B-](F)(F)F",
    "C[Si](C)(C)C",
    "[H][H]",
    "[H+]",
    "[Cl-]",
    "O",
    "C12C3C4C1C5C2C3C45",
]


def flat(smiles):
    molecule = chem.parse(smiles)
    Chem.RemoveStereochemistry(molecule)
    return chem.canonical(Chem.MolToSmiles(molecule))


def spellings(smiles, count, seed):
    """Random SMILES of a molecule, some with Kekulé rings of which the double bonds are where it happens."""
    molecule = chem.parse(smiles)
    kekule = Chem.Mol(molecule)
    Chem.Kekulize(kekule)
    written = Chem.MolToRandomSmilesVect(molecule, count, randomSeed=seed)
    return [*written, *Chem.MolToRandomSmilesVect(kekule, count, randomSeed=seed, kekuleSmiles=True)]


def test_the_classes_are_frozen():
    """Trained models store class ids: atoms may only ever be appended, with a new format of checkpoints."""
    assert (len(ATOMS), len(AROMATIC_ATOMS), SPARE_ROWS) == (42, 6, 8)
    digest = hashlib.sha256(" ".join(ATOMS + AROMATIC_ATOMS).encode()).hexdigest()
    assert digest == "7588140e9ee774cedbf16ba6b02ab3609dd60b077f31a6953aec96e7261daa52"
    assert all(name_of(parsed(name)) == name for name in ATOMS + AROMATIC_ATOMS)
    assert len(set(ATOMS + AROMATIC_ATOMS)) == len(ATOMS) + len(AROMATIC_ATOMS)


def test_the_space_is_a_graph_without_order():
    space = Graph(GraphConfig(max_atoms=9)).space
    (atom,) = space["atoms"].axes
    assert (atom.minimum, atom.maximum, atom.ordered) == (1, 9, False)
    assert space["atoms"].classes == len(ATOMS) + SPARE_ROWS
    assert (space["bonds"].axes, space["bonds"].classes, space["bonds"].symmetric) == ((atom, atom), 4, True)
    assert Graph(GraphConfig(aromatic=True)).space["bonds"].classes == 5
    assert Graph(GraphConfig(stereo="keep")).space["chirality"].classes == 3
    assert layout(space) is Layout.GRAPH


def test_one_molecule_in_full():
    sample = Graph().encode("OC=O")
    assert [Graph().atom_names[k] for k in sample["atoms"]] == ["O", "C", "O"]
    assert sample["bonds"].tolist() == [[0, 2, 0], [2, 0, 1], [0, 1, 0]]
    assert {array.dtype for array in sample.values()} == {np.dtype(np.uint8)}


@form
def test_the_same_molecule_comes_back(form):
    encoder = Graph(GraphConfig(**form, stereo="keep", max_atoms=200))
    for smiles in [*EXAMPLES, *SAMPLE, *TRICKY]:
        sample = encoder.encode(smiles)
        if isinstance(sample, Invalid):
            assert sample.reason in ("not connected: several fragments", "an isotope"), smiles
        else:
            assert chem.canonical(encoder.decode(sample)) == chem.canonical(smiles)


@form
def test_without_stereochemistry_the_flat_molecule_comes_back(form):
    encoder = Graph(GraphConfig(**form, stereo="drop", max_atoms=200))
    for smiles in [*SAMPLE, "C[C@H](N)C(=O)O", "C/C=C/F", "F/C=C/[C@@H](O)C"]:
        assert chem.canonical(encoder.decode(encoder.encode(smiles))) == flat(smiles)


@form
@given(st.sampled_from([*SAMPLE, *TRICKY]), st.integers(0, 2**31 - 1))
@settings(max_examples=40, deadline=None)
def test_equal_molecules_have_equal_graphs(form, smiles, seed):
    encoder = Graph(GraphConfig(**form, stereo="keep", max_atoms=200))
    expected = encoder.encode(smiles)
    for other in spellings(smiles, 2, seed):
        found = encoder.encode(other)
        assert all(np.array_equal(found[name], array) for name, array in expected.items()), other


@form
def test_every_atom_but_the_first_is_bonded_to_an_earlier_one(form):
    encoder = Graph(GraphConfig(**form, stereo="drop", max_atoms=200))
    for smiles in [*SAMPLE, *TRICKY]:
        bonds = encoder.encode(smiles)["bonds"]
        assert np.tril(bonds, -1).any(1)[1:].all(), smiles


@form
@given(st.sampled_from([*SAMPLE, *TRICKY]), st.randoms(use_true_random=False))
@settings(max_examples=30, deadline=None)
def test_the_order_of_atoms_means_nothing(form, smiles, random):
    encoder = Graph(GraphConfig(**form, stereo="keep", max_atoms=200))
    sample = encoder.encode(smiles)
    order = np.array(random.sample(range(len(sample["atoms"])), len(sample["atoms"])))
    moved = {name: array[np.ix_(*[order] * array.ndim)] for name, array in sample.items()}
    assert chem.canonical(encoder.decode(moved)) == chem.canonical(smiles)


def test_aromatic_rings_have_bonds_of_their_own_or_alternating_ones():
    kekule, aromatic = Graph().encode("c1ccccc1"), Graph(GraphConfig(aromatic=True)).encode("C1=CC=CC=C1")
    assert sorted(np.tril(kekule["bonds"]).ravel().tolist())[-6:] == [1, 1, 1, 2, 2, 2]
    assert sorted(np.tril(aromatic["bonds"]).ravel().tolist())[-6:] == [4] * 6


def test_hydrogens_of_aromatic_atoms_are_told_apart():
    encoder = Graph(GraphConfig(aromatic=True))
    for smiles, name in [("c1cc[nH]c1", "NH"), ("c1ccncc1", "N"), ("c1cc[cH-]c1", "CH-"), ("c1cc[nH+]cc1", "NH+")]:
        assert name in {encoder.atom_names[k] for k in encoder.encode(smiles)["atoms"]}


def test_hydrogens_are_atoms_behind_all_others_where_they_are_wanted():
    encoder = Graph(GraphConfig(hydrogens=True))
    sample = encoder.encode("CO")
    assert [encoder.atom_names[k] for k in sample["atoms"]] == ["C", "O", "H", "H", "H", "H"]
    assert encoder.decode(sample) == "CO"
    assert encoder.decode(
        {name: array[:3, ...] if array.ndim == 1 else array[:3, :3] for name, array in sample.items()}
    )


@pytest.mark.parametrize(("count", "written"), [(7, True), (30, False)])
def test_nothing_is_written_of_many_atoms_that_are_all_joined(count, written):
    """The string would have hundreds of ring bonds, and take most of a second."""
    encoder = Graph(GraphConfig(aromatic=True))
    every = [(i, j, "single") for j in range(count) for i in range(j)]
    assert bool(encoder.decode(graph(["C"] * count, every, encoder)).raw) is written


@pytest.mark.parametrize("values", [*list(FORMS.values())[1:], {"stereo": "keep"}], ids=str)
def test_the_contract_is_kept_under_other_settings(values):
    for check in encoder_checks(Graph(GraphConfig(**values))):
        check()


def test_training_items_say_how_many_atoms_there_can_be():
    encoder = Graph()
    assert encoder.space["atoms"].axes[0].maximum == MOST_ATOMS
    encoder.prepare(["CCO", "CCN.CCCCCCC", None, "c1ccccc1"])
    assert encoder.space["atoms"].axes[0].maximum == 6
    encoder.prepare(["C" * 20])  # the networks have their sizes by now
    assert encoder.space["atoms"].axes[0].maximum == 6
    fixed, explicit = Graph(GraphConfig(max_atoms=9)), Graph(GraphConfig(hydrogens=True))
    fixed.prepare(["CCO"])
    explicit.prepare(["CCO", "((", "C"])
    assert [each.space["atoms"].axes[0].maximum for each in (fixed, explicit)] == [9, 9]


def test_spare_rows_go_to_the_most_frequent_unknown_atoms():
    encoder = Graph()
    encoder.prepare(["C[Ge](C)C", "C[GeH2]C", "C[As]", "C[Xx]", "[13CH4]", "[Fe+2]"])
    assert encoder.state()["atoms"][len(ATOMS) :][:4] == ["Ge", "As", "Fe+2", None]
    assert encoder.decode(encoder.encode("C[GeH2]C")) == chem.canonical("C[GeH2]C")


def test_the_state_is_json_and_comes_back():
    encoder, other = Graph(), Graph()
    encoder.prepare(["C[Ge](C)(C)C"])
    other.load_state(json.loads(json.dumps(encoder.state())))
    assert (other.state(), other.space) == (encoder.state(), encoder.space)
    assert pickle.loads(pickle.dumps(encoder)).state() == encoder.state()


@pytest.mark.parametrize(
    "state",
    [
        {},
        {"atoms": "CH"},
        {"atoms": ["C", "H", 1]},
        {"atoms": ["C", "H", "C"]},
        {"atoms": ["C", "H", "Xx"]},
        {"atoms": ["C", "H", "c"]},
        {"atoms": ["N", "O"]},
        {"atoms": ["C", "H"] + [None] * 300},
        {"atoms": ["C", "H"], "largest": 0},
        {"atoms": ["C", "H"], "largest": "9"},
    ],
    ids=str,
)
def test_a_damaged_state_is_refused(state):
    with pytest.raises(ValueError, match="atoms"):
        Graph().load_state(state)


def test_settings_without_meaning_are_refused():
    for number in (0, 201):
        with pytest.raises(ValueError, match="max_atoms must be from 1 to 200"):
            GraphConfig(max_atoms=number)
    with pytest.raises(UsageError, match="stereo must be one of 'refuse', 'drop', 'keep'"):
        make_settings(GraphConfig, {"stereo": "no"}, "encoder molecules.graph")


def test_logs_of_rdkit_stay_silent(capfd):
    rdBase.LogToCppStreams()
    encoder = Graph()
    for smiles in ("CF(C)C", "c1cccc1", "[Xx]"):
        encoder.encode(smiles)
    encoder.decode(graph(["F", "C", "C"], [(0, 1, "single"), (0, 2, "single")]))
    encoder.prepare(["C[Xx]"])
    assert capfd.readouterr().err == ""


def test_neither_torch_nor_torch_geometric_is_imported():
    code = (
        "import sys, molgen_plugins.molecules.graph.encoder; "
        "sys.exit(bool({'torch', 'torch_geometric'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 0
