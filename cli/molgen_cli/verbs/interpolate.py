"""`molgen interpolate`: items on the way from one to another through the latent space of a model."""

from __future__ import annotations

import argparse
import os.path
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from molgen.errors import UsageError
from molgen_cli.arguments import add_model_arguments, describe_model, load_model, properties_of, whole
from molgen_cli.console import Stopwatch, say
from molgen_cli.contact_sheets import require_sheet, write_sheet
from molgen_cli.output import Output, add_output_arguments, refuse_existing, write_record
from molgen_cli.verbs.score import exit_code, watched

if TYPE_CHECKING:
    from molgen.domain import Domain, Item
    from molgen.model.generative_model import GenerativeModel


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the verb."""
    add = parser.add_argument
    add("first", metavar="FIRST", help="an item as text, or a file whose first row is one")
    add("last", metavar="LAST", help="the same for the other end")
    add("--steps", type=whole, default=10, metavar="N", help="how many items, both ends among them (default: 10)")
    add_output_arguments(parser)
    add_model_arguments(parser)
    add("--draw", metavar="FILE", help="draw the valid ones as a contact sheet, .svg or .png")


def run(args: argparse.Namespace) -> int:
    """Interpolate, write, and say how it went: 0 when every item is valid, 3 when some are, 1 when none is."""
    stopwatch = Stopwatch()
    refuse_existing((args.output, args.draw), args.overwrite)
    require_sheet(args.draw)
    model = load_model(args)
    stopwatch.lap("loading")
    return _interpolate(args, model, stopwatch)


def _interpolate(args: argparse.Namespace, model: GenerativeModel, stopwatch: Stopwatch) -> int:
    from molgen.inference.encode import way
    from molgen.workers.inspector import Inspector

    domain = model.domain
    args.properties = properties_of(domain, args.properties)
    ends = _end(domain, args.first), _end(domain, args.last)
    output = Output(domain, args.output, args.format)
    statuses: Counter[str] = Counter()
    sheet: list[Mapping[str, Any]] = []
    with Inspector(domain, args.properties, processes=args.workers or 1) as inspector:
        rows = way(model, inspector, ends, args.steps, args.properties, dict(args.condition))
        stopped = output.write(_kept(watched(args, "interpolating", rows, statuses), sheet))
    stopwatch.lap("interpolating")
    counts, seconds = dict(statuses), stopwatch.record()
    described = describe_model(model, args.model)
    write_record(output, "interpolate", args, stopped, model=described, counts=counts, seconds=seconds)
    if args.draw:
        _draw(args.draw, domain, sheet)
    say(f"{output.rows:,} rows ({statuses['valid']:,} valid)", quiet=args.quiet)
    if stopped is not None:
        raise stopped
    return exit_code(statuses)


def _end(domain: Domain, text: str) -> Item:
    """One end of the way in canonical form.

    Raises:
        UsageError: the text is no item, and no file whose first row is one.
    """
    from molgen.domain import Invalid

    item: Any = text
    if os.path.exists(text):
        record = next(iter(domain.read(text)), None)
        if record is None:
            raise UsageError(f"{text} has no row")
        item = record.item
    found = item if isinstance(item, Invalid) else domain.canonical(item)
    if isinstance(found, Invalid):
        raise UsageError(f"{text!r} is neither a file nor an item: {found.reason}")
    return found


def _kept(rows: Iterable[Mapping[str, Any]], sheet: list[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    for row in rows:
        if row["status"] == "valid":
            sheet.append(row)
        yield row


def _draw(path: str, domain: Domain, sheet: list[Mapping[str, Any]]) -> None:
    items, legends = [row[domain.column] for row in sheet], [f"{row['share']:.2f}" for row in sheet]
    write_sheet(Path(path), domain.draw(items, legends))
