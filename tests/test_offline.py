"""The suite itself stays off the network, in this process and in those it starts."""

import socket
import subprocess
import sys

import pytest

REACH = "import socket; socket.create_connection(('192.0.2.1', 80), timeout=1)"


@pytest.mark.parametrize(
    "reach",
    [
        lambda: socket.create_connection(("192.0.2.1", 80), timeout=1),
        lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"", ("192.0.2.1", 53)),
        lambda: socket.getaddrinfo("example.invalid", 443),
        lambda: socket.gethostbyname(b"example.invalid"),
    ],
)
def test_reaching_out_is_refused(reach):
    with pytest.raises(RuntimeError, match="the tests run without network"):
        reach()


def test_processes_started_by_a_test_are_held_back_too():
    done = subprocess.run([sys.executable, "-c", REACH], capture_output=True, text=True, timeout=60)
    assert "the tests run without network" in done.stderr


def test_this_machine_stays_reachable():
    with socket.create_server(("127.0.0.1", 0)) as server:
        socket.create_connection(server.getsockname(), timeout=5).close()
    with socket.create_server(("localhost", 0)) as server:
        socket.create_connection(("localhost", server.getsockname()[1]), timeout=5).close()
    one, other = socket.socketpair()
    one.close()
    other.close()
