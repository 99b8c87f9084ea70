"""Every block of code in the guides runs, in its order, with the plugin of its page installed.

A page that installs a plugin itself has no pyproject.toml: its files are written where they are named.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from molgen import registry
from molgen_cli.main import main

README = Path(__file__).parents[2] / "README.md"
GUIDES = sorted((Path(__file__).parents[2] / "docs" / "guides").glob("*.md"))
_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_NAME = re.compile(r"# (\S+\.(?:py|toml|yaml))\n")


@pytest.mark.parametrize("guide", GUIDES, ids=lambda path: path.stem)
def test_a_guide_runs_as_it_is_printed(guide, tmp_path, monkeypatch, fake_distribution):
    blocks = _BLOCK.findall(guide.read_text(encoding="utf-8"))
    files = {found[1]: text for _, text in blocks if (found := _NAME.match(text))}
    walk = any("/" in name for name in files)  # such a page writes a distribution and installs it
    if "pyproject.toml" in files and not walk:
        install(files, fake_distribution)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MOLGEN_CACHE", str(tmp_path / "cache"))
    scope: dict[str, object] = {"__name__": "guide"}
    for language, text in blocks:
        if named := _NAME.match(text):
            if walk or named[1].endswith(".yaml"):
                Path(named[1]).write_text(text[named.end() :])
        elif language == "python":
            exec(compile(text, f"{guide.name}", "exec"), scope)
        for line in text.splitlines() if language == "console" else ():
            if walk or line.startswith("$ molgen "):
                run_line(shlex.split(line.removeprefix("$ "), comments=True), monkeypatch)


#: pip without an index, into a folder of the test.
PIP = ["install", "--quiet", "--no-index", "--no-deps", "--no-build-isolation", "--target", "installed"]


def run_line(words, monkeypatch):
    """Run one line of a page: `molgen`, `pytest`, or `pip install --editable FOLDER`."""
    if words[0] == "molgen":
        assert main(words[1:]) == 0, words
        return
    if words[0] == "pytest":
        run_module("pytest", "--import-mode=importlib", "-p", "no:cacheprovider", *words[1:])
        return
    assert words[:3] == ["pip", "install", "--editable"]
    run_module("pip", *PIP, words[3])
    # The folder itself stands for pip's link to it, which only the environment's own site-packages can hold.
    paths = [str(Path(words[3]).absolute()), str(Path("installed").absolute())]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([*paths, os.environ["PYTHONPATH"]]))
    for path in reversed(paths):
        monkeypatch.syspath_prepend(path)
    registry.refresh()


def run_module(*arguments):
    command = [sys.executable, "-m", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, (arguments, done.stdout, done.stderr)


def test_the_readme_runs_as_it_is_printed(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    scope: dict[str, object] = {"__name__": "readme"}
    for language, text in _BLOCK.findall(README.read_text(encoding="utf-8")):
        if language == "python":
            exec(compile(text, "README.md", "exec"), scope)
    assert "EXACT" in capsys.readouterr().out


def install(files, fake_distribution):
    """The distribution that a page describes: its pyproject.toml and modules."""
    project = tomllib.loads(files["pyproject.toml"])["project"]
    plugins = {group.removeprefix("molgen."): names for group, names in project["entry-points"].items()}
    modules = {name.removesuffix(".py"): text for name, text in files.items() if name.endswith(".py")}
    fake_distribution(project["name"], project["version"], plugins, modules)
