"""Checkpoints: whole or not there, checked before use, and nothing in them can run code."""

import hashlib
import json
import os
import pickle
import signal
import struct
import sys
from pathlib import Path

import pytest
import torch
from support.toys import register

from molgen.config import Part
from molgen.data.bloom import BloomFilter
from molgen.errors import MolgenError, UsageError
from molgen.model.checkpoint import Checkpoint, CheckpointError, save_checkpoint
from molgen.model.generative_model import GenerativeModel


def save_version(path, version):
    weights = {f"layer{k}": torch.full((50,), float(version)) for k in range(3)}
    save_checkpoint(path, {"version": version}, weights, "a card", {"more": weights})


def version_in(path):
    """The version of a checkpoint, after a look at every part of it."""
    checkpoint = Checkpoint(path)
    version = checkpoint.config["version"]
    for name in ("model", "more"):
        assert all((tensor == version).all() for tensor in checkpoint.tensors(name).values())
    return version


def in_a_process_that_dies_at(event, work):
    """Fork, do the work, and be killed at the file operation of this number."""
    child = os.fork()
    if child:
        return os.WTERMSIG(os.waitpid(child, 0)[1])
    seen = 0

    def count(name, arguments):
        nonlocal seen
        if name in ("open", "os.rename", "os.mkdir", "os.remove", "os.rmdir", "os.scandir", "shutil.rmtree"):
            seen += 1
            if seen == event:
                os.kill(os.getpid(), signal.SIGKILL)

    try:
        sys.addaudithook(count)
        work()
    finally:
        os._exit(0)


@pytest.mark.parametrize("event", range(1, 51))
def test_a_whole_checkpoint_survives_a_kill_at_any_moment_of_a_save(tmp_path, event):
    path = tmp_path / "model"
    save_version(path, 0)
    assert in_a_process_that_dies_at(event, lambda: [save_version(path, k) for k in range(1, 9)]) == signal.SIGKILL
    found = version_in(path)
    assert 0 <= found < 9
    save_version(path, 10)
    assert version_in(path) == 10


def test_a_kill_between_the_two_renames_leaves_the_former_one(tmp_path):
    path = tmp_path / "model"
    save_version(path, 3)
    path.rename(tmp_path / ".model.superseded")
    assert version_in(path) == 3


def test_a_failing_save_leaves_the_former_one_and_nothing_else(tmp_path):
    path = tmp_path / "model"
    save_version(path, 1)
    with pytest.raises(TypeError):
        save_checkpoint(path, {"version": object()}, {"x": torch.zeros(1)}, "card")
    assert version_in(path) == 1
    assert [entry.name for entry in tmp_path.iterdir()] == ["model"]


def test_overwriting_leaves_nothing_of_the_former_one(tmp_path):
    path = tmp_path / "model"
    save_version(path, 1)
    save_checkpoint(path, {"version": 2}, {"x": torch.zeros(1)}, "card")
    assert not Checkpoint(path).has("more")
    assert not (path / "more.safetensors").exists()


def test_the_folder_around_a_model_will_do(tmp_path):
    save_version(tmp_path / "model", 4)
    assert version_in(tmp_path) == 4


FILES = ["model.safetensors", "config.json", "README.md", "manifest.json", "more.safetensors"]


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("damage", ["truncated", "empty", "flipped"])
def test_damage_to_any_file_is_fatal(tmp_path, name, damage):
    save_version(tmp_path / "model", 1)
    file = tmp_path / "model" / name
    content = bytearray(file.read_bytes())
    # The middle of the manifest is a hash or a size, which then no longer fits.
    content[len(content) // 2] ^= 1
    file.write_bytes({"truncated": file.read_bytes()[:-1], "empty": b"", "flipped": bytes(content)}[damage])
    with pytest.raises(CheckpointError, match="model"):
        Checkpoint(tmp_path / "model")


@pytest.mark.parametrize("name", [name for name in FILES if name != "manifest.json"])
def test_a_missing_file_is_fatal(tmp_path, name):
    save_version(tmp_path / "model", 1)
    (tmp_path / "model" / name).unlink()
    with pytest.raises(CheckpointError, match=f"{name} is missing"):
        Checkpoint(tmp_path / "model")


def test_a_folder_without_a_manifest_is_no_model(tmp_path):
    with pytest.raises(UsageError, match="holds no molgen model"):
        Checkpoint(tmp_path)


@pytest.mark.parametrize("name", ["model.pt", "model.pth", "model.ckpt", "model.pkl", "model.bin"])
def test_a_pickled_checkpoint_is_refused_unread(tmp_path, name):
    (tmp_path / name).write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(UsageError, match="never loaded"):
        Checkpoint(tmp_path / name)


class Bomb:
    """What runs when it is unpickled."""

    def __reduce__(self):
        return os.system, ("touch /tmp/molgen-bomb",)


def put(folder, name, content):
    """Replace a file of a checkpoint and write its true hash into the manifest, as a forger would."""
    (folder / name).write_bytes(content)
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["files"][name] = {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
    (folder / "manifest.json").write_text(json.dumps(manifest))


def lying_header(length):
    header = json.dumps({"x": {"dtype": "F32", "shape": [1 << 40], "data_offsets": [0, 1 << 42]}}).encode()
    return struct.pack("<Q", length or len(header)) + header + b"\0" * 16


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\0" * 7,
        lying_header(0),
        lying_header(1 << 62),
        lying_header(3),
        pickle.dumps(Bomb()),
        b"\x02" + b"\0" * 7 + b"{}",
    ],
    ids=["empty", "short", "lying shape", "huge header", "cut header", "pickle", "no tensor"],
)
def test_a_forged_weights_file_is_one_clear_error(saved, content):
    put(saved, "model.safetensors", content)
    with pytest.raises(CheckpointError):
        GenerativeModel.load(saved)
    assert not Path("/tmp/molgen-bomb").exists()


