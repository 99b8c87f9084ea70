"""Runs of `molgen train`: what they leave, what they learn, and how they stop and go on."""

import csv
import json
import os
import re
import signal
import subprocess
import sys
import time
from shutil import copytree, rmtree

import pytest
import torch
from omegaconf import OmegaConf
from support.train_runs import BAD, GOOD, NUMBERS, SHORT, TINY

from molgen.config import Part
from molgen.data.prepare import training_data
from molgen.data.source import dataset_source
from molgen.domain import Invalid
from molgen.model.checkpoint import Checkpoint
from molgen.model.generative_model import GenerativeModel
from molgen_cli.main import main


def test_the_default_network_is_chosen_once_the_sizes_of_samples_are_known(file, tmp_path, capsys, monkeypatch):
    def default(self, family):
        return Part("recurrent", {"width": 8 if self.encoder._largest else 16, "layers": 1, "embedding": 4})

    monkeypatch.setattr(GenerativeModel, "_default_backbone", default)
    run = str(tmp_path / "run")
    arguments = ["train", "--data", file, "--column", "structure", "encoder=molecules.graph", "--output", run]
    assert main([*arguments, "training.steps=1", "training.batch_size=4"]) == 0
    assert "the network for samples of this size is recurrent" in capsys.readouterr().err
    assert GenerativeModel.load(run).config.backbone.settings["width"] == 8
    assert OmegaConf.load(tmp_path / "run" / "config.yaml").backbone.settings.width == 8


def test_a_run_leaves_a_model_and_its_records(finished):
    rejected = list(csv.DictReader((finished / "rejected.csv").open(newline="")))
    assert [(row["row"], row["text"]) for row in rejected] == [
        (str(len(GOOD) + 1 + k), text) for k, text in enumerate(BAD)
    ]
    assert rejected[3]["reason"] == "equal to an earlier row"
    assert all(row["reason"] for row in rejected)
    record = json.loads((finished / "train.run.json").read_text())
    assert record["complete"]
    assert record["step"] == 4
    assert record["data"]["rejected"] == 5
    assert record["versions"]["torch"]
    assert OmegaConf.load(finished / "config.yaml").training.steps == 4
    assert [json.loads(line)["step"] for line in (finished / "metrics.jsonl").read_text().splitlines()] == [2, 4]


def test_a_model_of_conditions_generates_what_is_asked(finished):
    model = GenerativeModel.load(finished)
    assert model.conditions.names == ("pIC50", "mw")
    assert model.conditions.means[0] == pytest.approx(sum(NUMBERS) / len(NUMBERS))
    asked = list(model.sample(4, condition={"pIC50": 6.0, "mw": 100.0}))
    assert [draw.log_density for draw in asked] != [draw.log_density for draw in model.sample(4)]
    assert not model.is_novel("CCN")
    assert model.is_novel("c1ccccc1")


def test_text_is_taken_for_classes_and_numbers_when_told_so(tmp_path, capsys):
    path = tmp_path / "assays.csv"
    path.write_text(
        "smiles,target,plate\n" + "".join(f"C{'C' * k},{'ab'[k % 2]},{k % 3}\n" for k in range(11)) + "O,,\n"
    )
    folder = str(tmp_path / "run")
    arguments = ["train", "--data", str(path), *TINY, *SHORT, "conditions=[target,plate:class]", "--output", folder]
    assert main(arguments) == 0
    conditions = GenerativeModel.load(folder).conditions
    assert conditions.classes == {"target": ("a", "b"), "plate": ("0", "1", "2")}
    output = str(tmp_path / "b.csv")
    assert main(["generate", "--model", folder, "-n", "2", "--condition", "plate=2", "-o", output]) == 0
    capsys.readouterr()
    assert main(["generate", "--model", folder, "-n", "2", "--condition", "target=c"]) == 2
    assert "the condition target has no class 'c'; it has a, b" in capsys.readouterr().err
    tuned = ["train", "--from", folder, "--data", str(path), "training.steps=2", "--output", str(tmp_path / "tuned")]
    assert main(tuned) == 0


