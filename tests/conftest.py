"""What all tests share: no network, fixed seeds, the command, and distributions of third parties."""

from __future__ import annotations

import importlib
import multiprocessing
import os
import random
import runpy
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from molgen import registry

OFFLINE = Path(__file__).parent / "offline"
ALLOW_NETWORK = runpy.run_path(str(OFFLINE / "sitecustomize.py"))["ALLOW"]
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(OFFLINE), os.environ.get("PYTHONPATH")]))
if "PYTEST_XDIST_WORKER" in os.environ:  # the processes of one test run share the processors
    os.environ["OMP_NUM_THREADS"] = "1"
# A shell starts background jobs with SIGINT ignored, and processes inherit that; the tests of interrupts cannot.
signal.signal(signal.SIGINT, signal.default_int_handler)

Install = Callable[..., Path]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[Any]:
    """Open the network around a test that is marked `network`, its fixtures included."""
    if item.get_closest_marker("network"):
        os.environ[ALLOW_NETWORK] = "1"
    try:
        return (yield)
    finally:
        os.environ.pop(ALLOW_NETWORK, None)


@pytest.fixture(scope="session", autouse=True)
def _no_process_is_left(request: pytest.FixtureRequest) -> Iterator[None]:
    """Whatever started processes has ended them when the last test is over; one that failed may hold on to some."""
    yield
    left = [] if request.session.testsfailed else multiprocessing.active_children()
    assert not left, f"processes that somebody forgot to close: {left}"


@pytest.fixture(autouse=True)
def _seeds() -> None:
    """Seed what is loaded: a test that loads numpy or torch itself seeds what it draws."""
    random.seed(0)
    for module, seed in (("numpy", "random.seed"), ("torch", "manual_seed")):
        if module in sys.modules:
            function: Any = sys.modules[module]
            for part in seed.split("."):
                function = getattr(function, part)
            function(0)


@pytest.fixture
def molgen_command() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run `molgen` with these arguments in a process of its own."""

    def run(*arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "molgen_cli.main", *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=120, **options)

    return run


@pytest.fixture
def no_plugins(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hide the plugins of all distributions but our own."""
    monkeypatch.setenv(registry.DISABLE, "1")


@pytest.fixture
def fake_distribution(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Install distributions of third parties: a `.dist-info` and modules in a folder on sys.path and PYTHONPATH.

    Call it as `install("molgen-audio", "0.3", {"domain": {"audio": "audio_x:Audio"}}, {"audio_x": "source"})`.
    """
    site = tmp_path / "site"
    site.mkdir()
    monkeypatch.syspath_prepend(str(site))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(site), os.environ["PYTHONPATH"]]))
    installed: set[str] = set()

    def install(
        name: str,
        version: str = "1.0",
        plugins: Mapping[str, Mapping[str, str]] | None = None,
        modules: Mapping[str, str] | None = None,
        requires: Sequence[str] = (),
    ) -> Path:
        info = site / f"{name.replace('-', '_')}-{version}.dist-info"
        info.mkdir()
        needs = "".join(f"Requires-Dist: {requirement}\n" for requirement in requires)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{needs}")
        groups = [(f"molgen.{kind}", entries) for kind, entries in (plugins or {}).items()]
        lines = [f"[{group}]\n" + "".join(f"{k} = {v}\n" for k, v in entries.items()) for group, entries in groups]
        (info / "entry_points.txt").write_text("\n".join(lines))
        for module, source in (modules or {}).items():
            (site / f"{module}.py").write_text(source)
            installed.add(module)
        importlib.invalidate_caches()
        registry.refresh()
        return info

    yield install
    monkeypatch.undo()
    importlib.invalidate_caches()
    registry.refresh()
    # A stand-in for a real package must not take that package with it.
    for module in installed:
        if str(site) in (getattr(sys.modules.get(module), "__file__", None) or ""):
            del sys.modules[module]
