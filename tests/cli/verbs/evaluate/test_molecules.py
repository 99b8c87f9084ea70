"""`molgen evaluate` on molecules, and its reports."""

from __future__ import annotations

import json

import pytest

from molgen_cli.main import main

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
