"""Whatever happens while a set is made, or afterwards, it ends as the same bytes: nothing lost, nothing doubled."""

from __future__ import annotations

import errno
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from support.sets import quick

from molgen.atomic_files import sha256
from molgen.errors import MolgenError, UsageError
from molgen_datasets.synthetic import create, verify

SETTINGS = {
    "splits": {"shares": {"train": 0.8, "test": 0.2}},
    "output": {"shard_size": 30},
    "filters": {"exclude": ["[#17]"], "alerts": "none"},
}


def contents(path: Path) -> dict[str, str]:
    """The SHA-256 of all that a set consists of, by path; how it was made is no part of it."""
    files = [one for one in path.rglob("*") if one.is_file() and one.relative_to(path).parts[0] != ".molgen"]
    return {str(one.relative_to(path)): sha256(one) for one in files if one.name != "dataset.run.json"}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """A set of 100 items in three parts and four files, made without any disturbance."""
    with pytest.MonkeyPatch.context() as patch:
        quick(patch)
        patch.setenv("SOURCE_DATE_EPOCH", "1790000000")
        path = tmp_path_factory.mktemp("undisturbed") / "set"
        create({"model": "moses", "count": 100, **SETTINGS}, path, engine="serial", device="cpu")
    return path


@pytest.fixture
def finished(undisturbed, tmp_path):
    """A copy of it."""
    return Path(shutil.copytree(undisturbed, tmp_path / "set"))


class Crash(BaseException):
    """The process ends here."""


@pytest.fixture
def interrupted(monkeypatch):
    """Let the n-th renaming of a file from now on fail, before or after it happened."""

    def at(number: int, error: BaseException, *, after: bool = False) -> None:
        calls, replace = iter(range(1, 10_000)), os.replace

        def failing(source, target):
            if (now := next(calls)) == number and not after:
                raise error
            replace(source, target)
            if now == number and after:
                raise error

        monkeypatch.setattr(os, "replace", failing)

    return at


# about 25 files are renamed while the set is made
@pytest.mark.parametrize(
    ("number", "after"),
    [(2, False), (6, True), (11, False), (16, True), (21, False)],
)
def test_it_goes_on_after_a_crash_at_any_file(make, undisturbed, tmp_path, interrupted, monkeypatch, number, after):
    path = tmp_path / "set"
    with monkeypatch.context() as patch:
        interrupted(number, Crash(), after=after)
        with pytest.raises(Crash):
            make(100, folder=path, **SETTINGS)
        patch.undo()
    monkeypatch.undo()
    quick(monkeypatch)
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1800000000")  # the clock stands elsewhere by now
    create({"model": "moses", "count": 100, **SETTINGS}, path, engine="serial", device="cpu", resume=True)
    assert contents(path) == contents(undisturbed)


def test_a_full_disk_is_said_and_what_was_made_stays(make, undisturbed, tmp_path, monkeypatch):
    path, full = tmp_path / "set", OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    fsync, calls = os.fsync, iter(range(1, 10_000))

    def failing(descriptor):
        if next(calls) == 20:
            raise full
        fsync(descriptor)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", failing)
        with pytest.raises(OSError, match="No space left on device"):
            make(100, folder=path, **SETTINGS)
    assert json.loads((path / "dataset.run.json").read_text())["complete"] is False
    make(100, folder=path, resume=True, **SETTINGS)
    assert contents(path) == contents(undisturbed)


def flipped(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0x10
    path.write_bytes(data)


def truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-7])


DAMAGES = {"flipped": flipped, "truncated": truncated, "gone": lambda path: path.unlink()}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("file", ["data/train-00001-of-00003.parquet", "manifest.json"])
def test_a_damaged_set_is_noticed_and_repaired(make, finished, undisturbed, damage, file):
    DAMAGES[damage](finished / file)
    if file.startswith("data"):
        assert [line.partition(":")[0] for line in verify(finished)] == [file]
    made = make(100, folder=finished, resume=True, **SETTINGS)[1]
    assert contents(finished) == contents(undisturbed)
    assert made["items"] == 100
    assert verify(finished, deep=True) == []


