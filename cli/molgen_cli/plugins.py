"""`molgen plugins`: what is installed, by name. Imports none of it."""

from __future__ import annotations

import argparse
import json

from molgen_cli.console import warn

FORMATS = ("table", "json")


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the verb."""
    from molgen.registry import KINDS

    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)
    listing = actions.add_parser("list", help="every plugin by kind and name", description="List plugins.")
    listing.add_argument("--kind", choices=KINDS, help="only this kind")
    listing.add_argument("--format", choices=FORMATS, default="table", help="how to print (default: table)")


def run(args: argparse.Namespace) -> int:
    """Print the table of plugins."""
    from molgen import registry

    rows = [_row(plugin) for kind in registry.KINDS if args.kind in (None, kind) for plugin in registry.plugins(kind)]
    print(json.dumps(rows, indent=2) if args.format == "json" else table(rows))
    hidden = [plugin for plugin in registry.hidden() if args.kind in (None, plugin.kind)]
    if hidden:
        warn(f"{registry.DISABLE} is set, which hides {', '.join(map(str, hidden))}")
    return 0


def _row(plugin: Plugin) -> dict[str, str]:
    from molgen.registry import note

    return {
        "kind": plugin.kind,
        "name": plugin.name,
        "distribution": plugin.distribution,
        "version": plugin.version,
        "target": plugin.target,
        "note": note(plugin),
    }
