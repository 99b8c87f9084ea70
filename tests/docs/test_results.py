"""The result files of the benchmarks, and what the documentation says of them."""

import json
import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
RESULTS = sorted((ROOT / "benchmarks" / "results").glob("*.json"))


def words(value):
    """All texts of JSON values."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, (dict, list)):
        for one in value.values() if isinstance(value, dict) else value:
            yield from words(one)


@pytest.mark.parametrize("path", RESULTS, ids=lambda path: path.stem)
def test_no_result_names_a_folder_of_the_machine_that_made_it(path):
    assert not [word for text in words(json.loads(path.read_text())) for word in text.split() if word.startswith("/")]


def test_settings_are_written_without_the_folders_of_this_machine(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    import common

    monkeypatch.setattr(common, "RESULTS", tmp_path)
    monkeypatch.setattr(sys, "argv", ["some.py", str(tmp_path / "run")])
    path = common.write_result("toy", {"settings": [{"autoencoder": str(tmp_path / "vae")}], "figure": float("nan")})
    found = json.loads(path.read_text())
    assert found["settings"] == [{"autoencoder": "FOLDER/vae"}]
    assert found["figure"] is None
    assert "FOLDER/run" in found["command"]


def test_every_result_that_the_documentation_links_is_there():
    text = "".join(path.read_text() for path in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])
    linked = set(re.findall(r"benchmarks/results/([\w.-]+\.json)", text))
    assert linked
    assert linked <= {path.name for path in RESULTS}
