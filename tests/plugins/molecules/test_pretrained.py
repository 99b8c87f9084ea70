"""The embedded models, as they ship."""

import csv

import pytest

from molgen.family import Density
from molgen.model.generative_model import GenerativeModel
from molgen.model.pretrained import embedded
from molgen_cli.main import main
from molgen_plugins.molecules.chemistry import rdkit_io as chem

#: Each embedded model, and the first row of its training set in canonical form.
MODELS = {
    "moses": "CCCS(=O)c1ccc2[nH]c(=NC(=O)OC)[nH]c2c1",
    "zinc": "CC(C)(C)c1ccc2occ(CC(=O)Nc3ccccc3F)c2c1",
}


@pytest.fixture(scope="module", params=MODELS)
def name(request):
    return request.param


@pytest.fixture(scope="module")
def model(name):
    return GenerativeModel.load(name)


def test_all_are_tested():
    assert {found for found, folder in embedded().items() if "molecules" in folder.parts} == set(MODELS)


def test_it_is_small_enough_to_ship(name):
    folder = embedded()[name]
    assert (folder / "model.safetensors").stat().st_size <= 8_000_000
    assert (folder / "training_keys.safetensors").stat().st_size <= 3_000_000


def test_its_card_says_what_it_learned_from_and_under_which_licence(name, model):
    card = (embedded()[name] / "README.md").read_text()
    assert name in card
    assert model.info["data"]["licence"] in card
    assert model.info["data"]["items"] == model.statistics.count


def test_most_draws_are_molecules_and_their_density_is_exact(model):
    drawn = list(model.sample(256, seed=0))
    valid = [draw for draw in drawn if isinstance(chem.canonical(draw.item), str)]
    assert len(valid) > 0.85 * len(drawn)
    assert {draw.kind for draw in drawn} == {Density.EXACT}
    scored = model.log_density([draw.item for draw in drawn])
    assert [s.log_density for s in scored] == pytest.approx([draw.log_density for draw in drawn], abs=1e-4)


def test_it_knows_its_training_set_from_new_molecules(name, model):
    # A molecule with an element that both sets lack.
    assert not model.is_novel(MODELS[name])
    assert model.is_novel("CC[Se]CC")


def test_charges_and_stereo_centres_are_what_one_of_them_is_for():
    texts = {name: "".join(draw.item for draw in GenerativeModel.load(name).sample(64, seed=1)) for name in MODELS}
    assert set("+@") <= set(texts["zinc"])
    assert not set("+@") & set(texts["moses"])


def test_generate_uses_it_by_default(tmp_path):
    target = tmp_path / "molecules.csv"
    arguments = ["generate", "-n", "20", "--accept", "valid,unique,novel,filters", "--seed", "0", "--quiet"]
    assert main([*arguments, "--output", str(target), "--draw", str(tmp_path / "sheet.svg")]) == 0
    rows = list(csv.DictReader(target.open()))
    assert len({row["smiles"] for row in rows}) == 20
    assert (tmp_path / "sheet.svg").read_text().startswith("<")
