"""`molgen encode`: where the items of a file lie in the latent space of a model, row by row."""

from __future__ import annotations

import argparse
from collections import Counter
from typing import TYPE_CHECKING, cast

from molgen_cli.arguments import add_model_arguments, describe_model, load_model, properties_of
from molgen_cli.console import Stopwatch, say
from molgen_cli.output import Output, refuse_existing, write_record
from molgen_cli.verbs.score import add_input_arguments, exit_code, read, require_input, watched

if TYPE_CHECKING:
    from molgen.domain import Domain
    from molgen.model.generative_model import GenerativeModel


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the verb."""
    add_input_arguments(parser)
    add = parser.add_argument
    add(
        "-o", "--output", default="-", metavar="FILE", help="where latents go: .npz, .parquet or .csv (default: stdout)"
    )
    add("--format", metavar="NAME", help="format of the latents, where the name of the file does not say it")
    add("--overwrite", action="store_true", help="replace files that exist")
    add("-q", "--quiet", action="store_true", help="print no progress and no summary")
    add_model_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Encode, write, and say how it went: 0 when every row has a latent, 3 when some have, 1 when none has."""
    stopwatch = Stopwatch()
    refuse_existing((args.output,), args.overwrite)
    require_input(args)
    model = load_model(args)
    stopwatch.lap("loading")
    return _encode(args, model, stopwatch)


def _encode(args: argparse.Namespace, model: GenerativeModel, stopwatch: Stopwatch) -> int:
    from molgen.inference.encode import LATENT, Encoding
    from molgen.workers.inspector import Inspector
    from molgen_cli.latent_files import LatentFile

    domain, space = model.domain, model.latent_space
    args.properties = properties_of(domain, args.properties)
    records = read(args, domain)
    # Rows are written by it as a domain writes them.
    file = cast("Domain", LatentFile(LATENT, model.latent_width))
    output = Output(file, args.output, args.format)
    statuses: Counter[str] = Counter()
    with Inspector(domain, args.properties, processes=args.workers) as inspector:
        encoding = Encoding(model, inspector, args.properties, args.batch_size, dict(args.condition))
        stopped = output.write(watched(args, "encoding", encoding.rows(records), statuses))
    stopwatch.lap("encoding")
    write_record(
        output,
        "encode",
        args,
        stopped,
        model=describe_model(model, args.model),
        latent={name: [*(axis.maximum for axis in f.axes), *f.channels_shape] for name, f in space.items()},
        counts=dict(statuses),
        seconds=stopwatch.record(),
    )
    counts = ", ".join(f"{count:,} {status}" for status, count in statuses.most_common()) or "none"
    say(f"{output.rows:,} rows ({counts}), {model.latent_width} numbers each", quiet=args.quiet)
    if stopped is not None:
        raise stopped
    return exit_code(statuses)
