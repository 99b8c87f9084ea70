"""The memorising model, and the command as a function."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from molgen_cli.main import main


@pytest.fixture(scope="session")
def model() -> str:
    """The folder of a small model of molecules."""
    from support.models import memorising_model

    return str(memorising_model())


@pytest.fixture
def generate(model: str, tmp_path: Path) -> Callable[..., list[dict[str, str]]]:
    """Run `molgen generate` into a new file and return its rows; without properties unless some are named."""
    numbers = iter(range(1000))

    def run(*arguments: str, code: int = 0, properties: str | None = "none") -> list[dict[str, str]]:
        path = tmp_path / f"generated-{next(numbers)}.csv"
        asked = ["--properties", properties] if properties else []
        assert main(["generate", "-m", model, "-o", str(path), "--workers", "1", *asked, *arguments]) == code
        return read_rows(path)

    return run


def read_rows(path: Path) -> list[dict[str, str]]:
    """The rows of a CSV file."""
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def read_record(path: Path) -> dict[str, Any]:
    """What lies beside an output file."""
    return json.loads(path.with_name(f"{path.name}.run.json").read_text())


@pytest.fixture
def rows_of() -> Callable[[Path], list[dict[str, str]]]:
    return read_rows


@pytest.fixture
def record_of() -> Callable[[Path], dict[str, Any]]:
    return read_record
