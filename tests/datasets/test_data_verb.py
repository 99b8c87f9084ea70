import io
import json
from typing import ClassVar

import pytest

from molgen import registry
from molgen.data.cache import cache_folder
from molgen.dataset import Dataset
from molgen.errors import PluginError
from molgen_cli.main import main
from molgen_datasets.cache import store


class Letters(Dataset):
    """A small data set with one column."""

    domain = "molecules"
    description = "a few letters"
    licence = "CC0"
    citation = "A. Letter, 2020"
    splits: ClassVar = {"train": 1000, "test": 1}

    def fetch(self, progress=None, split=None):
        chosen = list(self.splits) if split is None else [split]
        for name in chosen:
            self.require_split(name)
            if progress is not None:
                progress(5_000_000, 10_000_000)
            (cache_folder() / name).parent.mkdir(parents=True, exist_ok=True)
            (cache_folder() / name).write_text("x")
        return cache_folder()

    def items(self, split):
        return iter(["a"])

    def digest(self, split):
        return f"digest of {split}"

    def fetched(self, split=None):
        return (cache_folder() / str(split)).exists()

    def columns(self, split):
        return {"size": "how large, mm"}


@pytest.fixture(autouse=True)
def letters(monkeypatch):
    real = registry.get
    monkeypatch.setattr(registry, "names", lambda kind: ["letters"])
    monkeypatch.setattr(registry, "get", lambda kind, name: Letters if name == "letters" else real(kind, name))


def test_list_is_a_table_of_data_sets(capsys):
    assert main(["data", "list"]) == 0
    header, row = capsys.readouterr().out.splitlines()
    assert header.split() == ["NAME", "DOMAIN", "ITEMS", "FETCHED", "DESCRIPTION"]
    assert row.split() == ["letters", "molecules", "1,001", "no", "a", "few", "letters"]


def test_list_as_json(capsys):
    assert main(["data", "list", "--format", "json"]) == 0
    (facts,) = json.loads(capsys.readouterr().out)
    assert facts["splits"] == {"train": 1000, "test": 1}
    assert facts["fetched"] == {"train": False, "test": False}
    assert facts["licence"] == "CC0"


def test_a_broken_data_set_does_not_hide_the_others(capsys, monkeypatch):
    def get(kind, name):
        if name == "broken":
            raise PluginError("dataset 'broken' cannot be imported")
        return Letters

    monkeypatch.setattr(registry, "names", lambda kind: ["broken", "letters"])
    monkeypatch.setattr(registry, "get", get)
    assert main(["data", "list"]) == 3
    printed = capsys.readouterr()
    assert "letters" in printed.out
    assert "'broken' cannot be imported" in printed.err


def test_info_says_all_there_is_to_know(capsys):
    assert main(["data", "info", "letters"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "licence: CC0" in lines
    assert "citation: A. Letter, 2020" in lines
    assert "split train: 1,000 items, not fetched, SHA-256 digest of train" in lines
    assert "column size: how large, mm" in lines


def test_info_as_json(capsys):
    assert main(["data", "info", "letters", "--format", "json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["digests"]["test"] == "digest of test"
    assert facts["columns"]["test"] == {"size": "how large, mm"}


def test_fetch_prints_the_folder_and_says_the_licence_beside_it(capsys, cache):
    assert main(["data", "fetch", "letters"]) == 0
    printed = capsys.readouterr()
    assert printed.out == f"{cache}\n"
    assert printed.err == "licence: CC0\ncite: A. Letter, 2020\n"


def test_fetch_of_one_split_leaves_the_other(capsys, cache):
    assert main(["data", "fetch", "letters", "--split", "test", "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"name": "letters", "folder": str(cache)}
    main(["data", "list"])
    assert "in part" in capsys.readouterr().out


def test_a_person_at_a_terminal_sees_a_bar(monkeypatch, cache):
    monkeypatch.setattr("molgen_cli.console.on_terminal", lambda: True)
    assert main(["data", "fetch", "letters"]) == 0


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["fetch", "letters", "--split", "tran"], "did you mean 'train'"),
        (["info", "no-such-data"], "no dataset is named 'no-such-data'"),
        (["info"], "NAME"),
        ([], "ACTION"),
        (["list", "--format", "xml"], "xml"),
    ],
)
def test_wrong_usage_is_one_line_and_exit_2(capsys, arguments, complaint):
    assert main(["data", *arguments]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert complaint in printed.err
    assert printed.err.count("\n") == 1


def test_data_that_are_not_what_was_pinned_are_exit_1(capsys, monkeypatch, pin, cache):
    def fetch(self, progress=None, split=None):
        store(io.BytesIO(b"other"), cache / "letters", pin(b"a"), "letters.txt")

    monkeypatch.setattr(Letters, "fetch", fetch)
    assert main(["data", "fetch", "letters"]) == 1
    assert "letters.txt is not the file that is needed" in capsys.readouterr().err
