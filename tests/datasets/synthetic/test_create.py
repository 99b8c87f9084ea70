"""Sets as they come out: filters, labels, splits, screening, mixtures and conditions of a recipe."""

from __future__ import annotations

import pytest
from rdkit import Chem

from molgen.errors import MolgenError, PartialFailure, UsageError
from molgen_datasets.synthetic import create, verify
from molgen_datasets.synthetic.screen import write_list
from molgen_plugins.molecules.domain import Molecules

FLUORINE = "[#9]"


def test_a_set_has_its_items_once_with_what_was_asked_for(make, rows_of):
    path, made = make(
        80,
        filters={"properties": {"qed": [0.6, None]}, "exclude": [FLUORINE], "contain": ["c"], "novel": ["training"]},
        labels={"properties": ["logp"], "density": True, "provenance": True},
        splits={"method": "scaffold", "shares": {"train": 0.7, "test": 0.3}},
        output={"shard_size": 30},
    )
    rows = rows_of(path, made)
    assert len({row["smiles"] for row in rows}) == len(rows) == made["items"] == 80
    molecules = [Chem.MolFromSmiles(row["smiles"]) for row in rows]
    assert all(molecule.HasSubstructMatch(Chem.MolFromSmarts("c")) for molecule in molecules)
    assert not any(molecule.HasSubstructMatch(Chem.MolFromSmarts(FLUORINE)) for molecule in molecules)
    assert all(Molecules().descriptors().properties["qed"](row["smiles"]) >= 0.6 for row in rows)
    assert {row["log_density_kind"] for row in rows} == {"exact"}
    assert {(row["model"], row["seed"]) for row in rows} == {("moses", 0)}
    assert set(rows[0]) == set(made["columns"])
    assert sum(made["splits"].values()) == 80
    scaffold = Molecules().descriptors().features["scaffold"]
    train, test = ({scaffold(row["smiles"]) for row in rows_of(path, made, split)} for split in ("train", "test"))
    assert train & test <= {""}
    tally = made["tally"]
    assert tally["drawn"] > tally["valid"] > tally["accepted"] >= tally["distinct"] >= 80
    assert set(tally["failed"]) <= set(tally["filters"])
    assert "not seen in the training data of its model" in made["statements"][0]
    assert verify(path, deep=True) == []


def test_another_seed_makes_other_items_and_another_format_the_same(make, rows_of):
    first, second, third = make(30), make(30, seed=1), make(30, output={"format": "csv", "shard_size": 7})
    ours, others = ({row["smiles"] for row in rows_of(*one)} for one in (first, second))
    assert len(ours & others) < 3
    assert first[1]["recipe_sha256"] == third[1]["recipe_sha256"] != second[1]["recipe_sha256"]
    written = [
        line.split(",")[0]
        for one in third[1]["files"]
        for line in (third[0] / one["path"]).read_text().splitlines()[1:]
    ]
    assert written == [row["smiles"] for row in rows_of(*first)]


def test_a_reference_set_is_left_out_or_named(make, rows_of, tmp_path):
    path, made = make(30)
    known = [row["smiles"] for row in rows_of(path, made)]
    reference = tmp_path / "known.smi"
    # other spellings of the same molecules, and what is none
    reference.write_text("".join(f"{Chem.MolToSmiles(Chem.MolFromSmiles(s), doRandom=True)}\n" for s in known) + "no\n")
    again, labelled = make(30, labels={"novelty": [str(reference)], "provenance": True}, seed=0)
    answers = {row["novelty_known.smi"] for row in rows_of(again, labelled)}
    assert answers <= {"seen", "not seen"}
    path, made = make(30, filters={"novel": [str(reference)]})
    assert not set(known) & {row["smiles"] for row in rows_of(path, made)}
    assert "30 items" in made["statements"][0]
    assert "2026-09-21" in made["statements"][0]


def test_rows_that_are_no_items_stay_where_that_is_asked_for(make, rows_of):
    hot = {"temperature": 2.0}
    path, made = make(60, options=hot, filters={"valid": False})
    rows = rows_of(path, made)
    invalid = [row for row in rows if row["smiles"] is None]
    assert len(rows) == 60
    assert invalid
    assert all(row["status"] == "invalid" and row["error"] for row in invalid)


def test_a_mixture_has_draws_of_each_model(make, rows_of):
    models = [{"model": "moses", "weight": 3}, {"model": "moses", "weight": 1, "options": {"temperature": 0.5}}]
    path, made = make(64, models=models, labels={"provenance": True})
    counts = made["tally"]["models"]
    assert 0.1 < counts["1"] / (counts["0"] + counts["1"]) < 0.4
    draws = [row["draw"] for row in rows_of(path, made)]
    assert draws != sorted(draws)


def test_it_stops_where_nothing_is_accepted_and_finishes_what_there_is(make):
    with pytest.raises(PartialFailure, match=r"stopped with 0 of 40 items after 64 draws.*refused by qed 100.00%"):
        make(filters={"properties": {"qed": [2, 3]}}, max_draws=64)


