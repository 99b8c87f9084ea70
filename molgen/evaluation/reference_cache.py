"""What metrics keep of the sets that they compare with: made once, and found again in the cache.

A summary lies under the content of its set, the domain, its settings and the versions of the libraries
that items and features depend on. This module knows no domain and imports no torch.
"""

from __future__ import annotations

import hashlib
import json
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from molgen.atomic_files import replaced_file, usual_mode
from molgen.domain import Domain, Invalid, Item
from molgen.errors import MolgenError
from molgen.evaluation.features import FeatureExtractor
from molgen.metric import Chunk, PublishedStatistics, Summary

#: Changes whenever summaries of older versions of this project can no longer be used.
FORMAT = 2

T = TypeVar("T")
#: Called with the name of a set and its size, if that is known, while it is read; gives a function that is called with
#: the number of rows done since.
Watch = Callable[[str, int | None], AbstractContextManager[Callable[[int], None]]]


@dataclass(frozen=True)
class ItemSet:
    """A set of items to compare with.

    Attributes:
        name: as results name it.
        items: gives them all, each time in the same order.
        digest: of their content.
        count: how many, if that is known.
        published: gives what is known of them without looking at them, if anything is.
        canonical: whether they are used as stored; see `Dataset.canonical`.
    """

    name: str
    items: Callable[[], Iterator[Item | Invalid]]
    digest: str
    count: int | None = None
    published: Callable[[], PublishedStatistics | None] = lambda: None
    canonical: bool = False


@dataclass
class Attempt:
    """Calls into a plugin, which may fail alone: the first error is kept, and no call follows it.

    Attributes:
        error: the first one in a line, or an empty string.
        seconds: that the calls took.
    """

    error: str = ""
    seconds: float = 0.0

    def __call__(self, work: Callable[..., T], *arguments: Any) -> T | None:
        """What `work` gives, or None where it or a call before it failed."""
        if self.error:
            return None
        start = time.perf_counter()
        try:
            return work(*arguments)
        except Exception as error:
            self.error = _line(error)
            return None
        finally:
            self.seconds += time.perf_counter() - start


def _line(error: Exception) -> str:
    """An error in one line; one that is not our own says where it was raised."""
    text = str(error)
    if not isinstance(error, MolgenError):
        place = traceback.extract_tb(error.__traceback__)[-1]
        text = f"{type(error).__name__}: {text} ({Path(place.filename).name}:{place.lineno})"
    return " ".join(text.split())


class Request(NamedTuple):
    """A class of summaries with its settings, and the version of the distribution of a third party's."""

    cls: type[Summary]
    config: Any
    origin: str = ""


@dataclass
class _Making:
    request: Request
    attempt: Attempt = field(default_factory=Attempt)
    summary: Summary | None = None

    def add(self, chunk: Chunk, examiner: FeatureExtractor) -> None:
        examiner.require(self.request.cls.needed(self.request.config))
        assert self.summary is not None
        self.summary.add(chunk)

    def arrays(self) -> dict[str, np.ndarray]:
        assert self.summary is not None
        return {name: np.ascontiguousarray(array) for name, array in self.summary.arrays().items()}

    def save(self, path: Path, counts: Mapping[str, str]) -> None:
        arrays = self.arrays()
        with replaced_file(path) as temporary, usual_mode(temporary):
            save_file(arrays, temporary, dict(counts))


@contextmanager
def unwatched(name: str, count: int | None) -> Iterator[Callable[[int], None]]:
    """Nobody watches."""
    yield lambda rows: None


