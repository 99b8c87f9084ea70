"""`molgen plugins`: what is installed, whether one keeps its contract, and one of your own. Listing imports none."""

from __future__ import annotations

import argparse
import json
from importlib import import_module

from molgen import registry
from molgen_cli.console import show, table, warn
from molgen_cli.plugin_status import status


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the verb."""
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)
    line = "every plugin by kind and name, and where it comes from"
    listing = actions.add_parser("list", help=line, description=f"List {line}; none is imported.")
    listing.add_argument("--kind", choices=registry.KINDS, help="list only this kind")
    listing.set_defaults(action=_list)
    line = "whether a plugin keeps the contract of its kind, a line for each check"
    checking = actions.add_parser("check", help=line, description=f"Check {line}. Exits with 1 if one fails.")
    checking.add_argument("name", metavar="NAME", help="of any kind; an encoder is checked under every family too")
    checking.add_argument(
        "--kind", choices=registry.KINDS, help="what the name means, where it means more than one thing"
    )
    checking.add_argument("--only", metavar="PATTERN", help="only checks whose name matches, such as 'decode*'")
    checking.set_defaults(action=_check)
    line = "a distribution of your own with one plugin in it, which passes its own tests at once"
    writing = actions.add_parser("new", help=line, description=f"Write {line}.")
    writing.add_argument("name", metavar="NAME", help="by which molgen is to find it; of a metric also DOMAIN.NAME")
    kinds = writing.add_mutually_exclusive_group()
    for kind in ("domain", "family", "backbone", "dataset", "metric"):
        usual = " (the default)" if kind == "domain" else ""
        kinds.add_argument(f"--{kind}", dest="kind", action="store_const", const=kind, help=f"a {kind}{usual}")
    writing.add_argument("-o", "--output", metavar="FOLDER", help="where to write it (default: molgen-NAME)")
    writing.set_defaults(action=_new, kind="domain")
    for action in (listing, checking):
        action.add_argument(
            "--format", choices=("table", "json"), default="table", help="how to print (default: table)"
        )


def run(args: argparse.Namespace) -> int:
    """Do the action that was named."""
    return int(args.action(args))


def _check(args: argparse.Namespace) -> int:
    # By name: this module must not reach torch, which the checks need.
    return int(import_module("molgen_cli.checking").check(args))


def _new(args: argparse.Namespace) -> int:
    return int(import_module("molgen_cli.scaffold").new(args))


def _list(args: argparse.Namespace) -> int:
    kinds = [kind for kind in registry.KINDS if args.kind in (None, kind)]
    rows = [_row(plugin) for kind in kinds for plugin in registry.plugins(kind)]
    if args.format == "json":
        show(json.dumps([{**row, "note": "" if row["status"] == "ok" else row["status"]} for row in rows], indent=2))
    else:
        show(table(rows))
    hidden = [str(plugin) for plugin in registry.hidden() if plugin.kind in kinds]
    if hidden:
        warn(f"{registry.DISABLE} is set and hides {', '.join(hidden)}")
    return 0


def _row(plugin: registry.Plugin) -> dict[str, str]:
    return {
        "kind": plugin.kind,
        "name": plugin.name,
        "distribution": plugin.distribution,
        "version": plugin.version,
        "target": plugin.target,
        "status": status(plugin),
    }
