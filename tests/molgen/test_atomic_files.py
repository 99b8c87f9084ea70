"""Nothing of the user's is destroyed: links, devices, other files, and what killed runs left."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import threading

import pytest
from safetensors import SafetensorError

from molgen import GenerativeModel, atomic_files
from molgen.atomic_files import replaced_file, replaced_folder, temporary_sibling, write_text
from molgen.data.tables import opened_to_write
from molgen.errors import UsageError
from molgen.model.checkpoint import Checkpoint, CheckpointError, save_checkpoint


def test_a_link_goes_on_pointing(tmp_path):
    (tmp_path / "folder").mkdir()
    target, link = tmp_path / "folder" / "target.txt", tmp_path / "link.txt"
    target.write_text("old")
    link.symlink_to(target)
    write_text(link, "new")
    assert link.is_symlink()
    assert target.read_text() == "new"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes")
def test_a_pipe_is_written_to(tmp_path):
    pipe, found = tmp_path / "pipe", []
    os.mkfifo(pipe)
    reader = threading.Thread(target=lambda: found.append(pipe.read_text()))
    reader.start()
    write_text(pipe, "rows")
    reader.join(10)
    assert found == ["rows"]
    assert pipe.is_fifo()


def test_a_device_stays_one():
    write_text(__import__("pathlib").Path(os.devnull), "nothing")
    assert not os.path.isfile(os.devnull)


def fill(replaced, path, error):
    """Write a little, and find the disk full."""
    with replaced(path) as temporary:
        (temporary / "part" if temporary.is_dir() else temporary).write_bytes(b"x" * 1500)
        raise error


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "full"), SafetensorError("I/O: No space left on device")])
@pytest.mark.parametrize("replaced", [replaced_file, replaced_folder])
def test_a_full_disk_names_the_file_and_the_bytes(replaced, error, tmp_path):
    with pytest.raises(OSError, match=r"No space left on device after 1,500 bytes, with [\d,]+ bytes left") as found:
        fill(replaced, tmp_path / "out", error)
    assert found.value.filename == str(tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no device that is always full")
def test_a_device_that_is_full_is_named():
    with pytest.raises(OSError, match="No space left") as found, opened_to_write("/dev/full") as stream:
        stream.write(b"rows")
    assert found.value.filename == "/dev/full"


def test_what_a_killed_run_left_is_cleared_by_the_next(tmp_path):
    code = (
        "import os, sys; from pathlib import Path; from molgen.atomic_files import temporary_sibling\n"
        "temporary_sibling(Path(sys.argv[1])).write_text('half'); os.kill(os.getpid(), 9)"
    )
    path = tmp_path / "out.csv"
    subprocess.run([sys.executable, "-c", code, str(path)])
    other = tmp_path / f".other.csv.1-{atomic_files._HOST}-00000000.tmp"
    running = temporary_sibling(path)
    running.write_text("of a run that goes on")
    other.write_text("of another file")
    with replaced_file(path) as temporary:
        temporary.write_text("whole")
    assert sorted(one.name for one in tmp_path.iterdir()) == sorted(["out.csv", other.name, running.name])


@pytest.mark.parametrize("what", ["thesis", "file", "model with notes"])
def test_only_a_model_is_replaced_by_a_model(tmp_path, what):
    target = tmp_path / "target"
    if what == "file":
        target.write_text("a thesis")
    elif what == "thesis":
        target.mkdir()
        (target / "thesis.tex").write_text("a thesis")
    else:
        save_checkpoint(target, {}, {}, "card")
        (target / "thesis.tex").write_text("a thesis")
    with pytest.raises(UsageError, match="is not replaced"):
        save_checkpoint(target, {}, {}, "card")
    assert (target if what == "file" else target / "thesis.tex").read_text() == "a thesis"


def test_a_model_and_an_empty_folder_are_replaced(tmp_path):
    (tmp_path / "model").mkdir()
    for card in ("one", "two"):
        save_checkpoint(tmp_path / "model", {}, {}, card)
    assert (tmp_path / "model" / "README.md").read_text() == "two"


def test_an_embedded_model_is_found_without_importing_any_domain(fake_distribution):
    hostile = {"hostile_domain": "import os\nprint('in the table')\nos._exit(7)\n"}
    fake_distribution("molgen-hostile", plugins={"domain": {"hostile": "hostile_domain:Domain"}}, modules=hostile)
    code = "import sys, molgen; molgen.GenerativeModel.load('moses'); sys.exit('hostile_domain' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
    assert GenerativeModel.load("moses").config.domain == "molecules"


def test_a_text_of_gigabytes_and_a_sparse_file_are_refused_unread(tmp_path):
    for name in ("README.md", "model.safetensors", "config.json"):
        folder = tmp_path / name
        save_checkpoint(folder, {}, {}, "card")
        os.truncate(folder / name, 1 << 36)
        with pytest.raises(CheckpointError, match=f"{name} (has 68,719,476,736 bytes|does not have the hash)"):
            Checkpoint(folder)
