"""`molgen encode`, `reconstruct` and `interpolate`: a row for each row, and what they say of bad requests."""

from __future__ import annotations

import io
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from pyarrow import parquet
from support.autoencoders import memorising_autoencoder

from molgen.model.generative_model import GenerativeModel
from molgen_cli.latent_files import LatentFile
from molgen_cli.main import main

TEXT = "smiles,name\nCCO,a\nOCC,b\nnonsense,c\nC" + "C" * 60 + ",d\nCC#N,e\n"


@pytest.fixture(scope="module")
def autoencoder():
    return str(memorising_autoencoder())


@pytest.fixture
def verb(autoencoder, tmp_path):
    """Run a verb on a text as a file, and return the path of what it wrote."""

    def run(name, text, target, *arguments, code=0, model=autoencoder):
        source = tmp_path / "in.csv"
        source.write_text(text)
        common = ["-m", model, "--workers", "1", "--properties", "none", "-o", str(tmp_path / target), "--overwrite"]
        assert main([name, str(source), *common, *arguments]) == code
        return tmp_path / target

    return run


# --- encode -----------------------------------------------------------------------------------------


def test_latents_as_arrays(verb, autoencoder, record_of):
    path = verb("encode", TEXT, "latents.npz", code=3)
    with np.load(path, allow_pickle=False) as found:
        assert found["latent"].shape == (5, 6)
        assert found["latent"].dtype == np.float32
        assert found["status"].tolist() == ["valid", "valid", "invalid", "unsupported", "valid"]
        assert found["name"].tolist() == list("abcde")
        assert found["smiles"].tolist()[:2] == ["CCO", "OCC"]
        assert found["canonical_smiles"].tolist()[:3] == ["CCO", "CCO", ""]
        assert np.isnan(found["latent"]).all(1).tolist() == [False, False, True, True, False]
        expected = GenerativeModel.load(autoencoder).encode(["CCO", "CCO", "CC#N"])
        np.testing.assert_allclose(found["latent"][[0, 1, 4]], expected, atol=1e-5)
    record = record_of(path)
    assert record["latent"] == {"latent": [2, 3]}
    assert record["counts"] == {"valid": 3, "invalid": 1, "unsupported": 1}


def test_latents_as_parquet_and_as_a_table(verb, rows_of):
    table = parquet.read_table(verb("encode", TEXT, "latents.parquet", code=3)).to_pydict()
    with np.load(verb("encode", TEXT, "latents.npz", code=3)) as arrays:
        latents = arrays["latent"]
    assert table["status"] == ["valid", "valid", "invalid", "unsupported", "valid"]
    assert table["latent"][2] is None
    np.testing.assert_allclose(table["latent"][4], latents[4], atol=1e-6)
    rows = rows_of(verb("encode", TEXT, "latents.csv", code=3))
    assert [row["name"] for row in rows] == list("abcde")
    assert float(rows[4]["latent_5"]) == pytest.approx(float(latents[4, 5]), rel=1e-5)
    assert rows[2]["latent_0"] == ""
    assert "longer than" in rows[3]["error"]


def test_portions_do_not_change_latents(verb):
    text = "smiles\n" + "CCO\nCCN\nx\nc1ccccc1\n" * 5
    latents = []
    for size in ("3", "100"):
        with np.load(verb("encode", text, "latents.npz", "--batch-size", size, code=3)) as arrays:
            latents.append(arrays["latent"])
    np.testing.assert_allclose(*latents, atol=1e-5)


def test_properties_stand_beside_latents(verb, rows_of):
    (row,) = rows_of(verb("encode", "smiles\nCCO\n", "latents.csv", "--properties", "mw"))
    assert float(row["mw"]) == pytest.approx(46.07, abs=0.01)


def test_no_rows_are_no_failure(verb):
    with np.load(verb("encode", "smiles\n", "latents.npz")) as arrays:
        assert arrays["latent"].shape == (0, 6)
    assert parquet.read_table(verb("encode", "smiles\n", "latents.parquet")).num_rows == 0


def test_stdin_and_stdout(autoencoder, monkeypatch, capfd):
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(b"smiles\nCCO\n")))
    assert main(["encode", "-", "-m", autoencoder, "--properties", "none", "--quiet"]) == 0
    captured = capfd.readouterr()
    assert captured.out.splitlines()[0] == "smiles,canonical_smiles,status,error," + ",".join(
        f"latent_{k}" for k in range(6)
    )
    assert captured.err == ""


# --- reconstruct ------------------------------------------------------------------------------------


