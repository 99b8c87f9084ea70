"""A checkpoint that asks for more than its weights are is refused before anything of that size is made."""

import hashlib
import json

import pytest
import torch
from support.limits import limits

from molgen.config import Part
from molgen.model.bounds import no_more_than
from molgen.model.checkpoint import CheckpointError
from molgen.model.generative_model import GenerativeModel

NETWORKS = {
    "recurrent": {"width": 8, "layers": 1, "embedding": 4},
    "transformer": {"width": 8, "layers": 1, "heads": 2},
}


def _forged(folder, change):
    data = json.loads((folder / "config.json").read_text())
    change(data["model"])
    content = json.dumps(data).encode()
    (folder / "config.json").write_bytes(content)
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["files"]["config.json"] = {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
    (folder / "manifest.json").write_text(json.dumps(manifest))


@pytest.mark.parametrize(
    ("part", "setting", "value"),
    [
        ("backbone", "layers", 100_000),
        ("backbone", "width", 100_000),
        ("backbone", "width", 10_000),
        ("encoder", "max_length", 10**9),
        ("encoder", "max_length", 10**18),
    ],
)
@pytest.mark.parametrize("network", NETWORKS)
def test_settings_beyond_the_weights_cost_nothing(tmp_path, network, part, setting, value):
    encoder = Part("molecules.smiles", {"max_length": 12})
    model = GenerativeModel(encoder, "autoregressive", Part(network, NETWORKS[network]))
    model.use(model.build())
    model.save(tmp_path / "model")
    _forged(tmp_path / "model", lambda config: config[part]["settings"].update({setting: value}))
    with limits(setting, memory=300 << 20):
        model = GenerativeModel.load(tmp_path / "model")
        # No weight depends on the length of a string.
        assert setting == "max_length"


@pytest.mark.parametrize(
    "make",
    [
        lambda: torch.zeros(1 << 20, 1 << 10),
        lambda: torch.ones((1 << 20, 1 << 10)),
        lambda: torch.empty(size=(1 << 20, 1 << 10)),
        lambda: torch.full((1 << 20, 1 << 10), 0.0),
        lambda: torch.arange(1 << 30),
        lambda: torch.eye(1 << 15),
        lambda: [torch.nn.Linear(1, 1) for _ in range(100)],
    ],
)
def test_more_than_fits_is_never_made(tmp_path, make):
    with pytest.raises(CheckpointError, match="more or larger"), no_more_than({"x": (3, 4)}, tmp_path):
        make()


def test_large_numbers_are_no_sizes(tmp_path):
    with no_more_than({"x": (3, 4)}, tmp_path):
        found = torch.tensor([1e12]) * 1e12
        assert torch.full((2,), 1e12).fill_(1e15).sum() + found > 0
        assert torch.arange(0, 1, 0.25).shape == (4,)
        assert torch.eye(3, 4).sum() == 3
