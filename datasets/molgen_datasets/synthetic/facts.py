"""What the files that a recipe names hold, read and checked once, before anything is drawn.

It is done by a worker, which has the models loaded; the process that leads the work needs no torch.
"""

from __future__ import annotations

import difflib
import hashlib
import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import parquet as pq

from molgen import registry
from molgen.atomic_files import replaced_file
from molgen.data import item_tables
from molgen.data.cache import cache_folder
from molgen.data.condition_columns import MISSING, read_number
from molgen.data.keys import KeyIndex, digest
from molgen.domain import Domain, Invalid, Item
from molgen.errors import UsageError, hint
from molgen.evaluation.references import Reference, References
from molgen.inference.generate import false_positive_rate
from molgen.model.stages import Model
from molgen.seeding import Rng
from molgen.versions import versions
from molgen.workers.inspector import Inspector, chosen_properties, patterns_of
from molgen.workers.stream import chunked
from molgen_datasets.synthetic.folder import Folder
from molgen_datasets.synthetic.judge import split_features
from molgen_datasets.synthetic.models import facts_of, stages_of
from molgen_datasets.synthetic.recipe import TRAINING, Recipe, fingerprint, set_name
from molgen_datasets.synthetic.screen import read_list
from molgen_datasets.synthetic.writers import require_format

#: Items of a reference set that are inspected together.
_CHUNK = 512


def gathered(recipe: Recipe, models: Sequence[Model], folder: Folder, created: str) -> dict[str, Any]:
    """The facts of a recipe as JSON values; what is large lies in the folder.

    Args:
        recipe: the recipe.
        models: those of its mixture.
        folder: of the set.
        created: the day, for the statements about what an item is not in.

    Raises:
        UsageError: the recipe asks for what its models or their domain do not have, or names what is not there.
    """
    domain, name = _domain(recipe, models)
    _require_known(recipe, domain)
    require_format(recipe.output.format, domain)
    found: dict[str, Any] = {
        "domain": name,
        "column": domain.column,
        "binary": isinstance(domain.stored(domain.canonical(domain.examples()[0])), bytes),
        "ending": domain.file_ending,
        "rules": list(domain.descriptors().filters) if recipe.filters.alerts != "none" else [],
        "split_features": split_features(recipe.splits.method, domain),
        "models": [facts_of(choice, model) for choice, model in zip(recipe.mixture, models, strict=True)],
        "lists": _lists(recipe, domain, folder),
        "conditions": _condition_rows(recipe, models, domain, name, folder),
    }
    found["condition_columns"] = _condition_columns(recipe, models, found["conditions"])
    found["references"] = _references(recipe, models, domain, name, folder, created)
    _require_conditions(recipe, models, folder, found)
    return {**found, "fingerprint": fingerprint(recipe, found), "versions": versions()}


def _domain(recipe: Recipe, models: Sequence[Model]) -> tuple[Domain, str]:
    domains = {model.config.domain: choice.model for choice, model in zip(recipe.mixture, models, strict=True)}
    if len(domains) > 1:
        listed = ", ".join(f"{name} of {model}" for name, model in domains.items())
        raise UsageError(f"the models of a mixture make items of one domain, not {listed}")
    return models[0].domain, next(iter(domains))


def _require_known(recipe: Recipe, domain: Domain) -> None:
    """See that the domain has all that is asked of it."""
    filters, found = recipe.filters, domain.descriptors()
    chosen_properties(domain, [*recipe.labels.properties, *filters.properties])
    for name in filters.require:
        if name not in found.filters:
            listed = ", ".join(found.filters) or "none"
            raise UsageError(f"filters.require: no filter {name!r}{hint(name, found.filters)} Known: {listed}")
    patterns_of(domain, [*filters.contain, *filters.exclude])
    method, words = recipe.splits.method, domain.group_words[0]
    possible = dict.fromkeys(["random", "group", words, "cluster"])
    if method not in possible:
        raise UsageError(f"splits.method: no method {method!r}{hint(method, possible)} Known: {', '.join(possible)}")
    if method != "random" and not split_features(method, domain):
        raise UsageError(
            f"splits.method: {type(domain).__name__} does not say what items have in common: split at random"
        )


# --- conditions -----------------------------------------------------------------------------------


