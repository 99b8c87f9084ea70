"""`molgen score`: log-density and properties of the items in a file, row by row."""

from __future__ import annotations

import argparse
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from molgen.errors import UsageError
from molgen_cli.arguments import add_model_arguments, add_option_argument, describe_model, load_model, properties_of
from molgen_cli.console import Stopwatch, progress, say
from molgen_cli.output import Output, add_output_arguments, refuse_existing, standard_input, to_terminal, write_record

if TYPE_CHECKING:
    from molgen.domain import Domain, Record
    from molgen.model.generative_model import GenerativeModel


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the verb."""
    add_input_arguments(parser)
    add_output_arguments(parser)
    add_model_arguments(parser)
    add_option_argument(parser, "log-density", "draws=100 or method=ode")


def add_input_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments that say which file is read."""
    add = parser.add_argument
    add(
        "input",
        metavar="FILE",
        help="a .csv, .tsv, .smi, .sdf, .xyz or .parquet file, also gzipped; pictures or sounds; or - for stdin",
    )
    add("--input-format", metavar="NAME", help="format of the input, where its name does not say it (stdin: csv)")
    add(
        "--column",
        "--smiles-column",
        metavar="NAME",
        help="the column that holds the items (default: found by its name)",
    )


def run(args: argparse.Namespace) -> int:
    """Score, write, and say how it went: 0 when every row has a density, 3 when some have, 1 when none has."""
    stopwatch = Stopwatch()
    refuse_existing((args.output,), args.overwrite)
    require_input(args)
    model = load_model(args)
    stopwatch.lap("loading")
    return _score(args, model, stopwatch)


def require_input(args: argparse.Namespace) -> None:
    """See that there is something to read.

    Raises:
        UsageError: there is no such file.
    """
    if args.input != "-" and not Path(args.input).exists():
        raise UsageError(f"{args.input}: there is no such file")


def _score(args: argparse.Namespace, model: GenerativeModel, stopwatch: Stopwatch) -> int:
    from molgen.inference.score import ScoredRows
    from molgen.workers.inspector import Inspector

    domain = model.domain
    args.properties = properties_of(domain, args.properties)
    records = read(args, domain)
    output = Output(domain, args.output, args.format)
    statuses: Counter[str] = Counter()
    with Inspector(domain, args.properties, processes=args.workers) as inspector:
        scoring = ScoredRows(
            model, inspector, args.properties, args.batch_size, dict(args.condition), dict(args.option)
        )
        stopped = output.write(watched(args, "scoring", scoring.rows(records), statuses))
    stopwatch.lap("scoring")
    _report(args, model, output, stopwatch, stopped, statuses, scoring.bits_per_element)
    if stopped is not None:
        raise stopped
    return exit_code(statuses)


def read(args: argparse.Namespace, domain: Domain) -> Iterator[Record]:
    """The rows of the file, or of stdin."""
    if args.input == "-":
        return domain.read(standard_input(), format=args.input_format or "csv", column=args.column)
    return domain.read(args.input, format=args.input_format, column=args.column)


def watched(
    args: argparse.Namespace, doing: str, rows: Iterable[Mapping[str, Any]], statuses: Counter[str]
) -> Iterator[Mapping[str, Any]]:
    """The rows, shown as progress and counted by status."""
    with progress(doing, quiet=args.quiet or to_terminal(args)) as bar:
        for row in rows:
            bar.advance()
            statuses[row["status"]] += 1
            yield row


def exit_code(statuses: Counter[str]) -> int:
    """0 when every row is valid, 3 when some are, 1 when none is."""
    failed = sum(statuses.values()) - statuses["valid"]
    if not failed:
        return 0
    return 3 if statuses["valid"] else 1


def _report(
    args: argparse.Namespace,
    model: GenerativeModel,
    output: Output,
    stopwatch: Stopwatch,
    stopped: BaseException | None,
    statuses: Counter[str],
    bits: float,
) -> None:
    """Record the run beside its file, and summarise it for people."""
    seconds = stopwatch.record()
    per_second = round(output.rows / max(seconds["scoring"], 1e-9), 1)
    write_record(
        output,
        "score",
        args,
        stopped,
        model=describe_model(model, args.model),
        counts=dict(statuses),
        seconds=seconds,
        rows_per_second=per_second,
        **({"bits_per_element": bits} if math.isfinite(bits) else {}),
    )
    counts = ", ".join(f"{count:,} {status}" for status, count in statuses.most_common()) or "none"
    mean = f"; {bits:.4f} bits per element" if math.isfinite(bits) else ""
    say(
        f"{output.rows:,} rows ({counts}) in {seconds['scoring']:.1f} s ({per_second:,.0f} rows/s){mean}",
        quiet=args.quiet,
    )
