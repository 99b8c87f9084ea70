"""Items to an encoded store, made once per content and encoder, by worker processes."""

from __future__ import annotations

import hashlib
import json
import pickle
import secrets
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from molgen import registry
from molgen.atomic_files import named_when_full
from molgen.config import Part, make_settings
from molgen.data.prepare import TrainingData
from molgen.data.store import FORMAT, EncodedChunk, Row, Store, StoreWriter, encode_chunk, pack_chunk, with_provenance
from molgen.domain import Encoder, Invalid, Item, Sample
from molgen.errors import MolgenError
from molgen.space import Space
from molgen.workers.pool import Workers, usable_processes
from molgen.workers.stream import byte_size, chunked

#: Items that one worker encodes at a time, and their bytes.
CHUNK, CHUNK_BYTES = 20_000, 8 << 20
#: The same where each has its own time limit, because progress is said by the chunk.
SINGLE_CHUNK = 2_000
#: Seconds of processor time and bytes of memory that a worker may take for a chunk. The items have been looked at
#: before, so these are for an encoder that never ends.
CHUNK_SECONDS, CHUNK_MEMORY = 24 * 3600.0, 8 << 30


def encode(
    encoder: Encoder,
    part: Part,
    data: TrainingData,
    folder: Path,
    columns: Iterable[str],
    progress: Callable[[int], None] | None = None,
) -> Store:
    """The store of the data under this encoder; made on first use, found again by content after that."""
    columns = sorted(columns)
    state = encoder.state()
    name = _store_name(part, state, data, columns)
    path = folder / name
    if data.digest is not None and (path / "meta.json").exists():
        return Store(path, encoder.space)
    make = partial(make_encoder, type(encoder), part, state)
    return write_store(path, make, encoder.space, data.rows(), columns, progress=progress)


def make_encoder(cls: type[Encoder], part: Part, state: Mapping[str, Any]) -> Encoder:
    """A prepared encoder; worker processes make theirs by this."""
    encoder = cls(make_settings(cls.Config, part.settings, f"encoder {part.name}"))
    encoder.load_state(state)
    return encoder


def _store_name(part: Part, state: Mapping[str, Any], data: TrainingData, columns: list[str]) -> str:
    # Data without a digest may have changed since, so their store is used for one run only.
    # So may a class that nothing but this process knows.
    known = data.digest if not registry.is_session("encoder", part.name) else None
    digest = known or secrets.token_hex(16)
    content = json.dumps([FORMAT, part.to_json(), state, digest, columns], sort_keys=True)
    return f"{data.name}-{part.name}-{hashlib.sha256(content.encode()).hexdigest()[:16]}"


# --- in worker processes ----------------------------------------------------------------------------

Rows = tuple[list[Item | Invalid], dict[str, np.ndarray]]


def write_store(
    path: Path,
    make_encoder: Callable[[], Encoder],
    space: Space,
    rows: Iterable[Row],
    columns: Sequence[str] = (),
    processes: int | None = None,
    progress: Callable[[int], None] | None = None,
) -> Store:
    """Encode rows of (item, numbers) in worker processes into a store at `path`.

    Args:
        path: the folder to make; its parent exists or is made.
        make_encoder: gives the prepared encoder in each worker; it must be picklable.
        space: of that encoder.
        rows: items in order; an `Invalid` one is counted and left out.
        columns: the numbers to keep of each row.
        processes: worker count, by default one for each usable processor.
        progress: called with the number of rows done so far.

    Raises:
        OSError: the disk is full; nothing is left behind.
    """
    writer = StoreWriter(path, space)
    try:
        for chunk, values in _encoded(make_encoder, rows, columns, processes or usable_processes()):
            with named_when_full(path, writer.folder):
                writer.add(chunk, values)
            if progress:
                progress(writer.seen)
        with named_when_full(path, writer.folder):
            writer.finish()
    except BaseException:
        writer.abandon()
        raise
    return Store(path, space)


class EncodingError(MolgenError, ValueError):
    """The encoder failed on the training items: it raised, or gave a sample outside its space."""


@dataclass(frozen=True)
class _Fault:
    """What went wrong in a worker with the encoder itself, as plain data."""

    reason: str


def chunk_encoder(make_encoder: Callable[[], Encoder]) -> Callable[[list[Item | Invalid]], EncodedChunk | _Fault]:
    """What a worker process does with the items of a chunk; see `workers.pool`."""
    encoder = make_encoder()

    def encode(items: list[Item | Invalid]) -> EncodedChunk | _Fault:
        try:
            return encode_chunk(encoder, items)
        except MemoryError:
            raise
        except Exception as error:
            return _Fault(f"{type(error).__name__}: {error}")

    return encode


