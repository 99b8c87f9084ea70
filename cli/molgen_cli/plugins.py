"""`molgen plugins`: what is installed, by name. Imports none of it."""

from __future__ import annotations

import argparse
import json

from molgen import registry
from molgen_cli.console import table, warn


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the verb."""
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)
    line = "every plugin by kind and name, and where it comes from"
    listing = actions.add_parser("list", help=line, description=f"List {line}; none is imported.")
    listing.add_argument("--kind", choices=registry.KINDS, help="list only this kind")
    listing.add_argument("--format", choices=("table", "json"), default="table", help="how to print (default: table)")


def run(args: argparse.Namespace) -> int:
    """Print what is installed."""
    kinds = [kind for kind in registry.KINDS if args.kind in (None, kind)]
    rows = [_row(plugin) for kind in kinds for plugin in registry.plugins(kind)]
    print(json.dumps(rows, indent=2) if args.format == "json" else table(rows))
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
        "note": registry.note(plugin),
    }
