"""From a recipe to a finished set, whatever was there before: what is marked and whole stays, the rest is made.

The leading process plans, finds repeats, and marks; workers draw and write. It may be killed at any moment: nothing
but marked files counts, and the manifest comes last.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import numpy as np

from molgen.errors import MolgenError, PartialFailure, UsageError
from molgen.versions import versions
from molgen_datasets.synthetic import assemble, cards
from molgen_datasets.synthetic.executors import Executor
from molgen_datasets.synthetic.facts import unchanged
from molgen_datasets.synthetic.folder import Folder, read_json, write_json
from molgen_datasets.synthetic.judge import Tally
from molgen_datasets.synthetic.models import identity
from molgen_datasets.synthetic.plan import Round, first_round, next_round, part_size
from molgen_datasets.synthetic.recipe import Recipe, fingerprint, recipe_from
from molgen_datasets.synthetic.worker import domain_of


@dataclass
class Status:
    """How the making of a set stands, for whoever watches.

    Attributes:
        phase: `reading`, `drawing`, `placing`, `writing`.
        wanted: items of the set.
        kept: items that belong to it so far, repeats that are known left out.
        tally: of all parts so far.
        parts, all_parts: finished, and as many as are planned now.
        drawn_here: draws of this process, without those that were there before.
        begun: when this process began, on a clock that nobody sets.
    """

    phase: str = "reading"
    wanted: int = 0
    kept: int = 0
    tally: Tally = field(default_factory=Tally)
    parts: int = 0
    all_parts: int = 0
    drawn_here: int = 0
    begun: float = field(default_factory=time.monotonic)

    @property
    def rate(self) -> float:
        """Draws in a second."""
        return self.drawn_here / max(time.monotonic() - self.begun, 1e-9)

    @property
    def seconds_left(self) -> float | None:
        """About how long the drawing will take; None while nothing tells."""
        accepted = self.kept / self.tally.drawn if self.kept else self.tally.accepted / max(self.tally.drawn, 1)
        if not accepted or not self.drawn_here:
            return None
        return max(0.0, self.wanted / accepted - self.tally.drawn) / self.rate


Watch = Callable[[Status], object]


def begin(folder: Folder, recipe: Recipe | None) -> Recipe:
    """The recipe of a set that is begun or gone on with.

    Raises:
        UsageError: the folder has another recipe, or none and none was given.
    """
    found = read_json(folder.recipe)
    if not isinstance(found, dict):
        if recipe is None:
            raise UsageError(f"{folder.path} says of no recipe what is to be made; give the recipe as well")
        write_json(folder.recipe, {"format": 1, "created": today(), "recipe": recipe.to_json()})
        return recipe
    known = recipe_from(found["recipe"], f"{folder.recipe}")
    if recipe is not None and recipe != known:
        raise UsageError(
            f"{folder.path} is a set of another recipe ({_difference(known, recipe)}); choose another folder"
        )
    return known


def _difference(known: Recipe, asked: Recipe) -> str:
    ours, theirs = known.to_json(), asked.to_json()
    name = next(name for name in ours if ours[name] != theirs[name])
    return f"{name}: {json.dumps(ours[name])} there, {json.dumps(theirs[name])} here"


def today() -> str:
    """The day of a new set; SOURCE_DATE_EPOCH stands for the clock, as in other reproducible work."""
    epoch = os.environ.get("SOURCE_DATE_EPOCH")
    now = datetime.fromtimestamp(int(epoch), UTC) if epoch and epoch.isdigit() else datetime.now(UTC)
    return now.date().isoformat()


class Creation:
    """Makes, finishes or repairs one set.

    Args:
        folder: claimed by this process.
        recipe: of the set.
        executor: does the tasks.
        watch: called with the status, often.
    """

    def __init__(self, folder: Folder, recipe: Recipe, executor: Executor, watch: Watch = lambda status: None) -> None:
        self._folder, self._recipe, self._executor, self._watch = folder, recipe, executor, watch
        self.status = Status(wanted=recipe.count)
        self._facts: dict[str, Any] = {}
        self._counted: set[int] = set()

    @property
    def models(self) -> list[dict[str, Any]]:
        """The name and the SHA-256 of each model, once they are known."""
        return [identity(one) for one in self._facts.get("models", ())]

    def run(self) -> dict[str, Any]:
        """Make what is missing and return the manifest.

        Raises:
            UsageError: the recipe asks for what there is not.
            PartialFailure: so little is accepted that it stops; what there is is a finished set of fewer items.
            MolgenError: what is to be repaired cannot be made again as it was.
        """
        self._facts = self._known_facts()
        if any(self._folder.marked(path) is None for path in (self._folder.places, self._folder.plan)):
            self._place()
        manifest = self._write_shards()
        self._finish(manifest)
        if manifest["items"] < self._recipe.count:
            raise PartialFailure(self._too_few(manifest["items"]))
        return manifest

    # --- facts ------------------------------------------------------------------------------------

    def _known_facts(self) -> dict[str, Any]:
        self._watch(self.status)
        found = read_json(self._folder.facts)
        if self._folder.marked(self._folder.facts) is None or unchanged(self._folder, found):
            created = read_json(self._folder.recipe)["created"]
            self._do([{"kind": "facts", "created": created}])
            before, found = found, read_json(self._folder.facts)
            self._require_same(before, found)
        if fingerprint(self._recipe, found) != found["fingerprint"]:
            raise UsageError(f"{self._folder.recipe} was changed: it is not the recipe that the set was begun with")
        if other := [name for name, one in versions().items() if found["versions"].get(name) != one]:
            ours, theirs = versions()[other[0]], found["versions"].get(other[0])
            raise UsageError(
                f"{self._folder.path} was begun with {other[0]} {theirs}, and here is {ours}: items may differ; go on "
                "with what it was begun with, or make it anew"
            )
        return dict(found)

    def _require_same(self, before: Any, found: Mapping[str, Any]) -> None:
        if isinstance(before, dict) and before.get("fingerprint", found["fingerprint"]) != found["fingerprint"]:
            write_json(self._folder.facts, before)
            raise UsageError(
                f"{self._folder.path}: a model, a list or a reference set that the recipe names is not what it was; "
                "put it back, or make the set anew"
            )

    # --- drawing ----------------------------------------------------------------------------------

    def _place(self) -> None:
        """Draw parts until enough rows are accepted that are like no other, and say where each goes."""
        rounds: list[Round] = []
        parts: int | None = first_round(self._recipe)
        kept = np.zeros(0, bool)
        rows: list[int] = []
        while parts is not None:
            self._draw(range(parts))
            rows = self._rows(parts)
            self._show("placing")
            kept = self._kept(rows)
            self.status.kept = int(np.count_nonzero(kept))
            rounds.append(Round(parts, self.status.kept))
            parts = next_round(self._recipe, rounds)
        if not self.status.kept:
            raise PartialFailure(self._too_few(0))
        assemble.place(self._recipe, self._facts, self._folder, rows, kept)

    def _kept(self, rows: Sequence[int]) -> np.ndarray:
        if not self._recipe.filters.unique:
            return np.ones(sum(rows), bool)
        return assemble.distinct(self._folder, rows)

    def _rows(self, parts: int) -> list[int]:
        return [self._noted(number)["rows"] for number in range(parts)]

    def _noted(self, number: int) -> dict[str, Any]:
        found = self._folder.noted(self._folder.part(number))
        assert found is not None
        return found

    def _draw(self, numbers: Sequence[int]) -> None:
        """See that parts are there."""
        missing = []
        for number in numbers:
            if number in self._counted:
                continue
            found = self._folder.marked(self._folder.part(number))
            missing.append(number) if found is None else self._count(number, found)
        self.status.all_parts = max(self.status.all_parts, len(numbers))
        self._show("drawing")
        for task, result in self._executor.run([{"kind": "part", "number": number} for number in missing]):
            self.status.drawn_here += part_size(self._recipe)
            self._count(task["number"], result)
            self._show("drawing")

    def _count(self, number: int, mark: Mapping[str, Any]) -> None:
        self._counted.add(number)
        self.status.parts = len(self._counted)
        self.status.tally.add(mark["tally"])

    # --- shards -----------------------------------------------------------------------------------

    def _plan(self) -> dict[str, Any]:
        found: dict[str, Any] = read_json(self._folder.plan)
        return found

    def _write_shards(self) -> dict[str, Any]:
        """Write the shards that are not there or not whole, from parts that are made again where they are gone."""
        plan, before = self._plan(), read_json(self._folder.manifest)
        shards = assemble.shards_of(self._recipe, plan, domain_of(self._facts))
        missing = [shard for shard in shards if self._folder.marked(self._folder.path / shard["path"]) is None]
        self._draw(sorted({part for shard in missing for part, _, _ in assemble.parts_of(shard, plan)}))
        self._show("writing")
        self._do([{"kind": "shard", "shard": shard} for shard in missing])
        manifest = self._manifest(plan, shards)
        self._require_repaired(before, manifest)
        return manifest

    def _require_repaired(self, before: Any, manifest: Mapping[str, Any]) -> None:
        """See that a set which was finished before is what it was."""
        known = {one["path"]: one["sha256"] for one in before["files"]} if isinstance(before, dict) else {}
        for one in manifest["files"]:
            if known.get(one["path"], one["sha256"]) != one["sha256"]:
                raise MolgenError(f"{one['path']} could not be repaired: it is not what the manifest says")

    def _manifest(self, plan: Mapping[str, Any], shards: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        files = []
        for shard in shards:
            mark = self._folder.noted(self._folder.path / shard["path"])
            assert mark is not None
            files.append({"path": shard["path"], **{k: mark[k] for k in ("split", "rows", "bytes", "sha256")}})
        tally = Tally()
        for number in range(len(plan["rows"])):
            tally.add(self._noted(number)["tally"])
        return cards.manifest(self._recipe, self._facts, read_json(self._folder.recipe)["created"], plan, tally, files)

    # --- the end ----------------------------------------------------------------------------------

    def _finish(self, manifest: Mapping[str, Any]) -> None:
        """Write the card and, last, the manifest; only then what nobody needs any more is removed.

        The card of a set that was whole stays as its owner may have changed it.
        """
        if read_json(self._folder.manifest) != manifest:
            cards.write(self._folder, manifest)
        write_json(self._folder.manifest, manifest)
        for name in ("parts", "scratch"):
            shutil.rmtree(self._folder.work / name, ignore_errors=True)

    def _do(self, tasks: Sequence[Mapping[str, Any]]) -> None:
        for _ in self._executor.run(tasks):
            self._watch(self.status)

    def _show(self, phase: str) -> None:
        self.status.phase = phase
        self._watch(self.status)

    def _too_few(self, items: int) -> str:
        tally = self.status.tally
        drawn = max(tally.drawn, 1)
        failed = ", ".join(f"{name} {count / max(tally.valid, 1):.2%}" for name, count in tally.failed.most_common(3))
        why = f"; of the items, refused by {failed}" if failed else ""
        end = "a finished set of fewer items" if items else "nothing that could be a set"
        return (
            f"stopped with {items:,} of {self._recipe.count:,} items after {tally.drawn:,} draws, valid "
            f"{tally.valid / drawn:.2%}, accepted {tally.accepted / drawn:.2%}{why}: {end}; ask for less, or for fewer "
            "filters"
        )