def _condition_rows(
    recipe: Recipe, models: Sequence[Model], domain: Domain, name: str, folder: Folder
) -> dict[str, Any] | None:
    """Copy the rows that conditions come from into the folder, so that no later change of the file can matter."""
    source = recipe.conditions.rows
    if source is None:
        return None
    wanted = list(recipe.conditions.columns) or _free_conditions(recipe, models)
    columns = _read_columns(source, wanted, name, required=bool(recipe.conditions.columns))
    if not columns or not next(iter(columns.values())):
        known = ", ".join(wanted) or "none"
        raise UsageError(f"{source}: no row has a column of a condition of the model; it has {known}")
    classes = models[0].conditions.classes
    table = pa.table({n: pa.array(v if n in classes else list(map(read_number, v))) for n, v in columns.items()})
    with replaced_file(folder.conditions) as temporary:
        pq.write_table(table, temporary)
    content = hashlib.sha256(json.dumps(columns).encode()).hexdigest()
    return {"name": source, "sha256": content, "rows": len(table), "columns": list(columns)}


def _free_conditions(recipe: Recipe, models: Sequence[Model]) -> list[str]:
    """The conditions of the models that nothing else gives."""
    taken = {*recipe.conditions.fixed, *recipe.conditions.marginals}
    names = dict.fromkeys(name for model in models for name in model.conditions.names)
    return [name for name in names if name not in taken]


def _read_columns(source: str, wanted: Sequence[str], domain: str, *, required: bool) -> dict[str, list[str]]:
    name, split = _dataset_of(source)
    records = _dataset_rows(name, split, domain) if name else _file_rows(Path(source))
    found: dict[str, list[str]] = {}
    for row in records:
        if not found:
            names = [column for column in wanted if column in row]
            if missing := [column for column in wanted if column not in row and required]:
                close = difflib.get_close_matches(missing[0], list(row), n=1)
                suggestion = f"; did you mean {close[0]!r}?" if close else f"; it has {', '.join(row)}"
                raise UsageError(f"{source} has no column {missing[0]!r}{suggestion}")
            found = {column: [] for column in names}
        for column, values in found.items():
            text = str(row[column]).strip()
            values.append("" if text.lower() in MISSING else text)
    return found


def _dataset_of(source: str) -> tuple[str, str]:
    names = registry.names("dataset")
    name, _, split = source.rpartition(":")
    return (source, "train") if source in names else (name, split) if name in names else ("", "")


def _dataset_rows(name: str, split: str, domain: str) -> Iterator[Mapping[str, str]]:
    dataset = registry.get("dataset", name)()
    if dataset.domain != domain:
        raise UsageError(f"the data set {name} holds {dataset.domain}, and the models make {domain}")
    return (record.columns for record in dataset.records(split))


def _file_rows(path: Path) -> Iterator[Mapping[str, str]]:
    if not path.is_file():
        raise UsageError(f"{path}: there is no such file and no such data set")
    if path.suffix in (".parquet", ".pq"):
        for batch in pq.ParquetFile(path).iter_batches():
            yield from ({n: "" if v is None else str(v) for n, v in row.items()} for row in batch.to_pylist())
        return
    first = _header(path)
    for record in item_tables.read(path, first, lambda text: text, column=first):
        yield {first: "" if isinstance(record.item, Invalid) else record.item, **record.columns}


def _header(path: Path) -> str:
    """The first column of a table; every row has one."""
    with path.open(encoding="utf-8-sig", errors="replace") as file:
        line = file.readline()
    return min((line.split(delimiter)[0] for delimiter in ",;\t"), key=len).strip().strip('"')


def _condition_columns(recipe: Recipe, models: Sequence[Model], rows: Mapping[str, Any] | None) -> dict[str, str]:
    """The names of all conditions that are asked for, and whether their values are numbers or names of classes."""
    asked = [*recipe.conditions.fixed, *(rows or {}).get("columns", ()), *recipe.conditions.marginals]
    asked += [name for choice in recipe.mixture for name in choice.condition]
    classed = {name for model in models for name in model.conditions.classes}
    return {name: "string" if name in classed else "double" for name in dict.fromkeys(asked)}


def _require_conditions(recipe: Recipe, models: Sequence[Model], folder: Folder, facts: Mapping[str, Any]) -> None:
    """See that each model can be asked for what it will be asked for."""
    for number, model in enumerate(models):
        model.conditions.drawn(recipe.conditions.marginals, Rng(0, range(1)))
        count = max(1, (facts["conditions"] or {}).get("rows", 1))
        model.conditions.numbers(conditions_of(recipe, model, number, range(count), stored_rows(folder, facts)))


