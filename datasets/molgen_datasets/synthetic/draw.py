"""From a recipe to candidates: draws of its models, inspected, judged and labelled, a part at a time.

A part is a pure function of the recipe and its number, whoever makes it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from molgen.data.keys import WIDTH, KeyIndex, digest
from molgen.inference.generate import Generation, Request, Row
from molgen.inference.score import number_columns
from molgen.model.stages import GIVEN, REST, Model
from molgen_datasets.synthetic.facts import conditions_of, stored_rows
from molgen_datasets.synthetic.folder import Folder
from molgen_datasets.synthetic.judge import Judge, Tally
from molgen_datasets.synthetic.models import canonical_in_workers, full_name
from molgen_datasets.synthetic.plan import draws_of, order_of, sampling_seed
from molgen_datasets.synthetic.recipe import Recipe, set_name
from molgen_datasets.synthetic.screen import Screen, ScreenList

#: The columns of candidates that the finished set has not: the key, the group and the bits of an item.
KEY, GROUP, BITS = "_key", "_group", "_bits"
INTERNAL = (KEY, GROUP, BITS)


def list_name(facts: Mapping[str, Any]) -> str:
    """How rows name a list."""
    return f"{facts['id']} ({facts['date']}, SHA-256 {facts['sha256'][:12]})"


class Drawer:
    """Makes the candidates of a recipe; close it, or use it in a `with` block.

    Args:
        recipe: the recipe.
        facts: what `facts.gathered` found.
        folder: where the larger facts lie.
        models: those of the recipe.
        processes: that inspect what is drawn.
    """

    def __init__(
        self,
        recipe: Recipe,
        facts: Mapping[str, Any],
        folder: Folder,
        models: Sequence[Model],
        processes: int = 1,
    ) -> None:
        self._recipe, self._facts, self._models = recipe, facts, models
        self._domain = models[0].domain
        self._rows = stored_rows(folder, facts)
        self._judge = Judge(recipe, self._domain, _indices(facts, folder), _screen(recipe, facts, folder))
        self.schema = schema(recipe, facts)
        self._names = frozenset(self.schema.names)
        self._inspector = self._judge.inspector(processes)  # last: they have processes to close
        self._open = [self._inspector, *canonical_in_workers(models, processes)]

    def __enter__(self) -> Drawer:
        return self

    def __exit__(self, *failure: object) -> None:
        self.close()

    def close(self) -> None:
        """End the processes that inspect."""
        for inspector in self._open:
            inspector.close()

    def part(self, number: int) -> tuple[pa.Table, Tally]:
        """The candidates of a part in their order, and what became of its draws."""
        tally = Tally()
        drawn: list[dict[str, Any] | None] = []
        for model, draws in enumerate(draws_of(self._recipe, number)):
            drawn.extend(self.rows(model, draws, tally))
        ordered = (drawn[place] for place in order_of(self._recipe, number))
        return self.table([row for row in ordered if row is not None]), tally

    def table(self, rows: Sequence[Mapping[str, Any]]) -> pa.Table:
        """Rows as a table with the columns of candidates."""
        return pa.Table.from_pylist(list(rows), schema=self.schema)

    def rows(self, model: int, draws: range, tally: Tally) -> Iterator[dict[str, Any] | None]:
        """A row for each draw of a model, in their order: None for what does not get into the set."""
        if not draws:
            return
        recipe, source = self._recipe, self._models[model]
        request = Request(
            len(draws),
            seed=sampling_seed(self._facts["fingerprint"], recipe.seed, model),
            batch_size=recipe.batch_size,
            condition=conditions_of(recipe, source, model, draws, self._rows),
            options=recipe.mixture[model].options,
            first=draws.start,
            density=recipe.labels.density,
        )
        for row in Generation(source, request, self._inspector).rows():
            judged = self._judge(row, source.keys, tally)
            tally.models[str(model)] += judged is not None
            yield None if judged is None else {**self._columns(row, request, model), **judged}

    def _columns(self, row: Row, request: Request, model: int) -> dict[str, Any]:
        labels = self._recipe.labels
        found: dict[str, Any] = {
            self._domain.column: None if row.item is None else self._domain.stored(row.item),
            "status": row.status,
            "error": row.score.error,
            **number_columns(row.properties, labels.properties),
            **row.score.columns(),
            "model": full_name(self._facts["models"][model]),
            "seed": self._recipe.seed,
            "draw": row.index,
            **self._asked(request, row.index),
            **self._for_splits(row),
        }
        return {name: value for name, value in found.items() if name in self._names}

    def _asked(self, request: Request, draw: int) -> dict[str, Any]:
        kinds = self._facts["condition_columns"]
        values = {name: np.asarray(v).reshape(-1)[0] for name, v in request.condition_of([draw]).items()}
        return {f"condition_{n}": str(v) if kinds[n] == "string" else _number(v) for n, v in values.items()}

    def _for_splits(self, row: Row) -> dict[str, Any]:
        """What tells the split of an item: the group that it belongs to, or bits that tell how alike items are."""
        features = self._facts["split_features"]
        if not features or row.item is None:
            return {}
        value = row.inspection.features.get(features[0])
        if self._recipe.splits.method == "cluster":
            return {BITS: None if value is None else np.asarray(value, np.uint8).tobytes()}
        return {GROUP: digest(str(value))[:8] if value else None}


def _number(value: Any) -> float | None:
    number = float(value)
    return number if math.isfinite(number) else None


def _indices(facts: Mapping[str, Any], folder: Folder) -> dict[str, KeyIndex]:
    found = facts["references"].items()
    return {name: KeyIndex(folder.keys("references", one["file"])) for name, one in found if "file" in one}


def _screen(recipe: Recipe, facts: Mapping[str, Any], folder: Folder) -> Screen:
    lists = []
    for number, one in enumerate(facts["lists"]):
        index = KeyIndex(folder.keys("lists", number))
        lists.append(ScreenList(list_name(one), one["action"], index, tuple(one["patterns"])))
    return Screen(lists)


def schema(recipe: Recipe, facts: Mapping[str, Any]) -> pa.Schema:
    """The columns of candidates with their types; those of the finished set are the same without `INTERNAL`."""
    labels = recipe.labels
    texts, numbers = pa.string(), pa.float64()
    found: list[tuple[str, pa.DataType]] = [(facts["column"], pa.binary() if facts["binary"] else texts)]
    if not recipe.filters.valid:
        found += [("status", texts), ("error", texts)]
    found += [(name, numbers) for name in labels.properties]
    if labels.density:
        staged = any("then" in one for one in facts["models"])
        for name in ("", *((f"_{GIVEN}", f"_{REST}") if staged else ())):
            found += [(f"log_density{name}", numbers), (f"log_density{name}_kind", texts)]
    found += [(f"passes_{name}", pa.bool_()) for name in facts["rules"]]
    found += [(f"novelty_{set_name(name)}", texts) for name in labels.novelty]
    if facts["lists"]:
        found += [(name, texts) for name in ("screen", "screen_reason", "screen_lists")]
    kinds = {"string": texts, "double": numbers}
    found += [(f"condition_{name}", kinds[kind]) for name, kind in facts["condition_columns"].items()]
    if labels.provenance:
        found += [("model", texts), ("seed", pa.int64()), ("draw", pa.int64())]
    found += [(KEY, pa.binary(WIDTH)), (GROUP, pa.binary(8)), (BITS, pa.binary())]
    return pa.schema(found)


def finished_schema(recipe: Recipe, facts: Mapping[str, Any]) -> pa.Schema:
    """The columns of the finished set."""
    return pa.schema([field for field in schema(recipe, facts) if field.name not in INTERNAL])


def read_candidates(path: Path, columns: Sequence[str] | None = None) -> pa.Table:
    """The candidates of a part, or some columns of them."""
    from pyarrow import parquet as pq

    return pq.read_table(path, columns=None if columns is None else list(columns), use_threads=False)
