"""What a finished set says of itself: the manifest, the card for people and hubs, and Croissant for machines.

Nothing here holds a time, so that the same recipe on the same day makes the same files.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from molgen.atomic_files import write_text
from molgen_datasets.synthetic.assemble import media_kind
from molgen_datasets.synthetic.draw import finished_schema, list_name
from molgen_datasets.synthetic.facts import statement
from molgen_datasets.synthetic.folder import DATA, FORMAT, Folder, write_json
from molgen_datasets.synthetic.judge import Tally, filter_names
from molgen_datasets.synthetic.models import every, full_name
from molgen_datasets.synthetic.recipe import Recipe

#: Sizes as the Hugging Face hub names them, the upper end of each.
_SIZES = {10**3: "n<1K", 10**4: "1K<n<10K", 10**5: "10K<n<100K", 10**6: "100K<n<1M", 10**7: "1M<n<10M"}
_SIZES |= {10**8: "10M<n<100M", 10**9: "100M<n<1B", 10**10: "1B<n<10B"}


def manifest(
    recipe: Recipe,
    facts: Mapping[str, Any],
    created: str,
    plan: Mapping[str, Any],
    tally: Tally,
    files: Sequence[Mapping[str, Any]],
) -> dict[str, Any]:
    """All that there is to know of a finished set, as JSON values.

    Args:
        recipe: what was asked for.
        facts: what the files hold that it names.
        created: the day on which it was begun.
        plan: the splits and the parts.
        tally: of all draws.
        files: the shards with their SHA-256.
    """
    items = sum(plan["splits"].values())
    return {
        "format": FORMAT,
        "title": recipe.title or f"{items:,} synthetic {facts['domain']}",
        "licence": recipe.licence or "unknown",
        "created": created,
        "domain": facts["domain"],
        "recipe_sha256": facts["fingerprint"],
        "items": items,
        "complete": items == recipe.count,
        "splits": plan["splits"],
        "columns": _columns(recipe, facts),
        "media": media_kind(facts),
        "models": facts["models"],
        "tally": {
            **tally.to_json(),
            "distinct": plan["distinct"] if recipe.filters.unique else None,
            "filters": filter_names(recipe, facts["rules"]),
        },
        "statements": _statements(recipe, facts),
        "screening": [list_name(one) + f", action {one['action']}" for one in facts["lists"]],
        "recipe": recipe.to_json(),
        "versions": facts["versions"],
        "files": list(files),
    }


def _columns(recipe: Recipe, facts: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    kinds = {"string": "string", "double": "float64", "bool": "bool", "int64": "int64", "binary": "binary"}
    told = _meanings(facts)
    schema = finished_schema(recipe, facts)
    return {one.name: {"type": kinds[str(one.type)], "what": _meaning(one.name, told)} for one in schema}


def _meanings(facts: Mapping[str, Any]) -> dict[str, str]:
    item = "the content of a file" if facts["binary"] else "the item, in canonical form"
    return {
        facts["column"]: f"{item}, of the domain {facts['domain']}",
        "status": "valid or invalid",
        "error": "why the draw is no item",
        "log_density": "log p of the item under its model, in nats, in the representation of that model",
        "log_density_kind": "what log_density is: exact, lower_bound, unnormalised or critic",
        "log_density_given": "log p of what the first stage draws, a summand of log_density",
        "log_density_given_kind": "what log_density_given is",
        "log_density_rest": "log p of what the second stage draws given the first, a summand of log_density",
        "log_density_rest_kind": "what log_density_rest is",
        "screen": "what the lists say: pass or flag",
        "screen_reason": "why the item is flagged",
        "screen_lists": "the lists that say so, each with its date and the beginning of its SHA-256",
        "model": "the model that the item was drawn from",
        "seed": "the seed of the recipe",
        "draw": "the number of the draw among those of its model",
    }


def _meaning(name: str, told: Mapping[str, str]) -> str:
    if name in told:
        return told[name]
    kind, _, rest = name.partition("_")
    words = {"passes": "whether the item passes the filter", "novelty": "whether the item is in the set"}
    words["condition"] = "what was asked of the model as"
    return f"{words[kind]} {rest}" if kind in words and rest else "a property that the domain computes"


def _statements(recipe: Recipe, facts: Mapping[str, Any]) -> list[str]:
    """What is said of what the items are not in."""
    return [statement(name, facts["references"][name]) for name in recipe.filters.novel]


# --- the card -------------------------------------------------------------------------------------


def write(folder: Folder, found: Mapping[str, Any]) -> None:
    """Write the card and the Croissant description of a set."""
    write_text(folder.card, card(found))
    write_json(folder.croissant, croissant(found))


def card(found: Mapping[str, Any]) -> str:
    """The data set card of a manifest: Markdown, with the head in YAML that hubs read."""
    sections = [_head(found), f"# {found['title']}", _about(found), _table("Splits", _splits(found))]
    sections += [_table("Columns", {name: f"{one['type']}: {one['what']}" for name, one in found["columns"].items()})]
    sections += [_table(name, _model(one)) for name, one in every(found["models"])]
    sections += [_table("From draws to items", dict(_shares(found))), _recipe(found), _limits(found)]
    return "\n\n".join(section for section in sections if section) + "\n"


def _head(found: Mapping[str, Any]) -> str:
    splits, glob = found["splits"], Path(found["files"][0]["path"]).suffix or "/**"
    lines = [
        f"pretty_name: {json.dumps(found['title'], ensure_ascii=False)}",
        f"license: {_licence(found['licence'])}",
        f"size_categories: [{_size(found['items'])}]",
        f"tags: [synthetic, molgen, {found['domain']}]",
        "configs:",
        "- config_name: default",
        "  data_files:",
    ]
    for name, count in splits.items():
        lines += [f"  - split: {name}", f"    path: {DATA}/{name}-*{glob}"] if count else []
    if found["recipe"]["output"]["format"] == "parquet":
        lines += ["dataset_info:", "  features:"]
        for name, one in found["columns"].items():
            lines += [f"  - name: {json.dumps(name)}", f"    dtype: {_dtype(name, one, found)}"]
    return "\n".join(["---", *lines, "---"])


def _dtype(name: str, column: Mapping[str, str], found: Mapping[str, Any]) -> str:
    return found["media"] if found["media"] and name == next(iter(found["columns"])) else column["type"]


def _licence(text: str) -> str:
    """A licence as hubs take it: an identifier, or that it is another one."""
    plain = text.lower()
    return plain if plain.replace("-", "").replace(".", "").isalnum() else "other"


def _size(items: int) -> str:
    return next((name for end, name in _SIZES.items() if items < end), "n>1T")


def _about(found: Mapping[str, Any]) -> str:
    models = " and from ".join(map(full_name, found["models"]))
    lines = [
        f"{found['items']:,} synthetic items of the domain `{found['domain']}`, drawn from {models} on "
        f"{found['created']}. None of them was made, measured or observed."
    ]
    if not found["complete"]:
        lines.append(
            f"The recipe asked for {found['recipe']['count']:,}; the making stopped because too few were accepted."
        )
    lines += [f"Of every item: {text}. That says nothing of any other set." for text in found["statements"]]
    held = "; ".join(found["screening"]) or "none: the items were held against no list"
    lines.append(f"Screening in force: {held}.")
    return "\n\n".join(lines)


def _splits(found: Mapping[str, Any]) -> dict[str, str]:
    method = found["recipe"]["splits"]["method"]
    return {name: f"{count:,} items, by {method}" for name, count in found["splits"].items()}


def _model(one: Mapping[str, Any]) -> dict[str, str]:
    data = one["data"]
    return {
        "name": one["name"],
        "title": one["title"],
        "SHA-256 of the weights": one["sha256"],
        **{kind: one[kind] for kind in ("encoder", "family", "backbone")},
        **{f"training data: {name}": str(value) for name, value in data.items()},
        **{f"differential privacy: {name}": str(value) for name, value in one.get("privacy", {}).items()},
    }


def _shares(found: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    tally = found["tally"]
    drawn, valid = max(tally["drawn"], 1), max(tally["valid"], 1)
    yield "draws", f"{tally['drawn']:,}"
    yield "valid, of draws", f"{tally['valid'] / drawn:.2%}"
    for name in tally["filters"]:
        yield f"pass {name}, of valid", f"{1 - tally['failed'].get(name, 0) / valid:.2%}"
    yield "pass all filters, of draws", f"{tally['accepted'] / drawn:.2%}"
    if tally["distinct"] is not None:
        yield "unlike all before, of these", f"{tally['distinct'] / max(tally['accepted'], 1):.2%}"
    for outcome, count in tally["screened"].items():
        yield f"screened: {outcome}", f"{count:,}"
    if len(found["models"]) > 1:
        for place, count in tally["models"].items():
            yield f"candidates of model {int(place) + 1}", f"{count:,}"


def _recipe(found: Mapping[str, Any]) -> str:
    text = json.dumps(found["recipe"], indent=1, ensure_ascii=False)
    versions = ", ".join(f"{name} {one}" for name, one in found["versions"].items())
    return (
        f"## Recipe\n\nSHA-256 of the recipe and of what it names: `{found['recipe_sha256']}`. The same recipe with "
        f"the same packages ({versions}) makes the same items, byte for byte on one machine.\n\n```json\n{text}\n```"
    )


def _limits(found: Mapping[str, Any]) -> str:
    stated = [one.get("privacy") for _, one in every(found["models"])]
    return f"{_LIMITS} {_PRIVATE if all(stated) else _PARTLY_PRIVATE if any(stated) else _NOT_PRIVATE}"


_LIMITS = (
    "## Limits\n\nThe items are like the training data of their models, with the errors and the gaps of both. A filter "
    "says what it says and no more: alerts are not toxicity, and to be on no list does not make a thing safe, legal, "
    "or free of patents."
)
_NOT_PRIVATE = "Nothing here says how private the set is: for that, audit it against the training data."
_PARTLY_PRIVATE = (
    "One of the models was trained without differential privacy, so nothing here says how private the set is: "
    "for that, audit it against the training data."
)
_PRIVATE = (
    "What is drawn from a model is as private as the model: its epsilon and delta are above, and so is what they do "
    "not cover. Bounds of several models that learned from the same items add up. Rows of conditions, reference sets "
    "and lists that the recipe names are no part of that."
)


def _table(title: str, rows: Mapping[str, Any]) -> str:
    if not rows:
        return ""
    lines = "\n".join(f"| {_cell(name)} | {_cell(value)} |" for name, value in rows.items())
    return f"## {title}\n\n| | |\n|---|---|\n{lines}"


def _cell(value: Any) -> str:
    return str(value).replace("|", "\\|").replace("\n", " ")


# --- Croissant ------------------------------------------------------------------------------------

_TYPES = {"string": "sc:Text", "float64": "sc:Float", "bool": "sc:Boolean", "int64": "sc:Integer"}
_MIMES = {".parquet": "application/x-parquet", ".csv": "text/csv", ".tar": "application/x-tar"}


def croissant(found: Mapping[str, Any]) -> dict[str, Any]:
    """The description of a set as Croissant 1.1, https://docs.mlcommons.org/croissant, with its origin in PROV-O."""
    files = [_file(one) for one in found["files"]]
    described: dict[str, Any] = {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": "http://mlcommons.org/croissant/1.1",
        "name": _name(found["title"]),
        "description": f"{found['title']}: {found['items']:,} synthetic items of the domain {found['domain']}.",
        "license": found["licence"],
        "url": f"urn:sha256:{found['recipe_sha256']}",
        "version": "1.0.0",
        "datePublished": found["created"],
        "creator": {"@type": "sc:Organization", "name": "unnamed"},
        "citeAs": f"{found['title']}, made with molgen {found['versions']['molgen']}",
        "keywords": ["synthetic", found["domain"]],
        "prov:wasGeneratedBy": _activity(found),
        "distribution": [*files, *_file_sets(found)],
    }
    if found["recipe"]["output"]["format"] in ("parquet", "csv"):
        described["recordSet"] = [_records(found)]
    return described


