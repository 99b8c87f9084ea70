"""A finished set in another format: the same rows in the same splits, with a manifest and a card of their own."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow import parquet as pq

from molgen.atomic_files import replaced_folder, sha256, total_bytes
from molgen.errors import UsageError
from molgen_datasets.synthetic import cards
from molgen_datasets.synthetic.folder import Folder, finished, write_json
from molgen_datasets.synthetic.plan import shards
from molgen_datasets.synthetic.worker import domain_of
from molgen_datasets.synthetic.writers import Content, writer_of

#: Rows that are read together.
_ROWS = 16_384


def convert(source: str | Path, target: str | Path, format: str, shard_size: int | None = None) -> dict[str, Any]:
    """Write a set in Parquet as another one, and return the manifest of that.

    Args:
        source: the folder of the set.
        target: a folder that does not exist; it appears whole at the end.
        format: see `OutputSettings.format`.
        shard_size: rows of a file; by default as it was.

    Raises:
        UsageError: there is no finished set in Parquet, or the format or the target is none.
    """
    folder, manifest = finished(source)
    output = manifest["recipe"]["output"]
    if output["format"] != "parquet":
        raise UsageError(f"{source} is in {output['format']}: sets in parquet are converted, which keep every column")
    if Path(target).exists():
        raise UsageError(f"{target} exists; choose another folder")
    domain = domain_of(manifest)
    writer, size = writer_of(format, domain), shard_size or output["shard_size"]
    with replaced_folder(Path(target)) as temporary:
        files = []
        for shard in shards(manifest["splits"], size, writer.ending):
            path = temporary / shard["path"]
            path.parent.mkdir(exist_ok=True)
            schema = pq.read_schema(folder.path / manifest["files"][0]["path"])
            rows = writer.write(Content(domain, schema, _tables(folder.path, manifest["files"], shard)), path)
            facts = {"rows": rows, "bytes": total_bytes(path), "sha256": sha256(path)}
            files.append({"path": shard["path"], "split": shard["split"], **facts})
        recipe = {**manifest["recipe"], "output": {"format": format, "shard_size": size}}
        found = {**manifest, "recipe": recipe, "files": files}
        cards.write(Folder(temporary), found)
        write_json(temporary / folder.manifest.name, found)
        shutil.rmtree(temporary / folder.work.name, ignore_errors=True)
    return found


def _tables(path: Path, files: Sequence[Mapping[str, Any]], shard: Mapping[str, Any]) -> Iterator[pa.Table]:
    """The rows of a new shard, out of those of its split."""
    first = 0
    for one in files:
        if one["split"] != shard["split"]:
            continue
        if first < shard["stop"] and first + one["rows"] > shard["start"]:
            for batch in pq.ParquetFile(path / one["path"]).iter_batches(_ROWS):
                start, stop = max(shard["start"] - first, 0), min(shard["stop"] - first, len(batch))
                if start < stop:
                    yield pa.Table.from_batches([batch.slice(start, stop - start)])
                first += len(batch)
        else:
            first += one["rows"]
