"""`molgen generate` of a second stage: of given molecules, of a file of them, and of what a first model draws."""

import pytest
from support.conditional import conditional_model
from support.models import memorising_model
from support.stages import positions_model

from molgen.model.generative_model import GenerativeModel
from molgen_cli.asked import needed_conditions
from molgen_cli.main import main
from molgen_plugins.molecules.domain import Molecules


def run(*arguments, code=0):
    own = ["--workers", "1", "--properties", "none", "--seed", "4", "--no-density"]
    assert main(["generate", *map(str, arguments), *own]) == code


def test_two_models_make_one_file_of_molecules_in_space(tmp_path, record_of):
    path = tmp_path / "drawn.sdf"
    run("-m", memorising_model(), "--then", positions_model(), "-n", 4, "--option", "then_steps=1", "-o", path)
    items = [Molecules().canonical(record.item) for record in Molecules().read(path)]
    assert len(items) == 4
    assert any(hasattr(item, "positions") and len(item.positions) > 2 for item in items)
    record = record_of(path)
    assert record["model"]["family"] == "autoregressive"
    assert record["then"]["family"] == "conditional"


def test_positions_of_each_molecule_of_a_file(tmp_path, rows_of):
    molecules, path = tmp_path / "few.smi", tmp_path / "drawn.csv"
    molecules.write_text("OCC\nno-molecule\nC[C@H](N)O\n")
    run("-m", positions_model(), "--condition", f"molecule={molecules}", "-n", 2, "-o", path)
    rows = rows_of(path)
    asked = [row["condition_molecule"] for row in rows]
    assert asked == ["CCO", "CCO", "no-molecule", "no-molecule", "C[C@H](N)O", "C[C@H](N)O"]
    assert [row["status"] for row in rows[2:4]] == ["invalid", "invalid"]
    assert {row["smiles"] for row in rows[:2]} == {"CCO"}
    assert {row["smiles"] for row in rows[4:]} == {"C[C@H](N)O"}


def test_positions_of_one_molecule(tmp_path, rows_of):
    path = tmp_path / "drawn.csv"
    run("-m", positions_model(), "--condition", "molecule=OCC", "-n", 3, "-o", path)
    assert [row["condition_molecule"] for row in rows_of(path)] == ["CCO"] * 3


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("-m", positions_model), "name it with --condition molecule=TEXT, or a file of several"),
        (("-m", positions_model, "--condition", "molecule=C(("), "--condition molecule=C(("),
        (("-m", memorising_model, "--then", memorising_model), "the second model (autoregressive) draws whole items"),
        (("-m", memorising_model, "--then", positions_model, "--condition", "x=1"), "no condition x"),
    ],
)
def test_what_is_missing_is_one_line(arguments, words, capsys, tmp_path):
    made = [one() if callable(one) else one for one in arguments]
    run(*made, "-n", 1, "-o", tmp_path / "never.csv", code=2)
    (line,) = capsys.readouterr().err.splitlines()
    assert words in line


def test_the_hint_after_training_names_what_the_model_needs():
    positions, graphs = (GenerativeModel.load(made()) for made in (positions_model, memorising_model))
    assert list(needed_conditions(positions, 0.1)) == ["--condition", "molecule=C"]
    assert list(needed_conditions(graphs, 0.0)) == []
    conditional = GenerativeModel.load(conditional_model())
    assert list(needed_conditions(conditional, 0.1)) == []
    assert list(needed_conditions(conditional, 0.0)) == ["--condition", "kind=alkane", "--condition", "dose=2.5"]
