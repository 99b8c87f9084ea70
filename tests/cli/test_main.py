"""The front of the command line: verbs, errors, exit codes, signals and closed pipes."""

import os
import signal
import subprocess
import sys
import time
from importlib.util import find_spec
from types import ModuleType

import pytest

from molgen.errors import MolgenError, PartialFailure, PluginError, UsageError
from molgen_cli import main as front
from molgen_cli.signals import Terminated

PRESENT = [verb for verb, (module, _) in front.VERBS.items() if find_spec(module) is not None]


@pytest.fixture
def verb(monkeypatch):
    """Make a verb `work` of a function; its parser knows `--count` and `--output`."""

    def make(run):
        module = ModuleType("work_verb")
        module.run = run
        module.configure = lambda parser: [parser.add_argument(name) for name in ("--count", "--output")]
        monkeypatch.setitem(sys.modules, "work_verb", module)
        monkeypatch.setitem(front.VERBS, "work", ("work_verb", "does some work"))

    return make


def raises(error):
    def run(args):
        raise error

    return run


@pytest.mark.parametrize("code", [0, 1, 3])
def test_the_verb_decides_the_exit_code(verb, code):
    verb(lambda args: code)
    assert front.main(["work"]) == code


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (UsageError("type this"), 2, "molgen: type this\n"),
        (PluginError("type that"), 2, "molgen: type that\n"),
        (MolgenError("the loss is not finite"), 1, "molgen: the loss is not finite\n"),
        (PartialFailure("3 of 5 rows failed"), 3, "molgen: 3 of 5 rows failed\n"),
        (KeyboardInterrupt(), 130, "molgen: interrupted\n"),
        (Terminated(), 143, "molgen: ended by SIGTERM\n"),
        (FileNotFoundError(2, "No such file or directory", "in.smi"), 1, "molgen: in.smi: No such file or directory\n"),
        (ValueError("two\nlines"), 1, "molgen: ValueError: two lines (MOLGEN_DEBUG=1 shows where)\n"),
        (MemoryError(), 1, "molgen: MemoryError (MOLGEN_DEBUG=1 shows where)\n"),
        (ModuleNotFoundError("x", name="rdkit.Chem"), 2, "needed and not installed; type: pip install rdkit\n"),
        (
            ModuleNotFoundError("x", name="molgen.gone"),
            1,
            "molgen: ModuleNotFoundError: x (MOLGEN_DEBUG=1 shows where)\n",
        ),
    ],
)
def test_an_error_is_one_line_and_an_exit_code(verb, capsys, error, code, line):
    verb(raises(error))
    assert front.main(["work"]) == code
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.endswith(line)
    assert printed.err.count("\n") == 1


def test_debug_shows_the_traceback(verb, capsys, monkeypatch):
    monkeypatch.setenv("MOLGEN_DEBUG", "1")
    verb(raises(UsageError("type this")))
    assert front.main(["work"]) == 2
    assert "Traceback (most recent call last)" in capsys.readouterr().err


def test_help_names_every_verb(capsys):
    assert front.main(["--help"]) == 0
    printed = " ".join(capsys.readouterr().out.split())  # lines are as wide as the terminal
    assert all(f" {name} {line}" in printed for name, (_, line) in front.VERBS.items())


@pytest.mark.parametrize("name", PRESENT)
def test_each_verb_has_help(name, capsys):
    assert front.main([name, "--help"]) == 0
    assert f"usage: molgen {name}" in capsys.readouterr().out


def test_version(capsys):
    assert front.main(["--version"]) == 0
    assert capsys.readouterr().out == "molgen 0.1.0\n"


