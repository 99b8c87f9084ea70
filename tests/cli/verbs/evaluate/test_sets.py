"""What `molgen evaluate` compares with: data sets, splits and files by name."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.word_figures import values

from molgen_cli.main import main

DATASETS = """
from molgen.dataset import Dataset

class Animals(Dataset):
    domain, splits = "words", {"train": 2, "test": 2, "hard": 1}
    references = {"Test": "test", "Hard": "hard", "Gone": "gone"}

    def fetch(self, progress=None, split=None):
        raise NotImplementedError

    def items(self, split):
        return iter({"train": ["dog", "cow"], "test": ["bird", "fish"], "hard": ["elephant"]}[split])

    def digest(self, split):
        return f"animals {split}"

class Plants(Animals):
    splits = {"train": 1, "test": 1}

class Pictures(Animals):
    domain = "images"
"""


@pytest.fixture
def datasets(fake_distribution):
    named = {"animals": "zoo:Animals", "plants": "zoo:Plants", "pictures": "zoo:Pictures"}
    fake_distribution("zoo", plugins={"dataset": named}, modules={"zoo": DATASETS})


def test_a_data_set_brings_its_references_and_its_training_items(datasets, figures):
    found, by_label = figures(sets=("-r", "animals"))
    assert values(by_label) == {
        "Valid": 4 / 6, "Unique": 3 / 4, "Novel": 2 / 3, "Length/Test": 0.5, "Length/Hard": 4.5
    }  # fmt: skip
    assert [one["source"] for one in found["references"]] == ["animals:test", "animals:hard"]
    assert found["training"]["source"] == "animals:train"
    assert found["reference"] == "animals"


@pytest.mark.parametrize(
    ("sets", "references", "training"),
    [
        (["-r", "animals:hard"], ["Hard"], "animals:train"),
        (["-r", "animals:train"], ["train"], "animals:train"),
        (["-r", "zoo:animals"], ["Test", "Hard"], "zoo:animals:train"),
        (["-r", "zoo:animals:test"], ["Test"], "zoo:animals:train"),
        (["-r", "animals", "-r", "animals:test"], ["Test", "Hard"], "animals:train"),
        (["-r", "animals:test", "-r", "plants:test"], ["animals:test", "plants:test"], None),
        (["-r", "animals:test", "-r", "birds.txt"], ["Test", "birds"], None),
        (["-r", "./birds.txt", "-t", "animals"], ["birds"], "animals:train"),
        (["-t", "animals:test"], [], "animals:test"),
    ],
)
def test_how_sets_are_named(sets, references, training, datasets, figures):
    found, _ = figures("--metrics", "validity", sets=sets)
    assert [one["name"] for one in found["references"]] == references
    assert (found["training"] or {}).get("source") == training


def test_a_name_before_a_file(datasets, figures, tmp_path):
    (tmp_path / "animals").write_text("x\n")
    assert figures("--metrics", "validity", sets=["-r", "animals"])[0]["references"][0]["name"] == "Test"
    assert figures("--metrics", "validity", sets=["-r", "./animals"])[0]["references"][0]["name"] == "animals"


def test_files_of_the_same_name_are_told_apart(figures, tmp_path):
    (tmp_path / "b").mkdir()
    for path in ("b/gen.txt", "b/birds.txt"):
        (tmp_path / path).write_text("eagle\n")
    found, _ = figures("-r", "b/birds.txt", files=("gen.txt", "b/gen.txt"))
    assert [one["name"] for one in found["files"]] == ["gen.txt", "b/gen.txt"]
    assert [one["name"] for one in found["references"]] == ["birds.txt", "b/birds.txt"]


@pytest.mark.parametrize(
    ("arguments", "words_of_error"),
    [
        (["gen.txt", "-r", "animlas"], "no such data set; did you mean 'animals'? Data sets: animals"),
        (["gen.txt", "-r", "animals:tset"], "no split 'tset'; did you mean 'test'"),
        (["gen.txt", "-r", "pictures"], "the data set pictures holds images; type --domain images"),
        (["gen.txt", "-r", "-"], "cannot come from stdin"),
        (["gen.txt", "-t", "nowhere.txt"], "nowhere.txt: there is no such file"),
        (["gen.txt", "nowhere.txt"], "nowhere.txt: there is no such file"),
        (["gen.txt", "gen.txt"], "named twice"),
        (["gen.txt", "--metrics", "plain,vality"], "is named 'vality'; did you mean 'validity'"),
        (["gen.txt", "--metrics", "not_there"], "cannot be imported"),
        (["gen.txt", "--seed", "-1"], "from 0"),
        (["gen.txt", "--domain", "wrods"], "did you mean 'words'"),
        (["gen.txt", "-o", "nowhere/x.json"], "does not exist"),
        (["gen.zip", "--domain", "tokens"], "cannot tell the format of 'gen.zip'"),
    ],
)
def test_a_bad_request_is_one_line(arguments, words_of_error, datasets, words, capsys, fake_distribution):
    from support import toys

    toys.register(fake_distribution)
    Path("gen.zip").write_text("in a format that no table has\n")
    domain = [] if "--domain" in arguments else ["--domain", "words"]
    assert main(["evaluate", *arguments, *domain]) == 2
    captured = capsys.readouterr()
    assert words_of_error in captured.err
    assert len(captured.err.splitlines()) == 1
    assert captured.out == ""
