"""Whether a finished set is what its manifest says: every byte, the count of the rows, and that no key comes twice."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pyarrow import parquet as pq

from molgen.atomic_files import sha256, total_bytes
from molgen.data.keys import digest, first_of_each, words
from molgen.domain import Domain, Invalid
from molgen_datasets.synthetic.folder import finished
from molgen_datasets.synthetic.worker import domain_of

#: Rows that are read together.
_ROWS = 16_384


def verify(path: str | Path, *, deep: bool = False, watch: Callable[[str], object] = lambda path: None) -> list[str]:
    """What is wrong with a finished set, a line each; nothing where all is well.

    Args:
        path: the folder of the set.
        deep: also read every item, see that it is one, canonical and, where the recipe says so, that none comes twice.
            Only sets in Parquet are read.
        watch: called with the path of each file as it is begun.

    Raises:
        UsageError: there is no finished set.
    """
    folder, manifest = finished(path)
    problems = []
    for one in manifest["files"]:
        watch(one["path"])
        problems += _problems(folder.path / one["path"], one)
    if sum(one["rows"] for one in manifest["files"]) != manifest["items"]:
        problems.append(f"manifest.json: its files have not the {manifest['items']:,} items that it says")
    if deep and not problems and manifest["recipe"]["output"]["format"] == "parquet":
        problems += _deep(folder.path, manifest)
    return problems


def _problems(path: Path, one: Mapping[str, Any]) -> list[str]:
    if not path.exists():
        return [f"{one['path']}: missing"]
    if total_bytes(path) != one["bytes"]:
        return [f"{one['path']}: {total_bytes(path):,} bytes, not {one['bytes']:,}"]
    if sha256(path) != one["sha256"]:
        return [f"{one['path']}: changed: its SHA-256 is not that of the manifest"]
    if path.suffix == ".parquet" and (rows := pq.ParquetFile(path).metadata.num_rows) != one["rows"]:
        return [f"{one['path']}: {rows:,} rows, not {one['rows']:,}"]
    return []


def _deep(path: Path, manifest: Mapping[str, Any]) -> list[str]:
    domain, column = domain_of(manifest), next(iter(manifest["columns"]))
    files, problems, first = [path / one["path"] for one in manifest["files"]], list[str](), 0
    found: list[tuple[np.ndarray, np.ndarray]] = []
    for row, value in enumerate(_values(files, column)):
        problems += [f"row {row + 1:,}: {reason}" for reason in _reasons(domain, value) if len(problems) < _SHOWN]
        if value is not None and not isinstance(item := domain.from_stored(value), Invalid):
            found.append((words(digest(domain.key(item))), np.array([row], np.uint64)))
        first = row + 1
    if manifest["recipe"]["filters"]["unique"] and found:
        problems += _repeats(found, first)
    return problems


#: Rows that are named.
_SHOWN = 20


def _values(files: Sequence[Path], column: str) -> Iterator[str | bytes | None]:
    for file in files:
        for batch in pq.ParquetFile(file).iter_batches(_ROWS, columns=[column]):
            yield from batch.column(0).to_pylist()


def _reasons(domain: Domain, value: str | bytes | None) -> Iterator[str]:
    if value is None:
        return
    item = domain.from_stored(value)
    canonical = item if isinstance(item, Invalid) else domain.canonical(item)
    if isinstance(canonical, Invalid):
        yield f"no item: {canonical.reason}"
    elif domain.key(canonical) != domain.key(item):
        yield "not in canonical form"


def _repeats(found: Sequence[tuple[np.ndarray, np.ndarray]], rows: int) -> Iterator[str]:
    keys, numbers = (np.concatenate(side) for side in zip(*found, strict=True))
    with tempfile.TemporaryDirectory(prefix="molgen-") as scratch:
        first = first_of_each([lambda: (keys, numbers)], rows, Path(scratch))
        again = np.flatnonzero(~first)
    yield from (f"row {row + 1:,}: its key comes before" for row in again[:_SHOWN])