def item_encoder(make_encoder: Callable[[], Encoder]) -> Callable[[Item], Sample | Invalid]:
    """What a worker process does with single items; see `workers.pool`."""
    return make_encoder().encode


def _one_by_one(make_encoder: Callable[[], Encoder], items: list[Item | Invalid]) -> EncodedChunk:
    """A chunk of which only the guilty items are left out."""
    config = {"make_encoder": make_encoder}
    with Workers(f"{__name__}:item_encoder", config, processes=1, memory=CHUNK_MEMORY, chunk=1) as workers:
        found = workers.map(item for item in items if not isinstance(item, Invalid))
        samples = [item if isinstance(item, Invalid) else next(found) for item in items]
    return pack_chunk(make_encoder().space, samples)


def _encoded_singly(
    make_encoder: Callable[[], Encoder],
    rows: Iterable[Row],
    columns: Sequence[str],
    processes: int,
    seconds: float,
) -> Iterator[tuple[EncodedChunk, dict[str, np.ndarray]]]:
    """The chunks in order, of which each item has so much time of its own."""
    encoder, config = make_encoder(), {"make_encoder": make_encoder}
    with Workers(
        f"{__name__}:item_encoder", config, processes=processes, timeout=seconds, memory=CHUNK_MEMORY, chunk=16
    ) as workers:
        for items, numbers in _chunks(rows, columns, SINGLE_CHUNK):
            found = workers.map([item for item in items if not isinstance(item, Invalid)])
            samples = [item if isinstance(item, Invalid) else next(found) for item in items]
            yield with_provenance(encoder, items, pack_chunk(encoder.space, samples)), numbers


def _chunks(rows: Iterable[Row], columns: Sequence[str], most: int) -> Iterator[Rows]:
    for chunk in chunked(rows, most, CHUNK_BYTES, size=lambda row: byte_size(row[0])):
        numbers = {name: np.array([row[1].get(name, np.nan) for row in chunk], dtype=np.float64) for name in columns}
        yield [row[0] for row in chunk], numbers


def _encoded(
    make_encoder: Callable[[], Encoder], rows: Iterable[Row], columns: Sequence[str], processes: int
) -> Iterator[tuple[EncodedChunk, dict[str, np.ndarray]]]:
    seconds = make_encoder().item_seconds
    if seconds is not None and _importable(make_encoder):
        yield from _encoded_singly(make_encoder, rows, columns, processes, seconds)
        return
    chunks = _chunks(rows, columns, CHUNK)
    first = [chunk for chunk in (next(chunks, None), next(chunks, None)) if chunk is not None]
    if len(first) < 2 or not _importable(make_encoder):
        # One chunk is done before a worker process would have started.
        encoder = make_encoder()
        yield from ((encode_chunk(encoder, items), numbers) for items, numbers in chain(first, chunks))
        return
    config = {"make_encoder": make_encoder}
    with Workers(
        f"{__name__}:chunk_encoder", config, processes=processes, timeout=CHUNK_SECONDS, memory=CHUNK_MEMORY, chunk=1
    ) as workers:
        yield from _encoded_by(workers, chain(first, chunks), partial(_one_by_one, make_encoder))


def _importable(make_encoder: Callable[[], Encoder]) -> bool:
    """Whether a fresh process can make the encoder too, which it cannot when a script or a notebook defines it."""
    try:
        return b"__main__" not in pickle.dumps(make_encoder)
    except (AttributeError, TypeError, pickle.PicklingError):
        return False


def _encoded_by(
    workers: Workers, chunks: Iterator[Rows], one_by_one: Callable[[list[Item | Invalid]], EncodedChunk]
) -> Iterator[tuple[EncodedChunk, dict[str, np.ndarray]]]:
    """The chunks in order; where one was the end of its worker, its items are encoded one by one."""
    waiting: deque[Rows] = deque()

    def given() -> Iterator[list[Item | Invalid]]:
        for chunk in chunks:
            waiting.append(chunk)
            yield chunk[0]

    for result in workers.map(given()):
        items, numbers = waiting.popleft()
        if isinstance(result, _Fault):
            raise EncodingError(f"the encoder failed: {result.reason}")
        yield (one_by_one(items) if isinstance(result, Invalid) else result), numbers
