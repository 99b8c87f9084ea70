"""Models as a forger would make them, with hashes that are right: one line, or a model that works."""

import json
import random
import shutil
from hashlib import sha256
from pathlib import Path

import pytest
from support.limits import limits
from support.mutations import damaged, damaged_json, damaged_safetensors

from molgen.config import ModelConfig, Part
from molgen.data.bloom import BloomFilter
from molgen.model.checkpoint import MANIFEST
from molgen.model.generative_model import GenerativeModel

NETWORKS = {
    "autoregressive": Part("recurrent", {"width": 16, "layers": 1, "embedding": 8}),
    "diffusion": Part("transformer", {"width": 16, "layers": 1, "heads": 2}),
}


def _saved(family: str, folder: Path) -> Path:
    """A small model that was not trained: the files are what matters."""
    model = GenerativeModel(Part("molecules.smiles", {"max_length": 12}), family, NETWORKS[family])
    model.use(model.build())
    model.keys["learned"] = BloomFilter.of(["CCO"], expected=1)
    model.save(folder)
    return folder


@pytest.fixture(scope="module", params=NETWORKS)
def model(request, tmp_path_factory):
    return _saved(request.param, tmp_path_factory.mktemp("model") / "model")


def _damaged(config: dict, rng: random.Random) -> dict:
    """A configuration with a change anywhere, or among its settings, which decide how large a model is."""
    if "model" not in config or rng.random() < 0.3:
        return damaged_json(config, rng)
    part = config["model"][rng.choice(["encoder", "family", "backbone"])]
    part["settings"] = damaged_json(part["settings"], rng)
    return config


def _forged(model: Path, folder: Path, rng: random.Random) -> None:
    """A copy of a model with one file changed, and mostly the manifest that goes with it."""
    shutil.copytree(model, folder)
    name = rng.choice(["config.json"] * 4 + [one.name for one in model.iterdir()])
    content = (model / name).read_bytes()
    if name.endswith(".json") and rng.random() < 0.8:
        content = json.dumps(_damaged(json.loads(content), rng)).encode()
    else:
        content = damaged_safetensors(content, rng) if name.endswith(".safetensors") else damaged(content, rng)
    (folder / name).write_bytes(content)
    if name != MANIFEST and rng.random() < 0.95:
        manifest = json.loads((folder / MANIFEST).read_text())
        manifest["files"][name] = {"sha256": sha256(content).hexdigest(), "bytes": len(content)}
        (folder / MANIFEST).write_text(json.dumps(manifest))


def _used(folder: Path, whole: ModelConfig) -> None:
    """Load a model, and use it where its settings are those of the whole one: others may ask for much work."""
    model = GenerativeModel.load(folder)
    if model.config == whole:
        list(model.sample(2, seed=0))
        model.log_density(["CCO", "?"])


@pytest.mark.parametrize("count", [80, pytest.param(5000, marks=[pytest.mark.slow, pytest.mark.timeout(3600)])])
def test_a_forged_model_is_one_line_or_a_model(model, tmp_path, count):
    whole = GenerativeModel.load(model).config
    _used(model, whole)
    for number in range(count):
        _forged(model, tmp_path / "forged", random.Random(number))
        with limits(f"forged-{number}"):
            _used(tmp_path / "forged", whole)
        shutil.rmtree(tmp_path / "forged")
