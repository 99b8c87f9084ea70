"""The geometry encoder: fields, positions that come back, vocabularies, and molecules without positions."""

import time

import numpy as np
import pytest
from rdkit import Chem
from support.geometries import conformers, records

from molgen.domain import Invalid
from molgen.space import Categorical, Real
from molgen.testing import encoder_checks
from molgen_plugins.molecules.domain import Molecules
from molgen_plugins.molecules.geometry import embedding
from molgen_plugins.molecules.geometry.conformer import Conformer
from molgen_plugins.molecules.geometry.convert import to_rdkit
from molgen_plugins.molecules.geometry.encoder import Geometry, GeometryConfig

SETTINGS = [
    {},
    {"bonds": True, "charges": True},
    {"charges": True, "fake_atoms": 5},
    {"perception": "lengths"},
    {"bonds": True, "charges": True, "fake_atoms": 3, "elements": ("C", "H", "O", "N")},
]


def encoder(**settings):
    made = Geometry(GeometryConfig(**settings))
    made.prepare(conformers())
    return made


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_it_keeps_the_guarantees_of_encoders(settings):
    """Over real geometries; the examples of the domain have stereo centres that nobody specified."""
    items = [conformers()[place] for place in (0, 1, 5, 8)]  # which the table of lengths knows too
    for check in encoder_checks(Geometry(GeometryConfig(max_atoms=24, **settings)), items):
        check()


def test_the_space_has_what_is_asked_for():
    plain, full = encoder().space, encoder(bonds=True, charges=True).space
    assert list(plain) == ["atoms", "positions"]
    assert list(full) == ["atoms", "charges", "bonds", "positions"]
    axis = plain["atoms"].axes[0]
    assert (axis.maximum, axis.ordered) == (20, False)
    assert plain["positions"] == Real((axis,), channels=(3,), centred=True, rotates=True)
    assert full["bonds"] == Categorical((axis, axis), classes=4, symmetric=True)
    assert encoder(fake_atoms=4).space["atoms"].axes[0].maximum == 24


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_positions_come_back_centred(settings):
    made, domain = encoder(**settings), Molecules()
    for conformer in conformers():
        sample = made.encode(conformer)
        if isinstance(sample, Invalid):
            continue
        assert np.abs(sample["positions"].mean(axis=0)).max() < 1e-6
        back = made.decode(sample)
        centred = conformer.positions - conformer.positions.mean(axis=0)
        places = back.positions - back.positions.mean(axis=0)
        assert back.elements.tolist() == conformer.elements.tolist()
        np.testing.assert_allclose(places, centred, atol=1e-6)
        if settings.get("perception") != "lengths":
            assert domain.canonical(back) == conformer


def test_text_of_a_file_and_its_conformer_are_one_sample():
    made = encoder(bonds=True, charges=True)
    for record, conformer in zip(records(), conformers(), strict=True):
        first, second = made.encode(record.item), made.encode(conformer)
        assert all(np.array_equal(first[name], second[name]) for name in made.space)


def test_texts_of_files_prepare_as_their_conformers_do():
    from_texts = Geometry()
    from_texts.prepare(record.item for record in records())
    assert from_texts.state() == encoder().state()
    heavy = Geometry()
    heavy.prepare([Chem.MolToMolBlock(Chem.RemoveHs(to_rdkit(conformers()[0])))])  # whose hydrogens are implied
    assert heavy.state()["largest"] == 7


def test_fake_atoms_are_near_real_ones_and_their_number_varies():
    made = encoder(fake_atoms=4, bonds=True, charges=True)
    counts = []
    for conformer in conformers():
        sample = made.encode(conformer)
        fake = sample["atoms"] == made.space["atoms"].classes - 1
        counts.append(int(fake.sum()))
        assert not sample["bonds"][fake].any()
        assert not sample["charges"][fake].any()
        lengths = np.linalg.norm(sample["positions"][fake][:, None] - sample["positions"][~fake], axis=-1)
        assert (lengths.min(axis=1) < 5).all() if fake.any() else True
    assert {0, 4} <= set(counts) <= set(range(5))
    everything = {name: array[fake] if name != "bonds" else array[np.ix_(fake, fake)] for name, array in sample.items()}
    assert made.decode(everything).reason == "it has no atom that is not fake"


