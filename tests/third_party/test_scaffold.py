"""What `molgen plugins new` writes is whole: it installs, is typed, and passes its own tests at once."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import molgen
from molgen_cli.main import main

#: A name of each kind, one of them that of a domain's own metric.
NEW = {
    "domain": "gadgets",
    "family": "my_family",
    "backbone": "my_backbone",
    "dataset": "my_items",
    "metric": "molecules.my_length",
}
QUIET = ["--quiet", "--disable-pip-version-check", "--no-index", "--no-deps", "--no-build-isolation"]
STRICT = "[mypy]\ndisallow_untyped_defs = True\ncheck_untyped_defs = True\nfollow_imports = silent\n"


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """The folder in which there is a new distribution of each kind, and `site` with all of them installed."""
    folder = tmp_path_factory.mktemp("new")
    for kind, name in NEW.items():
        assert main(["plugins", "new", name, f"--{kind}", "-o", str(folder / kind)]) == 0
    command = [sys.executable, "-m", "pip", "install", *QUIET, "--target", "site", *(f"./{kind}" for kind in NEW)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return folder


def own_tests(folder, monkeypatch, kinds, *arguments):
    monkeypatch.setenv("PYTHONPATH", str(folder / "site"), prepend=":")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--import-mode=importlib", *arguments]
    done = subprocess.run([*command, *kinds], cwd=folder, capture_output=True, text=True, timeout=290)
    assert done.returncode == 0, done.stdout[-3000:]


def test_their_tests_pass_at_once(written, monkeypatch):
    own_tests(written, monkeypatch, NEW, "-k", "not over or classes and (loss_is_a or samples_lie or outputs_have)")


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["domain", "family", "backbone"])
def test_all_their_tests_pass(kind, written, monkeypatch):
    own_tests(written, monkeypatch, [kind], "-k", "over")


@pytest.mark.slow
def test_they_are_typed(written, monkeypatch):
    root = Path(molgen.__file__).parents[1]
    monkeypatch.setenv("MYPYPATH", f"{root}:{root / 'cli'}")
    (written / "mypy.ini").write_text(STRICT)
    packages = [f"-p=molgen_{name.replace('.', '_')}" for name in NEW.values()]
    command = [sys.executable, "-m", "mypy", "--config-file", "../mypy.ini", *packages]
    done = subprocess.run(command, cwd=written / "site", capture_output=True, text=True, timeout=290)
    assert done.returncode == 0, done.stdout


def test_a_domain_is_one_class_of_less_than_sixty_lines(written):
    source = (written / "domain" / "molgen_gadgets" / "__init__.py").read_text()
    (domain,) = [one for one in ast.parse(source).body if isinstance(one, ast.ClassDef) and one.name == "Gadgets"]
    assert domain.end_lineno - domain.lineno < 60
    assert (written / "domain" / "molgen_gadgets" / "py.typed").exists()


def test_what_comes_next_is_said(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["plugins", "new", "peptides"]) == 0
    said = capsys.readouterr().out
    assert "molgen-peptides/molgen_peptides/__init__.py\n" in said
    assert said.endswith("  pytest molgen-peptides\n  molgen plugins check peptides\n")
    assert "encoder=peptides" in Path("molgen-peptides/README.md").read_text()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["Peptides"], "'Peptides' is no name for a domain: small letters, digits and _, such as `peptides`"),
        (["a.b"], "'a.b' is no name for a domain"),
        (["molecules"], "domain 'molecules' (from molgen-toolkit "),
        (["vae", "--family"], "family 'vae' (from molgen-toolkit "),
        (["nothing.length", "--metric"], "no domain is named 'nothing'; known: "),
        (["words", "-o", "."], ". exists; give another place with --output"),
        (["words", "-o", "missing/words"], "the folder missing does not exist; type: mkdir -p missing"),
    ],
)
def test_a_name_or_a_place_that_will_not_do_is_wrong_usage(arguments, says, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["plugins", "new", *arguments]) == 2
    assert says in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_class_has_no_name_of_molgens(tmp_path):
    assert main(["plugins", "new", "batch", "-o", str(tmp_path / "new")]) == 0
    assert "class BatchDomain(Domain, Encoder):" in (tmp_path / "new" / "molgen_batch" / "__init__.py").read_text()
