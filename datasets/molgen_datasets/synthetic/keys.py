"""Keys of items as 128-bit digests: sorted sets of them on disk, and which of many are the first of their kind.

Two different keys of a set of 10^9 share a digest with a probability of 10^-21, so a digest stands for its key.

Letters in shapes: N keys, R rows.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from molgen.atomic_files import replaced_file

#: Bytes of a digest.
WIDTH = 16
#: Rows of one bucket, which are in memory together; 24 bytes each, and as much again while they are sorted.
BUCKET = 2_000_000
#: Keys that are sorted together when an index is made.
_CHUNK = 1 << 20


def digest(key: str) -> bytes:
    """What stands for a key."""
    return hashlib.blake2b(key.encode(errors="surrogatepass"), digest_size=WIDTH).digest()


def words(digests: bytes | Sequence[bytes]) -> np.ndarray:
    """Digests as two numbers each, uint64 (N, 2), that sort as the digests do."""
    joined = digests if isinstance(digests, bytes) else b"".join(digests)
    return np.frombuffer(joined, ">u8").astype(np.uint64).reshape(-1, 2)


def mixed(numbers: np.ndarray, seed: int) -> np.ndarray:
    """Numbers as other numbers of which any bit tells as good as nothing of the former ones: uint64 (N,) to (N,).

    The finaliser of SplitMix64 (Steele et al., OOPSLA 2014), after the seed was added.
    """
    salt = int.from_bytes(hashlib.blake2b(f"mixed {seed}".encode(), digest_size=8).digest(), "little")
    found = numbers.astype(np.uint64) + np.uint64(salt)
    found = (found ^ (found >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    found = (found ^ (found >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return found ^ (found >> np.uint64(31))


class KeyIndex:
    """A set of keys on disk: sorted digests in an array that is mapped, not read.

    Args:
        path: of the array, uint64 (N, 2).

    Raises:
        OSError, ValueError: there is no such array. Nobody may take that for an empty set.
    """

    def __init__(self, path: Path) -> None:
        try:
            self._digests = np.load(path, mmap_mode="r", allow_pickle=False)
        except EOFError as error:
            raise ValueError(f"{path} is empty") from error
        if self._digests.ndim != 2 or self._digests.shape[1] != 2 or self._digests.dtype != np.uint64:
            raise ValueError(f"{path} is no index of keys")
        self._high = self._digests[:, 0]

    def __len__(self) -> int:
        return len(self._digests)

    def has(self, asked: bytes) -> bool:
        """Whether a digest is in the set."""
        high, low = words(asked)[0]
        place = int(np.searchsorted(self._high, high))
        while place < len(self) and self._digests[place, 0] == high:
            if self._digests[place, 1] == low:
                return True
            place += 1
        return False

    @classmethod
    def write(cls, path: Path, digests: Iterable[bytes]) -> int:
        """Write the set of some digests, in whatever order they come and however often; return how many it has."""
        found = _distinct(np.concatenate([np.empty((0, 2), np.uint64), *map(words, _chunks(digests))]))
        path.parent.mkdir(parents=True, exist_ok=True)
        with replaced_file(path) as temporary, temporary.open("wb") as file:
            np.save(file, found, allow_pickle=False)
        return len(found)


def _chunks(digests: Iterable[bytes]) -> Iterator[bytes]:
    chunk = bytearray()
    for one in digests:
        chunk += one
        if len(chunk) >= WIDTH * _CHUNK:
            yield bytes(chunk)
            chunk = bytearray()
    yield bytes(chunk)


def _distinct(found: np.ndarray) -> np.ndarray:
    found = found[np.lexsort((found[:, 1], found[:, 0]))]
    new = np.ones(len(found), bool)
    new[1:] = (found[1:] != found[:-1]).any(1)
    return np.ascontiguousarray(found[new])


# --- the first of each ----------------------------------------------------------------------------

_ROW = np.dtype([("high", "<u8"), ("low", "<u8"), ("row", "<u8")])


def first_of_each(
    parts: Sequence[Callable[[], tuple[np.ndarray, np.ndarray]]], rows: int, scratch: Path, bucket: int = BUCKET
) -> np.ndarray:
    """Which rows are the first with their key, exactly, in memory that does not grow with their number.

    Digests go to files by their first bits, so that equal ones meet in one; then file after file is sorted.

    Args:
        parts: each gives the digests of some rows, uint64 (N, 2), and their numbers, uint64 (N,). Rows in no part
            have no key, and are like no other.
        rows: how many there are in all, R.
        scratch: a folder for these files, and for the result.
        bucket: about how many rows are in memory at a time.

    Returns:
        Bool (R,), in a file that is mapped.
    """
    first = np.lib.format.open_memmap(scratch / "first.npy", "w+", np.bool_, (max(rows, 1),))
    first[:] = True
    count = 1 << max(0, int(np.ceil(np.log2(max(rows, 1) / bucket))))
    files = [scratch / f"bucket-{number:05d}" for number in range(count)]
    for part in parts:
        _spread(*part(), files)
    for path in files:
        if path.exists():
            first[_repeats(np.fromfile(path, _ROW))] = False
            path.unlink()
    return first[:rows]


def _spread(digests: np.ndarray, rows: np.ndarray, files: Sequence[Path]) -> None:
    found = np.empty(len(rows), _ROW)
    found["high"], found["low"], found["row"] = digests[:, 0], digests[:, 1], rows
    bits = len(files).bit_length() - 1
    places = found["high"] >> np.uint64(64 - bits) if bits else np.zeros(len(rows), np.uint64)
    order = np.argsort(places, kind="stable")
    ends = np.searchsorted(places[order], np.arange(len(files) + 1))
    for number in np.flatnonzero(np.diff(ends)).tolist():
        with files[number].open("ab") as file:
            found[order[ends[number] : ends[number + 1]]].tofile(file)


def _repeats(found: np.ndarray) -> np.ndarray:
    """The numbers of the rows whose key an earlier row has, uint64."""
    found = found[np.lexsort((found["row"], found["low"], found["high"]))]
    same = (found["high"][1:] == found["high"][:-1]) & (found["low"][1:] == found["low"][:-1])
    return found["row"][1:][same]