def test_a_smaller_set_is_finished_all_the_same(make, tmp_path):
    path = tmp_path / "small"
    with pytest.raises(PartialFailure, match=r"stopped with [1-9]"):
        make(80, filters={"properties": {"qed": [0.85, None]}}, max_draws=64, folder=path)
    assert verify(path) == []
    assert "The recipe asked for 80" in (path / "README.md").read_text()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"model": "mosse"}, "no model 'mosse'"),
        ({"labels": {"properties": ["qde"]}}, "no property is named 'qde'"),
        ({"filters": {"contain": ["[C"]}}, "the pattern '\\[C'"),
        ({"filters": {"require": ["mses"]}}, "no filter 'mses'; did you mean 'moses'"),
        ({"filters": {"novel": ["nowhere.smi"]}}, "nowhere.smi: there is no such file"),
        ({"splits": {"method": "scafold"}}, "did you mean 'scaffold'"),
        ({"conditions": {"fixed": {"logp": 1}}}, "no condition logp"),
        ({"output": {"format": "xls"}}, "no format 'xls'"),
        ({"screen": {"lists": [{"path": "nowhere.txt"}]}}, "nowhere.txt cannot be read|nowhere.txt does not say"),
    ],
)
def test_what_there_is_not_is_said_before_the_work_and_leaves_nothing(make, tmp_path, settings, message):
    with pytest.raises(MolgenError, match=message) as caught:
        make(folder=tmp_path / "set", **settings)
    assert caught.value.exit_code == 2
    make(folder=tmp_path / "set")  # the folder can be used


# --- screening ------------------------------------------------------------------------------------


@pytest.fixture
def listed(make, rows_of, tmp_path):
    """Some molecules that the recipe makes, as salts on a list."""
    path, made = make(30)
    wanted = [row["smiles"] for row in rows_of(path, made)][:5]
    target = tmp_path / "list.txt"
    assert (
        write_list(target, Molecules(), [f"{smiles}.[Na+].[Cl-]" for smiles in wanted], "stand-ins", "2026-01-31") == 5
    )
    return target, wanted


def test_what_is_on_a_list_is_blocked_in_whatever_form(make, rows_of, listed):
    path, wanted = listed
    assert not any(smiles in path.read_text() for smiles in wanted)
    screened, made = make(30, screen={"lists": [{"path": str(path)}]})
    rows = rows_of(screened, made)
    assert {row["screen"] for row in rows} == {"pass"}
    assert all(row["screen_lists"].startswith("stand-ins (2026-01-31, SHA-256 ") for row in rows)
    assert "stand-ins (2026-01-31" in (screened / "README.md").read_text()


def test_a_flag_keeps_the_item_with_its_reason_and_a_family_is_a_pattern(make, rows_of, tmp_path):
    path = tmp_path / "list.txt"
    path.write_text(f"# id: family\n# date: 2026-01-31\npattern: {FLUORINE}\n")
    flagged, made = make(40, screen={"lists": [{"path": str(path), "action": "flag"}]})
    for row in rows_of(flagged, made):
        assert row["screen"] == ("flag" if "F" in row["smiles"] else "pass")
        assert ("has the pattern [#9]" in row["screen_reason"]) == ("F" in row["smiles"])
    dropped, made = make(40, screen={"lists": [{"path": str(path), "action": "flag"}], "flagged": "drop"})
    assert not any("F" in row["smiles"] for row in rows_of(dropped, made))
    assert made["tally"]["failed"]["screen"] > 0


def test_what_cannot_be_checked_never_passes(make, rows_of, listed, monkeypatch):
    from molgen_plugins.molecules.chemistry import features

    monkeypatch.setitem(features.FEATURES, "substance", lambda molecule: "")
    path, made = make(20, screen={"lists": [{"path": str(listed[0])}]})
    assert {row["screen"] for row in rows_of(path, made)} == {"flag"}
    assert all("could not be checked" in row["screen_reason"] for row in rows_of(path, made))


@pytest.mark.parametrize("damage", ["gone", "changed", "empty", "no date", "line"])
def test_a_list_that_is_not_what_it_was_ends_the_work(make, tmp_path, damage):
    path = tmp_path / "list.txt"
    write_list(path, Molecules(), ["CCO", "CCN"], "stand-ins", "2026-01-31")
    from molgen.atomic_files import sha256

    expected, lines = sha256(path), path.read_text().splitlines(keepends=True)
    texts = {
        "changed": lines[:-1],
        "empty": lines[:2],
        "no date": [lines[0], *lines[2:]],
        "line": [*lines, "caffeine\n"],
    }
    path.unlink() if damage == "gone" else path.write_text("".join(texts[damage]))
    choice = {"path": str(path), **({"sha256": expected} if damage == "changed" else {})}
    with pytest.raises(UsageError, match=r"list\.txt"):
        make(20, screen={"lists": [choice]})


def test_no_list_is_made_that_leaves_something_out(tmp_path):
    with pytest.raises(UsageError, match="row 2 cannot be on a list"):
        write_list(tmp_path / "list.txt", Molecules(), ["CCO", "no molecule"], "x", "2026-01-01")
    assert not (tmp_path / "list.txt").exists()


def test_the_recipe_of_a_folder_stays(make):
    path, _ = make(20)
    with pytest.raises(UsageError, match=r"another recipe .count: 20 there, 21 here"):
        make(21, folder=path, resume=True)
    with pytest.raises(UsageError, match="type --resume"):
        make(20, folder=path)
    assert create(None, path, resume=True, engine="serial")["items"] == 20
