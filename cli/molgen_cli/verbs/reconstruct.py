"""`molgen reconstruct`: the items of a file, decoded from their latents, row by row."""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from molgen_cli.arguments import add_model_arguments, describe_model, load_model, properties_of
from molgen_cli.console import Stopwatch, say
from molgen_cli.output import Output, add_output_arguments, refuse_existing, write_record
from molgen_cli.verbs.score import add_input_arguments, exit_code, read, require_input, watched

if TYPE_CHECKING:
    from molgen.model.generative_model import GenerativeModel


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the verb."""
    add_input_arguments(parser)
    add_output_arguments(parser)
    add_model_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Reconstruct, write, and say how it went: 0 when every row could be encoded, 3 when some could, 1 when none."""
    stopwatch = Stopwatch()
    refuse_existing((args.output,), args.overwrite)
    require_input(args)
    model = load_model(args)
    stopwatch.lap("loading")
    return _reconstruct(args, model, stopwatch)


def _reconstruct(args: argparse.Namespace, model: GenerativeModel, stopwatch: Stopwatch) -> int:
    from molgen.inference.encode import Reconstruction
    from molgen.workers.inspector import Inspector

    domain = model.domain
    _ = model.latent_space  # says now, not after reading, that there is none
    args.properties = properties_of(domain, args.properties)
    records = read(args, domain)
    output = Output(domain, args.output, args.format)
    statuses: Counter[str] = Counter()
    results: Counter[str] = Counter()
    with Inspector(domain, args.properties, processes=args.workers) as inspector:
        rows = Reconstruction(model, inspector, args.properties, args.batch_size, dict(args.condition)).rows(records)
        stopped = output.write(_counted(watched(args, "reconstructing", rows, statuses), domain.column, results))
    stopwatch.lap("reconstructing")
    shares = {name: round(results[name] / statuses["valid"], 6) for name in ("valid", "same") if statuses["valid"]}
    write_record(
        output,
        "reconstruct",
        args,
        stopped,
        model=describe_model(model, args.model),
        counts=dict(statuses),
        results=dict(results),
        shares=shares,
        seconds=stopwatch.record(),
    )
    say(_summary(output.rows, statuses, results), quiet=args.quiet)
    if stopped is not None:
        raise stopped
    return exit_code(statuses)


def _counted(rows: Iterable[Mapping[str, Any]], column: str, results: Counter[str]) -> Iterator[Mapping[str, Any]]:
    """The rows, counted by their result: something valid, and the same item."""
    for row in rows:
        results["valid"] += row[column] is not None
        results["same"] += row["same"] is True
        yield row


def _summary(rows: int, statuses: Counter[str], results: Counter[str]) -> str:
    counts = ", ".join(f"{count:,} {status}" for status, count in statuses.most_common()) or "none"
    share = f"{results['same'] / statuses['valid']:.2%}" if statuses["valid"] else "none"
    return f"{rows:,} rows ({counts}); {share} of the valid ones are reconstructed exactly"
