"""One worker: it loads the models once and does tasks of a data set, each of which leaves a marked file behind.

A task is plain data and so is its result. To do a task twice, or half and then again, leaves the same file.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pyarrow import parquet as pq

from molgen import registry
from molgen.atomic_files import replaced_file, sha256
from molgen.domain import Domain
from molgen.errors import MolgenError
from molgen.model.stages import Model
from molgen_datasets.synthetic.assemble import write_shard
from molgen_datasets.synthetic.draw import Drawer
from molgen_datasets.synthetic.facts import gathered, mark_all
from molgen_datasets.synthetic.folder import Folder, read_json, write_json
from molgen_datasets.synthetic.models import load_models
from molgen_datasets.synthetic.recipe import Recipe, recipe_from
from molgen_datasets.synthetic.task import Result, Task


class Worker:
    """Does the tasks of one data set.

    Args:
        path: of the folder of the set.
        device: of the models.
    """

    def __init__(self, path: str | Path, device: str = "cpu") -> None:
        self._folder, self._device = Folder(path), device
        self._drawer: Drawer | None = None
        self._models: list[Model] = []

    def close(self) -> None:
        """End the processes that inspect."""
        if self._drawer is not None:
            self._drawer.close()
            self._drawer = None

    def do(self, task: Task) -> Result:
        """Do a task: `facts`, `part` with its number, or `shard` with its place."""
        work = {"facts": self._facts, "part": self._part, "shard": self._shard}
        return work[task["kind"]](task)

    def attempt(self, task: Task) -> Result:
        """The same; what went wrong is a result too: its message, and the exit code of the command."""
        try:
            return self.do(task)
        except Exception as error:
            return {"error": _line(error), "exit_code": getattr(error, "exit_code", 1)}

    # --- tasks ------------------------------------------------------------------------------------

    def _facts(self, task: Task) -> Result:
        found = gathered(self._recipe, self._loaded, self._folder, task["created"])
        mark_all(self._folder, found)
        write_json(self._folder.facts, found)
        return self._folder.mark(self._folder.facts)

    def _part(self, task: Task) -> Result:
        number, path = task["number"], self._folder.part(task["number"])
        candidates, tally = self._drawing.part(number)
        path.parent.mkdir(parents=True, exist_ok=True)
        with replaced_file(path) as temporary:
            pq.write_table(candidates, temporary, compression="zstd")
        before, found = self._folder.noted(path), sha256(path)
        if before is not None and before["sha256"] != found:  # another part than the one that the set was made of
            raise MolgenError(f"part {number} is not what it was: {_OTHER}")
        return self._folder.mark(path, rows=len(candidates), tally=tally.to_json())

    def _shard(self, task: Task) -> Result:
        facts = self._known
        return write_shard(self._recipe, facts, self._folder, domain_of(facts), task["shard"])

    # --- what it has loaded -----------------------------------------------------------------------

    @property
    def _recipe(self) -> Recipe:
        return recipe_from(read_json(self._folder.recipe)["recipe"])

    @property
    def _known(self) -> dict[str, Any]:
        found = read_json(self._folder.facts)
        if not isinstance(found, dict):
            raise MolgenError(f"{self._folder.facts} is damaged; type --resume to make it again")
        return found

    @property
    def _drawing(self) -> Drawer:
        if self._drawer is None:
            self._drawer = Drawer(self._recipe, self._known, self._folder, self._loaded)
        return self._drawer

    @property
    def _loaded(self) -> list[Model]:
        if not self._models:
            self._models = load_models(self._recipe, self._device)
        return self._models


_OTHER = (
    "this machine, device or set of packages does not repeat what made the set; repair it where it was made, "
    "or make it anew"
)


def domain_of(facts: Mapping[str, Any]) -> Domain:
    """The domain of a set; no torch is imported for it."""
    domain: Domain = registry.get("domain", facts["domain"])()
    return domain


def _line(error: Exception) -> str:
    if isinstance(error, MolgenError):
        return str(error)
    if isinstance(error, OSError) and error.strerror:
        return ": ".join(str(part) for part in (error.filename, error.strerror) if part)
    return " ".join(f"{type(error).__name__}: {error}".split()).removesuffix(":")
