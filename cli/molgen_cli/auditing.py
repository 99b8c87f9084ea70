"""`molgen dataset audit` and `molgen dataset canaries`: what a synthetic set gives away, and how one finds out."""

from __future__ import annotations

import argparse
import csv
import io
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from molgen.errors import UsageError
from molgen_cli.arguments import add_option_argument, from_zero, load_model, names, parallel, whole
from molgen_cli.console import Stopwatch, say, show, table
from molgen_cli.domains import recognised
from molgen_cli.output import record_path, refuse_existing

if TYPE_CHECKING:
    from molgen.model.generative_model import GenerativeModel
    from molgen_datasets.audit import Audit, Finding, Settings


def configure_audit(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `molgen dataset audit`."""
    add = parser.add_argument
    add("synthetic", metavar="SYNTHETIC", help="the folder of a data set, or a file or folder of items")
    add("-t", "--train", required=True, metavar="NAME|FILE", help="what the generator learned from")
    add("--holdout", required=True, metavar="NAME|FILE", help="items drawn like those, that it has not seen")
    add("-m", "--model", metavar="NAME|FOLDER", help="the generator, where it is at hand: attacks on its densities")
    add(
        "--reference-model",
        action="append",
        default=[],
        metavar="NAME|FOLDER",
        help="a model of other data, that has seen neither set; given several times for an attack with all of them",
    )
    add("--canaries", metavar="FILE", help="those that `molgen dataset canaries` planted in the training file")
    add("--most", type=whole, default=10_000, metavar="N", help="items of each set that are compared (default: 10000)")
    add("--near", type=_distance, metavar="D", help="how far near copies may be (default: as 1 %% of held-out items)")
    add("--metrics", type=names, default=(), metavar="LIST", help="of `molgen evaluate`, with commas, or 'none'")
    add("--label", metavar="NAME", help="the column or property to learn, or 'none' (default: label, or a usual one)")
    add("--repeats", type=whole, default=5, metavar="N", help="how often it is learned (default: 5)")
    add("--domain", metavar="NAME", help="what the items are (default: as the sets seem to be)")
    add("--column", "--smiles-column", metavar="NAME", help="the column of files that holds the items")
    add("-o", "--output", default="-", metavar="FILE.json", help="where all that was found goes (default: lines)")
    add("--report", metavar="FILE.html", help="write a page as well")
    add("--items", metavar="FILE.csv", help="write the figures of single real items, such as -log p, but no items")
    add("--overwrite", action="store_true", help="replace files that exist")
    add("--batch-size", type=whole, default=512, metavar="N", help="items that a model scores at a time (default: 512)")
    add("--device", default="auto", metavar="NAME", help="where networks run: auto, cpu, cuda, mps (default: auto)")
    add("--threads", type=parallel, metavar="N", help="processor threads of the model (default: as torch chooses)")
    add("--workers", type=parallel, metavar="N", help="processes that read the items (default: one per processor)")
    add("--seed", type=from_zero, default=0, metavar="N", help="of samples and intervals (default: 0)")
    add_option_argument(parser, "log-density", "draws=100")


def _distance(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 0")
    return value


def configure_canaries(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `molgen dataset canaries`."""
    add = parser.add_argument
    add("train", metavar="NAME|FILE", help="what a model is to learn from")
    add("-o", "--output", required=True, metavar="FILE", help="the same with canaries, which are noted beside it")
    add("-n", "--count", type=whole, default=100, metavar="N", help="canaries to plant (default: 100)")
    add("--controls", type=whole, default=500, metavar="N", help="others, that are not planted (default: 500)")
    add("--copies", type=whole, default=1, metavar="N", help="how often each is planted (default: once)")
    add("--from", dest="source", metavar="NAME|FILE", help="items to take (default: the domain makes some up)")
    add("--domain", metavar="NAME", help="what the items are (default: as the file seems to be)")
    add("--column", "--smiles-column", metavar="NAME", help="the column of the file that holds the items")
    add("--overwrite", action="store_true", help="replace a file that exists")
    add("--seed", type=from_zero, default=0, metavar="N", help="of all randomness (default: 0)")


# --- audit ----------------------------------------------------------------------------------------


def run_audit(args: argparse.Namespace) -> int:
    """Audit, and print or write what was found."""
    refuse_existing((args.output, args.report, args.items), args.overwrite)
    from molgen_datasets.audit import audit

    stopwatch = Stopwatch()
    args.domain = args.domain or _domain_of(args.synthetic, args.train, args.holdout)
    model, references = _model(args, args.model), [_model(args, name) for name in args.reference_model]
    stopwatch.lap("loading")
    found = audit(
        args.synthetic,
        args.train,
        args.holdout,
        domain=args.domain,
        model=model,
        reference_model=[one for one in references if one is not None],
        canaries=args.canaries,
        settings=_settings(args),
        watch=lambda doing: say(f"{doing} ...", quiet=args.quiet),
    )
    stopwatch.lap("auditing")
    _write(args, found, stopwatch)
    return 0


def _settings(args: argparse.Namespace) -> Settings:
    from molgen_datasets.audit import Settings

    return Settings(
        most=args.most,
        near=args.near,
        metrics=None if args.metrics == ("none",) else args.metrics,
        label=None if args.label == "none" else args.label,
        use=args.label != "none",
        repeats=args.repeats,
        column=args.column,
        seed=args.seed,
        batch_size=args.batch_size,
        options=dict(args.option),
        device=args.device,
        processes=args.workers,
    )


def _domain_of(*sources: str) -> str:
    """The domain of the sets: as one of them says, or as a file seems to be.

    Raises:
        UsageError: nothing says it.
    """
    from molgen_datasets.audit.sets import domain_name

    for find in (domain_name, lambda source: recognised(Path(source)) if Path(source).exists() else None):
        for source in sources:
            if found := find(source):
                return found
    missing = [source for source in sources if not Path(source).exists()]
    if missing:
        raise UsageError(f"{missing[0]}: there is no such file and no such data set")
    raise UsageError(f"{sources[0]}: nothing says what its items are; type --domain NAME")


def _model(args: argparse.Namespace, name: str | None) -> GenerativeModel | None:
    if name is None:
        return None
    asked = argparse.Namespace(device=args.device, threads=args.threads, precision="float32", condition=[])
    return load_model(argparse.Namespace(model=name, **vars(asked)))


def _write(args: argparse.Namespace, found: Audit, stopwatch: Stopwatch) -> None:
    from molgen.atomic_files import write_text

    lines = list(_lines(found))
    if args.output == "-":
        show("\n".join(lines))
    else:
        values = {**found.to_json(), "seconds": dict(stopwatch.record())}
        write_text(Path(args.output), json.dumps(values, indent=1, allow_nan=False) + "\n")
        for line in lines:
            say(line, quiet=args.quiet)
    if args.items:
        write_text(Path(args.items), _table_of(found.items))
    if args.report:
        from molgen_cli.report.audit import page

        write_text(Path(args.report), page(found))
    for path in filter(None, (None if args.output == "-" else args.output, args.report, args.items)):
        _write_record(Path(path), args, found, stopwatch)


def _lines(found: Audit) -> Iterator[str]:
    """A line for each figure, under its section; what is above the null interval says so."""
    for one in found.sections:
        yield one.title
        if one.findings:
            rows = [_cells(finding) for finding in one.findings]
            yield from (f"  {line}" for line in table(rows).splitlines()[1:])
        yield from (f"  {text}" for text in one.words)


def _cells(one: Finding) -> dict[str, str]:
    from molgen_cli.report.numbers import interval, value

    null = f"by chance {one.null[0]:.4f} to {one.null[1]:.4f}" if one.null else ""
    span = interval(one.estimate)
    return {
        "label": one.label,
        "value": value(one.estimate),
        "interval": f"[{span}]" if span else "",
        "null": null,
        "above": "ABOVE" if one.above else "",
        "note": one.estimate.note,
    }


def _table_of(columns: Mapping[str, Any]) -> str:
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(columns)
    rows.writerows(zip(*columns.values(), strict=True))
    return text.getvalue()


def _write_record(path: Path, args: argparse.Namespace, found: Audit, stopwatch: Stopwatch) -> None:
    """What made a file, and its hash, beside it."""
    from molgen.atomic_files import sha256, total_bytes, write_text

    arguments = {name: value for name, value in vars(args).items() if name != "action"}
    record = {
        "command": "dataset audit",
        "complete": True,
        "stopped": None,
        "arguments": arguments,
        **found.about,
        "seconds": dict(stopwatch.record()),
        "output": {"file": path.name, "sha256": sha256(path), "bytes": total_bytes(path)},
    }
    write_text(record_path(path), json.dumps(record, indent=2, default=str) + "\n")


# --- canaries -------------------------------------------------------------------------------------


def run_canaries(args: argparse.Namespace) -> int:
    """Plant canaries, and say where they are noted."""
    from molgen import registry
    from molgen_datasets.audit import Planting, plant
    from molgen_datasets.audit.canaries import notes_of
    from molgen_datasets.audit.sets import open_set

    target = Path(args.output)
    refuse_existing((args.output, str(notes_of(target))), args.overwrite)
    name = args.domain or _domain_of(args.train)
    domain = registry.get("domain", name)()
    training = open_set(args.train, domain, name, column=args.column)
    source = open_set(args.source, domain, name) if args.source else None
    found = plant(training, target, domain, name, Planting(args.count, args.controls, args.copies, args.seed, source))
    say(
        f"{len(found.planted):,} canaries among the {found.about['training']['rows']:,} items of {args.output}; "
        f"they are noted, with {len(found.controls):,} that were not planted, in {notes_of(target)}",
        quiet=args.quiet,
    )
    return 0