def test_what_was_asked_for_stands_beside_what_came(finished, tmp_path, capsys):
    folder, output = finished, tmp_path / "out.csv"
    asked = ["--condition", "mw=100", "--condition", "pIC50=6"]
    arguments = ["-n", "300", "--seed", "0", "--properties", "none", "-o", str(output)]
    assert main(["generate", "--model", str(folder), *asked, *arguments]) == 0
    with output.open() as file:
        weights = [float(row["mw"]) for row in csv.DictReader(file) if row["mw"]]
    obtained = json.loads((tmp_path / "out.csv.run.json").read_text())["obtained"]
    with output.open() as file:
        assert {(row["condition_mw"], row["condition_pIC50"]) for row in csv.DictReader(file)} == {("100", "6")}
    assert list(obtained) == ["mw"]
    assert obtained["mw"]["asked"] == 100
    assert obtained["mw"]["rows"] == len(weights) > 0
    assert obtained["mw"]["mean"] == pytest.approx(sum(weights) / len(weights), rel=1e-5)
    off = [abs(weight - 100) for weight in weights]
    assert obtained["mw"]["mean absolute difference"] == pytest.approx(sum(off) / len(off), rel=1e-4)
    assert "mw: asked for 100, obtained" in capsys.readouterr().err
    assert main(["models", "info", str(folder)]) == 0
    assert "conditions  pIC50 (0 to 6), mw (" in capsys.readouterr().out
    assert main(["generate", "--model", str(folder), "-n", "1", "--condition", "mw=9999", "-q"]) == 0
    assert "molgen: the condition mw=9999 is outside of what" in capsys.readouterr().err


def test_a_private_run_says_how_private_the_model_is(file, tmp_path, capsys):
    private = ["training.privacy.epsilon=20", "training.privacy.accountant=rdp", "training.batch_size=2"]
    arguments = ["train", "--data", file, "--column", "structure", *TINY, *SHORT, *private]
    assert main([*arguments, "--output", str(tmp_path / "run")]) == 0
    found, printed = GenerativeModel.load(tmp_path / "run").info["privacy"], capsys.readouterr().err
    assert 0 < found["epsilon"] <= 20
    assert f"differential privacy of the weights: epsilon {found['epsilon']:g} at delta" in printed
    assert "carry no keys" in printed
    assert OmegaConf.load(tmp_path / "run" / "config.yaml").training.privacy == {"epsilon": 20, "accountant": "rdp"}
    assert main([*arguments, "--output", str(tmp_path / "no"), "training.privacy.epsilom=1"]) == 2
    assert "did you mean 'epsilon'" in capsys.readouterr().err
    refused = ["family=energy", "family.variant=contrastive", "backbone=transformer", "training.privacy.epsilon=1"]
    assert main(["train", "--data", file, *refused, "--output", str(tmp_path / "no")]) == 2
    assert capsys.readouterr().err.startswith("molgen: training.privacy is not for Energy")
    assert not (tmp_path / "no").exists()


def test_a_column_of_free_text_is_no_condition(tmp_path, capsys):
    path = tmp_path / "notes.csv"
    path.write_text("smiles,note\n" + "".join(f"{'C' * (1 + k % 9)},note {k}\n" for k in range(1001)))
    assert main(["train", "--data", str(path), *TINY, "conditions=[note]", "--output", str(tmp_path / "run")]) == 2
    assert "'note' has 1,001 different values in 1,001 rows: that is a name or an id" in capsys.readouterr().err


def test_a_loss_that_is_not_finite_stops_with_the_last_state_intact(file, tmp_path, capsys):
    arguments = ["train", "--data", file, "--column", "structure", *TINY, "--output", str(tmp_path / "run")]
    # Each step makes the weights 99 times as large.
    settings = ["training.learning_rate=10", "training.weight_decay=10", "training.warmup=0", "training.save_every=1"]
    assert main([*arguments, *settings]) == 1
    assert re.search(
        r"the (loss|gradient) is (nan|inf) at step \d+|the weight .* is not finite after step \d+",
        capsys.readouterr().err,
    )
    state = Checkpoint(tmp_path / "run" / "resume")
    assert state.config["info"]["resume"]["state"]["step"] >= 1
    assert all(torch.isfinite(t).all() for name, t in state.tensors("training").items() if name.startswith("weights"))
    assert not json.loads((tmp_path / "run" / "train.run.json").read_text())["complete"]


