"""What runs in a child of `molgen.workers.pool`: it does items until its parent is gone, or an item is its end."""

from __future__ import annotations

import importlib
import math
import os
import pickle
import signal
import time
from collections.abc import Callable, Mapping
from multiprocessing.connection import Connection
from typing import Any

from molgen.domain import Invalid
from molgen.workers.stream import byte_size

_TIMED = hasattr(signal, "setitimer")

#: How a child ends in which an item took too long: by a signal that ends it even inside compiled code.
TOO_SLOW = frozenset((-signal.SIGPROF, -signal.SIGALRM)) if _TIMED else frozenset[int]()
#: The time of an item is processor time, so that a busy machine makes no item invalid; but an item that
#: waits for ever uses none, so this many times as long on the clock ends it too.
CLOCK = 6
#: By which share of its time an item may be stopped early.
_SLACK = 0.02
#: Bytes of results after which a child answers with what it has.
ANSWER = 16 << 20
#: How a child ends that had no more memory.
OUT_OF_MEMORY = 77


def run(pipe: Connection, target: str, config: Mapping[str, Any], timeout: float, memory: int) -> None:
    """Answer with an empty list, or the reason as text; then answer each list of items with the results.

    An answer may be shorter than the list: a child that has worked for the time of one item, or whose results take
    more than `ANSWER` bytes, stops there.
    """
    _set_signals()
    try:
        function = _made(target, config)
    except Exception as error:
        pipe.send(f"{type(error).__name__}: {error}")
        return
    _limit_memory(memory)
    try:
        pipe.send([])
        while True:
            _answer(pipe, _results(function, pipe.recv(), timeout))
    except (EOFError, OSError):  # the parent is gone
        return
    except MemoryError:
        os._exit(OUT_OF_MEMORY)  # a process that ran out of memory is not to be trusted any further


def _answer(pipe: Connection, results: list[Any]) -> None:
    try:
        pipe.send(results)
    except (AttributeError, TypeError, ValueError, pickle.PicklingError):
        pipe.send([_plain(result) for result in results])


def _plain(result: Any) -> Any:
    try:
        pickle.dumps(result)
    except (AttributeError, TypeError, ValueError, pickle.PicklingError) as error:
        return Invalid(f"its result is not plain data: {error}")
    return result


def _set_signals() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # an interrupt is for the parent, which kills its children
    if _TIMED:
        signal.signal(signal.SIGPROF, signal.SIG_DFL)
        signal.signal(signal.SIGALRM, signal.SIG_DFL)


def _made(target: str, config: Mapping[str, Any]) -> Callable[[Any], Any]:
    module, _, factory = target.partition(":")
    return getattr(importlib.import_module(module), factory)(**config)


def _limit_memory(memory: int) -> None:
    """Bound the address space to what is in use now and `memory` bytes more, where the system can."""
    try:
        import resource

        with open("/proc/self/statm") as file:
            used = int(file.read().split()[0]) * resource.getpagesize()
        _, hard = resource.getrlimit(resource.RLIMIT_AS)
        limit = used + memory if hard == resource.RLIM_INFINITY else min(used + memory, hard)
        resource.setrlimit(resource.RLIMIT_AS, (limit, hard))
    except (ImportError, OSError, ValueError):
        return


def _results(function: Callable[[Any], Any], items: list[Any], timeout: float) -> list[Any]:
    results: list[Any] = []
    size, begun, armed = 0, time.monotonic(), -math.inf
    try:
        for item in items:
            # Timers are calls to the system, which take as long as a small item: they are not set anew for each.
            if (now := time.monotonic()) - armed > _SLACK * timeout:
                _arm(timeout)
                armed = now
            results.append(_result(function, item))
            size += byte_size(results[-1])
            if time.monotonic() - begun > timeout or size > ANSWER:
                break
    finally:
        _arm(0)
    return results


def _result(function: Callable[[Any], Any], item: Any) -> Any:
    try:
        return function(item)
    except MemoryError:
        raise
    except BaseException as error:  # an item that asks to exit is no reason to
        return Invalid(f"{type(error).__name__}: {error}")


def _arm(seconds: float) -> None:
    if _TIMED:
        signal.setitimer(signal.ITIMER_PROF, seconds)
        signal.setitimer(signal.ITIMER_REAL, CLOCK * seconds)