def test_charges_need_their_field_where_bonds_are_one():
    zwitterion = next(conformer for conformer in conformers() if conformer.charges.any())
    refused = encoder(bonds=True).encode(zwitterion)
    assert "encoder.charges=true" in refused.reason
    assert not isinstance(encoder().encode(zwitterion), Invalid)


def test_bonds_found_by_lengths_are_those_of_the_table():
    made = encoder(perception="lengths")
    back = made.decode(made.encode(conformers()[0]))
    assert back.bonds[:3, :3].tolist() == [[0, 1, 0], [1, 0, 2], [0, 2, 0]]  # acetaldehyde


def test_unknown_elements_take_spare_rows_and_others_are_refused():
    sodium_hydride = Conformer("[H][Na]", [11, 1], [[0, 0, 0], [0, 0, 1.9]], bonds=[[0, 1], [1, 0]])
    made = Geometry()
    assert made.encode(sodium_hydride).reason == "element Na is not in the vocabulary of this model"
    made.prepare([sodium_hydride])
    assert not isinstance(made.encode(sodium_hydride), Invalid)
    spare = {"atoms": np.array([made.symbols.index(None)]), "positions": np.zeros((1, 3))}
    assert "spare row" in made.decode(spare).reason


@pytest.mark.parametrize(
    ("item", "reason"),
    [
        ("CC.O", "not connected: several fragments"),
        ("*CC", "an attachment point is no atom"),
        ("[2H]C", "an isotope"),
        ("C1CC", "unclosed ring 1"),
        (5, "a molecule is a SMILES string or a conformer, not int"),
        ("CCCCCCCCCCCC", "more than the 20 atoms that this model can write"),
        ("2\n\nC 0 0 0\n", "2 atoms are announced and 1 follow"),
    ],
)
def test_what_it_cannot_take_says_why(item, reason):
    assert encoder().encode(item) == Invalid(reason)


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"max_atoms": 0}, "max_atoms must be from 1 to 512, not 0"),
        ({"fake_atoms": -1}, "fake_atoms must be from 0 to 512, not -1"),
        ({"elements": ("C", "Q")}, "elements must be symbols such as H and C, and 'Q' is none"),
        ({"elements": ("C", "C")}, "elements must name at least one element, and each once"),
        ({"seconds": 0}, "seconds must be at least 1, not 0"),
    ],
)
def test_settings_without_meaning_are_refused(settings, reason):
    with pytest.raises(ValueError, match=reason):
        GeometryConfig(**settings)


def test_a_molecule_without_positions_is_given_some_and_keeps_its_stereochemistry():
    made = encoder()
    sample = made.encode("C[C@@H](O)N")
    assert Molecules().canonical(made.decode(sample)) == "C[C@H](N)O"
    assert all(np.array_equal(sample[name], made.encode("C[C@H](N)O")[name]) for name in sample)
    molecule, origin = embedding.embedded("CCO", 5)
    assert molecule.GetNumAtoms() == 9
    assert origin == "ETKDGv3, MMFF94"


def test_a_molecule_without_positions_can_be_refused():
    assert "encoder.missing=embed" in encoder(missing="refuse").encode("CCO").reason


def test_a_geometry_that_cannot_be_found_says_so(monkeypatch):
    monkeypatch.setattr(embedding.rdDistGeom, "EmbedMolecule", lambda *given: -1)
    embedding.embedded.cache_clear()
    assert encoder().encode("CCCO").reason == "no geometry was found by ETKDGv3 within 20 s"


@pytest.mark.slow
def test_a_large_molecule_is_given_up_in_time():
    """Distance geometry would try for many seconds."""
    start = time.monotonic()
    assert embedding.embedded("CC(C)" * 60 + "C", 1) == Invalid("no geometry was found by ETKDGv3 within 1 s")
    assert time.monotonic() - start < 60
