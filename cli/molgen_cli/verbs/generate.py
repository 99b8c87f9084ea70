"""`molgen generate`: items sampled from a model, checked by their domain, with their log-density."""

from __future__ import annotations

import argparse
import secrets
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from molgen_cli.arguments import (
    add_model_arguments,
    add_option_argument,
    check_conditions,
    describe_model,
    from_zero,
    item_names,
    load_model,
    names,
    open_model,
    positive,
    properties_of,
    share,
    take_item,
    whole,
)
from molgen_cli.asked import ConditionError, first_of, given_items
from molgen_cli.console import Stopwatch, progress, say
from molgen_cli.contact_sheets import require_sheet, write_sheet
from molgen_cli.domains import default_model
from molgen_cli.kept import add_kept_arguments, kept_part
from molgen_cli.output import Output, add_output_arguments, refuse_existing, to_terminal, write_record

if TYPE_CHECKING:
    from molgen.inference.generate import Generation
    from molgen.inference.request import Request, Row, Tally
    from molgen.model.generative_model import GenerativeModel
    from molgen.model.stages import Model

#: The most items of a contact sheet.
DRAWN = 60
#: The column with the number of each sample, by which a caption of a contact sheet names its row.
ID = "id"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the verb."""
    add = parser.add_argument
    add("-n", "--count", type=whole, default=100, metavar="N", help="samples, or accepted ones (default: 100)")
    add(
        "--accept",
        type=criteria,
        default=(),
        metavar="LIST",
        help="sample until N meet all of these: valid, unique, novel (not in the training data), filters "
        "(of molecules: MOSES and closed-shell, which can also be named alone); "
        "without it every sample is a row",
    )
    add(
        "--max-samples",
        type=whole,
        metavar="N",
        help="with --accept: stop after N samples (default: when fewer than 1 in 1,000 of 10,000 "
        "were accepted, or none for 10 minutes)",
    )
    add_output_arguments(parser)
    add_model_arguments(parser)
    add(
        "--then",
        metavar="NAME|FOLDER",
        help="a second model, which draws the rest of what the first one draws, such as positions of its molecules; "
        "its options of sampling are named behind then_",
    )
    add(
        "--no-density",
        dest="density",
        action="store_false",
        help="without log-densities, where finding them takes longer than the samples",
    )
    add(
        "--seed",
        type=from_zero,
        metavar="N",
        help="the same seed gives the same items (default: a random one, printed)",
    )
    add("--temperature", type=positive, metavar="T", help="below 1 likelier items, above 1 more varied ones")
    add("--top-k", type=from_zero, metavar="K", help="choose among the K likeliest only (0: all)")
    add("--top-p", type=share, metavar="P", help="choose among the likeliest that reach the probability P")
    add_option_argument(parser, "sampling", "steps=50 or guidance=2")
    add_kept_arguments(parser)
    add(
        "--repair",
        type=names,
        default=(),
        metavar="LIST",
        help="repair samples that are no items, where the encoder can: of molecules.graph valence, "
        "largest-fragment; repaired ones are counted apart",
    )
    add("--draw", metavar="FILE", help=f"draw the first {DRAWN} valid ones as a contact sheet, .svg or .png")


def run(args: argparse.Namespace) -> int:
    """Generate, write, and say how it went."""
    stopwatch = Stopwatch()
    refuse_existing((args.output, args.draw), args.overwrite)
    require_sheet(args.draw)
    if args.seed is None:
        args.seed = secrets.randbits(32)
    with ExitStack() as stack:
        model = _models(args, stack)
        request = _request(args, model)
        stopwatch.lap("loading")
        return _generate(args, model, request, stopwatch)


def _models(args: argparse.Namespace, stack: ExitStack) -> Model:
    """The model, or both of two stages; what the first one drew is then checked in workers of its own."""
    if args.then is None:
        return load_model(args)
    from molgen.model.stages import Stages
    from molgen.workers.inspector import Inspector

    args.model = args.model or default_model()
    first, second = open_model(args, args.model), open_model(args, args.then)
    take_item(args, first)
    model = Stages(first, second)
    model.canonical = stack.enter_context(Inspector(model.domain, processes=args.workers)).canonical
    check_conditions(args, model)
    return model


def _generate(args: argparse.Namespace, model: Model, request: Request, stopwatch: Stopwatch) -> int:
    from molgen.inference.generate import Generation
    from molgen.workers.inspector import Inspector

    domain = model.domain
    errors = ConditionError(dict(args.condition), domain.descriptors().properties if args.condition else ())
    args.properties = list(dict.fromkeys([*properties_of(domain, args.properties), *errors.asked]))
    output = Output(domain, args.output, args.format)
    with Inspector(domain, args.properties, request.filtered, args.workers) as inspector:
        generation = Generation(model, request, inspector, LowAcceptance(args.quiet))
        sheet: list[Row] = []
        rows = (
            {
                **row.columns(domain.column, args.properties),
                **_asked_of(row, request, first_of(model)),
                **({ID: row.index} if args.draw else {}),
            }
            for row in _watched(args, generation, sheet, errors)
        )
        stopped = output.write(rows)
    stopwatch.lap("generating")
    _report(args, model, generation, output, stopwatch, stopped, errors)
    if args.draw:
        _draw(args.draw, model, sheet)
    if stopped is not None:
        raise stopped
    return 0


def _asked_of(row: Row, request: Request, model: GenerativeModel) -> dict[str, Any]:
    """Columns with what was asked for, and of which item the row was drawn."""
    from molgen.domain import Invalid
    from molgen.inference.score import asked_columns

    asked = asked_columns(request.condition)
    for item in request.given_of([row.index]) or ():
        asked |= asked_columns({item_names(model)[0]: item.raw if isinstance(item, Invalid) else item})
    return asked


def _request(args: argparse.Namespace, model: Model) -> Request:
    from molgen.inference.request import Request

    first = first_of(model)
    given = given_items(args, first)
    known = kept_part(args, first)
    options = {name: getattr(args, name) for name in ("temperature", "top_k", "top_p")}
    each = args.count
    args.count *= max(1, len(given))
    return Request(
        args.count,
        args.accept,
        args.seed,
        args.batch_size,
        dict(args.condition),
        known,
        {name: value for name, value in options.items() if value is not None} | dict(args.option),
        args.repair,
        args.max_samples,
        density=args.density,
        given=[item for item in given for _ in range(each)] or None,
    )


def _watched(
    args: argparse.Namespace, generation: Generation, sheet: list[Row], errors: ConditionError
) -> Iterator[Row]:
    """The rows, shown as progress and looked at for what was asked, the first valid ones kept for the sheet."""
    with progress("generating", args.count, quiet=args.quiet or to_terminal(args)) as bar:
        for row in generation.rows():
            bar.advance(note=_accepted_share(generation.tally))
            errors.take(row)
            if args.draw and row.item is not None and len(sheet) < DRAWN:
                sheet.append(row)
            yield row


def _accepted_share(tally: Tally) -> str:
    return "" if tally.accepted is None else f"{tally.rates().get('accepted', 0.0):.1%} of samples accepted"


def _draw(path: str, model: Model, sheet: list[Row]) -> None:
    write_sheet(Path(path), model.domain.draw([row.item for row in sheet], [_legend(row) for row in sheet]))


def _legend(row: Row) -> str:
    """The number of the row, and its log-density where it has one."""
    return f"id {row.index}: {row.score.log_density:.1f}" if row.score.kind else f"id {row.index}"


def _report(
    args: argparse.Namespace,
    model: Model,
    generation: Generation,
    output: Output,
    stopwatch: Stopwatch,
    stopped: BaseException | None,
    errors: ConditionError,
) -> None:
    """Record the run beside its file, and summarise it for people."""
    tally, seconds = generation.tally, stopwatch.record()
    counts: Mapping[str, Any] = {name: value for name, value in vars(tally).items() if value is not None}
    per_second = round(output.rows / max(seconds["generating"], 1e-9), 1)
    write_record(
        output,
        "generate",
        args,
        stopped,
        seed=args.seed,
        **_described(args, model),
        counts=counts,
        rates=tally.rates(),
        novel_false_positive_rate=_false_positive_rate(model),
        seconds=seconds,
        rows_per_second=per_second,
        **({"obtained": errors.facts()} if errors.asked else {}),
    )
    for line in (*_summary(args, model, generation, output.rows, seconds, per_second), *errors.lines()):
        say(line, quiet=args.quiet)


def _described(args: argparse.Namespace, model: Model) -> dict[str, Any]:
    """What the record says of the model, or of both of two stages."""
    found = {"model": describe_model(first_of(model), args.model)}
    second = getattr(model, "second", None)
    return found if second is None else {**found, "then": describe_model(second, args.then)}


def _false_positive_rate(model: Model) -> float | None:
    from molgen.inference.generate import false_positive_rate

    return false_positive_rate(model) if model.keys else None


def _summary(
    args: argparse.Namespace,
    model: Model,
    generation: Generation,
    rows: int,
    seconds: Mapping[str, float],
    per_second: float,
) -> Iterator[str]:
    where = "" if args.output == "-" else f" in {args.output}"
    then = f", then of {args.then}" if args.then else ""
    yield f"{rows:,} rows{where} from {generation.tally.drawn:,} samples of {args.model}{then}, seed {args.seed}"
    yield "  " + ", ".join(f"{name} {rate:.2%}" for name, rate in generation.tally.rates().items())
    if model.keys and "novel" in generation.tally.rates():
        yield f"  (of the novel ones, {_false_positive_rate(model):.2%} are taken for training items by mistake)"
    yield f"  {seconds['generating']:.1f} s ({per_second:,.0f} rows/s), after {seconds['loading']:.1f} s of loading"


class LowAcceptance:
    """Says now and then how few samples are accepted, so that nobody waits in the dark.

    Args:
        quiet: whether people asked for no messages.
    """

    #: samples and seconds before the first message, seconds before another, and the share that is low.
    FIRST, EARLIEST, EVERY, LOW = 1_000, 20.0, 30.0, 0.01

    def __init__(self, quiet: bool) -> None:
        self._quiet = quiet
        self._begun = time.monotonic()
        self._last: float | None = None

    def __call__(self, tally: Tally) -> None:
        """Look at the tally after a batch."""
        now = time.monotonic()
        if tally.accepted is None or tally.accepted >= self.LOW * tally.drawn:
            return
        if now - self._last >= self.EVERY if self._last is not None else self._is_time(tally, now):
            self._say(tally)
            self._last = now

    def _is_time(self, tally: Tally, now: float) -> bool:
        return tally.drawn >= self.FIRST or now - self._begun >= self.EARLIEST

    def _say(self, tally: Tally) -> None:
        rates = ", ".join(f"{name} {rate:.2%}" for name, rate in tally.rates().items())
        say(
            f"{tally.accepted or 0:,} of {tally.drawn:,} samples accepted so far ({rates}); it stops when fewer than "
            "1 in 1,000 of 10,000 are or none is for 10 minutes, or after --max-samples N",
            quiet=self._quiet,
        )


def criteria(text: str) -> tuple[str, ...]:
    """Names of criteria with commas, as an argument; a former name is understood and said to be one."""
    from molgen.inference.request import RENAMED

    asked = names(text)
    for name in asked:
        if name in RENAMED:
            say(f"--accept {name} is now called {RENAMED[name]}")
    return tuple(RENAMED.get(name, name) for name in asked)
