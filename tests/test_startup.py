"""Starting is quick, because it imports nothing heavy. The time limits are three times what is stated."""

import json
import os
import subprocess
import sys
import tomllib
from importlib.util import find_spec
from pathlib import Path

import pytest

import molgen
from molgen_cli.main import VERBS

HEAVY = {"accelerate", "hydra", "numpy", "omegaconf", "pyarrow", "rdkit", "rich", "tensorboard", "torch"}
PRESENT = [verb for verb, (module, _) in VERBS.items() if find_spec(module) is not None]


def loaded_by(code):
    """The heavy packages in memory after `code` ran in a process of its own."""
    script = f"{code}\nimport json, sys\nprint(json.dumps(sorted(sys.modules)), file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)
    return HEAVY & set(json.loads(done.stderr.splitlines()[-1]))


def best_time(*arguments):
    """The least processor time of five runs; clock time would measure what else the machine is doing."""
    times = []
    for _ in range(5):
        before = os.times()
        subprocess.run([sys.executable, *arguments], stdout=subprocess.DEVNULL, check=True, timeout=60)
        after = os.times()
        spent = after.children_user - before.children_user, after.children_system - before.children_system
        times.append(sum(spent))
    return min(times)


@pytest.mark.parametrize("module", ["molgen", "molgen.errors", "molgen.registry", "molgen_cli.main"])
def test_importing_the_front_loads_nothing_heavy(module):
    assert loaded_by(f"import {module}") == set()


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], *([verb, "--help"] for verb in PRESENT)])
def test_help_loads_nothing_heavy(arguments):
    assert loaded_by(f"from molgen_cli.main import main\nassert main({arguments!r}) == 0") == set()


def test_listing_plugins_loads_no_plugin():
    assert loaded_by("from molgen_cli.main import main\nassert main(['plugins', 'list']) == 0") == set()


@pytest.mark.parametrize(("code", "absent"), [("import molgen", "molgen.testing"), ("import molgen.testing", "pytest")])
def test_the_conformance_kit_is_loaded_by_name_and_does_not_load_pytest(code, absent):
    script = f"{code}\nimport sys\nassert {absent!r} not in sys.modules"
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)


def test_help_is_quick():
    assert best_time("-m", "molgen_cli.main", "--help") < 0.45


def test_import_is_quick():
    assert best_time("-c", "import molgen") < 0.3


def test_every_public_name_is_there():
    assert {name for name in molgen.__all__ if not hasattr(molgen, name)} == set()
    assert set(molgen.__all__) == set(molgen._PUBLIC) | {"__version__"}
    assert set(molgen.__all__) <= set(dir(molgen))


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        molgen.Nothing  # noqa: B018


def test_the_version_is_the_same_everywhere():
    root = Path(__file__).parents[1]
    with (root / "pyproject.toml").open("rb") as file:
        assert tomllib.load(file)["project"]["version"] == molgen.__version__
    assert f"version: {molgen.__version__}\n" in (root / "CITATION.cff").read_text()
    assert f"## [{molgen.__version__}]" in (root / "CHANGELOG.md").read_text()
