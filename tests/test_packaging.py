"""One distribution with four import packages, and nothing else that another distribution could own."""

import subprocess
import sys
import tomllib
from pathlib import Path
from zipfile import ZipFile

import pytest

ROOT = Path(__file__).parents[1]
CHECK = ROOT / "tests" / "packaging" / "check_wheel.py"


def check(wheel):
    return subprocess.run([sys.executable, CHECK, wheel], capture_output=True, text=True, timeout=60)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    pytest.importorskip("build")
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, ROOT]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    [built] = folder.glob("*.whl")
    return built


def test_the_wheel_holds_the_four_packages_with_their_data_and_nothing_else(wheel):
    done = check(wheel)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda names: names | {"datasets/__init__.py"}, "unexpected at the top: datasets"),
        (lambda names: names - {"molgen_cli/py.typed"}, "missing: molgen_cli/py.typed"),
        (lambda names: names | {"molgen/stray.bin"}, "not in the repository: molgen/stray.bin"),
        (lambda names: {name for name in names if "licenses" not in name}, "missing: the licence"),
    ],
)
def test_a_wrong_wheel_is_noticed(wheel, tmp_path, change, says):
    with ZipFile(wheel) as source, ZipFile(tmp_path / "wrong.whl", "w") as target:
        kept = set(source.namelist())
        for name in change(kept):
            target.writestr(name, source.read(name) if name in kept else b"")
    done = check(tmp_path / "wrong.whl")
    assert done.returncode == 1
    assert says in done.stdout


@pytest.mark.parametrize("folder", ["cli", "datasets", "plugins"])
def test_the_outer_folders_are_no_packages(folder):
    # With an __init__.py, `datasets` here would hide the distribution of that name from every tool.
    assert not (ROOT / folder / "__init__.py").exists()
    assert (ROOT / folder / f"molgen_{folder}" / "py.typed").exists()


def test_every_requirement_is_pinned_in_the_constraints():
    with (ROOT / "pyproject.toml").open("rb") as file:
        project = tomllib.load(file)["project"]
    wanted = [*project["dependencies"], *project["optional-dependencies"]["dev"]]
    names = {requirement.partition(">")[0].partition("<")[0].partition("=")[0].strip() for requirement in wanted}
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pinned = {line.partition("==")[0] for line in lines if not line.startswith("#")}
    assert names <= pinned
