"""Files of words, and an evaluation of them."""

from __future__ import annotations

import json

import pytest
from support.measures import register
from support.word_figures import GENERATED

from molgen_cli.main import main


@pytest.fixture(autouse=True)
def _here(fake_distribution, monkeypatch, tmp_path):
    register(fake_distribution)
    monkeypatch.setenv("MOLGEN_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def words(tmp_path):
    """Write files of words: `gen.txt`, `birds.txt` and `learned.txt`; give a function that evaluates the first."""
    (tmp_path / "gen.txt").write_text(GENERATED)
    (tmp_path / "birds.txt").write_text("bird\nfish\n")
    (tmp_path / "learned.txt").write_text("DOG\ncow\n")

    def run(*arguments, code=0, files=("gen.txt",), sets=("-r", "birds.txt", "-t", "learned.txt")):
        assert main(["evaluate", *files, "--domain", "words", *sets, *arguments]) == code

    return run


@pytest.fixture
def figures(words, capsys):
    """The JSON that an evaluation prints, and its figures of the first file by label."""

    def run(*arguments, **options):
        words("--format", "json", "-q", *arguments, **options)
        captured = capsys.readouterr()
        assert captured.err == ""
        found = json.loads(captured.out)
        return found, {figure["label"]: figure for figure in found["files"][0]["figures"]}

    return run
