"""`molgen models`: the embedded models, and what any model is made of."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import pytest

from molgen.model import pretrained
from molgen.model.generative_model import GenerativeModel
from molgen_cli.main import main


@pytest.fixture
def embedded(model, tmp_path, monkeypatch):
    """A folder of embedded models that holds one, named `small`."""
    shutil.copytree(model, tmp_path / "pretrained" / "small")
    monkeypatch.setattr(pretrained, "_folder_of", lambda module: tmp_path)
    return tmp_path / "pretrained"


def test_list(embedded: Path, capsys):
    assert main(["models", "list"]) == 0
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("small")]
    assert "autoregressive" in line
    assert "molecules.smiles" in line
    assert main(["models", "list", "--format", "json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert row["name"] == "small"
    assert row["megabytes"] > 0
    assert row["about"]


def test_a_damaged_model_does_not_hide_the_others(embedded: Path, capsys):
    shutil.copytree(embedded / "small", embedded / "broken")
    (embedded / "broken" / "config.json").write_text("{}")
    assert main(["models", "list"]) == 1
    captured = capsys.readouterr()
    assert "small" in captured.out
    assert "broken" in captured.err


def test_an_embedded_model_is_used_by_its_name(embedded: Path, capfd):
    assert main(["generate", "-m", "small", "-n", "2", "--properties", "none", "--workers", "1"]) == 0
    assert len(capfd.readouterr().out.splitlines()) == 3


def test_info(model, capsys):
    assert main(["models", "info", model]) == 0
    text = capsys.readouterr().out
    assert "A test model" in text
    assert "CC0" in text
    assert main(["models", "info", model, "--format", "json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["parts"]["backbone"]["settings"]["width"] == 32
    assert found["training_keys"] == {"learned": 3}
    assert found["licence"] == "CC0"
    assert found["card"].startswith("---")


def test_info_of_an_unknown_model(capsys):
    assert main(["models", "info", "mosaics"]) == 2
    assert "no model 'mosaics'" in capsys.readouterr().err


def test_an_exported_model_is_half_the_size_and_the_same_up_to_float16(model: str, tmp_path: Path, capsys):
    target = tmp_path / "small"
    assert main(["models", "export", model, str(target), "--title", "A small one"]) == 0
    sizes = [(folder / "model.safetensors").stat().st_size for folder in (Path(model), target)]
    assert sizes[1] < 0.6 * sizes[0]
    assert (target / "README.md").read_text().count("# A small one") == 1
    before, after = (GenerativeModel.load(folder).log_density(["CCO"])[0].log_density for folder in (model, target))
    assert after == pytest.approx(before, abs=0.01)
    assert main(["models", "export", model, str(target)]) == 2
    assert "--overwrite" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("section", "value"),
    [
        ("info", [1]),
        ("info", {"data": 3}),
        ("keys", []),
        ("keys", {"learned": "x"}),
        ("keys", {"learned": {"hashes": 1, "count": "many"}}),
        ("conditions", None),
        ("conditions", {"names": 3}),
        ("conditions", {"names": ["y"], "ranges": [1]}),
        ("model", None),
    ],
)
def test_an_odd_checkpoint_is_one_plain_line(section, value, model, tmp_path, capsys):
    folder = tmp_path / "odd"
    shutil.copytree(model, folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, section: value}))
    manifest = json.loads((folder / "manifest.json").read_text())
    content = (folder / "config.json").read_bytes()
    manifest["files"]["config.json"] = {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    assert main(["models", "info", str(folder)]) == 1
    printed = capsys.readouterr().err
    assert "damaged" in printed
    assert "MOLGEN_DEBUG" not in printed
    assert printed.count("\n") == 1
