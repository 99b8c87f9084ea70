"""Models on disks that are full, read-only or in use, and files of tensors that lie about themselves."""

import hashlib
import json
import resource
import shutil
import signal
import struct
from contextlib import closing

import pytest
import torch
from support.limits import limits

from molgen.atomic_files import sha256
from molgen.data.encode import write_store
from molgen.errors import MolgenError
from molgen.model.checkpoint import Checkpoint, CheckpointError, save_checkpoint
from molgen.training.metrics_log import MetricsLog
from molgen_plugins.molecules.io.files import write
from molgen_plugins.molecules.smiles.encoder import Smiles, SmilesConfig


def _save(path, value, count=1000):
    save_checkpoint(path, {"value": value}, {"x": torch.full((count,), float(value))}, "a card")


def _header(**tensors):
    content = json.dumps(tensors).encode()
    return struct.pack("<Q", len(content)) + content


def _tensor(shape, start, end, kind="F32"):
    return {"dtype": kind, "shape": shape, "data_offsets": [start, end]}


LIES = {
    "empty": b"",
    "short": b"\0" * 7,
    "length beyond the file": struct.pack("<Q", 1 << 62) + b"{}",
    "length of 101 MB": struct.pack("<Q", 101 << 20) + b" " * (101 << 20),
    "no UTF-8": struct.pack("<Q", 2) + b"\xff\xfe",
    "no JSON": struct.pack("<Q", 5) + b"[" * 5,
    "deep": struct.pack("<Q", 100_000) + b"[" * 100_000,
    "overlapping": _header(x=_tensor([2], 0, 8), y=_tensor([2], 4, 12)) + b"\0" * 12,
    "gap": _header(x=_tensor([1], 4, 8)) + b"\0" * 8,
    "overflow": _header(x=_tensor([2**33, 2**33], 0, 4)) + b"\0" * 4,
    "not a number": _header(x=_tensor([float("nan")], 0, 4)) + b"\0" * 4,
    "negative": _header(x=_tensor([-1], 0, 4)) + b"\0" * 4,
    "another size": _header(x=_tensor([3], 0, 4)) + b"\0" * 4,
    "another type": _header(x=_tensor([1], 0, 4, "F1000")) + b"\0" * 4,
    "cut off": _header(x=_tensor([1 << 40], 0, 1 << 42)) + b"\0" * 64,
}


@pytest.mark.parametrize("content", LIES.values(), ids=LIES)
def test_a_lying_header_is_one_line_in_bounded_memory(tmp_path, content):
    _save(tmp_path / "model", 1)
    weights = tmp_path / "model" / "model.safetensors"
    weights.write_bytes(content)
    manifest = json.loads((tmp_path / "model" / "manifest.json").read_text())
    manifest["files"][weights.name] = {"sha256": sha256(weights), "bytes": len(content)}
    (tmp_path / "model" / "manifest.json").write_text(json.dumps(manifest))
    with limits("header", memory=200 << 20), pytest.raises(CheckpointError, match="cannot be read"):
        Checkpoint(tmp_path / "model").tensors()


@pytest.fixture
def _small_files():
    """No file may grow beyond 64 KiB, as on a disk that is full."""
    former, limit = signal.signal(signal.SIGXFSZ, signal.SIG_IGN), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, limit[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    signal.signal(signal.SIGXFSZ, former)


@pytest.mark.usefixtures("_small_files")
def test_a_full_disk_leaves_the_former_model_and_names_the_file(tmp_path):
    path = tmp_path / "model"
    _save(path, 1)
    with pytest.raises(MolgenError, match=rf"{path}: .*4,\d\d\d,\d\d\d bytes"):
        _save(path, 2, count=1_000_000)
    assert Checkpoint(path).config["value"] == 1
    assert [one.name for one in tmp_path.iterdir()] == ["model"]


@pytest.mark.usefixtures("_small_files")
@pytest.mark.parametrize(
    ("name", "fitted"),
    [("x.csv", r" after 6\d,\d+ bytes"), ("x.csv.gz", " after"), ("x.smi", " after"), ("x.parquet", "")],
)
def test_a_full_disk_leaves_the_former_table_and_names_the_file(tmp_path, name, fitted):
    path = tmp_path / name
    path.write_text("the former one")
    rows = ({"smiles": hashlib.sha256(str(n).encode()).hexdigest()} for n in range(10_000))
    with pytest.raises(OSError, match=rf"too large{fitted}.*{name}"):
        write(rows, path)
    assert path.read_text() == "the former one"
    assert [one.name for one in tmp_path.iterdir()] == [name]


@pytest.mark.usefixtures("_small_files")
def test_a_full_disk_leaves_no_store_and_names_it(tmp_path):
    path, encoder = tmp_path / "stores" / "mine", Smiles(SmilesConfig(max_length=100))
    rows = [("C" * 90, {})] * 3000
    with pytest.raises(OSError, match=r"(No space|too large).* with [\d,]+ bytes left") as failure:
        write_store(path, lambda: encoder, encoder.space, rows)
    assert failure.value.filename == str(path)
    assert list(path.parent.iterdir()) == []


def _log_much(folder, value):
    with closing(MetricsLog(folder)) as log:
        for step in range(1000):  # whole numbers are shorter in JSON than they are for TensorBoard
            log(step, {str(k): value for k in range(50)})


@pytest.mark.usefixtures("_small_files")
@pytest.mark.parametrize(("value", "name"), [(0.123456789012345678, "metrics.jsonl"), (1, "events.out.tfevents")])
def test_a_full_disk_ends_the_metrics_of_a_run_in_one_line(tmp_path, value, name, capfd):
    with pytest.raises(OSError, match="too large, with") as failure:
        _log_much(tmp_path, value)
    assert name in failure.value.filename
    assert capfd.readouterr() == ("", "")


def test_a_former_model_that_cannot_be_deleted_stops_nothing(tmp_path, monkeypatch):
    path = tmp_path / "model"
    _save(path, 0)
    monkeypatch.setattr(shutil, "rmtree", lambda path, ignore_errors=False: None)
    for value in range(1, 4):
        _save(path, value)
        assert Checkpoint(path).config["value"] == value


def test_a_model_in_use_survives_being_replaced(tmp_path):
    _save(tmp_path / "model", 1)
    tensors = Checkpoint(tmp_path / "model").tensors()
    _save(tmp_path / "model", 2)
    assert (tensors["x"] == 1).all()
    assert (Checkpoint(tmp_path / "model").tensors()["x"] == 2).all()
