"""Distributions of third parties, installed by pip as anybody would install them, from copies outside this checkout."""

from __future__ import annotations

import importlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from molgen import registry

HERE = Path(__file__).parent
PLUGINS = sorted(path.parent.name for path in HERE.glob("*/pyproject.toml"))
#: Their own tests are run where they are installed, by `test_installed`.
collect_ignore = [str(HERE / name) for name in PLUGINS]


@pytest.fixture(scope="session")
def copies(tmp_path_factory) -> Path:
    """The folder with the distributions, and `site`, where pip installed them; no index is asked."""
    folder = tmp_path_factory.mktemp("third_party")
    for name in PLUGINS:
        shutil.copytree(HERE / name, folder / name)
    install = ["install", "--quiet", "--disable-pip-version-check", "--no-index", "--no-deps", "--no-build-isolation"]
    command = [sys.executable, "-m", "pip", *install, "--target", "site", *(f"./{name}" for name in PLUGINS)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture
def installed(copies, monkeypatch) -> Path:
    """The distributions in this process, and in those that it starts."""
    site = str(copies / "site")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([site, os.environ["PYTHONPATH"]]))
    monkeypatch.syspath_prepend(site)
    importlib.invalidate_caches()
    registry.refresh()
    yield copies
    monkeypatch.undo()
    importlib.invalidate_caches()
    registry.refresh()
