"""The embedded model, as it ships."""

import csv

import pytest

from molgen.family import Density
from molgen.model.generative_model import GenerativeModel
from molgen.model.pretrained import embedded
from molgen_cli.main import main
from molgen_plugins.molecules.chemistry import rdkit_io as chem


@pytest.fixture(scope="module")
def moses():
    return GenerativeModel.load("moses")


def test_it_is_small_enough_to_ship():
    folder = embedded()["moses"]
    assert (folder / "model.safetensors").stat().st_size <= 8_000_000
    assert (folder / "training_keys.safetensors").stat().st_size <= 3_000_000


def test_its_card_says_what_it_learned_from_and_under_which_licence(moses):
    card = (embedded()["moses"] / "README.md").read_text()
    assert "moses" in card
    assert moses.info["data"]["licence"] in card
    assert moses.info["data"]["items"] == moses.statistics.count


def test_most_draws_are_molecules_and_their_density_is_exact(moses):
    drawn = list(moses.sample(256, seed=0))
    valid = [draw for draw in drawn if isinstance(chem.canonical(draw.item), str)]
    assert len(valid) > 0.85 * len(drawn)
    assert {draw.kind for draw in drawn} == {Density.EXACT}
    scored = moses.log_density([draw.item for draw in drawn])
    assert [s.log_density for s in scored] == pytest.approx([draw.log_density for draw in drawn], abs=1e-4)


def test_it_knows_its_training_set_from_new_molecules(moses):
    # The first row of the MOSES training set, and a molecule with an element that the set lacks.
    assert not moses.is_novel("CCCS(=O)c1ccc2[nH]c(=NC(=O)OC)[nH]c2c1")
    assert moses.is_novel("CC[Se]CC")


def test_generate_uses_it_by_default(tmp_path):
    target = tmp_path / "molecules.csv"
    arguments = ["generate", "-n", "20", "--accept", "valid,unique,novel,filters", "--seed", "0", "--quiet"]
    assert main([*arguments, "--output", str(target), "--draw", str(tmp_path / "sheet.svg")]) == 0
    rows = list(csv.DictReader(target.open()))
    assert len({row["smiles"] for row in rows}) == 20
    assert (tmp_path / "sheet.svg").read_text().startswith("<")
