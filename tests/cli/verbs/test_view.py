"""`molgen view`: one page, which loads nothing, whatever stands in the file."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

import molgen_cli.viewer as viewer
import molgen_datasets.viewer as library
from molgen_cli.main import main

QM9_FILE = Path(__file__).parents[2] / "data" / "qm9.xyz"


@pytest.fixture(autouse=True)
def small_library(monkeypatch):
    """A few bytes in the place of 3Dmol.js."""
    monkeypatch.setattr(library, "script", lambda progress=None: "var $3Dmol = {}; // </script> ends nothing")


def items_of(page):
    (found,) = re.findall(r'<script type="application/json" id="items">(.*?)</script>', page)
    return json.loads(found)


def test_molecules_of_a_file_are_in_the_page(tmp_path, capsys):
    target = tmp_path / "view.html"
    assert main(["view", str(QM9_FILE), "-o", str(target), "-n", "5", "--workers", "1"]) == 0
    page = target.read_text()
    items = items_of(page)
    assert [item["name"] for item in items][:2] == ["1  CC=O", "2  [H]/N=C/NC=O"]
    assert len(items) == 5
    assert "gap: 0.2342" in items[0]["caption"]
    assert items[0]["text"].count("\n") > 10
    assert not re.search(r"src=|href=|url\(|https?:|import\(", page)
    assert len(re.findall(r"<script", page)) == len(re.findall(r"</script>", page)) == 3
    assert "5 molecules in" in capsys.readouterr().err


def test_what_stands_in_a_file_runs_nowhere():
    hostile = "</script><script>alert(1)</script><!--"
    page = viewer.page(hostile, hostile, [viewer.Shown(hostile, hostile, hostile)], "")
    assert items_of(page) == [{"name": hostile, "caption": hostile, "text": hostile}]
    assert "alert(1)</script>" not in page
    assert "default-src 'none'" in page


def test_molecules_without_positions_cannot_be_turned(tmp_path, capsys):
    source = tmp_path / "flat.smi"
    source.write_text("CCO\nCC\n")
    assert main(["view", str(source), "-o", str(tmp_path / "x.html"), "--workers", "1"]) == 2
    assert "has no valid item with positions in space" in capsys.readouterr().err
    assert not (tmp_path / "x.html").exists()


def test_the_program_of_the_page_is_javascript(tmp_path):
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is not installed")
    program = Path(viewer.__file__).with_name("viewer.js")
    assert subprocess.run([node, "--check", str(program)], timeout=60).returncode == 0
