"""How Sphinx builds the guide: `make docs` writes docs/_build/html."""

from __future__ import annotations

import re
from importlib.metadata import version as installed
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]

project = "molgen"
author = "The molgen authors"
version = release = installed("molgen-toolkit")

extensions = [
    "myst_parser",
    "sphinx.ext.apidoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
]
html_theme = "furo"
html_title = f"molgen {version}"
exclude_patterns = ["_build"]
suppress_warnings = [
    "myst.xref_missing",  # links to files of the checkout, which are no pages
    "ref.python",  # what `molgen` exports has two addresses
]
myst_heading_anchors = 3
myst_enable_extensions = ["dollarmath"]

apidoc_modules = [
    {
        "path": str(ROOT / path),
        "destination": f"api/{Path(path).name}",
        "separate_modules": True,
        "module_first": True,
        "automodule_options": {"members", "show-inheritance", "ignore-module-all"},
        "include_private": False,
    }
    for path in ("molgen", "plugins/molgen_plugins", "datasets/molgen_datasets")
]
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented_params"
autodoc_member_order = "bysource"
napoleon_google_docstring, napoleon_numpy_docstring = True, False
napoleon_use_ivar = True

_CODE = re.compile(r"(`+)(.+?)\1")


def _as_literal_text(line: str) -> str:
    """A docstring's line, in which backticks mean code and every other sign means itself, as reStructuredText."""
    if line.lstrip().startswith(">>>") or line.lstrip().startswith(".. "):
        return line
    parts, end = [], 0
    for code in _CODE.finditer(line):
        parts += [_escaped(line[end : code.start()]), f"``{code[2]}``"]
        end = code.end()
    return "".join([*parts, _escaped(line[end:])])


def _escaped(text: str) -> str:
    return re.sub(r"([*|\\])|(?<=\w)(_)(?!\w)", lambda sign: "\\" + sign[0], text)


def _docstring(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    code = False
    for number, line in enumerate(lines):
        code = line.lstrip().startswith(">>>") or (code and bool(line.strip()))
        if not code:
            lines[number] = _as_literal_text(line)


def _skip(app: Any, what: str, name: str, obj: Any, skip: bool, options: Any) -> bool | None:
    """Leave out names that a class has for another class: that one is described where it is defined."""
    return True if isinstance(obj, type) and name == "Config" else None


def setup(app: Any) -> None:
    """Read docstrings before napoleon does."""
    app.connect("autodoc-process-docstring", _docstring, priority=1)
    app.connect("autodoc-skip-member", _skip)
