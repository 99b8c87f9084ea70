"""Workers outlive what items do to them, keep order and count, and leave no process behind."""

import itertools
import multiprocessing
import os
import queue
import signal
import subprocess
import sys
import threading
import time

import pytest

from molgen.domain import Invalid
from molgen.workers.pool import Workers

TARGETS = """
import os, time

def times(factor=1):
    return lambda item: DEEDS[item]() if item in DEEDS else factor * item

def spin():
    while True:
        pass

def ask_to_exit():
    raise SystemExit(2)

def fail():
    raise ValueError("bad item")

DEEDS = {
    "sleep": lambda: time.sleep(1000),
    "spin": spin,
    "exit": lambda: os._exit(3),
    "exit well": lambda: os._exit(0),
    "abort": os.abort,
    "swell": lambda: len(bytearray(64 << 30)),
    "ask to exit": ask_to_exit,
    "fail": fail,
    "lambda": lambda: (lambda: 1),
    "pid": os.getpid,
}

def broken():
    raise OSError("no data")

def dead():
    os._exit(5)
"""


@pytest.fixture
def targets(tmp_path, monkeypatch):
    (tmp_path / "hostile_targets.py").write_text(TARGETS)
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def running(pid):
    """Whether a process exists and is no zombie."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_results_keep_order_and_count(targets):
    with Workers("hostile_targets:times", {"factor": 3}, chunk=7) as workers:
        assert list(workers.map(range(500))) == [3 * item for item in range(500)]
        assert list(workers.map([])) == []
        assert list(workers.map(iter([1]))) == [3]


def test_only_the_guilty_items_are_invalid(targets):
    items = list(range(80))
    deeds = {
        5: ("sleep", "took longer than 0.5 s"),
        6: ("spin", "took longer than 0.5 s"),
        20: ("exit", "crashed its worker"),
        21: ("exit well", "crashed its worker"),
        40: ("abort", "crashed its worker"),
        41: ("swell", "needed more than 256 MiB"),
        60: ("ask to exit", "SystemExit: 2"),
        61: ("fail", "ValueError: bad item"),
    }
    for place, (deed, _) in deeds.items():
        items[place] = deed
    with Workers("hostile_targets:times", timeout=0.5, memory=256 << 20, chunk=16) as workers:
        results = list(workers.map(items))
    expected = [Invalid(deeds[place][1]) if place in deeds else item for place, item in enumerate(items)]
    assert results == expected


def test_a_result_that_is_no_plain_data_is_invalid(targets):
    with Workers("hostile_targets:times", processes=1) as workers:
        first, result, last = workers.map([1, "lambda", 2])
    assert (first, last) == (1, 2)
    assert result.reason.startswith("its result is not plain data")


def test_items_are_read_ahead_only_a_little(targets):
    items = itertools.count()
    with Workers("hostile_targets:times", processes=1, chunk=4) as workers:
        results = workers.map(items)
        assert [next(results) for _ in range(9)] == list(range(9))
        results.close()
        assert next(items) <= 24
        assert list(workers.map([7])) == [7]


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        ("hostile_targets:broken", "OSError: no data"),
        ("hostile_targets:dead", "it ended its process before it was ready"),
        ("hostile_targets:absent", "AttributeError"),
        ("no_such_module:times", "ModuleNotFoundError"),
    ],
)
def test_a_target_that_cannot_be_used_is_named(targets, target, reason):
    with Workers(target) as workers, pytest.raises(RuntimeError, match=f"{target} cannot be used: {reason}"):
        list(workers.map([1]))


@pytest.mark.parametrize("target", ["times", ":times", "module:"])
def test_a_target_has_a_module_and_a_name(target):
    with pytest.raises(ValueError, match="module:factory"):
        Workers(target)


def test_numbers_are_positive():
    with pytest.raises(ValueError, match="positive"):
        Workers("module:times", timeout=0)


def test_closing_kills_the_children(targets):
    before = set(multiprocessing.active_children())  # other tests' pools may be open still
    with Workers("hostile_targets:times", processes=1) as workers:
        (pid,) = workers.map(["pid"])
        assert running(pid)
    assert not running(pid)
    assert set(multiprocessing.active_children()) <= before
    with pytest.raises(RuntimeError, match="closed"):
        list(workers.map([1]))


def test_another_thread_may_close(targets):
    """And no process runs any more once it has, though that thread is in the middle of its items."""
    before = set(multiprocessing.active_children())
    workers = Workers("hostile_targets:times", processes=1, timeout=60, chunk=1)
    found = queue.Queue()

    def work():
        try:
            for result in workers.map(["pid", "sleep"]):
                found.put(result)
        except RuntimeError as error:
            found.put(str(error))

    thread = threading.Thread(target=work)
    thread.start()
    pid = found.get(timeout=100)
    workers.close()
    assert not running(pid)
    thread.join(30)
    assert found.get_nowait() == "the workers are closed"
    assert set(multiprocessing.active_children()) <= before


def test_one_map_at_a_time(targets):
    with Workers("hostile_targets:times") as workers:
        first = workers.map(range(10))
        next(first)
        with pytest.raises(RuntimeError, match="busy"):
            next(workers.map([1]))


@pytest.mark.skipif(sys.platform == "win32", reason="there are no process groups")
@pytest.mark.parametrize("delay", [0.0, 0.2, 1.5])
def test_an_interrupt_reaches_only_the_parent(targets, delay):
    script = targets / "interrupted.py"
    script.write_text(
        "from molgen.workers.pool import Workers\n"
        "if __name__ == '__main__':\n"
        "    with Workers('hostile_targets:times', timeout=60) as workers:\n"
        "        try:\n"
        "            print('started', flush=True)\n"
        "            list(workers.map(['sleep'] * 4))\n"
        "        except KeyboardInterrupt:\n"
        "            print('interrupted')\n"
    )
    child = subprocess.Popen(
        [sys.executable, str(script)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
    )
    child.stdout.readline()
    time.sleep(delay)
    os.killpg(child.pid, signal.SIGINT)
    output, errors = child.communicate(timeout=60)
    assert output == b"interrupted\n"
    assert errors == b""


def test_a_script_needs_no_guard(targets):
    script = targets / "plain.py"
    script.write_text(
        "from molgen.workers.pool import Workers\n"
        "print('once')\n"
        "with Workers('hostile_targets:times', {'factor': 2}) as workers:\n"
        "    print(list(workers.map([1, 2, 3])))\n"
    )
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr) == ("once\n[2, 4, 6]\n", "")
