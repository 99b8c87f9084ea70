"""The folder of a data set while it is made: where everything lies, what is finished, and who may write.

A file is written beside its place, flushed, renamed, and then marked: the mark says its SHA-256. What has no mark,
or is not as its mark says, is made again. No date or clock decides anything.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from molgen.atomic_files import sha256, total_bytes, write_text
from molgen.errors import UsageError

#: Where what the making needs lies within the folder of the set.
WORK = ".molgen"
MANIFEST, CARD, CROISSANT, RECORD = "manifest.json", "README.md", "croissant.json", "dataset.run.json"
DATA = "data"
FORMAT = 1


class Folder:
    """The places of a data set.

    Args:
        path: the folder of the set.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.work = self.path / WORK
        self.recipe, self.facts = self.work / "recipe.json", self.work / "facts.json"
        self.places, self.plan = self.work / "places.parquet", self.work / "plan.json"
        self.conditions = self.work / "conditions.parquet"
        self.manifest, self.card = self.path / MANIFEST, self.path / CARD
        self.croissant, self.record = self.path / CROISSANT, self.path / RECORD

    def part(self, number: int) -> Path:
        """Where the candidates of a part lie."""
        return self.work / "parts" / f"part-{number:06d}.parquet"

    def keys(self, kind: str, number: int) -> Path:
        """Where the keys of a reference set or a list lie, in the form of `molgen.data.keys.KeyIndex`."""
        return self.work / kind / f"{number}.npy"

    def scratch(self) -> Path:
        """A folder for what nobody needs after a crash; an empty one."""
        path = self.work / "scratch"
        shutil.rmtree(path, ignore_errors=True)
        path.mkdir(parents=True)
        return path

    # --- marks ------------------------------------------------------------------------------------

    def mark(self, path: Path, **facts: Any) -> dict[str, Any]:
        """Say that a file, or the folder of a shard, is finished, and what there is to know of it."""
        found = {"sha256": sha256(path), "bytes": total_bytes(path), **facts}
        write_json(self._mark(path), found)
        return found

    def noted(self, path: Path) -> dict[str, Any] | None:
        """What a mark says, whether or not the file is still there; None where there is no whole mark."""
        found = read_json(self._mark(path))
        return found if isinstance(found, dict) and {"sha256", "bytes"} <= found.keys() else None

    def marked(self, path: Path) -> dict[str, Any] | None:
        """What the mark of a file says, where the file is there and as the mark says, to the byte."""
        found = self.noted(path)
        if found is None or not path.exists() or total_bytes(path) != found["bytes"]:
            return None
        return found if sha256(path) == found["sha256"] else None

    def _mark(self, path: Path) -> Path:
        return self.work / "marks" / f"{path.relative_to(self.path).as_posix().replace('/', '__')}.json"


def write_json(path: Path, values: Mapping[str, Any]) -> None:
    """Replace a JSON file in one step."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, json.dumps(values, indent=1, ensure_ascii=False) + "\n")


def read_json(path: Path) -> Any:
    """What a JSON file holds; None where there is none that can be read."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None


@contextmanager
def claimed(path: Path, *, resume: bool) -> Iterator[Folder]:
    """The folder of a set that this process alone writes to while the block runs.

    Raises:
        UsageError: it holds something and `resume` was not given, it is no data set, or another process is at it.
    """
    folder = Folder(path)
    if path.exists() and not path.is_dir():
        raise UsageError(f"{path} is a file; choose another folder")
    begun = folder.recipe.exists()
    others = path.is_dir() and any(one.name != WORK for one in path.iterdir())
    if others and not begun:
        raise UsageError(f"{path} holds other files and no data set that was begun; choose another folder")
    if begun and not resume:
        raise UsageError(f"{path} is not empty; type --resume to finish or repair the set, or choose another folder")
    folder.work.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder.work / "lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise UsageError(
            f"another process is making the data set {path}; wait for it, or choose another folder"
        ) from None
    try:
        yield folder
    finally:
        lock.release()


def finished(path: str | Path) -> tuple[Folder, dict[str, Any]]:
    """A finished set and its manifest.

    Raises:
        UsageError: there is none.
    """
    folder = Folder(path)
    if not folder.path.is_dir():
        raise UsageError(f"{path}: there is no such folder")
    found = read_json(folder.manifest)
    if not isinstance(found, dict) or not {"format", "files", "recipe_sha256"} <= found.keys():
        begun = folder.work.is_dir()
        what = f"the set is not finished; type: molgen dataset create -o {path} --resume" if begun else "no data set"
        raise UsageError(f"{path}: {what}")
    if found["format"] != FORMAT:
        raise UsageError(f"{path}: a newer molgen made this set (format {found['format']})")
    return folder, found
