"""Messages and progress go to stderr; stdout is for data."""

import sys

from molgen_cli import console


def test_notes_are_quiet_when_asked_and_warnings_never(capsys):
    console.say("a note")
    console.say("hidden", quiet=True)
    console.warn("a warning")
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err == "a note\nmolgen: a warning\n"


def test_progress_is_silent_without_a_terminal(capsys):
    with console.progress("drawing", 10) as bar:
        bar.advance(5, note="loss 0.5")
    assert capsys.readouterr() == ("", "")


def test_progress_on_a_terminal_leaves_stdout_alone(capsys, monkeypatch):
    monkeypatch.setattr(console, "on_terminal", lambda: True)
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    monkeypatch.setenv("NO_COLOR", "1")
    with console.progress("drawing", 10) as bar:
        bar.advance(5, note="loss 0.5")
        print("data")
    printed = capsys.readouterr()
    assert printed.out == "data\n"
    assert "drawing" in printed.err
    assert "5/10" in printed.err
    assert "loss 0.5" in printed.err


def test_progress_is_silent_when_asked(capsys, monkeypatch):
    monkeypatch.setattr(console, "on_terminal", lambda: True)
    with console.progress("drawing", quiet=True) as bar:
        bar.advance()
    assert capsys.readouterr() == ("", "")


def test_a_dumb_terminal_is_none(monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    assert console.on_terminal()
    monkeypatch.setenv("TERM", "dumb")
    assert not console.on_terminal()


def test_messages_survive_a_closed_stderr(monkeypatch):
    class Closed:
        def write(self, text):
            raise BrokenPipeError

        def flush(self):
            raise BrokenPipeError

    monkeypatch.setattr(sys, "stderr", Closed())
    console.warn("nobody listens")


def test_a_table_is_aligned_and_leaves_out_empty_columns():
    rows = [{"name": "a", "note": "", "target": "x"}, {"name": "long", "note": "", "target": "y"}]
    assert console.table(rows) == "name  target\na     x\nlong  y"
    assert console.table([]) == ""
