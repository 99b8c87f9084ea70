"""A checkpoint that asks for more than its weights are is refused before anything of that size is made."""

import hashlib
import json
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from support.limits import limits
from support.toys import register

from molgen.config import Part
from molgen.errors import MolgenError
from molgen.model.bounds import no_more_than, require_moderate
from molgen.model.checkpoint import CheckpointError
from molgen.model.generative_model import GenerativeModel
from molgen.space import Axis, Real

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
        ("family", "bins", 10**9),
    ],
)
@pytest.mark.parametrize("network", NETWORKS)
def test_settings_beyond_the_weights_cost_nothing(tmp_path, network, part, setting, value):
    encoder = Part("molecules.smiles", {"max_length": 12})
    model = GenerativeModel(encoder, "autoregressive", Part(network, NETWORKS[network]))
    model.use(model.build())
    model.save(tmp_path / "model")
    _forged(tmp_path / "model", lambda config: config[part]["settings"].update({setting: value}))
    with limits(setting, memory=300 << 20), pytest.raises(MolgenError) as refused:
        GenerativeModel.load(tmp_path / "model")
    assert setting in str(refused.value) or "more or larger" in str(refused.value)


@pytest.mark.parametrize(
    ("family", "settings", "huge"),
    [
        ("autoregressive", {"width": 8, "levels": 1, "heads": 0}, {"levels": 100_000}),
        ("diffusion", {"width": 8, "levels": 1, "heads": 0}, {"levels": 64}),
        ("diffusion", {"width": 8, "levels": 1, "heads": 0, "growth": 1}, {"blocks": 10**9}),
    ],
    ids=str,
)
def test_resolutions_beyond_the_weights_cost_nothing(tmp_path, fake_distribution, family, settings, huge):
    register(fake_distribution)
    model = GenerativeModel("tokens", family, Part("unet", settings))
    model.use(model.build())
    model.save(tmp_path / "model")
    _forged(tmp_path / "model", lambda config: config["backbone"]["settings"].update(huge))
    with limits("levels", memory=300 << 20), pytest.raises(MolgenError, match=r"more or larger|levels must be at most"):
        GenerativeModel.load(tmp_path / "model")


@pytest.mark.parametrize("setting", ["steps", "samples"])
def test_steps_that_would_never_end_are_refused(tmp_path, setting):
    model = GenerativeModel("molecules.smiles", "diffusion", Part("transformer", NETWORKS["transformer"]))
    model.use(model.build())
    model.save(tmp_path / "model")
    _forged(tmp_path / "model", lambda config: config["family"]["settings"].update({setting: 10**12}))
    with pytest.raises(MolgenError, match=rf"{setting} of the family is 1,000,000,000,000; .* at most 100,000"):
        GenerativeModel.load(tmp_path / "model")


def test_samples_that_no_memory_holds_are_refused(tmp_path):
    axes = tuple(Axis(name, 1 << 15) for name in "ab")
    with pytest.raises(CheckpointError, match="field x has up to 1,073,741,824 numbers"):
        require_moderate(Part("diffusion"), {"x": Real(axes)}, tmp_path)


@pytest.mark.parametrize(
    "make",
    [
        lambda: torch.zeros(1 << 20, 1 << 10),
        lambda: torch.ones((1 << 20, 1 << 10)),
        lambda: torch.empty(size=(1 << 20, 1 << 10)),
        lambda: torch.full((1 << 20, 1 << 10), 0.0),
        lambda: torch.arange(1 << 30),
        lambda: torch.eye(1 << 15),
        lambda: torch.zeros(1, 1 << 64),
        lambda: torch.linspace(0, 1, 1 << 26),
        lambda: [torch.nn.Linear(1, 1) for _ in range(100)],
        lambda: [torch.nn.Linear(1 << 12, 1 << 10, bias=False) for _ in range(20)],
        lambda: [torch.nn.BatchNorm1d(1 << 20, affine=False) for _ in range(20)],
        lambda: torch.nn.Sequential(*(torch.nn.Dropout() for _ in range(20_000))),
    ],
)
def test_more_than_fits_is_never_made(tmp_path, make):
    with pytest.raises(CheckpointError, match="more or larger"), no_more_than({"x": (3, 4)}, tmp_path):
        make()


def test_what_another_thread_builds_is_not_counted(tmp_path):
    with no_more_than({"x": (3, 4)}, tmp_path), ThreadPoolExecutor(1) as pool:
        built = pool.submit(lambda: [torch.nn.Linear(1, 1) for _ in range(100)])
        assert len(built.result()) == 100


def test_large_numbers_are_no_sizes(tmp_path):
    with no_more_than({"x": (3, 4)}, tmp_path):
        found = torch.tensor([1e12]) * 1e12
        assert torch.full((2,), 1e12).fill_(1e15).sum() + found > 0
        assert torch.arange(0, 1, 0.25).shape == (4,)
        assert torch.eye(3, 4).sum() == 3