def test_a_run_that_was_not_finished_generates_from_its_last_averaged_weights(finished, tmp_path, capsys):
    copytree(finished, tmp_path / "run")
    rmtree(tmp_path / "run" / "model")
    arguments = ["generate", "--model", str(tmp_path / "run"), "-n", "1", "-q"]
    assert main([*arguments, "-o", str(tmp_path / "x.csv")]) == 0
    said = f"molgen: {tmp_path / 'run'}: the run is not finished; these are its averaged weights after step 4\n"
    assert capsys.readouterr().err == said


TINY_SET = """
from molgen.dataset import Dataset
from molgen.domain import Record

class Tiny(Dataset):
    domain = "molecules"
    splits = {"train": 3}
    licence = "CC0"
    canonical = CANONICAL

    def fetch(self, progress=None, split=None):
        raise NotImplementedError

    def digest(self, split):
        return "tiny"

    def items(self, split):
        return iter(["OCC", "CCO", "CCN"])

    def columns(self, split):
        return {"charm": "in units of its own"}

    def records(self, split):
        return (Record(k, item, {"charm": str(k)}) for k, item in enumerate(self.items(split)))
"""


@pytest.mark.parametrize("canonical", [True, False])
def test_a_data_set_is_used_as_stored_or_in_canonical_form(canonical, fake_distribution, tmp_path, monkeypatch):
    source_code = TINY_SET.replace("CANONICAL", str(canonical))
    fake_distribution("molgen-tiny", "1.0", {"dataset": {"tiny": "tiny_set:Tiny"}}, {"tiny_set": source_code})
    source = dataset_source(Part("tiny"), "molecules")
    domain = GenerativeModel("molecules.smiles").domain
    data = training_data(source, domain, ["charm", "mw"], ["mw"], tmp_path, lambda count: None)
    rows = list(data.rows())
    if canonical:
        assert [item for item, _ in rows] == ["OCC", "CCO", "CCN"]
    else:
        assert [item for item, _ in rows] == ["CCO", Invalid("equal to an earlier row"), "CCN"]
    assert rows[2][1] == {"charm": 2.0, "mw": pytest.approx(45.08, abs=0.01)}
    assert len(data.keys) == 2
    assert "CCO" in data.keys
    assert data.card["licence"] == "CC0"
    # What was found about items as stored is found again without computing it.
    if canonical:
        monkeypatch.setattr("molgen.data.prepare.Inspector", None)
    again = training_data(source, domain, ["charm", "mw"], ["mw"], tmp_path, lambda count: None)
    assert (again.digest, list(again.rows())) == (data.digest, rows)


def test_killed_and_terminated_runs_end_as_if_nothing_had_happened(file, tmp_path, capsys):
    settings = ["training.steps=60", "training.batch_size=8", "training.save_every=7", "training.log_every=1"]
    arguments = ["train", "--data", file, "--column", "structure", *TINY, *settings, "backbone.dropout=0.1"]
    folder = tmp_path / "run"
    for number, code, message in ((signal.SIGTERM, 143, "--resume"), (signal.SIGKILL, -9, "")):
        process = start([*arguments, "--output", str(folder), "--resume"])
        wait_for_more_steps(folder / "metrics.jsonl", process)
        process.send_signal(number)
        _, errors = process.communicate(timeout=60)
        assert process.returncode == code
        assert message in errors
    assert main([*arguments, "--output", str(folder), "--resume", "--quiet"]) == 0
    assert main([*arguments, "--output", str(tmp_path / "whole"), "--quiet"]) == 0
    assert capsys.readouterr().err == ""
    first, second = (Checkpoint(path).tensors() for path in (folder, tmp_path / "whole"))
    assert all(torch.equal(first[name], second[name]) for name in second)
    steps = [json.loads(line)["step"] for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert steps == sorted(steps)
    assert sorted(set(steps)) == list(range(1, 61))


def start(arguments):
    command = [sys.executable, "-m", "molgen_cli.main", *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=dict(os.environ))


def wait_for_more_steps(path, process):
    before = path.read_text().count("\n") if path.exists() else 0
    deadline = time.monotonic() + 100
    while (path.read_text().count("\n") if path.exists() else 0) < before + 8:
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.02)