def test_what_comes_back_stands_beside_what_went_in(verb, rows_of, record_of, capsys):
    path = verb("reconstruct", TEXT, "back.csv", "--properties", "mw", code=3)
    rows = rows_of(path)
    assert [row["input_smiles"][:8] for row in rows] == ["CCO", "OCC", "nonsense", "CCCCCCCC", "CC#N"]
    assert [row["status"] for row in rows] == ["valid", "valid", "invalid", "unsupported", "valid"]
    assert [row["same"] for row in rows] == ["True", "True", "", "", "True"]
    assert [row["smiles"] for row in rows] == ["CCO", "CCO", "", "", "CC#N"]
    assert [row["name"] for row in rows] == list("abcde")
    assert float(rows[4]["mw"]) == pytest.approx(41.05, abs=0.01)
    assert rows[2]["mw"] == rows[3]["mw"] == ""
    record = record_of(path)
    assert record["shares"] == {"valid": 1.0, "same": 1.0}
    assert "100.00%" in capsys.readouterr().err


def test_rows_that_begin_with_a_bad_one_have_all_columns(verb, rows_of):
    rows = rows_of(verb("reconstruct", "smiles\nnonsense\nCCO\n", "back.csv", code=3))
    assert [row["as_generated"] for row in rows] == ["", "CCO"]
    assert len(rows_of(verb("reconstruct", "smiles\nx\n", "back.csv", code=1))) == 1


def test_what_was_never_learned_comes_back_as_something_else_or_as_nothing(verb, rows_of):
    rows = rows_of(verb("reconstruct", "smiles\nO=C1CCC1F\nNCC1CC1CN\n", "back.csv"))
    for row in rows:
        assert row["status"] == "valid"
        assert row["same"] == "False"
        assert bool(row["smiles"]) == (not row["error"])


# --- interpolate ------------------------------------------------------------------------------------


def test_the_way_between_two_items(autoencoder, tmp_path, rows_of, record_of):
    path, sheet = tmp_path / "way.csv", tmp_path / "way.svg"
    common = ["-m", autoencoder, "--steps", "5", "--properties", "none", "-o", str(path), "--draw", str(sheet)]
    assert main(["interpolate", "OCC", "CC#N", *common]) in (0, 3)
    rows = rows_of(path)
    assert [row["share"] for row in rows] == ["0.0", "0.25", "0.5", "0.75", "1.0"]
    assert (rows[0]["smiles"], rows[-1]["smiles"]) == ("CCO", "CC#N")
    assert all(bool(row["smiles"]) == (row["status"] == "valid") for row in rows)
    assert record_of(path)["command"] == "interpolate"
    assert sheet.read_text().startswith("<")


def test_an_end_may_be_the_first_row_of_a_file(autoencoder, tmp_path, rows_of):
    (tmp_path / "one.smi").write_text("CC#N\n")
    path = tmp_path / "way.csv"
    arguments = ["-m", autoencoder, "--steps", "2", "--properties", "none", "-o", str(path)]
    assert main(["interpolate", "CCO", str(tmp_path / "one.smi"), *arguments]) == 0
    assert [row["smiles"] for row in rows_of(path)] == ["CCO", "CC#N"]


# --- bad requests -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["encode", "in.csv"], "the family autoregressive has no latent space"),
        (["reconstruct", "in.csv"], "the family autoregressive has no latent space"),
        (["interpolate", "CCO", "CCN"], "the family autoregressive has no latent space"),
    ],
)
def test_a_model_without_a_latent_space_is_one_line(arguments, words, model, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in.csv").write_text("smiles\nCCO\n")
    assert main([*arguments, "-m", model, "--workers", "1", "-o", "out.csv"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert words in line
    assert not (tmp_path / "out.csv").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["encode", "missing.csv"], "missing.csv"),
        (["encode", "in.csv", "-o", "out.txt"], "out.txt"),
        (["encode", "in.csv", "-o", "in.csv"], "--overwrite"),
        (["encode", "in.csv", "--condition", "height=1"], "no condition height"),
        (["reconstruct", "missing.csv"], "missing.csv"),
        (["interpolate", "CCO", "nonsense"], "'nonsense'"),
        (["interpolate", "CCO", "empty.smi"], "empty"),
        (["interpolate", "CCO", "CCN", "--steps", "1"], "at least 2 steps"),
        (["interpolate", "CCO", "C" * 60], "longer than"),
    ],
)
def test_a_bad_request_is_one_line(arguments, words, autoencoder, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in.csv").write_text("smiles\nCCO\n")
    (tmp_path / "empty.smi").write_text("")
    assert main([*arguments, "-m", autoencoder, "--workers", "1", "--properties", "none"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert words in line


def test_any_name_of_a_column_is_an_array(tmp_path):
    rows = [{"file": f"{k}.png", "a/b": k, "latent": np.full(2, k, np.float32)} for k in range(3)]
    assert LatentFile("latent", 2).write(rows, tmp_path / "x.npz") == 3
    with np.load(tmp_path / "x.npz") as found:
        assert found["file"].tolist() == ["0.png", "1.png", "2.png"]
        assert found["a/b"].tolist() == [0, 1, 2]
        assert found["latent"].shape == (3, 2)
