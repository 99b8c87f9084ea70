"""What reaches a terminal, and standard streams that are closed or know few letters."""

import subprocess
import sys

import pytest

from molgen_cli.console import printable, printable_lines, table
from molgen_cli.main import VERBS, main


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("café ✓ β-alanine", "café ✓ β-alanine"),
        ("red \x1b[31m", "red \\x1b[31m"),
        ("two\r\nlines\nhere", "two lines here"),
        ("\x9b2J\x07\x7f", "\\x9b2J\\x07\\x7f"),
        ("a\u202eb\u2066", "a\\u202eb\\u2066"),
    ],
)
def test_nothing_that_a_terminal_acts_on_is_printed(text, shown):
    assert printable(text) == shown
    assert table([{"name": text}]) == f"name\n{shown}"
    assert "\x1b" not in printable_lines(text)
    assert printable_lines("a\n\tb") == "a\n\tb"


def test_the_name_of_a_file_cannot_write_to_the_terminal(capsys):
    assert main(["score", "x\x1b]0;title\x07\nmolgen: all is well.csv"]) == 2
    printed = capsys.readouterr().err
    assert printed.count("\n") == 1
    assert "\x1b" not in printed
    assert "\\x1b]0;title\\x07 molgen: all is well.csv: there is no such file" in printed


@pytest.mark.parametrize("verb", VERBS)
def test_the_help_of_every_verb_is_plain_ascii(verb, capsys):
    assert main([verb, "--help"]) == 0
    assert capsys.readouterr().out.isascii()


@pytest.mark.parametrize(
    ("closed", "arguments", "says"),
    [
        ("<&-", "score -", "the standard input is closed; name a file"),
        (">&-", "generate -n 1", "the standard output is closed; type --output FILE"),
    ],
)
def test_a_closed_stream_is_said_in_a_line(closed, arguments, says, model):
    command = f"{sys.executable} -m molgen_cli.main {arguments} -m {model} {closed}"
    found = subprocess.run(["sh", "-c", command], capture_output=True, text=True, timeout=120)
    assert (found.returncode, found.stderr) == (2, f"molgen: {says}\n")


def test_no_file_takes_the_place_of_a_closed_stream(model, tmp_path):
    command = (
        f"{sys.executable} -m molgen_cli.main generate -n 2 -m {model} -q --workers 1 -o {tmp_path}/x.csv >&- 2>&-"
    )
    assert subprocess.run(["sh", "-c", command], timeout=120).returncode == 0
    assert (tmp_path / "x.csv").read_text().count("\n") == 3


@pytest.mark.parametrize(
    ("output", "draw", "says"),
    [
        ("x.csv", "x.csv", "two files would be written to"),
        ("x.csv", "./x.csv", "two files would be written to"),
        ("x.csv", "x.csv.run.json", "two files would be written to"),
        ("", "d.svg", "the name of a file to write is empty"),
        ("mine.csv", "d.svg", "mine.csv.run.json is in the way of the record of this run and is none"),
        ("sub/x.csv", "d.svg", "the folder sub does not exist"),
    ],
)
def test_outputs_that_would_destroy_something_are_refused(output, draw, says, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.csv.run.json").write_text("my own notes")
    assert main(["generate", "-m", "nowhere/at/all", "-o", output, "--draw", draw]) == 2
    assert says in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["mine.csv.run.json"]
    assert (tmp_path / "mine.csv.run.json").read_text() == "my own notes"


def test_a_place_that_takes_no_file_is_known_before_the_work(tmp_path, monkeypatch, capsys):
    def full(self, content):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pathlib.Path.write_bytes", full)
    assert main(["generate", "-m", "nowhere/at/all", "-o", str(tmp_path / "x.csv")]) == 2
    assert "x.csv: cannot be written: No space left on device" in capsys.readouterr().err
    assert not any(tmp_path.iterdir())
