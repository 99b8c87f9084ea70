"""Metrics of molecules in space, exact on a few molecules whose bonds and angles are known."""

import math

import numpy as np
import pytest
from rdkit import Chem
from rdkit.Chem import rdDistGeom
from support.geometries import conformers

from molgen.domain import Invalid
from molgen.evaluation.evaluate import Evaluation, chosen
from molgen.evaluation.features import FeatureExtractor
from molgen.evaluation.reference_cache import ItemSet
from molgen_plugins.molecules.domain import Molecules
from molgen_plugins.molecules.geometry import features
from molgen_plugins.molecules.geometry.conformer import Conformer
from molgen_plugins.molecules.geometry.standard import conformer_of, molecule_of

WATER = Conformer("", [8, 1, 1], [[0, 0, 0], [0, 0.96, 0], [0.96, 0, 0]])
#: a carbon with five hydrogens, and two atoms too far from each other.
CROWDED = Conformer("", [6, *[1] * 5], [[0, 0, 0], [1, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0], [0, 0, 1]])
SCATTERED = Conformer("", [8, 1], [[0, 0, 0], [0, 0, 9]])


def sets(**items):
    return {name: ItemSet(name, lambda some=some: iter(some), name, len(some)) for name, some in items.items()}


class Local(Molecules):
    """The same domain, which inspects in this process: no worker has to start."""

    inspector = canonical_inspector = None


def evaluated(items, metrics, tmp_path, training=None, reference=None, domain=Local):
    domain = domain()
    found = sets(**({"training": training} if training else {}), **({"known": reference} if reference else {}))
    evaluation = Evaluation(
        domain,
        chosen(domain, metrics),
        [found["known"]] if reference else [],
        found.get("training"),
        tmp_path,
        processes=1,
    )
    return {figure.label: figure for figure in evaluation.evaluate(items)}


@pytest.mark.parametrize("domain", [Local, Molecules])
def test_the_protocol_of_edm_counts_rows_that_are_no_molecule(domain, tmp_path):
    """Rows of 3 + 6 + 2 atoms, of which water is stable; the scattered oxygen is given hydrogens, so it is valid."""
    rows = [WATER, CROWDED, SCATTERED, Invalid("unreadable"), WATER]
    figures = evaluated(rows, ["edm"], tmp_path, training=[SCATTERED, conformers()[0]], domain=domain)
    values = {label: figure.estimate.value for label, figure in figures.items()}
    assert [figure.error for figure in figures.values()] == [""] * 5
    # of the crowded one, every hydrogen is bonded to carbon alone
    assert values["Atom stability"] == pytest.approx((3 + 5 + 0 + 3) / 14)
    assert values["Molecule stability"] == pytest.approx(2 / 5)
    assert values["Valid by lengths"] == pytest.approx(3 / 5)
    assert values["Valid and unique by lengths"] == pytest.approx(2 / 5)
    assert values["Novel by lengths"] == pytest.approx(1 / 2)


def test_real_geometries_are_valid_by_lengths(tmp_path):
    figures = evaluated(conformers(), ["edm", "geometry"], tmp_path, training=conformers(), reference=conformers())
    values = {label: figure.estimate.value for label, figure in figures.items()}
    assert values["Atom stability"] > 0.93
    assert values["Molecule stability"] == pytest.approx(13 / 16)
    assert values["Novel by lengths"] == 0
    assert values["Molecule stability, own bonds"] == values["Valid"] == values["Unique"] == 1
    assert values["Novelty"] == 0
    assert [values[f"{name}/known"] for name in ("Bond lengths", "Bond angles", "Torsions")] == [0, 0, 0]
    assert 0 < values["Strain"] < 20


def test_a_geometry_in_several_parts_is_valid_and_not_connected(tmp_path):
    two = Conformer("", [8, 1, 1] * 2, np.concatenate([WATER.positions, WATER.positions + 6]))
    figures = evaluated([WATER, two, CROWDED], ["geometry"], tmp_path, training=["C"], reference=["C"])
    assert figures["Valid"].estimate.value == pytest.approx(2 / 3)
    assert figures["Valid and connected"].estimate.value == pytest.approx(1 / 3)


def test_strings_have_no_stability(tmp_path):
    figures = evaluated(["CCO", "C1CC"], ["edm", "geometry"], tmp_path, training=["CCO"], reference=["CCO"])
    for label in ("Atom stability", "Molecule stability", "Bond lengths/known", "Strain"):
        assert math.isnan(figures[label].estimate.value)
        assert "positions" in figures[label].estimate.note
    assert figures["Valid"].estimate.value == 0.5


def test_lengths_angles_and_torsions_of_known_molecules():
    domain = Molecules()
    water = domain.canonical(WATER)
    kinds, lengths = features.bond_lengths(water)
    np.testing.assert_allclose(lengths, [0.96, 0.96], atol=1e-6)
    assert len(set(kinds.tolist())) == 1
    np.testing.assert_allclose(features.bond_angles(water)[1], [90.0], atol=1e-4)
    assert len(features.dihedrals(water)[1]) == 0
    # hydrogen peroxide with a torsion of 60 degrees
    turn = math.radians(60)
    places = [[0, 0, 0], [1.45, 0, 0], [-0.2, 0.95, 0], [1.65, 0.95 * math.cos(turn), 0.95 * math.sin(turn)]]
    peroxide = domain.canonical(Conformer("", [8, 8, 1, 1], places))
    np.testing.assert_allclose(features.dihedrals(peroxide)[1], [60.0], atol=1e-4)


