"""`molgen dataset` from the command line: what is typed, what is printed, and the exit codes."""

from __future__ import annotations

import hashlib
import json

import pytest
from filelock import FileLock
from support.sets import quick

from molgen_cli.main import main
from molgen_cli.verbs.dataset import _line, _time
from molgen_datasets.synthetic.engine import Status


@pytest.fixture(autouse=True)
def here(monkeypatch):
    """Sets are made in this process, quickly."""
    quick(monkeypatch)


@pytest.fixture
def create(tmp_path, capsys):
    """Run `molgen dataset create` in this process; give its exit code and what it said."""

    def run(*arguments, folder="set"):
        options = ["-o", str(tmp_path / folder), "--engine", "serial", "--device", "cpu"]
        code = main(["dataset", "create", *arguments, *options])
        return code, capsys.readouterr().err

    return run


def manifest(path):
    return json.loads((path / "manifest.json").read_text())


def test_a_set_is_made_described_verified_and_repaired(create, tmp_path, capsys):
    recipe = tmp_path / "recipe.yaml"
    (tmp_path / "base.yaml").write_text("filters:\n  alerts: none\n")
    recipe.write_text("defaults: [base, _self_]\nmodel: moses\ncount: 50\ntitle: One\n")
    code, said = create(str(recipe), "seed=3", "-n", "20", "splits.shares={a: 0.5, b: 0.5}", "--properties", "logp")
    assert code == 0
    assert "20 items in 2 files" in said
    found = manifest(tmp_path / "set")
    assert (found["recipe"]["seed"], found["title"]) == (3, "One")
    assert list(found["columns"]) == ["smiles", "logp"]
    assert set(found["splits"]) == {"a", "b"}

    assert main(["dataset", "info", str(tmp_path / "set"), "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out) == found
    assert main(["dataset", "info", str(tmp_path / "set")]) == 0
    assert "model moses: SHA-256" in capsys.readouterr().out
    assert main(["dataset", "card", str(tmp_path / "set"), "--print"]) == 0
    assert capsys.readouterr().out.startswith("---\npretty_name")
    assert main(["dataset", "verify", str(tmp_path / "set"), "--deep"]) == 0

    (tmp_path / "set" / found["files"][0]["path"]).write_bytes(b"")
    capsys.readouterr()
    assert main(["dataset", "verify", str(tmp_path / "set")]) == 1
    assert "0 bytes, not" in (said := capsys.readouterr().err)
    assert "--resume" in said
    assert create("--resume")[0] == 0
    assert main(["dataset", "verify", str(tmp_path / "set")]) == 0
    assert create()[0] == 2  # without --resume


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-m", "moses"], "recipe: count must be given"),
        (["-n", "5", "filters.uniqe=false"], "no setting 'uniqe'; did you mean 'unique'"),
        (["-n", "5", "filters.unique"], "is no setting"),
        (["-n", "5", "seed=${oc.env:HOME}"], "never taken from the environment"),
        (["-n", "5", "seed=1,2"], "takes one value"),
        (["-n", "5", "count.x=1"], "count is a value"),
        (["nowhere.yaml"], "there is no such file"),
        (["--resume"], "says of no recipe what is to be made"),
        (["-n", "5", "-m", "mosse"], "no model 'mosse'"),
        (["-n", "5", "-m", "moses", "--then", "moses"], "moses cannot be the second stage of moses"),
    ],
)
def test_what_is_wrong_is_one_line_and_exit_code_2(create, arguments, message):
    code, said = create(*arguments)
    assert code == 2
    assert message in said
    assert said.count("\n") == 1


def test_a_recipe_takes_nothing_from_the_environment(create, tmp_path):
    (tmp_path / "recipe.yaml").write_text("model: moses\ncount: 5\ntitle: ${oc.env:HOME}\n")
    assert create(str(tmp_path / "recipe.yaml"))[0] == 2


def test_a_second_process_on_a_folder_ends_with_2(create, tmp_path):
    (tmp_path / "set" / ".molgen").mkdir(parents=True)
    with FileLock(tmp_path / "set" / ".molgen" / "lock"):
        code, said = create("-n", "5", "--resume")
    assert code == 2
    assert "another process is making" in said


def test_too_few_items_end_with_3(create):
    code, said = create("-n", "50", "filters.properties={qed: [2, 3]}", "max_draws=64")
    assert code == 3
    assert "stopped with 0 of 50" in said


def test_a_list_is_made_of_a_file(tmp_path, capsys):
    (tmp_path / "items.smi").write_text("CCO\nOCC\nCCN\n")
    arguments = ["-o", str(tmp_path / "list.txt"), "--id", "mine", "--date", "2026-01-31"]
    assert main(["dataset", "list", str(tmp_path / "items.smi"), *arguments]) == 0
    said = capsys.readouterr().err
    assert "2 digests" in said
    assert hashlib.sha256((tmp_path / "list.txt").read_bytes()).hexdigest() in said
    assert "CCO" not in (tmp_path / "list.txt").read_text()
    assert main(["dataset", "list", str(tmp_path / "items.smi"), *arguments]) == 2  # it exists


def test_progress_says_rate_shares_and_the_time_left():
    status = Status("drawing", wanted=1000, kept=0, drawn_here=200)
    status.tally.drawn, status.tally.valid, status.tally.accepted = 200, 180, 90
    status.tally.failed["qed"] = 45
    status.begun -= 100.0
    told = _line(status)
    assert "200 draws at 2/s, valid 90.0%, qed 75.0%, accepted 45.0%" in told
    assert "about 16 min left" in told or "about 17 min left" in told
    assert [_time(seconds) for seconds in (5, 600, 90_000)] == ["5 s", "10 min", "25 h"]
