"""What `molgen evaluate` prints and writes, and what an interrupt leaves."""

from __future__ import annotations

import hashlib
import io
import json
import os
import signal
import subprocess
import sys
import time

import pytest
from support.word_figures import COUNTS


def test_the_table(words, capsys, tmp_path):
    (tmp_path / "none.txt").write_text("7\n")
    words("--metrics", "plain,fails_to_add,strict", files=("gen.txt", "none.txt"), code=3)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["metric", "gen", "none"]
    assert lines[1].split() == ["rows", "6", "1"]
    table = {line.split()[0]: line.split()[1:] for line in lines[1 : lines.index("")]}
    assert table["Length/birds"] == ["↓", "0.5000", "-"]
    assert table["Unique"][:2] == ["↑", "0.7500"]
    assert table["Unique"][-1] == "-"
    assert table["valid"] == ["rows", "4", "0"]
    assert table["fails_to_add"][:1] == ["failed"]
    assert "Unique, Novel of none: no valid item" in lines
    assert "Valid (strict) of none: 1 rows; the protocol asks for 1,000" in lines
    assert any(line.startswith("fails_to_add of gen: failed: ValueError: cannot add") for line in lines)


def test_a_terminal_gets_a_drawn_table(words, monkeypatch):
    class Terminal(io.StringIO):
        encoding = "utf-8"

        def isatty(self):
            return True

    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    monkeypatch.setenv("COLUMNS", "100")
    words("-q")
    assert "Unique" in terminal.getvalue()
    assert "[0." in terminal.getvalue()
    assert "─" in terminal.getvalue()


def test_an_output_that_knows_few_letters(words, monkeypatch):
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", stream)
    words("-q")
    assert b"Unique" in stream.buffer.getvalue()


def test_the_first_time_says_what_takes_long(words, capsys, tmp_path):
    words()
    first = capsys.readouterr().err
    assert f"summarising birds, once: what is found is kept in {tmp_path / 'cache' / 'summaries'}" in first
    assert "gen: 6 rows in" in first
    words()
    assert "summarising" not in capsys.readouterr().err
    words("-q")
    assert capsys.readouterr().err == ""


def test_a_json_file_and_its_record(words, tmp_path, capsys, record_of):
    words("-o", "figures.json")
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "Unique" in captured.err
    path = tmp_path / "figures.json"
    assert json.loads(path.read_text())["files"][0]["rows"] == 6
    record = record_of(path)
    assert (record["command"], record["complete"]) == ("evaluate", True)
    assert record["output"]["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert record["files"][0].items() >= {"file": "gen.txt", **COUNTS}.items()
    assert record["references"][0]["name"] == "birds"
    assert record["arguments"]["files"] == ["gen.txt"]


def test_a_table_in_a_file(words, tmp_path):
    words("-o", "figures.txt", "-q")
    assert (tmp_path / "figures.txt").read_text().startswith("metric")


def test_files_are_kept(words, tmp_path, capsys):
    (tmp_path / "figures.json").write_text("precious")
    words("-o", "figures.json", code=2)
    assert "--overwrite" in capsys.readouterr().err
    assert (tmp_path / "figures.json").read_text() == "precious"
    words("-o", "figures.json", "--overwrite")


def test_what_was_done_before_an_interrupt_is_kept(words, tmp_path, monkeypatch):
    from support import measures

    read = measures.Words.read

    def interrupted(self, source, **options):
        yield from read(self, source, **options)
        if "other" in str(source):
            raise KeyboardInterrupt

    monkeypatch.setattr(measures.Words, "read", interrupted)
    (tmp_path / "other.txt").write_text("elephant\n")
    words("-o", "figures.json", files=("gen.txt", "other.txt"), code=130)
    found = json.loads((tmp_path / "figures.json").read_text())
    assert found["complete"] is False
    assert [one["name"] for one in found["files"]] == ["gen"]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_leaves_no_torn_file(number, code, words, tmp_path):
    command = [sys.executable, "-m", "molgen_cli.main", "evaluate", "-", "--domain", "words", "-r", "birds.txt"]
    process = subprocess.Popen(
        [*command, "-o", "figures.json"],
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([*sys.path, os.environ["PYTHONPATH"]])},
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    try:
        for line in process.stderr:
            if b"summarising birds" in line:
                break
        time.sleep(1)
        process.send_signal(number)
        _, errors = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == code, errors
    assert not list(tmp_path.glob("*figures.json*"))
    assert not list((tmp_path / "cache" / "summaries").glob(".*"))
