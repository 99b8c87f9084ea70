"""Rows on their way to a file: in order, whole, and no more of them in memory than there is room for."""

import threading
import time

import pytest

from molgen_cli import output
from molgen_cli.output import Output


class SlowDomain:
    """Writes nothing until it is let."""

    def __init__(self, failure=None):
        self.go, self.failure, self.rows = threading.Event(), failure, []

    def write(self, rows, target, format):
        if rows == ():
            return 0
        self.go.wait(20)
        for row in rows:
            self.rows.append(row["number"])
            if self.failure is not None:
                raise self.failure
        return len(self.rows)


def numbered(size, count, made):
    for number in range(count):
        made.append(number)
        yield {"number": number, "content": bytes(size)}


@pytest.mark.parametrize(("size", "most"), [(1 << 20, 10), (3 << 20, 5), (10, 3328)])
def test_rows_that_wait_are_bounded_in_bytes(tmp_path, monkeypatch, size, most):
    monkeypatch.setattr(output, "WAITING_BYTES", 4 << 20 if size > 10 else 512 << 10)
    monkeypatch.setattr(output, "CHUNK_BYTES", 1 << 20)
    domain, made, count = SlowDomain(), [], 40 if size > 10 else 20_000
    writing = Output(domain, str(tmp_path / "rows.csv"), None)
    thread = threading.Thread(target=writing.write, args=[numbered(size, count, made)])
    thread.start()
    before = -1
    while len(made) != before:  # until it waits
        before = len(made)
        time.sleep(0.2)
    assert 0 < len(made) <= most
    domain.go.set()
    thread.join(20)
    assert domain.rows == list(range(count))
    assert writing.rows == count


def test_nobody_waits_for_a_writer_that_failed(tmp_path, monkeypatch):
    monkeypatch.setattr(output, "WAITING_BYTES", 1 << 20)
    domain = SlowDomain(OSError("the disk is full"))
    domain.go.set()
    with pytest.raises(OSError, match="the disk is full"):
        Output(domain, str(tmp_path / "rows.csv"), None).write(numbered(1 << 19, 50, []))
