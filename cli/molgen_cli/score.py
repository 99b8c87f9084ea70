"""`molgen score`: log-density and properties of the items in a file, row by row."""

from __future__ import annotations

import argparse
import sys
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from molgen.domain import Domain, Invalid, Record
from molgen.errors import UsageError
from molgen_cli.console import progress, say
from molgen_cli.inference import Clock, add_model_arguments, describe_model, load_model, properties_of
from molgen_cli.output import Output, add_output_arguments, refuse_existing, write_record

if TYPE_CHECKING:
    from molgen.judging import Judge, Verdict
    from molgen.model import GenerativeModel

#: Portions of rows that workers check ahead of the one that is scored.
AHEAD = 2


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the verb."""
    add = parser.add_argument
    add("input", metavar="FILE", help="a .csv, .tsv, .smi or .parquet file, also gzipped, or - for stdin")
    add("--input-format", metavar="NAME", help="format of the input, where its name does not say it (stdin: csv)")
    add(
        "--column",
        "--smiles-column",
        metavar="NAME",
        help="the column that holds the items (default: found by its name)",
    )
    add_output_arguments(parser)
    add_model_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Score, write, and say how it went: 0 when every row has a density, 3 when some have, 1 when none has."""
    args.command_name = "score"
    clock = Clock()
    refuse_existing((args.output,), args.overwrite)
    if args.input != "-" and not Path(args.input).exists():
        raise UsageError(f"{args.input}: there is no such file")
    model = load_model(args)
    clock.lap("loading")
    return _score(args, model, clock)


def _score(args: argparse.Namespace, model: GenerativeModel, clock: Clock) -> int:
    from molgen.judging import Judge

    domain = model.domain
    properties = properties_of(domain, args.properties)
    records = _records(args, domain)
    output = Output(domain, args.output, args.format)
    statuses: Counter[str] = Counter()
    with Judge(domain, properties, processes=args.workers) as judge:
        scoring = Scoring(model, judge, properties, args.batch_size, dict(args.condition))
        stopped = output.write(_watched(args, scoring.rows(records), statuses))
    clock.lap("scoring")
    _report(args, model, output, clock, stopped, statuses)
    if stopped is not None:
        raise stopped
    return _exit_code(statuses)


def _records(args: argparse.Namespace, domain: Domain) -> Iterator[Record]:
    if args.input == "-":
        return domain.read(sys.stdin.buffer, format=args.input_format or "csv", column=args.column)
    return domain.read(args.input, format=args.input_format, column=args.column)


def _watched(
    args: argparse.Namespace, rows: Iterable[Mapping[str, Any]], statuses: Counter[str]
) -> Iterator[Mapping[str, Any]]:
    """The rows, shown as progress and counted by status."""
    with progress("scoring", quiet=args.quiet or (args.output == "-" and sys.stdout.isatty())) as bar:
        for row in rows:
            bar.advance()
            statuses[row["status"]] += 1
            yield row


class Scoring:
    """Rows of a file with their densities, in bounded memory: workers check ahead while the model scores.

    Args:
        model: gives the densities.
        judge: of the model's domain.
        properties: those that get columns.
        portion: rows at a time.
        condition: what the density is conditional on, by name.
    """

    def __init__(
        self,
        model: GenerativeModel,
        judge: Judge,
        properties: Sequence[str],
        portion: int,
        condition: Mapping[str, float],
    ) -> None:
        self._model, self._judge, self._properties = model, judge, properties
        self._portion, self._condition = portion, condition
        self._column = model.domain.column

    def rows(self, records: Iterator[Record]) -> Iterator[Mapping[str, Any]]:
        """One row for each record, in their order."""
        waiting: deque[tuple[list[Record], Future[list[Verdict]]]] = deque()
        while True:
            while len(waiting) < AHEAD and (portion := list(islice(records, self._portion))):
                waiting.append((portion, self._judge.submit([record.item for record in portion])))
            if not waiting:
                return
            portion, verdicts = waiting.popleft()
            yield from self._rows(portion, verdicts.result())

    def _rows(self, records: Sequence[Record], verdicts: Sequence[Verdict]) -> Iterator[Mapping[str, Any]]:
        from molgen.generation import score

        items = [verdict.item for verdict in verdicts if verdict.item is not None]
        scores = iter(score(self._model, items, self._condition))
        for record, verdict in zip(records, verdicts, strict=True):
            density = (float("nan"), "", verdict.error or "invalid") if verdict.item is None else next(scores)
            yield self._row(record, verdict, *density)

    def _row(self, record: Record, verdict: Verdict, value: float, kind: str, error: str) -> Mapping[str, Any]:
        from molgen.generation import density_columns, number_columns

        status = "invalid" if verdict.item is None else "unsupported" if error else "valid"
        ours = {
            f"canonical_{self._column}": verdict.item,
            **density_columns(value, kind),
            "status": status,
            "error": error,
            **number_columns(verdict.properties, self._properties),
        }
        taken = {self._column, *ours}
        theirs = {f"input_{name}" if name in taken else name: cell for name, cell in record.columns.items()}
        written = record.text if isinstance(record.item, Invalid) else record.item
        return {self._column: written, **theirs, **ours}


def _exit_code(statuses: Counter[str]) -> int:
    failed = sum(statuses.values()) - statuses["valid"]
    if not failed:
        return 0
    return 3 if statuses["valid"] else 1


def _report(
    args: argparse.Namespace,
    model: GenerativeModel,
    output: Output,
    clock: Clock,
    stopped: BaseException | None,
    statuses: Counter[str],
) -> None:
    """Record the run beside its file, and summarise it for people."""
    seconds = clock.record()
    per_second = round(output.rows / max(seconds["scoring"], 1e-9), 1)
    write_record(
        output,
        args,
        stopped,
        model=describe_model(model, args.model),
        counts=dict(statuses),
        seconds=seconds,
        rows_per_second=per_second,
    )
    counts = ", ".join(f"{count:,} {status}" for status, count in statuses.most_common()) or "none"
    say(f"{output.rows:,} rows ({counts}) in {seconds['scoring']:.1f} s ({per_second:,.0f} rows/s)", quiet=args.quiet)
