"""Work that runs ahead of whoever takes its results: in order, and bounded in items and in bytes.

An item may be a string of ten bytes or a picture of fifty million, so whatever waits is counted in bytes too.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, fields, is_dataclass
from typing import Any, Generic, TypeVar

T = TypeVar("T")
R = TypeVar("R")

#: Bytes of items in one chunk, of results in one part of it, and of results that may wait.
CHUNK_BYTES = 32 << 20
#: Chunks that are read ahead of the one whose results are taken.
AHEAD = 2
#: What an object takes beside its content, roughly.
_OVERHEAD = 50


def byte_size(value: Any) -> int:
    """About how many bytes plain data take: text, bytes, arrays, and what holds such things."""
    if isinstance(size := getattr(value, "nbytes", None), int):
        return _OVERHEAD + size
    if isinstance(value, str | bytes | bytearray):
        return _OVERHEAD + len(value)
    if isinstance(value, Mapping):
        return _OVERHEAD + sum(map(byte_size, value.values()))
    if isinstance(value, list | tuple | set | frozenset):
        return _OVERHEAD + sum(map(byte_size, value))
    if is_dataclass(value) and not isinstance(value, type):
        return _OVERHEAD + sum(byte_size(getattr(value, one.name)) for one in fields(value))
    return _OVERHEAD


def chunked(
    items: Iterable[T], most: int, most_bytes: int = CHUNK_BYTES, size: Callable[[T], int] = byte_size
) -> Iterator[list[T]]:
    """Consecutive items in lists, each of at most `most` items and, unless it holds one only, `most_bytes`."""
    chunk: list[T] = []
    total = 0
    for item in items:
        weight = size(item)
        if chunk and (len(chunk) == most or total + weight > most_bytes):
            yield chunk
            chunk, total = [], 0
        chunk.append(item)
        total += weight
    if chunk:
        yield chunk


def stream(
    chunks: Iterable[Sequence[T]],
    work: Callable[[Sequence[T]], Iterator[R]],
    ahead: int = AHEAD,
    most_bytes: int = CHUNK_BYTES,
) -> Generator[tuple[Sequence[T], list[R]]]:
    """Each chunk with what `work` makes of it, in order; a thread works ahead while the caller uses the results.

    A chunk whose results take more than `most_bytes` comes in several parts, and the thread waits while more than
    that many bytes of results are not taken yet. So at most about `ahead` chunks and three times `most_bytes` of
    results are in memory, however large an item or a result becomes.

    Args:
        chunks: is read in the caller's thread. An empty chunk means that there is none before the results of another
            one have been taken.
        work: gives one result for each item of a chunk, in order; runs in one other thread.
        ahead: how many chunks are read ahead.
        most_bytes: of results that wait, and of results in one part.

    Raises:
        BaseException: what `work` raised, when the results before it have been taken.
    """
    source = iter(chunks)
    waiting: deque[Sequence[T]] = deque()
    with closing(_Background(work, most_bytes)) as background:
        while True:
            while len(waiting) < ahead and (chunk := next(source, None)):
                waiting.append(chunk)
                background.give(chunk)
            if not waiting:
                return
            yield from _parts(waiting.popleft(), background, most_bytes)


def _parts(chunk: Sequence[T], background: _Background[T, R], most_bytes: int) -> Iterator[tuple[Sequence[T], list[R]]]:
    start = total = 0
    results: list[R] = []
    for place in range(len(chunk)):
        result, size = background.take()
        results.append(result)
        total += size
        if total > most_bytes or place == len(chunk) - 1:
            yield chunk[start : place + 1], results
            start, results, total = place + 1, [], 0


@dataclass
class _Failure:
    error: BaseException


class _Closed(Exception):
    """Nobody takes results any more."""


class _Background(Generic[T, R]):
    """A thread that works on chunks and hands over one result after the other, a bounded number of bytes ahead."""

    def __init__(self, work: Callable[[Sequence[T]], Iterator[R]], most_bytes: int) -> None:
        self._work, self._most_bytes = work, most_bytes
        self._chunks: deque[Sequence[T]] = deque()
        self._results: deque[tuple[R | _Failure, int]] = deque()
        self._bytes = 0
        self._closed = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="stream", daemon=True)
        self._thread.start()

    def give(self, chunk: Sequence[T]) -> None:
        with self._changed:
            self._chunks.append(chunk)
            self._changed.notify_all()

    def take(self) -> tuple[R, int]:
        with self._changed:
            while not self._results:
                self._changed.wait()
            result, size = self._results.popleft()
            self._bytes -= size
            self._changed.notify_all()
        if isinstance(result, _Failure):
            raise result.error
        return result, size

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _run(self) -> None:
        try:
            while True:
                self._do(self._next())
        except _Closed:
            return
        except BaseException as error:  # whoever takes the results has to see it
            with self._changed:
                self._results.append((_Failure(error), 0))
                self._changed.notify_all()

    def _next(self) -> Sequence[T]:
        with self._changed:
            while not self._chunks and not self._closed:
                self._changed.wait()
            if self._closed:
                raise _Closed
            return self._chunks.popleft()

    def _do(self, chunk: Sequence[T]) -> None:
        results = self._work(chunk)
        try:
            for result in results:
                self._hand_over(result, byte_size(result))
        finally:
            if hasattr(results, "close"):
                results.close()

    def _hand_over(self, result: R, size: int) -> None:
        with self._changed:
            while self._bytes > self._most_bytes and not self._closed:
                self._changed.wait()
            if self._closed:
                raise _Closed
            self._results.append((result, size))
            self._bytes += size
            self._changed.notify_all()
