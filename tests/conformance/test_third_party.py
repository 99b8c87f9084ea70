"""The road of a third party as docs/guides/domain.md describes it: one class, its pyproject lines, its test."""

from __future__ import annotations

import csv
import re
import subprocess
import sys
import tomllib
from itertools import pairwise
from pathlib import Path

import pytest

from molgen import GenerativeModel
from molgen_cli.main import main

GUIDE = (Path(__file__).parents[2] / "docs" / "guides" / "domain.md").read_text()
#: The files of the guide: blocks of code that begin with their name.
FILES = dict(re.findall(r"```\w+\n# (\S+)\n(.*?)```", GUIDE, re.DOTALL))


@pytest.fixture
def peptides(fake_distribution):
    """Install the plugin of the guide, or another version of it."""
    project = tomllib.loads(FILES["pyproject.toml"])["project"]
    plugins = {group.removeprefix("molgen."): names for group, names in project["entry-points"].items()}

    def install(source=FILES["molgen_peptides.py"]):
        modules = {"molgen_peptides": source}
        fake_distribution(project["name"], project["version"], plugins, modules)

    return install


def run_pytest(folder, source, *arguments):
    (folder / "test_peptides.py").write_text(source)
    command = [sys.executable, "-m", "pytest", "-q", "-rA", "-p", "no:cacheprovider", *arguments, "test_peptides.py"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=280).stdout


@pytest.mark.parametrize(
    "chosen", [["-k", "not over or autoregressive"], pytest.param([], marks=pytest.mark.slow)], ids=" ".join
)
def test_the_guides_plugin_passes_the_guides_test(chosen, peptides, tmp_path):
    peptides()
    output = run_pytest(tmp_path, FILES["test_peptides.py"], *chosen)
    assert "PASSED test_peptides.py::test_conformance[peptides: decode_inverts_encode]" in output
    assert "PASSED test_peptides.py::test_conformance[autoregressive over peptides: samples_lie_in_the_space]" in output
    assert "the family declares no latents" in output
    assert "FAILED" not in output
    assert "ERROR" not in output
    assert re.search(r"\d+ passed", output)


def test_the_guides_plugin_works_on_the_command_line(peptides, tmp_path, monkeypatch, capsys):
    peptides()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MOLGEN_CACHE", str(tmp_path / "cache"))
    rows = [f"{name},{'ACDEFGHIK' * 2}{name}" for name in "ACDEFGHIKLMN"]
    Path("mine.csv").write_text("\n".join(["name,sequence", *rows, "bad,X1"]) + "\n")
    tiny = ["backbone.width=8", "backbone.layers=1", "training.steps=2", "training.batch_size=4"]
    assert main(["train", "--data", "mine.csv", "encoder=peptides", *tiny, "-o", "run", "-q"]) == 0
    assert main(["generate", "-m", "run", "-n", "5", "-o", "new.txt", "-q"]) == 0
    assert set("".join(Path("new.txt").read_text().split())) <= set("ACDEFGHIKLMNPQRSTVWY")
    assert main(["score", "mine.csv", "-m", "run", "-o", "scored.csv", "-q"]) == 3
    found = list(csv.DictReader(Path("scored.csv").read_text().splitlines()))
    assert [row["status"] for row in found] == ["valid"] * 12 + ["unsupported"]
    assert [row["name"] for row in found] == [*"ACDEFGHIKLMN", "bad"]
    assert main(["evaluate", "scored.csv", "--domain", "peptides", "-q"]) == 0
    assert main(["score", "mine.xlsx", "-m", "run"]) == 2


def test_a_mistake_is_named_and_an_expected_one_is_not_a_failure(peptides, tmp_path):
    peptides(FILES["molgen_peptides.py"].replace('sample["residues"])', 'sample["residues"][:-1])'))
    wrong = "peptides: decode_inverts_encode"
    source = f"""
from molgen.testing import encoder_checks, parametrize_with_checks

@parametrize_with_checks(encoder_checks("peptides"))
def test_strictly(check):
    check()

@parametrize_with_checks(encoder_checks("peptides"), expected_failures={{"{wrong}": "it is theirs"}})
def test_knowingly(check):
    check()

@parametrize_with_checks(encoder_checks("peptides"), expected_failures={{"can_be_pickled": "it is not"}})
def test_wrongly(check):
    check()
"""
    output = run_pytest(tmp_path, source)
    assert f"FAILED test_peptides.py::test_strictly[{wrong}] - " in output
    assert "'GIGKFLHSAKKFGKAFVGEIMNS' comes back as 'GIGKFLHSAKKFGKAFVGEIMN'" in output
    assert f"XFAIL test_peptides.py::test_knowingly[{wrong}] - it is theirs" in output
    assert "FAILED test_peptides.py::test_wrongly[peptides: can_be_pickled]" in output
    assert "XPASS(strict)" in output


def test_the_guides_grammar_is_followed(peptides):
    plugin = FILES["molgen_peptides.py"].replace("classes=len(LETTERS))", "classes=20, grammar=NoRepeats(20))")
    peptides(FILES["molgen_no_repeats.py"] + plugin)
    model = GenerativeModel("peptides", family="autoregressive")
    model.use(model.build())
    drawn = [draw.item for draw in model.sample(20, seed=0)]
    assert sum(map(len, drawn)) > 40
    assert all(one != other for item in drawn for one, other in pairwise(item))


def test_the_command_needs_no_pytest(peptides):
    peptides()
    run = "from molgen_cli.main import main; sys.exit(main(['plugins', 'check', 'peptides', '--only', 'peptides: *']))"
    command = [sys.executable, "-c", f"import sys; sys.modules['pytest'] = None; {run}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "ok       peptides: decode_never_raises" in done.stdout.splitlines()
    assert done.stderr.endswith("0 skipped, 0 failed\n")


def test_the_guide_lists_every_check_of_an_encoder():
    from molgen.testing.suites import ENCODER_CHECKS

    named = set(re.findall(r"`(\w+)`", GUIDE))
    assert {guarantee.__name__ for guarantee in ENCODER_CHECKS} <= named
