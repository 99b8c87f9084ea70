"""Stereochemistry that is given to a model of positions: it agrees with positions, and mirror images contradict it."""

import numpy as np
import pytest
from support.geometries import conformers

from molgen.domain import Invalid
from molgen_plugins.molecules.geometry import standard
from molgen_plugins.molecules.geometry.encoder import Geometry, GeometryConfig

GRAPH = ("atoms", "charges", "bonds", "stereo")
ENCODER = Geometry(GeometryConfig(bonds=True, charges=True, stereo=True))
MOLECULES = [
    "C[C@H](N)O",
    "C[C@@](F)(Cl)Br",
    "C/C=C/C",
    "C/C=C\\C",
    "CC(=[N+]=[N-])C",
    "O=[S@](C)CC",
    "[H]/N=C/C=O",
    "CCO",
]


@pytest.mark.parametrize("smiles", [*MOLECULES, *(str(one) for one in conformers()[:6])])
def test_the_graph_alone_says_what_a_geometry_says(smiles):
    sample = ENCODER.encode(smiles)
    flat = ENCODER.encode_fields(smiles, GRAPH)
    for name in GRAPH:
        assert np.array_equal(sample[name], flat[name])
    assert ENCODER.decode(sample).elements.tolist()
    assert sample["stereo"].any() == any(mark in smiles for mark in "@/")


@pytest.mark.parametrize("smiles", [one for one in MOLECULES if "@" in one])
def test_positions_of_the_mirror_image_are_reflected(smiles):
    sample = ENCODER.encode(smiles)
    found = ENCODER.decode({**sample, "positions": -sample["positions"]})
    assert np.array_equal(found.positions, ENCODER.decode(sample).positions)
    assert str(standard.canonical(found)[0]) == str(standard.canonical(ENCODER.decode(sample))[0])


def test_a_diastereomer_is_another_stereoisomer():
    asked, other = (ENCODER.encode(smiles) for smiles in ("C[C@H](O)[C@H](F)Cl", "C[C@H](O)[C@@H](F)Cl"))
    assert np.array_equal(asked["bonds"], other["bonds"])
    for sign in (1, -1):
        found = ENCODER.decode({**asked, "positions": sign * other["positions"]})
        assert isinstance(found, Invalid)
        assert found.reason == "another stereoisomer than was given"
        assert np.array_equal(found.raw.positions, (sign * other["positions"]).astype(np.float64))


def test_the_other_side_of_a_double_bond_is_another_stereoisomer():
    trans, cis = (ENCODER.encode(smiles) for smiles in ("C/C=C/C", "C/C=C\\C"))
    assert np.array_equal(trans["atoms"], cis["atoms"])
    assert isinstance(ENCODER.decode({**trans, "positions": cis["positions"]}), Invalid)


@pytest.mark.parametrize("item", [*conformers()])
def test_geometries_agree_with_what_is_said_of_them(item):
    sample = ENCODER.encode(item)
    assert not isinstance(ENCODER.decode(sample), Invalid)


def test_classes_that_say_nothing_are_refused():
    sample = ENCODER.encode("C[C@H](N)O")
    classes = np.where(sample["stereo"] == 2, 1, sample["stereo"])
    assert "no order" in ENCODER.decode({**sample, "stereo": classes}).reason
    classes = np.zeros_like(classes)
    classes[0, 1] = classes[1, 0] = 4
    assert "no double bond" in ENCODER.decode({**sample, "stereo": classes}).reason


def test_no_positions_are_looked_for_where_none_are_needed(monkeypatch):
    monkeypatch.setattr("molgen_plugins.molecules.geometry.encoder.embedded", None)
    assert set(ENCODER.encode_fields("CC(C)O", GRAPH)) == set(GRAPH)
    for item in ("C.C", "C*", "[13CH4]", "nothing", 3, "C" * 200):
        assert isinstance(ENCODER.encode_fields(item, GRAPH), Invalid)


@pytest.mark.parametrize(
    ("smiles", "said"),
    [("CC(N)O", True), ("CC=CC", True), ("C1CC2CC1C2O", False), ("CCO", False), ("C[C@H](N)O", True)],
)
def test_a_stereoisomer_that_is_left_open_is_chosen(smiles, said):
    sample = ENCODER.encode_fields(smiles, GRAPH)
    assert bool(sample["stereo"].any()) >= said
    assert ENCODER.encode_fields(smiles, GRAPH)["stereo"].tolist() == sample["stereo"].tolist()
    assert "stereo" not in ENCODER.encode_fields(smiles, ("atoms", "bonds"))


def test_stereo_is_said_of_neighbours():
    with pytest.raises(ValueError, match="stereo needs bonds=true"):
        GeometryConfig(stereo=True)
