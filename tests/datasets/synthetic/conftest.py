"""Small sets of molecules: of the embedded model in this process, inspected here, so that a set takes a second."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.sets import quick

from molgen_datasets.synthetic import create


@pytest.fixture(autouse=True)
def day(monkeypatch: pytest.MonkeyPatch) -> None:
    """The day on which all sets are begun."""
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1790000000")


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sets are made in this process, quickly."""
    quick(monkeypatch)


@pytest.fixture
def make(tmp_path: Path, here: None) -> Callable[..., tuple[Path, dict[str, Any]]]:
    """Make a set of the embedded model and return its folder and its manifest."""
    numbers = iter(range(1000))

    def run(count: int = 40, /, folder: Path | None = None, resume: bool = False, **settings: Any) -> Any:
        path = folder or tmp_path / f"set-{next(numbers)}"
        recipe = {"count": count, **({} if "models" in settings else {"model": "moses"}), **settings}
        return path, create(recipe, path, engine="serial", device="cpu", resume=resume)

    return run


@pytest.fixture
def rows_of() -> Callable[..., list[dict[str, Any]]]:
    """The rows of a set in Parquet, split after split."""
    from pyarrow import parquet as pq

    def rows(path: Path, manifest: dict[str, Any], split: str | None = None) -> list[dict[str, Any]]:
        files = [one["path"] for one in manifest["files"] if split in (None, one["split"])]
        return [row for name in files for row in pq.read_table(path / name).to_pylist()]

    return rows
