"""Runs an original package in a process of its own and hands over what it answers."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

FOLDER = Path(__file__).parent


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


def command_for(script: str, request: Mapping[str, Any], folder: Path) -> list[str]:
    """The command that answers a request; its last word is the file of the answer."""
    asked, answer = folder / "request.json", folder / "answer.json"
    asked.write_text(json.dumps(request))
    return [sys.executable, str(FOLDER / script), str(asked), str(answer)]