@pytest.mark.parametrize(("measure", "expected"), [("bond_lengths", 0.05), ("bond_angles", 10.0)])
def test_a_distance_is_how_far_values_are_moved(measure, expected, tmp_path):
    def water(length, angle):
        turn = math.radians(angle)
        return Conformer(
            "", [8, 1, 1], [[0, 0, 0], [length, 0, 0], [length * math.cos(turn), length * math.sin(turn), 0]]
        )

    reference = [water(0.9625, 100.5)] * 70
    figures = evaluated([water(1.0125, 110.5)] * 70, ["geometry"], tmp_path, reference=reference)
    label = {"bond_lengths": "Bond lengths/known", "bond_angles": "Bond angles/known"}[measure]
    assert figures[label].estimate.value == pytest.approx(expected, abs=1e-9)


def test_strain_is_what_relaxing_releases():
    molecule = Chem.AddHs(Chem.MolFromSmiles("CCO"))
    rdDistGeom.EmbedMolecule(molecule, randomSeed=1)
    from rdkit.Chem import rdForceFieldHelpers

    rdForceFieldHelpers.MMFFOptimizeMolecule(molecule, maxIters=5000)
    relaxed = conformer_of(molecule)
    assert features.strain(relaxed) == pytest.approx(0, abs=0.01)
    stretched = Conformer("", relaxed.elements, relaxed.positions * 1.05, relaxed.charges, relaxed.bonds)
    assert features.strain(stretched) > 5
    assert math.isnan(features.strain(Conformer("", [5, 1, 1, 1], np.eye(4)[:, :3], bonds=None)))


def test_own_bonds_count_with_their_charges():
    ammonium = Molecules().canonical(
        "5\ncharge=1\nN 0 0 0\nH .59 .59 .59\nH -.59 -.59 .59\nH -.59 .59 -.59\nH .59 -.59 -.59\n"
    )
    assert features.by_bonds(ammonium) == (5, 5)
    assert features.by_bonds(WATER) == (0, 3)  # nobody has bonded it
    radical = Conformer("", [6, 1, 1, 1], np.eye(4)[:, :3], bonds=[[0, 1, 1, 1], *[[1, 0, 0, 0]] * 3])
    assert features.by_bonds(radical) == (3, 4)


def two_conformers(smiles):
    molecule = Chem.AddHs(Chem.MolFromSmiles(smiles))
    identifiers = rdDistGeom.EmbedMultipleConfs(molecule, 8, randomSeed=3)
    found = []
    for identifier in identifiers:
        single = Chem.Mol(molecule, confId=identifier)
        found.append(conformer_of(single))
    return found


def test_conformers_cover_themselves_and_not_others(tmp_path):
    all_of_them = two_conformers("CCCCO")
    figures = evaluated(all_of_them, ["conformers"], tmp_path, reference=all_of_them)
    assert figures["COV-R/known"].estimate.value == figures["COV-P/known"].estimate.value == 1
    assert figures["MAT-R/known"].estimate.value == pytest.approx(0, abs=1e-4)
    few = evaluated(all_of_them[:1], ["conformers"], tmp_path / "few", reference=[*all_of_them, *conformers()[:2]])
    assert 0 < few["COV-R/known"].estimate.value < 1
    assert few["COV-P/known"].estimate.value == 1
    assert few["MAT-R/known"].estimate.value > 0.1
    assert "2 molecules of the reference have no conformer here" in few["MAT-R/known"].estimate.note


def test_symmetry_and_motion_are_no_distance(tmp_path):
    toluene = conformer_of(two_conformers_molecule("Cc1ccccc1"))
    order = np.random.default_rng(0).permutation(len(toluene.elements))
    moved = Conformer(
        "",
        toluene.elements[order],
        toluene.positions[order] @ [[0, 1, 0], [-1, 0, 0], [0, 0, 1]] + 4,
        bonds=toluene.bonds[np.ix_(order, order)],
    )
    figures = evaluated([moved], ["conformers"], tmp_path, reference=[toluene])
    assert figures["MAT-R/known"].estimate.value == pytest.approx(0, abs=1e-4)


def two_conformers_molecule(smiles):
    molecule = Chem.AddHs(Chem.MolFromSmiles(smiles))
    rdDistGeom.EmbedMolecule(molecule, randomSeed=1)
    return molecule


def test_conformers_survive_the_cache(tmp_path):
    from molgen_plugins.molecules.metrics.conformers import Conformers

    with FeatureExtractor(Local(), processes=1) as extractor:
        (chunk,) = extractor.chunks([*conformers(), "CCO"])
    first, second = Conformers(), Conformers()
    first.add(chunk)
    second.load(first.arrays())
    assert first.by_key.keys() == second.by_key.keys()
    for key, some in first.by_key.items():
        assert [one.content for one in some] == [one.content for one in second.by_key[key]]
    empty = Conformers()
    empty.load(Conformers().arrays())
    assert empty.by_key == {}


def test_posebusters_passes_real_molecules_and_no_crushed_one():
    pytest.importorskip("posebusters")
    good = conformers()[0]
    assert features.posebusters(good) is True
    crushed = Conformer("", good.elements, good.positions * 0.6, good.charges, good.bonds)
    assert features.posebusters(crushed) is False


def test_a_missing_posebusters_says_what_to_type(monkeypatch):
    import builtins

    real = builtins.__import__

    def without(name, *rest, **named):
        if name == "posebusters":
            raise ImportError(name)
        return real(name, *rest, **named)

    monkeypatch.setattr(features, "_made", None)
    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(Exception, match="pip install 'molgen-toolkit"):
        features.posebusters(conformers()[0])


def test_molecules_of_a_model_keep_their_bonds_for_rdkit():
    assert all(molecule_of(one).GetNumBonds() == np.triu(one.bonds).astype(bool).sum() for one in conformers())
