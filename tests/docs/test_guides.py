"""Every block of code in the guides runs, in its order, with the plugin of its page installed."""

from __future__ import annotations

import re
import shlex
import tomllib
from pathlib import Path

import pytest

README = Path(__file__).parents[2] / "README.md"
GUIDES = sorted((Path(__file__).parents[2] / "docs" / "guides").glob("*.md"))
_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_NAME = re.compile(r"# (\S+\.(?:py|toml))\n")


@pytest.mark.parametrize("guide", GUIDES, ids=lambda path: path.stem)
def test_a_guide_runs_as_it_is_printed(guide, tmp_path, monkeypatch, fake_distribution, molgen_command):
    blocks = _BLOCK.findall(guide.read_text(encoding="utf-8"))
    files = {found[1]: text for _, text in blocks if (found := _NAME.match(text))}
    if files:
        install(files, fake_distribution)
    monkeypatch.chdir(tmp_path)
    scope: dict[str, object] = {"__name__": "guide"}
    for language, text in blocks:
        if _NAME.match(text):
            continue
        if language == "python":
            exec(compile(text, f"{guide.name}", "exec"), scope)
        for line in text.splitlines() if language == "console" else ():
            if line.startswith("$ molgen "):
                done = molgen_command(*shlex.split(line.partition("#")[0])[2:])
                assert done.returncode == 0, (line, done.stdout, done.stderr)


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
