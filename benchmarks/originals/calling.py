"""Runs an original package in a process of its own and hands over what it answers."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from molgen.atomic_files import write_text

FOLDER = Path(__file__).parent
#: What the originals run on.
PACKAGES = ("rdkit", "torch", "numpy", "scipy", "pandas", "fcd")


def call(script: str, request: Mapping[str, Any]) -> dict[str, Any]:
    """The answer of a script of this folder to a request.

    Raises:
        RuntimeError: the script failed; with the end of what it said.
    """
    with TemporaryDirectory() as folder:
        command = command_for(script, request, Path(folder))
        done = subprocess.run(command, stderr=subprocess.PIPE, text=True)
        if done.returncode:
            raise RuntimeError(f"{script} failed:\n{done.stderr[-2000:]}")
        return json.loads(Path(command[-1]).read_text())


def kept_call(script: str, request: Mapping[str, Any], kept: Path) -> dict[str, Any]:
    """The same, kept in a folder: a comparison that was stopped goes on behind the last answer.

    An answer is of these scripts, of the packages that they run on and of the request, and is asked for anew where one
    of them changes.
    """
    scripts = "".join(path.read_text() for path in sorted(FOLDER.glob("*.py")))
    packages = {name: version(name) for name in PACKAGES}
    digest = hashlib.sha256(json.dumps([script, scripts, packages, request], sort_keys=True).encode()).hexdigest()
    path = kept / f"{Path(script).stem}-{digest[:16]}.json"
    if not path.is_file():
        kept.mkdir(parents=True, exist_ok=True)
        write_text(path, json.dumps(call(script, request)))
    return json.loads(path.read_text())


def command_for(script: str, request: Mapping[str, Any], folder: Path) -> list[str]:
    """The command that answers a request; its last word is the file of the answer."""
    asked, answer = folder / "request.json", folder / "answer.json"
    asked.write_text(json.dumps(request))
    return [sys.executable, str(FOLDER / script), str(asked), str(answer)]
