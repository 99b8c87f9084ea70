"""What the command says of files whose names do not say their format: a flag that the verb has."""

import pytest

from molgen_cli.main import main


@pytest.fixture
def unnamed(tmp_path):
    path = tmp_path / "molecules.data"
    path.write_text("CCO\nCCN\n" * 10)
    return path


@pytest.mark.parametrize(
    ("arguments", "flag"),
    [
        (["score", "{file}", "-m", "{model}"], "--input-format smi"),
        (["evaluate", "{file}", "--metrics", "validity"], "--input-format smi"),
        (["train", "--data", "{file}"], "--input-format smi"),
        (["generate", "-m", "{model}", "-o", "{file}.new"], "--format smi"),
        (["score", "{file}", "--input-format", "smi", "-m", "{model}", "-o", "{file}.new"], "--format smi"),
        (["score", "{file}", "--input-format", "smiley", "-m", "{model}"], "--input-format smi"),
        (
            ["evaluate", "{file}", "--input-format", "smi", "--reference", "{file}"],
            "the name of a reference ends with its format, smi",
        ),
    ],
)
def test_a_message_about_a_format_names_a_flag_of_the_verb(arguments, flag, unnamed, model, capsys):
    assert main([argument.format(file=unnamed, model=model) for argument in arguments]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert f" {flag}," in said
    assert "format=" not in said


def test_training_reads_a_file_under_any_name(unnamed, tmp_path):
    run = tmp_path / "run"
    small = ["backbone.width=8", "backbone.layers=1", "training.steps=2", "training.batch_size=4"]
    arguments = ["train", "--data", str(unnamed), "--input-format", "smi", *small, "-q", "-o", str(run)]
    assert main(arguments) == 0
    assert "--input-format smi" in (run / "train.run.json").read_text()
    again = ["train", "--config", str(run / "config.yaml"), "-q", "-o", str(tmp_path / "again")]
    assert main(again) == 0
    assert main(["train", "dataset=moses", "--input-format", "smi"]) == 2
