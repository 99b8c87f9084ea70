"""What molgen has nothing of, so that no test of it is needed: this says when one is."""

import ast
import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = [path for name in ("molgen", "cli", "plugins", "datasets") for path in (ROOT / name).rglob("*.py")]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
REQUIRED = {re.match(r"[\w.-]+", line)[0].lower(): line for line in PROJECT["dependencies"]}


TREES = [ast.parse(path.read_text(encoding="utf-8")) for path in SOURCES]
NODES = [node for tree in TREES for node in ast.walk(tree)]
IMPORTED = {alias.name for node in NODES if isinstance(node, ast.Import) for alias in node.names} | {
    node.module or "" for node in NODES if isinstance(node, ast.ImportFrom)
}


def test_nothing_comes_from_a_hub():
    hubs = {"huggingface_hub", "transformers", "datasets"}
    assert not {name for name in IMPORTED if name.partition(".")[0] in hubs}


def test_nothing_is_unpickled():
    assert not {name for name in IMPORTED if name.partition(".")[0] in ("cloudpickle", "dill", "joblib", "shelve")}
    calls = [n for n in NODES if isinstance(n, ast.Call) and isinstance(n.func, ast.Attribute)]
    owners = [(ast.unparse(call.func), call) for call in calls if call.func.attr in ("load", "loads")]
    # The conformance kit reads what it pickled itself; weights that torch wrote are read as nothing but tensors.
    assert [name for name, _ in owners if name.startswith("pickle.")] == ["pickle.loads"]
    for name, call in owners:
        assert name != "torch.load" or "weights_only=True" in ast.unparse(call)
    assert not [n for n in NODES if isinstance(n, ast.keyword) and n.arg == "allow_pickle" and n.value.value]


@pytest.mark.parametrize(
    "name", ["lightning", "pytorch-lightning", "transformers", "tensorflow", "torchvision", "pandas"]
)
def test_no_heavy_package_is_required(name):
    assert name not in REQUIRED


def test_requirements_are_none_of_the_compromised_versions():
    assert REQUIRED["torch"] == "torch>=2.10"  # earlier ones run code from files of weights
    assert not {name for name in REQUIRED if "lightning" in name}
