import io
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from molgen.data.cache import cache_folder
from molgen.errors import MolgenError, UsageError
from molgen_datasets.cache import Pin, holds, mirrored, scratch, store


def test_the_cache_is_where_the_variable_says(tmp_path):
    assert cache_folder() == tmp_path / "cache"


def test_the_cache_is_where_the_platform_says(monkeypatch, tmp_path):
    monkeypatch.delenv("MOLGEN_CACHE")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "caches"))
    assert cache_folder() == tmp_path / "caches" / "molgen"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert cache_folder() == tmp_path / ".cache" / "molgen"
    monkeypatch.setattr(sys, "platform", "darwin")
    assert cache_folder() == tmp_path / "Library" / "Caches" / "molgen"


def test_what_is_stored_is_held(tmp_path, pin, files_below):
    path = tmp_path / "deep" / "data"
    store(io.BytesIO(b"content"), path, pin(b"content"), "origin")
    assert path.read_bytes() == b"content"
    assert holds(path, pin(b"content"))
    assert files_below(tmp_path / "deep") == ["data"]


def test_nothing_is_held_where_nothing_is(tmp_path, pin):
    assert not holds(tmp_path / "data", pin(b"content"))


@pytest.mark.parametrize("content", [b"c0ntent", b"short", b"", b"content and more"])
def test_other_content_is_refused_and_leaves_nothing(tmp_path, pin, files_below, content):
    with pytest.raises(MolgenError, match="origin is not the file that is needed") as caught:
        store(io.BytesIO(content), tmp_path / "folder" / "data", pin(b"content"), "origin")
    assert pin(b"content").sha256 in str(caught.value)
    assert len(content) > 7 or pin(content).sha256 in str(caught.value)
    assert files_below(tmp_path / "folder") == []


def test_refused_content_leaves_the_former_file(tmp_path, pin):
    path = tmp_path / "data"
    path.write_bytes(b"content")
    with pytest.raises(MolgenError):
        store(io.BytesIO(b"c0ntent"), path, pin(b"content"), "origin")
    assert path.read_bytes() == b"content"


@pytest.mark.parametrize("content", [b"c0ntent", b"short", b"content and more"])
def test_a_damaged_file_in_the_cache_is_deleted_and_an_error(tmp_path, pin, content):
    path = tmp_path / "data"
    path.write_bytes(content)
    with pytest.raises(MolgenError, match="it was deleted, try again") as caught:
        holds(path, pin(b"content"))
    assert pin(b"content").sha256 in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not path.exists()


class Endless(io.RawIOBase):
    """A stream without end, which counts what was taken from it."""

    taken = 0

    def read(self, size=-1):
        self.taken += size
        return bytes(size)


def test_a_stream_that_is_too_long_is_not_read_to_its_end(tmp_path):
    stream = Endless()
    with pytest.raises(MolgenError, match="more than 10 bytes"):
        store(stream, tmp_path / "data", Pin(10, "0" * 64), "origin")
    assert stream.taken <= 1 << 20


class Broken(io.RawIOBase):
    def read(self, size=-1):
        raise EOFError("ended early")


def test_a_stream_that_breaks_is_named_and_leaves_nothing(tmp_path, pin, files_below):
    with pytest.raises(MolgenError, match=r"origin is damaged \(ended early\)"):
        store(Broken(), tmp_path / "folder" / "data", pin(b"content"), "origin")
    assert files_below(tmp_path / "folder") == []


def test_a_disk_that_is_full_is_one_line_that_says_how_much_is_needed(tmp_path, pin, monkeypatch):
    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    left = r"No space left on device after 7 bytes, with [\d,]+ bytes left"
    with pytest.raises(MolgenError, match=rf"cannot write .*data \(7 bytes\): {left}; MOLGEN_CACHE"):
        store(io.BytesIO(b"content"), tmp_path / "data", pin(b"content"), "origin")
    assert not (tmp_path / "data").exists()


def test_a_cache_that_cannot_be_made_is_one_line(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(MolgenError, match="MOLGEN_CACHE names another folder"), scratch(tmp_path / "file" / "cache", 1):
        pass


def test_the_mirror_is_looked_in_by_name(mirror):
    (mirror / "b").write_bytes(b"")
    assert mirrored("a", "b") == mirror / "b"
    assert mirrored("a") is None


def test_without_a_mirror_nothing_is_mirrored():
    assert mirrored("a") is None


def test_a_mirror_that_is_no_folder_is_a_usage_error(monkeypatch, tmp_path):
    monkeypatch.setenv("MOLGEN_MIRROR", str(tmp_path / "nowhere"))
    with pytest.raises(UsageError, match="nowhere, which is not a folder"):
        mirrored("a")


def test_a_scratch_folder_vanishes_and_sweeps_only_what_is_old(tmp_path):
    left, recent, file, data = (tmp_path / name for name in (".download-left", ".download-recent", ".a.tmp", "data"))
    left.mkdir()
    recent.mkdir()
    (left / "half.whl").write_bytes(b"")
    file.write_bytes(b"")
    data.write_bytes(b"")
    for path in (left, file, data):
        os.utime(path, (time.time() - 100_000,) * 2)
    with scratch(tmp_path, 1) as folder:
        assert folder.parent == tmp_path
    assert sorted(path.name for path in tmp_path.iterdir() if path.name != "index") == [".download-recent", "data"]


STORE_OFTEN = """
import io, pathlib, sys
from molgen.data.cache import cache_folder
from molgen_datasets.cache import Pin, holds, store
path, content = pathlib.Path(sys.argv[1]), bytes(range(256)) * 2000
pin = Pin(len(content), sys.argv[2])
for _ in range(20):
    store(io.BytesIO(content), path, pin, "origin")
    assert holds(path, pin)
"""


def test_two_processes_may_store_the_same_file_at_once(tmp_path, pin, files_below):
    path = tmp_path / "shared" / "data"
    command = [sys.executable, "-c", STORE_OFTEN, str(path), pin(bytes(range(256)) * 2000).sha256]
    processes = [subprocess.Popen(command, stderr=subprocess.PIPE) for _ in range(2)]
    complaints = [process.communicate(timeout=60)[1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], complaints
    assert files_below(Path(tmp_path / "shared")) == ["data"]
