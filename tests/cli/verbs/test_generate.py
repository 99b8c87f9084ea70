"""`molgen generate`: rows, seeds, criteria, files, pipes, signals, and what it says of bad requests."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager

import pytest
from PIL import Image

from molgen.inference.request import Tally
from molgen_cli.main import main
from molgen_cli.verbs.generate import _accepted_share
from molgen_plugins.molecules.domain import Molecules

MOLGEN = [sys.executable, "-m", "molgen_cli.main"]


def test_count_alone_gives_every_draw_a_row(generate):
    rows = generate("-n", "60", "--seed", "1", "--temperature", "2", properties=None)
    assert len(rows) == 60
    assert {row["status"] for row in rows} == {"valid", "invalid"}
    for row in rows:
        assert bool(row["smiles"]) == (row["status"] == "valid") == (not row["error"])
        assert bool(row["log_density"]) == bool(row["log_density_kind"])
    assert list(rows[0]) == [
        *("smiles", "as_generated", "log_density", "log_density_kind", "status", "error"),
        *("qed", "logp", "sa", "mw", "radicals"),
    ]


def test_rows_do_not_depend_on_batch_size_or_workers(generate):
    first = generate("-n", "50", "--seed", "3", "--batch-size", "50")
    assert generate("-n", "50", "--seed", "3", "--batch-size", "7", "--workers", "2") == first
    assert generate("-n", "20", "--seed", "3") == first[:20]


def test_zero_is_a_seed_and_no_seed_is_random(generate, capsys):
    assert generate("-n", "30", "--seed", "0") == generate("-n", "30", "--seed", "0")
    assert generate("-n", "30", "--seed", "0") != generate("-n", "30", "--seed", "1")
    capsys.readouterr()
    generate("-n", "2")
    generate("-n", "2")
    seeds = {line.rpartition("seed ")[2] for line in capsys.readouterr().err.splitlines() if "seed " in line}
    assert len(seeds) == 2


def test_accept_gives_exactly_the_count(generate, tmp_path, record_of):
    rows = generate("-n", "4", "--accept", "valid,unique,novel", "--seed", "0")
    assert len({row["smiles"] for row in rows}) == 4
    assert not {row["smiles"] for row in rows} & {"CCO", "CCN", "C1CC1"}
    record = record_of(tmp_path / "generated-0.csv")
    assert record["counts"]["accepted"] == 4 < record["counts"]["drawn"]
    assert record["counts"]["novel"] <= record["counts"]["unique"] <= record["counts"]["valid"]
    assert 0 < record["rates"]["valid"] <= 1
    assert 0 < record["novel_false_positive_rate"] < 0.01


def test_accept_does_not_depend_on_batch_size(generate, tmp_path, record_of):
    small = generate("-n", "6", "--accept", "valid,unique", "--seed", "0", "--batch-size", "5")
    large = generate("-n", "6", "--accept", "valid,unique", "--seed", "0", "--batch-size", "500")
    assert small == large
    counts = [record_of(tmp_path / f"generated-{i}.csv")["counts"] for i in range(2)]
    assert counts[0] == counts[1]


def test_accept_filters(generate):
    rows = generate("-n", "5", "--accept", "filters", "--seed", "0")
    assert {row["status"] for row in rows} == {"valid"}


def test_the_density_is_of_the_canonical_string(generate, model):
    from molgen.model.generative_model import GenerativeModel

    rows = generate("-n", "60", "--seed", "0")
    rewritten = [row for row in rows if row["smiles"] and row["smiles"] != row["as_generated"]]
    assert {row["as_generated"] for row in rewritten} >= {"OCC"}
    valid = [row for row in rows if row["smiles"]]
    scored = GenerativeModel.load(model).log_density([row["smiles"] for row in valid])
    for row, score in zip(valid, scored, strict=True):
        assert float(row["log_density"]) == pytest.approx(score.log_density, abs=1e-4)
        assert row["log_density_kind"] == "exact"


def test_low_acceptance_stops_and_keeps_what_there_is(generate, monkeypatch, capsys, tmp_path, record_of):
    monkeypatch.setattr("molgen.inference.generate.PATIENCE", 400)
    monkeypatch.setattr("molgen.inference.generate.LEAST_ACCEPTANCE", 0.02)
    rows = generate("-n", "500", "--accept", "valid,unique", "--seed", "0", "--temperature", "0.5", code=3)
    assert 0 < len(rows) < 60
    assert f"{len(rows)} of 500" in capsys.readouterr().err
    record = record_of(tmp_path / "generated-0.csv")
    assert record["complete"] is False
    assert record["counts"]["drawn"] % 400 == 0


def test_a_time_without_an_accepted_sample_ends_it_and_is_said(generate, monkeypatch, capsys):
    monkeypatch.setattr("molgen.inference.generate.IDLE_SECONDS", 1e-9)
    rows = generate("-n", "500", "--accept", "novel,unique", "--seed", "0", code=3)
    assert f"stopped with {len(rows)} of 500 after" in (said := capsys.readouterr().err)
    assert "none was accepted for 0 minutes" in said


def test_progress_says_the_share_that_is_accepted():
    assert _accepted_share(Tally(drawn=40, accepted=10)) == "25.0% of samples accepted"
    assert _accepted_share(Tally(drawn=40)) == ""


def test_a_limit_of_samples_ends_it_and_is_said(generate, monkeypatch, capsys):
    monkeypatch.setattr("molgen_cli.verbs.generate.LowAcceptance.FIRST", 1)
    monkeypatch.setattr("molgen_cli.verbs.generate.LowAcceptance.LOW", 0.9)
    rows = generate("-n", "500", "--accept", "new,unique", "--seed", "0", "--max-samples", "150", code=3)
    assert 0 < len(rows) < 20
    said = capsys.readouterr().err
    assert "--accept new is now called novel" in said
    assert "samples accepted so far" in said
    assert f"stopped with {len(rows)} of 500 after 150 samples: which is the limit" in said


def test_the_record_names_everything(generate, tmp_path, record_of):
    generate("-n", "5", "--seed", "7")
    path = tmp_path / "generated-0.csv"
    record = record_of(path)
    assert record["complete"] is True
    assert record["seed"] == record["arguments"]["seed"] == 7
    assert record["output"]["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert record["output"]["rows"] == record["counts"]["drawn"] == 5
    assert len(record["model"]["sha256"]) == 64
    assert record["rows_per_second"] > 0
    assert {"molgen", "torch", "rdkit"} <= set(record["versions"])


def test_a_prefix_starts_every_item(generate):
    rows = generate("-n", "20", "--seed", "0", "--prefix", "CC(")
    assert all(row["as_generated"].startswith("CC(") for row in rows)


def test_properties_are_those_asked_for(generate):
    assert list(generate("-n", "2", properties="tpsa,rings")[0])[6:] == ["tpsa", "rings"]
    assert list(generate("-n", "2")[0])[6:] == []
    assert len(generate("-n", "2", properties="all")[0]) > 12


@pytest.mark.parametrize("name", ["out.smi", "out.csv.gz", "out.parquet"])
def test_the_extension_decides(name, model, tmp_path):
    path = tmp_path / name
    assert main(["generate", "-m", model, "-n", "9", "--accept", "valid", "-o", str(path), "--properties", "mw"]) == 0
    assert len(list(Molecules().read(path))) == 9


def test_a_contact_sheet(generate, tmp_path):
    generate("-n", "8", "--draw", str(tmp_path / "sheet.svg"), "--seed", "0")
    assert "<svg" in (tmp_path / "sheet.svg").read_text()


def test_a_contact_sheet_without_densities_has_the_numbers_of_rows_alone(generate, tmp_path, monkeypatch):
    legends = []
    monkeypatch.setattr(Molecules, "draw", lambda self, items, own: legends.extend(own) or "<svg/>")
    rows = generate("-n", "8", "--draw", str(tmp_path / "sheet.svg"), "--seed", "0", "--no-density")
    assert legends == [f"id {row['id']}" for row in rows if row["status"] == "valid"]


def test_a_contact_sheet_in_png_names_its_rows(generate, tmp_path):
    rows = generate("-n", "12", "--seed", "0", "--draw", str(tmp_path / "sheet.png"))
    assert [row["id"] for row in rows] == [str(number) for number in range(12)]
    with Image.open(tmp_path / "sheet.png") as picture:
        assert picture.format == "PNG"
        assert picture.width > 800
        assert len(picture.convert("RGB").getcolors(1 << 24)) > 10


def test_stdout_holds_rows_and_nothing_else(model, capfd):
    assert main(["generate", "-m", model, "-n", "5", "--seed", "0", "--properties", "none"]) == 0
    captured = capfd.readouterr()
    assert len(captured.out.splitlines()) == 6
    assert "seed 0" in captured.err
    assert main(["generate", "-m", model, "-n", "5", "--seed", "0", "--quiet", "--properties", "none"]) == 0
    assert capfd.readouterr().err == ""


def test_an_existing_file_is_not_replaced_unasked(model, tmp_path, capsys):
    path = tmp_path / "mine.csv"
    path.write_text("precious")
    arguments = ["generate", "-m", model, "-n", "2", "-o", str(path), "--properties", "none"]
    assert main(arguments) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert path.read_text() == "precious"
    assert main([*arguments, "--overwrite"]) == 0
    assert path.read_text() != "precious"


def test_options_of_the_family(generate):
    plain = generate("-n", "20", "--seed", "3", "--top-k", "1")
    assert generate("-n", "20", "--seed", "3", "--option", "top_k=1") == plain
    assert len({row["smiles"] for row in plain}) == 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["-n", "0"], "whole number from 1"),
        (["--top-p", "1.5"], "at most 1"),
        (["--temperature", "-1"], "above 0"),
        (["--seed", "-4"], "from 0"),
        (["--accept", "valid,pretty"], "known: valid, unique, novel, filters"),
        (["--properties", "qed,colour"], "no property is named 'colour'"),
        (["--condition", "qed=0.9"], "no condition qed"),
        (["--condition", "qed"], "NAME=VALUE"),
        (["--option", "steps=5"], "no option steps"),
        (["--option", "temperature=warm"], "temperature"),
        (["--prefix", "C?"], "not in the vocabulary"),
        (["--prefix", "CN(C)(C)C(", "--accept", "valid"], "no molecule begins so: valence of N atom 1: 4 > 3"),
        (["--scaffold", "c1ccccc1*"], "it keeps a --prefix, and no --scaffold"),
        (["--scaffold", "c1ccccc1*", "--prefix", "C"], "not allowed with argument"),
        (["--threads", "100000"], "is not a whole number from 1 to"),
        (["--workers", "100000"], "is not a whole number from 1 to"),
        (["--draw", "sheet.jpg"], "a contact sheet is an .svg or a .png file"),
        (["--format", "docx"], "docx"),
        (["-o", "nowhere/x.csv"], "does not exist"),
    ],
)
def test_a_bad_request_is_one_line(arguments, words, model, capfd, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert main(["generate", "-m", model, *arguments]) == 2
    captured = capfd.readouterr()
    assert words in captured.err
    assert len(captured.err.splitlines()) == 1
    assert captured.out == ""


def test_an_unknown_and_a_damaged_model(model, tmp_path, capsys):
    import shutil

    assert main(["generate", "-m", "mosaics"]) == 2
    assert "no model 'mosaics'" in capsys.readouterr().err
    damaged = shutil.copytree(model, tmp_path / "damaged")
    weights = bytearray((damaged / "model.safetensors").read_bytes())
    weights[-1] ^= 1
    (damaged / "model.safetensors").write_bytes(weights)
    assert main(["generate", "-m", str(damaged)]) == 1
    assert "hash" in capsys.readouterr().err


def test_new_needs_keys(model, tmp_path, capsys):
    from molgen.model.generative_model import GenerativeModel

    without = GenerativeModel.load(model)
    without.keys = {}
    without.save(tmp_path / "model")
    assert main(["generate", "-m", str(tmp_path / "model"), "--accept", "novel"]) == 2
    assert "no keys" in capsys.readouterr().err


def test_generate_into_score_reproduces_the_density(model, tmp_path, rows_of):
    scored = tmp_path / "scored.csv"
    options = f"-m {model} --workers 1 --properties none -q"
    molgen = " ".join(MOLGEN)
    line = f"{molgen} generate -n 40 --seed 0 {options} | {molgen} score - {options} -o {scored}"
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, timeout=120)
    assert done.returncode in (0, 3), done.stderr
    rows = rows_of(scored)
    assert len(rows) == 40
    for row in rows:
        assert (row["status"] == "valid") == bool(row["smiles"])
        if row["smiles"]:
            assert float(row["log_density"]) == pytest.approx(float(row["input_log_density"]), abs=1e-4)


def test_a_reader_that_leaves_is_no_failure_to_talk_about(model):
    line = f"{' '.join(MOLGEN)} generate -m {model} -n 20000 -q --properties none --workers 1 | head -n 2"
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, timeout=120)
    assert len(done.stdout.splitlines()) == 2
    assert done.stderr == ""


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_leaves_a_whole_file(number, code, model, tmp_path, rows_of, record_of):
    path = tmp_path / "cut.csv"
    command = [*MOLGEN, "generate", "-m", model, "-n", "5000000", "--seed", "0", "-o", str(path)]
    with _started(command) as process:
        _wait_for_rows(tmp_path, process)
        os.killpg(process.pid, number)  # as a terminal does: to the workers too
        _, errors = process.communicate(timeout=60)
    assert process.returncode == code, errors
    rows = rows_of(path)
    assert rows
    assert all(row["status"] for row in rows)
    record = record_of(path)
    assert record["complete"] is False
    assert record["output"]["rows"] == len(rows)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["cut.csv", "cut.csv.run.json"]


@contextmanager
def _started(command):
    """A process in a group of its own that takes SIGINT, even where the tests run with it ignored."""
    process = subprocess.Popen(
        command,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)


def _wait_for_rows(folder, process):
    deadline = time.monotonic() + 200  # a busy machine takes long to start
    while time.monotonic() < deadline and process.poll() is None:
        if any(file.stat().st_size for file in folder.glob(".cut.csv.*.tmp")):
            return
        time.sleep(0.05)
    pytest.fail(f"no rows came: {process.poll()}")
