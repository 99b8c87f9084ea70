"""`molgen evaluate`: figures of files as a table and as JSON, with everything that makes them comparable."""

from __future__ import annotations

import hashlib
import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from support.measures import register

from molgen_cli.main import main

GENERATED = "cat\nCat\n\nhouse\n7\ndog\n"
COUNTS = {"rows": 6, "valid": 4}


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


def values(figures):
    return {label: figure["value"] for label, figure in figures.items()}


# --- figures --------------------------------------------------------------------------------------


def test_the_default_suite_by_hand(figures):
    found, by_label = figures()
    assert values(by_label) == {"Valid": 4 / 6, "Unique": 3 / 4, "Novel": 2 / 3, "Length/birds": 0.5}
    assert found["files"][0].items() >= {"name": "gen", **COUNTS}.items()
    assert found["complete"] is True
    valid, distance = by_label["Valid"], by_label["Length/birds"]
    assert valid["low"] < valid["value"] < valid["high"]
    assert (valid["count"], valid["better"], valid["reference"], valid["metric"]) == (6, "higher", None, "validity")
    assert (distance["reference"], distance["better"], distance["low"]) == ("birds", "lower", None)


def test_what_was_compared_with_what(figures, tmp_path):
    found, _ = figures()
    digest = hashlib.sha256((tmp_path / "birds.txt").read_bytes()).hexdigest()
    assert found["references"] == [
        {"name": "birds", "source": "birds.txt", "sha256": digest, "rows": 2, "valid": 2},
    ]
    assert found["training"]["source"] == "learned.txt"
    assert found["metrics"] == ["plain"]
    assert found["seed"] == 0
    assert {"python", "molgen", "rdkit", "torch", "fcd"} <= set(found["versions"])
    assert set(found["seconds"]) == {"checking", "summarising", "gen", "all"}
    assert found["files"][0]["sha256"] == hashlib.sha256(GENERATED.encode()).hexdigest()


def test_the_same_twice(figures):
    (_, first), (_, second), (_, other) = figures("--seed", "3"), figures("--seed", "3"), figures("--seed", "4")
    assert _without_seconds(first) == _without_seconds(second)
    assert values(first) == values(other)
    assert first["Valid"]["low"] != other["Valid"]["low"]


def _without_seconds(by_label):
    return [{**figure, "seconds": 0} for figure in by_label.values()]


def test_suites_and_single_metrics(figures):
    _, by_label = figures("--metrics", "strict,mean_length,length_distance")
    assert set(by_label) == {"Valid", "mean_length", "length_distance/birds"}
    assert by_label["Valid"]["warning"] == "6 rows; the protocol asks for 1,000"
    assert by_label["Valid"]["settings"] == {"enough": 1000}
    assert set(figures("--metrics", "all")[1]) == {"Valid", "Unique", "Novel", "Length/birds", "Valid (strict)"}


def test_several_references(figures):
    _, by_label = figures("-r", "learned.txt", "--metrics", "length_distance")
    assert values(by_label) == {"length_distance/birds": 0.5, "length_distance/learned": 0.5}


def test_nothing_to_compare_with(figures):
    _, by_label = figures(sets=())
    assert values(by_label) == {"Valid": 4 / 6, "Unique": 3 / 4, "Novel": None, "Length": None}
    assert by_label["Novel"]["note"] == "there is no training set to compare with"
    assert not any(figure["error"] for figure in by_label.values())


@pytest.mark.parametrize("text", ["7\n\n8\n", ""])
def test_no_valid_row_is_no_failure(text, figures, tmp_path):
    (tmp_path / "gen.txt").write_text(text)
    _, by_label = figures()
    assert by_label["Unique"]["value"] is by_label["Length/birds"]["value"] is None
    assert by_label["Unique"]["note"] == "no valid item"
    assert by_label["Valid"]["value"] == (0 if text else None)


def test_a_metric_that_fails(figures):
    _, by_label = figures("--metrics", "plain,fails_to_add", code=3)
    failed = by_label["fails_to_add"]
    assert failed["value"] is None
    assert failed["error"].startswith("ValueError: cannot add")
    assert by_label["Valid"]["value"] == 4 / 6
    figures("--metrics", "fails_to_add", code=1)


def test_several_files_share_the_summaries(figures, tmp_path):
    (tmp_path / "other.txt").write_text("elephant\n")
    found, _ = figures(files=("gen.txt", "other.txt"))
    assert [(one["name"], one["rows"]) for one in found["files"]] == [("gen", 6), ("other", 1)]
    assert found["files"][1]["figures"][3]["value"] == 4


