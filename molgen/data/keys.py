"""Keys of items as 128-bit digests: sets of them on disk, which are new, and which of many are the first of their kind.

Two different keys of a set of 10^9 share a digest with a probability of 10^-21, so a digest stands for its key.

Letters in shapes: N keys, R rows.
"""

from __future__ import annotations

import hashlib
import tempfile
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np

from molgen.atomic_files import named_when_full, replaced_file

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
        self.path = path
        try:
            self._digests = np.load(path, mmap_mode="r", allow_pickle=False)
        except EOFError as error:
            raise ValueError(f"{path} is empty") from error
        if self._digests.ndim != 2 or self._digests.shape[1] != 2 or self._digests.dtype != np.uint64:
            raise ValueError(f"{path} is no index of keys")
        # Single numbers come out of such a view at once; a search of numpy would first copy the whole column.
        numbers = np.asarray(self._digests).reshape(-1).data
        self._high, self._low = numbers[::2], numbers[1::2]

    def __len__(self) -> int:
        return len(self._digests)

    def has(self, asked: bytes) -> bool:
        """Whether a digest is in the set."""
        high, low = int.from_bytes(asked[:8], "big"), int.from_bytes(asked[8:], "big")
        place = bisect_left(self._high, high)
        while place < len(self) and self._high[place] == high:
            if self._low[place] == low:
                return True
            place += 1
        return False

    def merge(self, other: KeyIndex, path: Path) -> None:
        """Write these keys and others, of which none is the same, as one index, piece by piece."""
        pieces = -(-(len(self) + len(other)) // _CHUNK)
        edges = [(number << 64) // pieces for number in range(1, pieces)]
        with path.open("wb") as file:
            header = {"descr": "<u8", "fortran_order": False, "shape": (len(self) + len(other), 2)}
            np.lib.format.write_array_header_1_0(file, header)
            for own, others in zip(self._pieces(edges), other._pieces(edges), strict=True):
                file.write(_sorted(np.concatenate([own, others])).astype("<u8").tobytes())

    def _pieces(self, edges: Sequence[int]) -> Iterator[np.ndarray]:
        """The digests between numbers that their first halves are cut at."""
        ends = [bisect_left(self._high, edge) for edge in edges]
        return (self._digests[start:end] for start, end in pairwise([0, *ends, len(self)]))

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


def _sorted(found: np.ndarray) -> np.ndarray:
    return found[np.lexsort((found[:, 1], found[:, 0]))]


def _distinct(found: np.ndarray) -> np.ndarray:
    found = _sorted(found)
    new = np.ones(len(found), bool)
    new[1:] = (found[1:] != found[:-1]).any(1)
    return np.ascontiguousarray(found[new])


# --- keys that come one after the other -----------------------------------------------------------


class SeenKeys:
    """Which keys are new, exactly, in memory that does not grow with their number.

    The latest lie in memory. Once there are `room` of them they become a sorted file, and a file that is as large as
    the one before it is merged with it: of N keys there are log2(N / room) files at most.

    Args:
        room: the most keys in memory, each of about 100 bytes.
    """

    def __init__(self, room: int = 1 << 19) -> None:
        self._room = room
        self._latest: set[bytes] = set()
        self._files: list[KeyIndex] = []
        self._number = 0
        self._folder: tempfile.TemporaryDirectory[str] | None = None

    def add(self, key: str) -> bool:
        """Put a key in, and say whether it is new."""
        found = digest(key)
        if found in self._latest or any(index.has(found) for index in self._files):
            return False
        self._latest.add(found)
        if len(self._latest) >= self._room:
            self._write()
        return True

    def close(self) -> None:
        """Forget all keys, and remove their files."""
        self._latest, self._files = set(), []
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None

    def _write(self) -> None:
        """Move the keys from memory to a file."""
        path = self._path()
        with named_when_full(path):
            KeyIndex.write(path, self._latest)
            self._latest = set()
            self._files.append(KeyIndex(path))
            while len(self._files) > 1 and len(self._files[-1]) >= len(self._files[-2]):
                path, second, first = self._path(), self._files.pop(), self._files.pop()
                first.merge(second, path)
                self._files.append(KeyIndex(path))
                first.path.unlink()
                second.path.unlink()

    def _path(self) -> Path:
        """A new file; the folder of all of them is made with the first."""
        if self._folder is None:
            self._folder = tempfile.TemporaryDirectory(prefix="molgen-keys-")
        self._number += 1
        return Path(self._folder.name) / f"{self._number:06d}.npy"


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
