"""`molgen view`: the molecules of a file in space, in a page in which they can be turned."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from molgen.errors import UsageError
from molgen_cli.arguments import parallel, whole
from molgen_cli.console import say
from molgen_cli.domains import DEFAULT, recognised
from molgen_cli.output import refuse_existing
from molgen_cli.verbs.score import add_input_arguments, read, require_input

if TYPE_CHECKING:
    from molgen.domain import Domain, Record
    from molgen.workers.inspector import Inspection
    from molgen_cli.viewer import Shown

#: Rows that are inspected together, and characters of a column below a picture.
CHUNK, MOST_TEXT = 256, 200


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the verb."""
    add_input_arguments(parser)
    add = parser.add_argument
    add("-o", "--output", default="view.html", metavar="FILE.html", help="the page (default: view.html)")
    add("-n", "--count", type=whole, default=200, metavar="N", help="molecules at most (default: 200)")
    add("--domain", metavar="NAME", help="what the items are (default: as the file seems to be)")
    add("--workers", type=parallel, metavar="N", help="processes that read the items (default: one per processor)")
    add("--overwrite", action="store_true", help="replace a page that exists")
    add("-q", "--quiet", action="store_true", help="print no messages")


def run(args: argparse.Namespace) -> int:
    """Write the page."""
    from molgen import registry
    from molgen.atomic_files import write_text
    from molgen_cli.viewer import page
    from molgen_datasets.viewer import script

    refuse_existing((args.output,), args.overwrite)
    require_input(args)
    named = Path(args.input).name if args.input != "-" else "molecules"
    name = args.domain or (recognised(Path(args.input)) if args.input != "-" else None) or DEFAULT
    domain: Domain = registry.get("domain", name)()
    shown = list(_shown(args, domain))
    if not shown:
        raise UsageError(
            f"{args.input} has no valid item with positions in space; .sdf, .mol2 and .xyz files have some"
        )
    library = script()
    write_text(Path(args.output), page(named, f"{len(shown):,} molecules, as they stand in the file.", shown, library))
    say(f"{len(shown):,} molecules in {args.output}; open it in a browser", quiet=args.quiet)
    return 0


def _shown(args: argparse.Namespace, domain: Domain) -> Iterator[Shown]:
    """The first items with positions, with what else their rows say."""
    from itertools import islice

    return islice(_with_positions(args, domain), args.count)


def _with_positions(args: argparse.Namespace, domain: Domain) -> Iterator[Shown]:
    from molgen.workers.inspector import Inspector
    from molgen.workers.stream import chunked

    with Inspector(domain, processes=args.workers) as inspector:
        for records, inspections in inspector.stream(chunked(read(args, domain), CHUNK), lambda record: record.item):
            for record, inspection in zip(records, inspections, strict=True):
                yield from _entry(domain, record, inspection)


def _entry(domain: Domain, record: Record, inspection: Inspection) -> Iterator[Shown]:
    from molgen_cli.viewer import Shown

    text = domain.in_space(inspection.item) if inspection.item is not None else None
    if text is not None:
        item = domain.to_text(inspection.item)
        columns = "".join(f"\n{name}: {value[:MOST_TEXT]}" for name, value in record.columns.items() if value)
        yield Shown(f"{record.row + 1}  {record.columns.get('name') or item}", f"{item}{columns}", text)
