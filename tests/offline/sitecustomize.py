"""Keeps the tests off the network: in this process, and in every Python process that it starts.

`tests/conftest.py` runs this file and puts its folder on PYTHONPATH, where Python looks for a module
of this name as it starts. An audit hook also sees connections that compiled code opens through Python's
sockets. Unix sockets and the machine itself stay reachable: worker processes need them.
"""

import os
import sys
from typing import Any

ALLOW = "MOLGEN_TESTS_ALLOW_NETWORK"


def _host(event: str, args: tuple[Any, ...]) -> object:
    """The host that a socket event reaches for, or None where there is none."""
    if event in ("socket.connect", "socket.sendto", "socket.sendmsg"):
        address = args[1]
        return address[0] if isinstance(address, tuple) else None
    if event in ("socket.getaddrinfo", "socket.gethostbyname"):
        return args[0]
    return None


def _guard(event: str, args: tuple[Any, ...]) -> None:
    if not event.startswith("socket.") or os.environ.get(ALLOW):
        return
    host = _host(event, args)
    name = host.decode(errors="replace") if isinstance(host, bytes) else str(host or "localhost")
    if name not in ("localhost", "::1") and not name.startswith("127."):
        # Not an OSError: code that tries the network and goes on without it must be noticed too.
        raise RuntimeError(f"the tests run without network, and something reached for {name!r}")


sys.addaudithook(_guard)