def test_keys_with_endless_hashes_are_one_clear_error(tmp_path):
    model = GenerativeModel("molecules.smiles", backbone=Part("recurrent", {"width": 4, "layers": 1, "embedding": 2}))
    model.use(model.build())
    model.keys["set"] = BloomFilter.of(["CCO"], expected=1)
    model.save(tmp_path / "model")
    config = json.loads((tmp_path / "model" / "config.json").read_text())
    config["keys"]["set"]["hashes"] = 10**18
    put(tmp_path / "model", "config.json", json.dumps(config).encode())
    with pytest.raises(CheckpointError, match="training keys are damaged"):
        GenerativeModel.load(tmp_path / "model")


@pytest.mark.parametrize("content", [b"[]", b"{}", b"3", b"\xff\xfe", b'{"format": 1}', b"[" * 100_000])
@pytest.mark.parametrize("name", ["manifest.json", "config.json"])
def test_forged_json_is_one_clear_error(saved, name, content):
    if name == "manifest.json":
        (saved / name).write_bytes(content)
    else:
        put(saved, name, content)
    with pytest.raises(CheckpointError):
        GenerativeModel.load(saved)


@pytest.mark.parametrize(
    "files", [["model.safetensors"], {"config.json": 1, "model.safetensors": []}, {"../x": {}}, "all"]
)
def test_a_manifest_of_another_form_is_damage(saved, files):
    (saved / "manifest.json").write_text(json.dumps({"format": 1, "files": files}))
    with pytest.raises(CheckpointError):
        Checkpoint(saved)


@pytest.mark.parametrize("number", [0, 2, "1", None])
def test_another_format_says_so_first(saved, number):
    (saved / "manifest.json").write_text(json.dumps({"format": number, "parts": ["another form"]}))
    with pytest.raises(CheckpointError, match=f"format {number!r}, and this molgen reads 1"):
        Checkpoint(saved)


def test_a_file_that_the_manifest_does_not_list_is_not_read(saved):
    (saved / "stowaway.safetensors").write_bytes((saved / "model.safetensors").read_bytes())
    with pytest.raises(CheckpointError, match="missing"):
        Checkpoint(saved).tensors("stowaway")


@pytest.fixture
def saved(tmp_path, fake_distribution):
    """The folder of a small model of toy words."""
    register(fake_distribution)
    model = GenerativeModel("tokens", backbone=Part("recurrent", {"width": 8, "layers": 1, "embedding": 4}))
    model.use(model.build())
    model.save(tmp_path / "saved")
    assert GenerativeModel.load(tmp_path / "saved").config == model.config
    return tmp_path / "saved"


def rewritten(folder, change):
    config = json.loads((folder / "config.json").read_text())
    change(config)
    put(folder, "config.json", json.dumps(config).encode())


def naming(part, name):
    return lambda config: config["model"][part].update(name=name)


def setting(part, name, value):
    return lambda config: config["model"][part]["settings"].update({name: value})


@pytest.mark.parametrize(
    "change",
    [
        naming(part, name)
        for part in ("encoder", "family", "backbone")
        for name in ("os:system", "os", "antigravity", "x.y:Z")
    ]
    + [setting(part, "_target_", "antigravity.geohash") for part in ("encoder", "family", "backbone")]
    + [lambda config: config["model"]["family"].update(_target_="antigravity.geohash")]
    + [setting("backbone", "width", width) for width in (-1, 0, "8", 1e9, None, 16)]
    + [naming("family", ["autoregressive"]), lambda config: config.update(model=[]), lambda config: config.pop("model")]
    + [
        lambda config: config.update(statistics={"count": 1}),
        lambda config: config.update(encoder_state=3, conditions=[]),
    ],
)
def test_a_forged_configuration_is_one_clear_error_and_imports_nothing(saved, change):
    rewritten(saved, change)
    before = set(sys.modules)
    with pytest.raises(MolgenError) as caught:
        GenerativeModel.load(saved)
    assert isinstance(caught.value, UsageError | CheckpointError)
    assert "\n" not in str(caught.value)
    assert str(saved) in str(caught.value)
    assert set(sys.modules) == before
