"""Requests of `molgen train` that cannot be met, and folders that are not its own."""

import pytest
from filelock import FileLock
from support.train_runs import SHORT, TINY

from molgen_cli.main import main


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "nothing says what to learn from"),
        (["--data", "{file}", "dataset=moses"], "type one of them"),
        (["--column", "structure"], "--column is for a file"),
        (["--data", "missing.csv"], "there is no such file"),
        (["--data", "{file}", "--column", "nowhere"], "nowhere"),
        (["--data", "{file}", "--column", "structure", "conditions=[pIC5]"], "neither a column of mine"),
        (["--data", "{file}", "--column", "structure", "--device", "abacus"], "no device is named 'abacus'"),
        (["--data", "{file}", "--column", "structure", "--device", "meta"], "there is no device meta here"),
        (["--data", "{file}", "--column", "structure", "training.clip=nan"], "clip must be at least"),
        (["--data", "{file}", "training.learning_rate=1e30"], "learning_rate must be from 0 to 10, not 1e+30"),
    ],
)
def test_a_request_that_cannot_be_met_is_one_line(arguments, message, file, tmp_path, capsys):
    arguments = [argument.format(file=file) for argument in arguments]
    assert main(["train", *arguments, *TINY, "--output", str(tmp_path / "run")]) == 2
    printed = capsys.readouterr().err
    assert message in printed
    assert printed.count("\n") == 1
    assert not (tmp_path / "run").exists()


def test_an_output_that_exists_is_not_touched(finished, file, tmp_path, capsys):
    before = (finished / "model" / "manifest.json").read_bytes()
    assert main(["train", "--data", file, "--column", "structure", *TINY, "--output", str(finished)]) == 2
    assert "--resume" in capsys.readouterr().err
    assert (finished / "model" / "manifest.json").read_bytes() == before
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters" / "dear.txt").write_text("dear")
    assert main(["train", "--from", str(finished), "--data", file, "--output", str(finished), "--overwrite"]) == 2
    assert (finished / "model" / "manifest.json").read_bytes() == before
    arguments = ["train", "--data", file, "--column", "structure", "--output", str(tmp_path / "letters")]
    assert main([*arguments, "--overwrite"]) == 2
    assert (tmp_path / "letters" / "dear.txt").exists()


@pytest.mark.parametrize("how", ["--resume", "--overwrite"])
@pytest.mark.parametrize(
    "content",
    [
        {"config.yaml": "mine: 1", "model/thesis.tex": "chapter one", "store/letter.txt": "dear"},
        {"train.run.json": "not JSON", "metrics.jsonl": "mine"},
        {"train.run.json": '{"command": "make paper"}', "model/a": "b"},
        {"molgen-run.json": "[]", "model/a": "b"},
    ],
)
def test_a_folder_that_only_looks_like_a_run_is_left_alone(how, content, file, tmp_path, capsys):
    folder = tmp_path / "proj"
    for name, text in content.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    arguments = ["train", "--data", file, "--column", "structure", *TINY, *SHORT, "--output", str(folder), how]
    assert main(arguments) == 2
    assert "holds other files and no training run" in capsys.readouterr().err
    assert {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()} == content


def test_two_runs_never_share_a_folder(file, tmp_path, capsys):
    folder = tmp_path / "run"
    folder.mkdir()
    arguments = ["train", "--data", file, "--column", "structure", *TINY, *SHORT, "--output", str(folder)]
    with FileLock(folder / ".lock"):
        assert main(arguments) == 2
    assert f"another run is writing to {folder}" in capsys.readouterr().err
    (folder / ".model.1-abc.tmp").mkdir()
    assert main([*arguments, "--overwrite"]) == 2  # nothing in it says that it is a run
    (folder / ".model.1-abc.tmp").rmdir()
    assert main(arguments) == 0
    (folder / ".model.1-abc.tmp").mkdir()
    assert main([*arguments, "--resume"]) == 0
    assert not (folder / ".model.1-abc.tmp").exists()