def test_stdin(words, capsys, monkeypatch):
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(GENERATED.encode())))
    words("--format", "json", "-q", files=("-",))
    (file,) = json.loads(capsys.readouterr().out)["files"]
    assert file.items() >= {"name": "stdin", "file": None, "sha256": None, **COUNTS}.items()


# --- the table ------------------------------------------------------------------------------------


def test_the_table(words, capsys, tmp_path):
    (tmp_path / "none.txt").write_text("7\n")
    words("--metrics", "plain,fails_to_add,strict", files=("gen.txt", "none.txt"), code=3)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["metric", "gen", "none"]
    assert lines[1].split() == ["rows", "6", "1"]
    table = {line.split()[0]: line.split()[1:] for line in lines[1 : lines.index("")]}
    assert table["Length/birds"] == ["↓", "0.5000", "-"]
    assert table["Unique"][:2] == ["↑", "0.7500"]
    assert table["Unique"][-1] == "-"
    assert table["valid"] == ["rows", "4", "0"]
    assert table["fails_to_add"][:1] == ["failed"]
    assert "Unique, Novel of none: no valid item" in lines
    assert "Valid (strict) of none: 1 rows; the protocol asks for 1,000" in lines
    assert any(line.startswith("fails_to_add of gen: failed: ValueError: cannot add") for line in lines)


def test_a_terminal_gets_a_drawn_table(words, monkeypatch):
    class Terminal(io.StringIO):
        encoding = "utf-8"

        def isatty(self):
            return True

    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    monkeypatch.setenv("COLUMNS", "100")
    words("-q")
    assert "Unique" in terminal.getvalue()
    assert "[0." in terminal.getvalue()
    assert "─" in terminal.getvalue()


def test_an_output_that_knows_few_letters(words, monkeypatch):
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", stream)
    words("-q")
    assert b"Unique" in stream.buffer.getvalue()


def test_the_first_time_says_what_takes_long(words, capsys, tmp_path):
    words()
    first = capsys.readouterr().err
    assert f"summarising birds, once: what is found is kept in {tmp_path / 'cache' / 'summaries'}" in first
    assert "gen: 6 rows in" in first
    words()
    assert "summarising" not in capsys.readouterr().err
    words("-q")
    assert capsys.readouterr().err == ""


# --- files ----------------------------------------------------------------------------------------


