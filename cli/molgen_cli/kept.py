"""What every item of a request has: how it begins, a part of it, or a whole item of which a part is drawn anew."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from molgen.errors import UsageError
from molgen_cli.arguments import region
from molgen_cli.console import say

if TYPE_CHECKING:
    from molgen.model.generative_model import GenerativeModel


def add_kept_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments that say what items have."""
    known = parser.add_mutually_exclusive_group()
    known.add_argument("--prefix", metavar="TEXT", help="how every item begins, of a model that writes strings")
    known.add_argument(
        "--scaffold",
        metavar="TEXT",
        help="a part of every item, of a model of graphs or of molecules in space: 'c1ccccc1*' is bound at * alone; "
        "or a file that holds the part, such as one with positions",
    )
    known.add_argument(
        "--known",
        metavar="ITEM",
        help="an item, or a file that holds it: what --fill names is drawn anew, and all else is kept",
    )
    parser.add_argument(
        "--fill",
        action="append",
        type=region,
        default=[],
        metavar="NAME=FROM:TO",
        help="what is drawn anew of --known: time=0.2:0.3 of a sound, in seconds, fills a gap, time=0.5: goes on from "
        "there, frequency=2000: adds what is above; row=8:20 with column=4:16 is a box of a picture; may be repeated",
    )


def kept_part(args: argparse.Namespace, model: GenerativeModel) -> Any:
    """What is known of every item, None where nothing is; a scaffold in a file is read into the arguments.

    Raises:
        UsageError: the model cannot keep it, or a file cannot be read.
    """
    args.scaffold = item_named("--scaffold", args.scaffold, model)
    _require_possible(args, model)
    if not args.known:
        return args.prefix or args.scaffold or None
    from molgen.model.filling import around

    return around(model.encoder, item_named("--known", args.known, model), _ranges(args.fill))


def _ranges(fill: Iterable[tuple[str, Any]]) -> dict[str, list[Any]]:
    """All ranges of each direction."""
    found: dict[str, list[Any]] = {}
    for name, limits in fill:
        found.setdefault(name, []).append(limits)
    return found


def item_named(option: str, named: str | None, model: GenerativeModel) -> Any:
    """What an option names: as it is typed, or the first entry of a file.

    Raises:
        UsageError: the file cannot be read.
    """
    from molgen.domain import Invalid

    if not named or not Path(named).is_file():
        return named
    record = next(iter(model.domain.read(named)), None)
    if record is None or isinstance(record.item, Invalid):
        reason = record.item.reason if record is not None and isinstance(record.item, Invalid) else "it has no entry"
        raise UsageError(f"{option} {named}: {reason}")
    return record.item


def _require_possible(args: argparse.Namespace, model: GenerativeModel) -> None:
    from molgen.domain import KnownPart
    from molgen.family import Known
    from molgen.space import Layout, layout

    encoder, family = model.config.encoder.name, model.config.family.name
    if bool(args.known) != bool(args.fill):
        raise UsageError("--known and --fill belong together: the item that is kept, and what of it is drawn anew")
    if (args.prefix or args.scaffold or args.known) and model.family.capability.known is Known.NONE:
        raise UsageError(f"this model ({family}) cannot keep a --prefix, a --scaffold or what is --known")
    sequence = layout(model.encoder.space) is Layout.SEQUENCE
    if args.scaffold and sequence:
        raise UsageError(
            f"a model of {encoder} writes its items from the beginning on: it keeps a --prefix, and no --scaffold"
        )
    if args.prefix and not sequence:
        raise UsageError(f"an item of {encoder} has no beginning: this model keeps a --scaffold, and no --prefix")
    if args.scaffold and isinstance(part := model.encoder.known_part(args.scaffold), KnownPart) and part.note:
        say(f"--scaffold: {part.note}", quiet=args.quiet)