class Summaries:
    """The summaries of sets in a folder.

    Args:
        domain: what the items are; summaries that ship with it come before those in the folder.
        folder: the cache.
        versions: of the libraries that canonical forms and features depend on.
        device: where feature networks run.
        processes: workers.
    """

    def __init__(
        self,
        domain: Domain,
        folder: Path,
        versions: Mapping[str, str],
        device: str = "auto",
        processes: int | None = None,
    ) -> None:
        self._domain, self._folder, self._versions = domain, folder, versions
        self._device, self._processes = device, processes
        self._failures: dict[Path, str] = {}
        self._loaded: dict[Path, Summary] = {}
        self._checked: set[Path] = set()
        self._statistics: dict[str, PublishedStatistics | None] = {}
        #: rows of a set and valid ones among them, by the digest of the set, as far as summaries of it were read.
        self.counts: dict[str, tuple[int, int]] = {}

    def make(self, items: ItemSet, requests: Iterable[Request], watch: Watch = unwatched) -> None:
        """Make those that are missing, in one pass over the set; `get` raises for those that fail."""
        making = {self.path(request, items): _Making(request) for request in requests}
        making = {path: one for path, one in making.items() if not (self._is_there(path) or path in self._failures)}
        making = {path: one for path, one in making.items() if not self._published(path, one, items)}
        if not making:
            return
        with watch(items.name, items.count) as advance:
            rows, valid = self._read(items, list(making.values()), advance)
        for path, one in making.items():
            if not valid and not one.attempt.error:
                one.attempt.error = f"{items.name} holds no valid item"
            one.attempt(self._keep, path, one, items, (rows, valid))
            if one.attempt.error:
                self._failures[path] = one.attempt.error

    def _published(self, path: Path, making: _Making, items: ItemSet) -> bool:
        """Whether a summary is made of what is known of its set without reading it."""
        if items.digest not in self._statistics:
            self._statistics[items.digest] = items.published()
        published = self._statistics[items.digest]
        if published is None:
            return False
        making.summary = making.attempt(making.request.cls, making.request.config)
        if making.summary is None or not making.attempt(making.summary.include_published, published):
            return False
        making.save(path, {"set": items.name, "rows": str(published.rows), "valid": str(published.rows)})
        return True

    def _is_there(self, path: Path) -> bool:
        """Whether a summary is in memory, or whole on disk; one that was damaged is made anew."""
        if path in self._loaded or path in self._checked:
            return True
        if path.is_file() and _is_whole(path):
            self._checked.add(path)
        return path in self._checked

    def _keep(self, path: Path, one: _Making, items: ItemSet, counts: tuple[int, int]) -> None:
        """Put a summary into the cache; where nothing can be written, it stays in memory."""
        rows, valid = counts
        try:
            one.save(path, {"set": items.name, "rows": str(rows), "valid": str(valid)})
        except OSError:
            assert one.summary is not None
            self._loaded[path] = one.request.cls(one.request.config)
            self._loaded[path].load(one.arrays())
            self.counts[items.digest] = counts

    def _read(self, items: ItemSet, making: list[_Making], advance: Callable[[int], None]) -> tuple[int, int]:
        """Show the whole set to the summaries, and count its rows and the valid ones."""
        rows = valid = 0
        for one in making:
            one.summary = one.attempt(one.request.cls, one.request.config)
        needs = {need for one in making for need in one.request.cls.needed(one.request.config)}
        as_stored = items.canonical and not any(one.request.cls.reads_items for one in making)
        with FeatureExtractor(self._domain, needs, self._device, self._processes, as_stored) as examiner:
            for chunk in examiner.chunks(items.items()):
                for one in making:
                    one.attempt(one.add, chunk, examiner)
                rows, valid = rows + len(chunk.valid), valid + len(chunk.items)
                advance(len(chunk.valid))
                if all(one.attempt.error for one in making):
                    break
        return rows, valid

    def get(self, request: Request, items: ItemSet) -> Summary:
        """A summary that was made, now or before.

        Raises:
            MolgenError: making it failed, or its file is damaged.
        """
        path = self.path(request, items)
        if path in self._failures:
            raise MolgenError(f"{items.name} could not be summarised: {self._failures[path]}")
        if path not in self._loaded:
            self._loaded[path] = self._load(path, request, items)
        return self._loaded[path]

    def _load(self, path: Path, request: Request, items: ItemSet) -> Summary:
        summary = request.cls(request.config)
        try:
            with safe_open(path, framework="numpy") as file:
                arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
                counts = file.metadata()
        except (SafetensorError, OSError) as error:
            raise MolgenError(f"{path} cannot be read ({error}); delete it, and it is made again") from error
        summary.load(arrays)
        self.counts[items.digest] = int(counts["rows"]), int(counts["valid"])
        return summary

    def path(self, request: Request, items: ItemSet) -> Path:
        """Where a summary lies: with the domain, if it ships there, or in the cache."""
        cls, domain = request.cls, type(self._domain)
        # By names that stay when code moves to another module; whose class it is, versions and origin say.
        parts = [FORMAT, items.digest, domain.__qualname__, repr(self._domain.config)]
        parts += [cls.__qualname__, cls.name(request.config), request.origin]
        content = json.dumps([*parts, sorted(self._versions.items())])
        name = f"{cls.name(request.config)}-{hashlib.sha256(content.encode()).hexdigest()[:16]}.safetensors"
        shipped = self._domain.summaries / name if self._domain.summaries else None
        return shipped if shipped is not None and shipped.is_file() and _is_whole(shipped) else self._folder / name


def _is_whole(path: Path) -> bool:
    """Whether a file can be read and says how many rows it stands for."""
    try:
        with safe_open(path, framework="numpy") as file:
            for name in file.keys():  # noqa: SIM118
                file.get_tensor(name)
            return {"rows", "valid"} <= set(file.metadata() or ())
    except (SafetensorError, OSError, ValueError):
        return False