def _name(title: str) -> str:
    plain = "".join(letter if letter.isalnum() and letter.isascii() else "-" for letter in title.lower())
    return "-".join(part for part in plain.split("-") if part) or "synthetic"


def _file(one: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "@type": "cr:FileObject",
        "@id": one["path"],
        "name": one["path"],
        "contentUrl": one["path"],
        "contentSize": f"{one['bytes']} B",
        "encodingFormat": _MIMES.get(Path(one["path"]).suffix, "application/octet-stream"),
        "sha256": one["sha256"],
    }


def _file_sets(found: Mapping[str, Any]) -> Iterable[dict[str, Any]]:
    path = Path(found["files"][0]["path"])
    yield {
        "@type": "cr:FileSet",
        "@id": "shards",
        "name": "shards",
        "encodingFormat": _MIMES.get(path.suffix, "application/octet-stream"),
        "includes": f"{DATA}/*{path.suffix}",
    }


def _records(found: Mapping[str, Any]) -> dict[str, Any]:
    fields = []
    for name, one in found["columns"].items():
        kind = "sc:ImageObject" if found["media"] == "image" and one["type"] == "binary" else _TYPES.get(one["type"])
        fields.append(
            {
                "@type": "cr:Field",
                "@id": f"items/{name}",
                "name": name,
                "description": one["what"],
                "dataType": kind or "sc:Text",
                "source": {"fileSet": {"@id": "shards"}, "extract": {"column": name}},
            }
        )
    return {"@type": "cr:RecordSet", "@id": "items", "name": "items", "field": fields}


def _activity(found: Mapping[str, Any]) -> dict[str, Any]:
    """What made the set, in the words of PROV-O."""
    return {
        "@type": "prov:Activity",
        "prov:label": "sampling from generative models",
        "prov:used": [
            {"@type": "prov:Entity", "prov:label": f"model {one['name']}", "sha256": one["sha256"]}
            for _, one in every(found["models"])
        ],
        "prov:wasAssociatedWith": {
            "@type": "prov:SoftwareAgent",
            "prov:label": f"molgen {found['versions']['molgen']}, recipe SHA-256 {found['recipe_sha256']}",
        },
    }


_CONTEXT: dict[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "equivalentProperty": "cr:equivalentProperty",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileProperty": "cr:fileProperty",
    "fileObject": "cr:fileObject",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "parentField": "cr:parentField",
    "path": "cr:path",
    "prov": "http://www.w3.org/ns/prov#",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "samplingRate": "cr:samplingRate",
    "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}