def test_no_arguments_print_the_help_as_a_usage_error(capsys):
    assert front.main([]) == 2
    assert "usage: molgen" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["genrate"], "no verb is named 'genrate'; did you mean 'generate'? Verbs: generate, score"),
        (["xyzzy"], "no verb is named 'xyzzy'. Verbs: generate, score"),
        (["--quiet"], "unknown argument '--quiet'; type: molgen --help"),
        (["work", "--cuont", "3"], "unknown argument '--cuont'; did you mean --count? type: molgen work --help"),
        (["work", "--coun=3"], "unknown argument '--coun=3'; did you mean --count? type: molgen work --help"),
        (["work", "--count"], "argument --count: expected one argument; type: molgen work --help"),
        (["work", "stray"], "unknown argument 'stray'; type: molgen work --help"),
    ],
)
def test_wrong_usage_says_what_to_type(verb, capsys, arguments, says):
    verb(lambda args: 0)
    assert front.main(arguments) == 2
    printed = capsys.readouterr().err
    assert says in printed
    assert printed.count("\n") == 1


def test_a_verb_that_is_not_installed_says_so(monkeypatch, capsys):
    monkeypatch.setitem(front.VERBS, "absent", ("molgen_cli.absent", "is not there"))
    assert front.main(["absent"]) == 2
    assert "the verb 'absent' is missing from this installation" in capsys.readouterr().err


def test_handlers_are_put_back(verb):
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    verb(lambda args: os.kill(os.getpid(), signal.SIGTERM) or 0)
    assert front.main(["work"]) == 143
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == before


SLEEPER = """
import os, sys, time
from molgen_cli import main as front
class Sleeper:
    configure = staticmethod(lambda parser: None)
    @staticmethod
    def run(args):
        try:
            print("ready", flush=True)
            time.sleep(60)
        finally:
            print("finished the file", flush=True)
            time.sleep(float(sys.argv[1]))
sys.modules["sleeper"] = Sleeper
front.VERBS["sleep"] = ("sleeper", "sleeps")
sys.exit(front.main(["sleep"]))
"""


@pytest.fixture
def sleeper():
    """A process within a verb; finishing its files takes as many seconds as it is told."""
    started = []

    def start(seconds):
        command = [sys.executable, "-c", SLEEPER, str(seconds)]
        started.append(subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True))
        assert started[0].stdout.readline() == "ready\n"
        return started[0]

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_lets_the_verb_finish_its_files(sleeper, number, code):
    process = sleeper(0)
    process.send_signal(number)
    out, err = process.communicate(timeout=30)
    assert process.returncode == code
    assert out == "finished the file\n"
    assert err.count("\n") == 1


@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_ends_at_once(sleeper, second):
    process = sleeper(60)
    process.send_signal(signal.SIGTERM)
    assert process.stdout.readline() == "finished the file\n"
    started = time.monotonic()
    process.send_signal(second)
    process.communicate(timeout=30)
    assert process.returncode == -second
    assert time.monotonic() - started < 10


def test_a_forked_worker_dies_of_sigterm_in_silence(verb, capfd):
    def run(args):
        reading, writing = os.pipe()
        worker = os.fork()
        if worker == 0:
            os.write(writing, b".")
            time.sleep(60)
            os._exit(0)
        os.read(reading, 1)  # a signal that comes while Python forks would be lost
        os.kill(worker, signal.SIGTERM)
        return 0 if os.WTERMSIG(os.waitpid(worker, 0)[1]) == signal.SIGTERM else 1

    verb(run)
    assert front.main(["work"]) == 0
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_closed_pipe_ends_quietly(unbuffered):
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "molgen_cli.main", "plugins", "list"]
    environment = {**os.environ, "PYTHONUNBUFFERED": unbuffered}
    done = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, env=environment, timeout=60)
    os.close(writing)
    assert (done.returncode, done.stderr) == (1, b"")


def test_another_broken_pipe_is_an_error_like_others(verb, capfd):
    verb(raises(BrokenPipeError(32, "Broken pipe")))
    assert front.main(["work"]) == 1
    assert capfd.readouterr().err == "molgen: Broken pipe\n"


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs a device that is always full")
def test_a_full_disk_is_said_once():
    with open("/dev/full", "w") as full:
        command = [sys.executable, "-m", "molgen_cli.main", "plugins", "list"]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (1, "molgen: No space left on device\n")
