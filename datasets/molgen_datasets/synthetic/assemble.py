"""From candidates to shards: which are the first of their key, which of them make the set, and where each goes.

Letters in shapes: R candidates of all parts.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import parquet as pq

from molgen.atomic_files import replaced_file
from molgen.data.keys import first_of_each, words
from molgen.domain import Domain
from molgen_datasets.synthetic.draw import BITS, INTERNAL, KEY, finished_schema, read_candidates
from molgen_datasets.synthetic.folder import Folder, write_json
from molgen_datasets.synthetic.models import identity
from molgen_datasets.synthetic.plan import shards
from molgen_datasets.synthetic.recipe import Recipe
from molgen_datasets.synthetic.splits import Splitter, bit_words, centres
from molgen_datasets.synthetic.writers import Content, writer_of

#: The code of a candidate that is no row of the set; others are the place of its split and one more.
_LEFT_OUT = 0


def distinct(folder: Folder, rows: Sequence[int]) -> np.ndarray:
    """Which candidates are the first with their key: bool (R,), in a file that is mapped.

    Args:
        folder: with the parts.
        rows: the candidates of each part.
    """
    firsts = [0, *accumulate(rows)]
    parts = [partial(_keys_of, folder.part(number), firsts[number]) for number in range(len(rows))]
    return first_of_each(parts, firsts[-1], folder.scratch())


def _keys_of(path: Path, first: int) -> tuple[np.ndarray, np.ndarray]:
    keys = read_candidates(path, [KEY])[KEY].combine_chunks()
    there = np.flatnonzero(keys.is_valid().to_numpy(zero_copy_only=False))
    return words(b"".join(keys.drop_null().to_pylist())), (there + first).astype(np.uint64)


def place(recipe: Recipe, facts: Mapping[str, Any], folder: Folder, rows: Sequence[int], kept: np.ndarray) -> None:
    """Write down where each candidate goes, and the plan of the shards.

    Args:
        recipe: the recipe.
        facts: what is known of it.
        folder: with the parts.
        rows: the candidates of each part.
        kept: which may be rows of the set, bool (R,); the first `recipe.count` of them are.
    """
    splitter = Splitter(recipe.splits, recipe.seed, _centres(recipe, folder, rows))
    names, counts, left = list(recipe.splits.shares), [], recipe.count
    with replaced_file(folder.places) as temporary, pq.ParquetWriter(temporary, _CODES, compression="zstd") as writer:
        for number, first in enumerate([0, *accumulate(rows)][: len(rows)]):
            mask = np.array(kept[first : first + rows[number]])
            mask &= np.cumsum(mask) <= left
            left -= int(mask.sum())
            codes = np.where(mask, splitter.codes(read_candidates(folder.part(number), splitter.columns), first) + 1, 0)
            counts.append(np.bincount(codes, minlength=len(names) + 1)[1:].tolist())
            writer.write_table(pa.table({"code": pa.array(codes, pa.uint8())}, schema=_CODES))
    folder.mark(folder.places, parts=len(rows))
    totals = dict(zip(names, np.sum(counts, axis=0).tolist(), strict=True))
    found = int(np.count_nonzero(kept))
    write_json(folder.plan, {"counts": counts, "splits": totals, "rows": list(rows), "distinct": found})
    folder.mark(folder.plan)


_CODES = pa.schema([("code", pa.uint8())])


def _centres(recipe: Recipe, folder: Folder, rows: Sequence[int]) -> np.ndarray | None:
    if recipe.splits.method != "cluster":
        return None
    bits = (read_candidates(folder.part(number), [BITS])[BITS] for number in range(len(rows)))
    found = (bit_words(column.combine_chunks().drop_null().to_pylist()) for column in bits)
    return centres(found, recipe.splits.similarity, recipe.splits.centres)


def shards_of(recipe: Recipe, plan: Mapping[str, Any], domain: Domain) -> list[dict[str, Any]]:
    """The shards of the finished set."""
    return shards(plan["splits"], recipe.output.shard_size, writer_of(recipe.output.format, domain).ending)


def parts_of(shard: Mapping[str, Any], plan: Mapping[str, Any]) -> list[tuple[int, int, int]]:
    """The parts that a shard takes rows from, each with the first and the last of the rows that its split has there."""
    found, first = [], 0
    for number, counts in enumerate(plan["counts"]):
        count = counts[shard["code"]]
        start, stop = max(shard["start"], first), min(shard["stop"], first + count)
        if start < stop:
            found.append((number, start - first, stop - first))
        first += count
    return found


def write_shard(
    recipe: Recipe, facts: Mapping[str, Any], folder: Folder, domain: Domain, shard: Mapping[str, Any]
) -> dict[str, Any]:
    """Write one shard from its parts, and mark it."""
    plan = json.loads(folder.plan.read_text(encoding="utf-8"))
    columns = finished_schema(recipe, facts).with_metadata(metadata(recipe, facts))
    path = folder.path / shard["path"]
    path.parent.mkdir(parents=True, exist_ok=True)
    content = Content(domain, columns, _tables(folder, shard, parts_of(shard, plan)))
    rows = writer_of(recipe.output.format, domain).write(content, path)
    return folder.mark(path, rows=rows, split=shard["split"])


def _tables(folder: Folder, shard: Mapping[str, Any], parts: Sequence[tuple[int, int, int]]) -> Iterator[pa.Table]:
    places = pq.ParquetFile(folder.places)
    for number, start, stop in parts:
        codes = places.read_row_group(number, use_threads=False)["code"].to_numpy()
        rows = np.flatnonzero(codes == shard["code"] + 1)[start:stop]
        yield read_candidates(folder.part(number)).drop_columns(list(INTERNAL)).take(rows)


def metadata(recipe: Recipe, facts: Mapping[str, Any]) -> dict[bytes, bytes]:
    """What a file says of where its rows come from; no date, so that equal rows make equal files."""
    told = {
        "recipe_sha256": facts["fingerprint"],
        "seed": recipe.seed,
        "models": [identity(one) for one in facts["models"]],
        "domain": facts["domain"],
        "synthetic": True,
        "licence": recipe.licence or "unknown",
        "versions": facts["versions"],
    }
    found = {b"molgen": json.dumps(told, sort_keys=True).encode()}
    if kind := media_kind(facts):  # by which the readers of the Hugging Face hub know pictures and sounds
        features = {facts["column"]: {"_type": kind.capitalize()}}
        found[b"huggingface"] = json.dumps({"info": {"features": features}}).encode()
    return found


def media_kind(facts: Mapping[str, Any]) -> str:
    """Whether items are files of pictures or sounds: `image`, `audio`, or empty for text and anything else."""
    import mimetypes

    kind = (mimetypes.guess_type(f"item.{facts['ending']}")[0] or "").partition("/")[0] if facts["binary"] else ""
    return kind if kind in ("image", "audio") else ""