def stored_rows(folder: Folder, facts: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """The rows that conditions come from, as they lie in the folder."""
    if not facts["conditions"]:
        return {}
    table = pq.read_table(folder.conditions)
    return {name: np.array(table[name].to_pylist()) for name in table.column_names}


def conditions_of(
    recipe: Recipe, model: Model, number: int, draws: range, rows: Mapping[str, np.ndarray]
) -> dict[str, Any]:
    """What is asked for of some draws of a model: a value for all, or an array (draws,), by name.

    Args:
        recipe: the recipe.
        model: the model.
        number: its place in the mixture.
        draws: their numbers.
        rows: what `stored_rows` gave.
    """
    found: dict[str, Any] = {**recipe.conditions.fixed, **recipe.mixture[number].condition}
    for name, values in rows.items():
        found[name] = values[np.arange(draws.start, draws.stop) % len(values)]
    rng = Rng(recipe.seed, range(draws.start, draws.stop)).fold(f"conditions of model {number}")
    return found | model.conditions.drawn(recipe.conditions.marginals, rng)


# --- lists and reference sets ---------------------------------------------------------------------


def _lists(recipe: Recipe, domain: Domain, folder: Folder) -> list[dict[str, Any]]:
    found = []
    for number, choice in enumerate(recipe.screen.lists):
        one = read_list(Path(choice.path), choice.sha256, folder.keys("lists", number))
        patterns_of(domain, one["patterns"])
        found.append({**one, "action": choice.action})
    return found


def _references(
    recipe: Recipe, models: Sequence[Model], domain: Domain, name: str, folder: Folder, created: str
) -> dict[str, dict[str, Any]]:
    """The sets of novelty by the text that names them, each with its keys in the folder."""
    texts = dict.fromkeys([*recipe.filters.novel, *recipe.labels.novelty])
    found = {}
    for number, text in enumerate(texts):
        if text == TRAINING:
            found[text] = _training(recipe, models, created)
            continue
        reference = References(domain, name).training(text, ())
        assert reference is not None
        count = _write_keys(folder.keys("references", number), domain, name, reference)
        found[text] = {"sha256": reference.items.digest, "items": count, "read": created, "file": number}
    return found


def _training(recipe: Recipe, models: Sequence[Model], created: str) -> dict[str, Any]:
    stages = [stage for model in models for stage in stages_of(model)]
    names = [name for choice in recipe.mixture for name in (choice.model, choice.then) if name is not None]
    for name, stage in zip(names, stages, strict=True):
        if not stage.keys:
            raise UsageError(f"{name} carries no keys of its training data, so it cannot say what is novel")
    digests = "".join(stage.digest or "" for stage in stages)
    count = sum(keys.count for model in models for keys in model.keys.values())
    rate = max(false_positive_rate(model) for model in models)
    return {
        "sha256": hashlib.sha256(digests.encode()).hexdigest(),
        "items": count,
        "read": created,
        "false_positive_rate": rate,
    }


def _write_keys(target: Path, domain: Domain, name: str, reference: Reference) -> int:
    """The keys of a set, made once on this machine for each content and version of what makes items canonical."""
    content = json.dumps([name, reference.items.digest, versions()], sort_keys=True)
    cached = cache_folder() / "keys" / f"{hashlib.sha256(content.encode()).hexdigest()}.npy"
    if not cached.is_file():
        KeyIndex.write(cached, _digests(domain, reference.items.items))
    target.parent.mkdir(parents=True, exist_ok=True)
    with replaced_file(target) as temporary:
        temporary.write_bytes(cached.read_bytes())
    return len(KeyIndex(target))


def _digests(domain: Domain, items: Callable[[], Iterable[Item | Invalid]]) -> Iterator[bytes]:
    with Inspector(domain) as inspector:
        for _, inspections in inspector.stream(chunked(items(), _CHUNK), lambda item: item):
            for found in inspections:
                if found.item is not None:
                    yield digest(domain.key(found.item))


def statement(name: str, reference: Mapping[str, Any]) -> str:
    """What can be said of an item that is not in a set, and no more."""
    rate = reference.get("false_positive_rate")
    doubt = f", where {rate:.2%} of others are taken for items of it" if rate is not None else ""
    title = "the training data of its model" if name == TRAINING else set_name(name)
    content = f"{reference['items']:,} items, SHA-256 {reference['sha256'][:12]}, read {reference['read']}"
    return f"not seen in {title} ({content}{doubt})"


def unchanged(folder: Folder, facts: Mapping[str, Any]) -> Collection[str]:
    """What lies in the folder for the facts and is not as it was when it was marked; nothing, where all is well."""
    paths = [folder.keys("lists", number) for number in range(len(facts["lists"]))]
    paths += [folder.keys("references", one["file"]) for one in facts["references"].values() if "file" in one]
    paths += [folder.conditions] if facts["conditions"] else []
    return [str(path) for path in paths if folder.marked(path) is None]


def mark_all(folder: Folder, facts: Mapping[str, Any]) -> None:
    """Mark what lies in the folder for the facts."""
    for path in [*folder.work.glob("lists/*.npy"), *folder.work.glob("references/*.npy"), folder.conditions]:
        if path.exists():
            folder.mark(path)