@pytest.mark.parametrize("file", ["places.parquet", "plan.json", "facts.json"])
def test_damage_in_what_the_making_needs_is_repaired_too(make, finished, undisturbed, file):
    flipped(finished / ".molgen" / file)
    truncated(finished / "data/test-00000-of-00001.parquet")
    make(100, folder=finished, resume=True, **SETTINGS)
    assert contents(finished) == contents(undisturbed)


def test_a_whole_set_is_left_as_it_is(make, finished):
    (finished / "README.md").write_text("our own words")
    for path in finished.rglob("*"):
        os.utime(path, (2_000_000_000, 2_000_000_000))
    before = {path: path.stat().st_mtime for path in finished.rglob("data/*")}
    make(100, folder=finished, resume=True, **SETTINGS)
    assert {path: path.stat().st_mtime for path in finished.rglob("data/*")} == before
    assert (finished / "README.md").read_text() == "our own words"


def test_what_cannot_be_made_again_as_it_was_is_no_repair(make, finished, monkeypatch):
    from molgen_datasets.synthetic import draw

    truncated(finished / "data/test-00000-of-00001.parquet")
    monkeypatch.setattr(draw, "sampling_seed", lambda *_: 1)
    with pytest.raises(MolgenError, match="is not what it was: this machine"):
        make(100, folder=finished, resume=True, **SETTINGS)


@pytest.mark.parametrize("changed", ["versions", "recipe"])
def test_a_set_is_not_gone_on_with_by_something_else(make, finished, changed, monkeypatch):
    if changed == "versions":
        monkeypatch.setattr("molgen_datasets.synthetic.engine.versions", lambda: {"torch": "9.9"})
    else:
        text = (finished / ".molgen/recipe.json").read_text()
        (finished / ".molgen/recipe.json").write_text(text.replace('"seed": 0', '"seed": 5'))
    with pytest.raises(UsageError, match=r"was begun with torch|another recipe"):
        make(100, folder=finished, resume=True, **SETTINGS)


# --- processes that are killed --------------------------------------------------------------------


def command(path: Path, count: int) -> list[str]:
    settings = [f"output.shard_size={max(30, count // 20)}", "filters.alerts=none", "filters.exclude=['[#17]']"]
    settings += ["splits.shares={train:0.8,test:0.2}", "-m", "moses", "-n", str(count), "-o", str(path), "--resume"]
    options = ["--workers", "2", "--retries", "1000", "-q", "--device", "cpu"]
    return [sys.executable, "-m", "molgen_cli.main", "dataset", "create", *settings, *options]


def killed(arguments: list[str], kills: int, rng: random.Random) -> int:
    """Run a command to its end while random processes of it are killed, itself among them; return how many were."""
    left = kills
    while True:
        parent = subprocess.Popen(arguments, stderr=subprocess.PIPE, text=True)
        while parent.poll() is None:
            time.sleep(rng.uniform(0.1, 1.0))
            left -= left > 0 and _kill_one(parent, rng)
        if parent.returncode != -signal.SIGKILL:
            assert parent.stderr is not None
            assert parent.returncode == 0, parent.stderr.read()
            return kills - left


def _kill_one(parent: subprocess.Popen[str], rng: random.Random) -> bool:
    try:
        workers = psutil.Process(parent.pid).children(recursive=True)
        victim = parent.pid if not workers or rng.random() < 0.25 else rng.choice(workers).pid
        os.kill(victim, signal.SIGKILL)
    except (psutil.NoSuchProcess, ProcessLookupError):
        return False
    return True


@pytest.mark.parametrize(
    ("kills", "count"),
    [
        pytest.param(12, 100, id="12"),
        pytest.param(100, 6000, id="100", marks=[pytest.mark.slow, pytest.mark.timeout(3000)]),
    ],
)
def test_killed_processes_change_nothing(undisturbed, tmp_path, kills, count):
    expected = undisturbed
    if count != 100:
        expected = tmp_path / "expected"
        subprocess.run(command(expected, count), check=True)
    assert killed(command(tmp_path / "set", count), kills, random.Random(0)) > kills // 3
    assert contents(tmp_path / "set") == contents(expected)
    assert verify(tmp_path / "set", deep=True) == []
