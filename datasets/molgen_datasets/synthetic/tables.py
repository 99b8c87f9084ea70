"""A plain function from table to table, for those who have an engine already: Spark, Dask, Ray Data, a queue of jobs.

Each process loads the models of a recipe once. Which items come out depends on the numbers of the draws alone, so an
engine may split, repeat and order its tables as it likes. What needs the whole set, uniqueness and the count, is the
engine's: the column `key` says which items are equal.
"""

from __future__ import annotations

import atexit
import json
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from molgen.errors import UsageError
from molgen_datasets.synthetic.draw import BITS, GROUP, KEY, Drawer
from molgen_datasets.synthetic.engine import today
from molgen_datasets.synthetic.facts import gathered
from molgen_datasets.synthetic.folder import Folder
from molgen_datasets.synthetic.judge import Tally
from molgen_datasets.synthetic.models import load_models
from molgen_datasets.synthetic.recipe import Recipe, recipe_from


def draw_table(table: pa.Table, recipe: Mapping[str, Any], column: str = "id") -> pa.Table:
    """The items of the draws whose numbers a table holds, with the columns that the recipe asks for.

    Draws that the filters refuse have no row. The recipe names one model, and its count and splits mean nothing here.

    Example:
        >>> import pyarrow as pa
        >>> found = draw_table(pa.table({"id": [0, 1, 2]}), {"model": "moses", "count": 3})
        >>> found.column_names[:2]
        ['draw', 'key']

    Args:
        table: has a column of whole numbers from 0, such as `range` of an engine makes.
        recipe: as for `create`, as plain values.
        column: the name of that column.

    Returns:
        The columns `draw`, `key` (the hexadecimal digest of the canonical key) and those of a set of the recipe.

    Raises:
        UsageError: the recipe is wrong, or there is no such column.
    """
    if column not in table.column_names:
        raise UsageError(f"the table has no column {column!r} with the numbers of draws; it has {table.column_names}")
    drawer = _drawer(json.dumps(dict(recipe), sort_keys=True))
    numbers = np.sort(np.unique(table[column].to_numpy()))
    rows, draws = list[Mapping[str, Any]](), list[int]()
    for span in _spans(numbers):
        for draw, row in zip(span, drawer.rows(0, span, Tally()), strict=True):
            if row is not None:
                rows.append(row)
                draws.append(draw)
    found = drawer.table(rows)
    keys = [None if key is None else key.hex() for key in found[KEY].to_pylist()]
    rest = found.drop_columns([name for name in (KEY, GROUP, BITS, "draw") if name in found.column_names])
    firsts = {"draw": pa.array(draws, pa.int64()), "key": pa.array(keys, pa.string())}
    return pa.table({**firsts, **{name: rest[name] for name in rest.column_names}})


def _spans(numbers: np.ndarray) -> Iterator[range]:
    """Consecutive numbers, together."""
    if not len(numbers):
        return
    for part in np.split(numbers, np.flatnonzero(np.diff(numbers) != 1) + 1):
        yield range(int(part[0]), int(part[-1]) + 1)


#: What has to be closed of all that this process keeps.
_kept = ExitStack()


def release() -> None:
    """End what `draw_table` keeps in this process for its next tables: models, and the workers that inspect."""
    _drawer.cache_clear()
    _kept.close()


atexit.register(release)


@cache
def _drawer(text: str) -> Drawer:
    """What draws for a recipe in this process, which keeps it."""
    recipe: Recipe = recipe_from(json.loads(text))
    if len(recipe.mixture) > 1:
        raise UsageError("draw_table draws from one model; call it once for each of a mixture")
    folder = Folder(Path(tempfile.mkdtemp(prefix="molgen-")))
    folder.work.mkdir()
    _kept.callback(shutil.rmtree, folder.path, ignore_errors=True)
    models = load_models(recipe, "auto")
    return _kept.enter_context(Drawer(recipe, gathered(recipe, models, folder, today()), folder, models))
