"""`molgen data`: which data sets there are, what they hold, and fetching them."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from molgen_cli.console import progress, say, show, warn

if TYPE_CHECKING:
    from molgen.dataset import Dataset

FORMATS = ("table", "json")
_MEGABYTE = 1_000_000


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the verb."""
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)
    listing = _action(actions, "list", _list, "every data set and whether it is on this machine")
    info = _action(actions, "info", _info, "splits, columns, licence and citation of one data set")
    fetch = _action(actions, "fetch", _fetch, "download a data set, verify it, and print its folder")
    for named in (info, fetch):
        named.add_argument("name", metavar="NAME", help="a data set, as 'molgen data list' names it")
    fetch.add_argument("--split", help="only what this split needs (default: all splits)")
    for each in (listing, info, fetch):
        each.add_argument("--format", choices=FORMATS, default="table", help="how to print (default: table)")


def run(args: argparse.Namespace) -> int:
    """Do the action that was named."""
    return int(args.action(args))


def _action(actions: Any, name: str, action: Callable[..., int], line: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = actions.add_parser(name, help=line, description=f"{line[0].upper()}{line[1:]}.")
    parser.set_defaults(action=action)
    return parser


def _list(args: argparse.Namespace) -> int:
    from molgen import registry
    from molgen.errors import PartialFailure, PluginError

    facts, broken = [], 0
    for name in registry.names("dataset"):
        try:
            facts.append(_facts(name, _dataset(name)))
        except PluginError as error:  # one that is broken does not hide the others
            warn(str(error))
            broken += 1
    show(json.dumps(facts, indent=2) if args.format == "json" else _table(facts))
    return PartialFailure.exit_code if broken else 0


def _info(args: argparse.Namespace) -> int:
    dataset = _dataset(args.name)
    facts = _facts(args.name, dataset)
    facts["columns"] = {split: dict(dataset.columns(split)) for split in dataset.splits}
    facts["digests"] = {split: dataset.digest(split) for split in dataset.splits}
    show(json.dumps(facts, indent=2) if args.format == "json" else _page(facts))
    return 0


def _fetch(args: argparse.Namespace) -> int:
    dataset = _dataset(args.name)
    with _bar(args.name) as watch:
        folder = dataset.fetch(watch, args.split)
    show(json.dumps({"name": args.name, "folder": str(folder)}) if args.format == "json" else str(folder))
    say(f"licence: {dataset.licence}\ncite: {dataset.citation}")
    return 0


def _dataset(name: str) -> Dataset:
    from molgen import registry

    dataset: Dataset = registry.get("dataset", name)()
    return dataset


def _facts(name: str, dataset: Dataset) -> dict[str, Any]:
    return {
        "name": name,
        "domain": dataset.domain,
        "description": dataset.description,
        "splits": dict(dataset.splits),
        "canonical": dataset.canonical,
        "fetched": {split: dataset.fetched(split) for split in dataset.splits},
        "licence": dataset.licence,
        "citation": dataset.citation,
    }


def _table(facts: Sequence[dict[str, Any]]) -> str:
    rows = [("NAME", "DOMAIN", "ITEMS", "FETCHED", "DESCRIPTION")]
    for one in facts:
        items = f"{sum(one['splits'].values()):,}"
        rows.append((one["name"], one["domain"], items, _how_much(one["fetched"].values()), one["description"]))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)


def _how_much(fetched: Any) -> str:
    found = list(fetched)
    return "yes" if all(found) else "in part" if any(found) else "no"


def _page(facts: dict[str, Any]) -> str:
    lines = [f"{name}: {facts[name]}" for name in ("name", "domain", "description", "licence", "citation")]
    lines.append(f"strings: {'used as stored' if facts['canonical'] else 'brought into canonical form for training'}")
    for split, count in facts["splits"].items():
        where = "fetched" if facts["fetched"][split] else "not fetched"
        lines.append(f"split {split}: {count:,} items, {where}, SHA-256 {facts['digests'][split]}")
    columns = {name: meaning for named in facts["columns"].values() for name, meaning in named.items()}
    return "\n".join([*lines, *(f"column {name}: {meaning}" for name, meaning in columns.items())])


@contextmanager
def _bar(name: str) -> Iterator[Callable[[int, int], None]]:
    """A bar that counts megabytes. How many there will be is known only once a download runs."""
    shown = 0
    with progress(f"fetching {name}, MB") as bar:

        def watch(done: int, total: int) -> None:
            nonlocal shown
            megabytes = done // _MEGABYTE
            bar.advance(megabytes - shown, f"of {total // _MEGABYTE} MB")
            shown = megabytes

        yield watch