def test_a_json_file_and_its_record(words, tmp_path, capsys, record_of):
    words("-o", "figures.json")
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "Unique" in captured.err
    path = tmp_path / "figures.json"
    assert json.loads(path.read_text())["files"][0]["rows"] == 6
    record = record_of(path)
    assert (record["command"], record["complete"]) == ("evaluate", True)
    assert record["output"]["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert record["files"][0].items() >= {"file": "gen.txt", **COUNTS}.items()
    assert record["references"][0]["name"] == "birds"
    assert record["arguments"]["files"] == ["gen.txt"]


def test_a_table_in_a_file(words, tmp_path):
    words("-o", "figures.txt", "-q")
    assert (tmp_path / "figures.txt").read_text().startswith("metric")


def test_files_are_kept(words, tmp_path, capsys):
    (tmp_path / "figures.json").write_text("precious")
    words("-o", "figures.json", code=2)
    assert "--overwrite" in capsys.readouterr().err
    assert (tmp_path / "figures.json").read_text() == "precious"
    words("-o", "figures.json", "--overwrite")


def test_what_was_done_before_an_interrupt_is_kept(words, tmp_path, monkeypatch):
    from support import measures

    read = measures.Words.read

    def interrupted(self, source, **options):
        yield from read(self, source, **options)
        if "other" in str(source):
            raise KeyboardInterrupt

    monkeypatch.setattr(measures.Words, "read", interrupted)
    (tmp_path / "other.txt").write_text("elephant\n")
    words("-o", "figures.json", files=("gen.txt", "other.txt"), code=130)
    found = json.loads((tmp_path / "figures.json").read_text())
    assert found["complete"] is False
    assert [one["name"] for one in found["files"]] == ["gen"]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_leaves_no_torn_file(number, code, words, tmp_path):
    command = [sys.executable, "-m", "molgen_cli.main", "evaluate", "-", "--domain", "words", "-r", "birds.txt"]
    process = subprocess.Popen(
        [*command, "-o", "figures.json"],
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([*sys.path, os.environ["PYTHONPATH"]])},
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    try:
        for line in process.stderr:
            if b"summarising birds" in line:
                break
        time.sleep(1)
        process.send_signal(number)
        _, errors = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == code, errors
    assert not list(tmp_path.glob("*figures.json*"))
    assert not list((tmp_path / "cache" / "summaries").glob(".*"))


# --- sets -----------------------------------------------------------------------------------------

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
        (["gen.zip", "--domain", "tokens"], "no format to be told from 'gen.zip'"),
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


# --- molecules ------------------------------------------------------------------------------------

TABLE = b"""smiles,as_generated,status
CCO,OCC,valid
,C(,invalid
CCO,CCO,valid
c1ccccc1,C1=CC=CC=C1,valid
\xff,x,invalid
"""


@pytest.mark.parametrize("name", ["gen.csv", "gen.smi"])
def test_generated_molecules(name, tmp_path, capsys):
    """What `molgen generate` writes: a row that is no molecule has an empty cell, and counts."""
    lines = [row.split(b",")[0] for row in TABLE.splitlines()[1:]]
    (tmp_path / name).write_bytes(TABLE if name.endswith("csv") else b"\n".join(lines) + b"\n")
    (tmp_path / "learned.smi").write_text("OCC\nCCN\n")
    arguments = ["--metrics", "graph,copies", "-t", "learned.smi", "--format", "json", "-q", "--workers", "1"]
    main(["evaluate", name, *arguments])
    file = json.loads(capsys.readouterr().out)["files"][0]
    assert (file["rows"], file["valid"]) == (5, 3)
    found = {figure["label"]: figure["value"] for figure in file["figures"]}
    expected = {"V": 3 / 5, "V.U": 2 / 5, "V.U.N": 1 / 5, "U|V": 2 / 3, "N|V.U": 1 / 2, "copies": 2 / 3}
    assert {label: found[label] for label in expected} == expected


@pytest.mark.parametrize(("text", "words"), [(b"", "empty"), (b"a,b\n1,2\n", "no SMILES column")])
def test_a_file_of_no_molecules(text, words, tmp_path, capsys):
    (tmp_path / "gen.csv").write_bytes(text)
    assert main(["evaluate", "gen.csv", "--metrics", "validity"]) == 2
    captured = capsys.readouterr()
    assert words in captured.err
    assert len(captured.err.splitlines()) == 1


def test_moses_says_what_to_compare_with():
    from molgen_datasets.sources.moses import Moses
    from molgen_datasets.sources.qm9 import QM9

    assert Moses.references == {"Test": "test", "TestSF": "test_scaffolds"}
    assert QM9.references == {"Test": "test"}


# --- the report -----------------------------------------------------------------------------------


def test_a_report_of_words(words, tmp_path, record_of, capsys):
    words("--report", "report.html")
    page = (tmp_path / "report.html").read_text()
    assert "Length/birds" in page
    assert record_of(tmp_path / "report.html")["output"]["file"] == "report.html"
    assert "Unique" in capsys.readouterr().out


def test_a_report_of_molecules(tmp_path, capsys):
    """It draws items, and shows the training items nearest to some of them."""
    (tmp_path / "gen.smi").write_text("CCO\nc1ccccc1O\nCCN\n")
    (tmp_path / "learned.smi").write_text("Oc1ccccc1\nx\nCCCC\n")
    (tmp_path / "test.smi").write_text("CCO\nCCC\n")
    sets = ["-r", "test.smi", "-t", "learned.smi", "--metrics", "validity,novelty", "--workers", "1"]
    assert main(["evaluate", "gen.smi", *sets, "--report", "report.html"]) == 0
    page = (tmp_path / "report.html").read_text()
    assert "<svg" in page
    assert "similarity 1.00" in page
    assert "the report lacks" not in capsys.readouterr().err


def test_a_report_without_a_part(words, monkeypatch, tmp_path, capsys):
    from molgen_cli.report import collect as gather

    monkeypatch.setattr(gather.Portrait, "arrays", lambda self: {}["x"])
    words("--report", "report.html")
    assert "the report lacks a part: birds could not be summarised: KeyError" in capsys.readouterr().err
    assert "Length/birds" in (tmp_path / "report.html").read_text()


def test_figures_are_not_lost_where_the_disk_is_full_at_the_end(words, monkeypatch, capsys):
    def full(path, text):
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr("molgen.atomic_files.write_text", full)
    words("-o", "figures.json", "-q", code=1)
    printed = capsys.readouterr()
    assert json.loads(printed.out)["files"][0]["figures"]
    assert "figures.json: No space left on device" in printed.err
