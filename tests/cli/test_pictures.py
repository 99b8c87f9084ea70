"""The verbs on pictures, which come from folders and go into folders."""

import csv
import hashlib
import json

import numpy as np
import pytest
import torch
from PIL import Image

from molgen_cli.main import main

SETTINGS = ["encoder=images.pixels", "encoder.height=4", "encoder.width=4", "encoder.levels=2"]
TINY = ["family=autoregressive", "backbone=recurrent", "backbone.width=8", "backbone.layers=1"]
SHORT = ["training.steps=3", "training.batch_size=8", "training.validation=0"]


@pytest.fixture(autouse=True)
def _one_thread(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """A folder of PNG files in black and white, in a folder per class."""
    root = tmp_path_factory.mktemp("data") / "pictures"
    random = np.random.default_rng(0)
    for label in ("dark", "light"):
        (root / label).mkdir(parents=True)
        for number in range(6):
            share = 0.3 if label == "dark" else 0.7
            pixels = np.where(random.random((4, 4)) < share, 255, 0).astype(np.uint8)
            Image.fromarray(pixels).save(root / label / f"{number}.png")
    return root


@pytest.fixture(scope="module")
def model(pictures, tmp_path_factory):
    run = tmp_path_factory.mktemp("runs") / "run"
    arguments = ["train", "--data", str(pictures), *SETTINGS, *TINY, *SHORT, "conditions=[label]"]
    assert main([*arguments, "--output", str(run)]) == 0
    return str(run)


def test_a_model_learns_from_a_folder_and_its_subfolders_are_classes(model, tmp_path):
    folder = tmp_path / "drawn"
    asked = ["--model", model, "-n", "3", "--condition", "label=light"]
    assert main(["generate", *asked, "-o", str(folder)]) == 0
    with (folder / "index.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["log_density_kind"] for row in rows] == ["exact"] * 3
    assert {Image.open(folder / row["image"]).size for row in rows} == {(4, 4)}


def test_a_folder_of_pictures_has_its_record_beside_it(model, tmp_path, capsys):
    folder = tmp_path / "drawn"
    asked = ["generate", "--model", model, "-n", "3", "-o", str(folder)]
    assert main(asked) == 0
    record = json.loads((tmp_path / "drawn.run.json").read_text())
    files = sorted(folder.iterdir())
    listing = "".join(f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n" for path in files)
    assert record["output"]["sha256"] == hashlib.sha256(listing.encode()).hexdigest()
    assert record["output"]["bytes"] == sum(path.stat().st_size for path in files)
    assert main(asked) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert main([*asked, "--overwrite"]) == 0


def test_a_folder_of_somebody_else_is_not_replaced(model, pictures, capsys):
    assert main(["generate", "--model", model, "-n", "1", "-o", str(pictures), "--overwrite"]) == 2
    assert "was not written here" in capsys.readouterr().err
    assert len(list(pictures.rglob("*.png"))) == 12


def test_pictures_are_compared_with_a_folder(pictures, tmp_path):
    figures = tmp_path / "figures.json"
    asked = ["evaluate", str(pictures), "--domain", "images", "--training", str(pictures), "--output", str(figures)]
    assert main([*asked, "--metrics", "validity,copies"]) == 0
    found = json.loads(figures.read_text())
    assert found["training"]["rows"] == 12
    assert [figure["value"] for figure in found["files"][0]["figures"]] == [1, 1]
