"""`molgen score`: every row of the user's file comes back, with its density or with the reason why not."""

from __future__ import annotations

import io
import sys
from types import SimpleNamespace

import pytest

from molgen_cli.main import main


@pytest.fixture
def score(model, tmp_path, rows_of):
    """Score a text as a file and return the rows."""

    def run(text, *arguments, name="in.csv", code=0):
        source, target = tmp_path / name, tmp_path / "scored.csv"
        source.write_bytes(text.encode() if isinstance(text, str) else text)
        arguments = ["--workers", "1", "--properties", "none", "--overwrite", "-o", str(target), *arguments]
        assert main(["score", str(source), "-m", model, *arguments]) == code
        return rows_of(target)

    return run


def test_users_columns_order_and_count_are_kept(score):
    rows = score('name,smiles,note\na,CCO,"x, y"\nb,OCC,\nc,CCN,z\n', "--properties", "mw")
    assert [row["name"] for row in rows] == ["a", "b", "c"]
    assert [row["note"] for row in rows] == ["x, y", "", "z"]
    assert [row["smiles"] for row in rows] == ["CCO", "OCC", "CCN"]
    assert [row["canonical_smiles"] for row in rows] == ["CCO", "CCO", "CCN"]
    assert rows[0]["log_density"] == rows[1]["log_density"]
    assert {row["log_density_kind"] for row in rows} == {"exact"}
    assert float(rows[0]["mw"]) == pytest.approx(46.07, abs=0.01)


def test_an_option_that_the_density_has_not_is_one_line(model, tmp_path, capsys):
    (tmp_path / "in.csv").write_text("smiles\nCCO\n")
    assert main(["score", str(tmp_path / "in.csv"), "-m", model, "--option", "draws=9"]) == 2
    assert "no option draws" in capsys.readouterr().err


def test_bad_rows_keep_their_place(score, tmp_path, record_of):
    text = "smiles,id\nCCO,0\nnonsense,1\n,2\nCCN,3\nC" + "C" * 60 + ",4\nC1CC,5\n"
    rows = score(text, code=3)
    assert [row["id"] for row in rows] == list("012345")
    assert [row["status"] for row in rows] == ["valid", "invalid", "invalid", "valid", "unsupported", "invalid"]
    assert all(bool(row["error"]) == (row["status"] != "valid") for row in rows)
    assert all(bool(row["log_density"]) == (row["status"] == "valid") for row in rows)
    assert "longer than" in rows[4]["error"]
    assert record_of(tmp_path / "scored.csv")["counts"] == {"valid": 2, "invalid": 3, "unsupported": 1}


def test_all_bad_is_a_failure(score):
    assert len(score("smiles\nx\ny\n", code=1)) == 2


def test_hostile_rows(score):
    hostile = [
        "[C+999999999]",
        "*" * 5000,
        "C" * 10_000,
        "(" * 3000,
        "C%(99999)C",
        "1243124124",
        "C\0C",
        "C" * 2_000_000,
    ]
    rows = score("\n".join([*hostile, "CCO"]) + "\n", name="in.smi", code=3)
    # Ten thousand carbons in a row are a molecule, though none that the model knows.
    expected = ["unsupported" if text == "C" * 10_000 else "invalid" for text in hostile]
    assert [row["status"] for row in rows] == [*expected, "valid"]


def test_portions_do_not_change_rows(score):
    text = "smiles\n" + "CCO\nCCN\nx\nc1ccccc1\n" * 10
    assert score(text, "--batch-size", "3", code=3) == score(text, "--batch-size", "100", code=3)


def test_a_column_by_name(score):
    rows = score("one,two\nCCO,CCN\n", "--column", "two")
    assert rows[0]["smiles"] == "CCN"
    assert rows[0]["one"] == "CCO"


def test_columns_of_the_same_name_stay(score):
    (row,) = score("smiles,status,log_density\nCCO,mine,-1\n")
    assert (row["input_status"], row["input_log_density"], row["status"]) == ("mine", "-1", "valid")


def test_stdin_and_stdout(model, monkeypatch, capfd):
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(b"smiles\r\nCCO\r\n")))
    assert main(["score", "-", "-m", model, "--properties", "none", "--quiet"]) == 0
    captured = capfd.readouterr()
    assert captured.out.splitlines()[1].startswith("CCO,CCO,-")
    assert captured.err == ""


@pytest.mark.parametrize(
    ("text", "arguments", "words"),
    [
        ("", [], "empty"),
        ("a,b\n1,2\n", [], "column"),
        ("smiles\nCCO\n", ["--column", "drug"], "'drug'"),
        ("smiles\nCCO\n", ["--properties", "colour"], "'colour'"),
    ],
)
def test_a_bad_file_is_one_line(text, arguments, words, model, tmp_path, capfd):
    source = tmp_path / "in.csv"
    source.write_text(text)
    target = tmp_path / "out.csv"
    assert main(["score", str(source), "-m", model, "-o", str(target), *arguments]) == 2
    captured = capfd.readouterr()
    assert words in captured.err
    assert len(captured.err.splitlines()) == 1
    assert not target.exists()


def test_a_missing_file(model, capsys):
    assert main(["score", "missing.csv", "-m", model]) == 2
    assert "missing.csv" in capsys.readouterr().err


def test_a_header_alone_is_no_failure(score):
    assert score("smiles,id\n") == []


def test_every_column_of_the_file_stays_however_often_it_is_scored(model, tmp_path, rows_of):
    path = tmp_path / "0.csv"
    path.write_text("smiles,qed,input_qed\nCCO,mine,other\n")
    for number in range(3):
        after = tmp_path / f"{number + 1}.csv"
        assert main(["score", str(path), "-m", model, "--properties", "qed", "-o", str(after), "--workers", "1"]) == 0
        path = after
        row = rows_of(path)[0]
        kept = [value for name, value in row.items() if name.startswith("input_log_density") and "kind" not in name]
        assert kept == [row["log_density"]] * number
    values = [value for name, value in row.items() if "qed" in name]
    assert sorted(values) == sorted(["mine", "other", *[row["qed"]] * 3])
