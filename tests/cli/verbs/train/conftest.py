"""A file to train on, and a finished run that tests look at and leave as it is."""

import csv

import pytest
import torch
from support.train_runs import BAD, GOOD, SHORT, TINY

from molgen_cli.main import main


@pytest.fixture(autouse=True)
def _alone(tmp_path, monkeypatch):
    monkeypatch.setenv("MOLGEN_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "mine.csv"
    with path.open("w", newline="") as stream:
        rows = csv.writer(stream)
        rows.writerow(["name", "structure", "pIC50"])
        rows.writerows([f"m{k}", smiles, k % 7 if k % 4 else "n/a"] for k, smiles in enumerate([*GOOD, *BAD]))
    return str(path)


@pytest.fixture(scope="session")
def finished(file, tmp_path_factory):
    """A finished run with conditions: one is a column, one is computed."""
    folder = tmp_path_factory.mktemp("runs") / "run"
    arguments = ["train", "--data", file, "--column", "structure", *TINY, "conditions=[pIC50,mw]", *SHORT]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MOLGEN_CACHE", str(folder.parent / "cache"))
        assert main([*arguments, "--output", str(folder)]) == 0
    return folder
