"""`molgen dataset`: synthetic data sets, made from a recipe, resumed, checked, converted, described, audited."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from molgen.errors import MolgenError, UsageError
from molgen_cli.arguments import from_zero, names, parallel, take_settings_anywhere, whole
from molgen_cli.auditing import configure_audit, configure_canaries, run_audit, run_canaries
from molgen_cli.console import on_terminal, progress, say, show

if TYPE_CHECKING:
    from molgen_datasets.synthetic.engine import Status

#: Seconds between two lines of progress where nobody watches a terminal.
EVERY = 60.0
ENGINES = ("local", "ray", "serial")


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the verb."""
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)
    _configure_create(_action(actions, "create", _create, "make a data set, finish one, or repair one"))
    info = _action(actions, "info", _info, "what a data set holds and where it is from")
    info.add_argument("--format", choices=("table", "json"), default="table", help="how to print (default: table)")
    verify = _action(actions, "verify", _verify, "see that a data set is what its manifest says")
    verify.add_argument("--deep", action="store_true", help="also read every item, and see that none comes twice")
    convert = _action(actions, "convert", _convert, "write a data set in another format")
    convert.add_argument("-o", "--output", required=True, metavar="FOLDER", help="a new folder")
    convert.add_argument("--to", required=True, metavar="FORMAT", help="parquet, folder, webdataset, csv, sdf, ...")
    convert.add_argument("--shard-size", type=whole, metavar="N", help="items of a file (default: as it was)")
    card = _action(actions, "card", _card, "write the card and the Croissant description anew")
    card.add_argument("--print", action="store_true", help="print the card, and write nothing")
    for each in (info, verify, convert, card):
        each.add_argument("set", metavar="SET", help="the folder of the data set")
    configure_audit(
        _action(actions, "audit", run_audit, "what a data set gives away of its training data, and its use")
    )
    configure_canaries(_action(actions, "canaries", run_canaries, "plant canaries in a training file, for an audit"))
    _configure_list(_action(actions, "list", _list, "make a hashed list for screening from a file of items"))


def run(args: argparse.Namespace) -> int:
    """Do the action that was named."""
    return int(args.action(args))


def _action(actions: Any, name: str, action: Callable[..., int], line: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = actions.add_parser(name, help=line, description=f"{line[0].upper()}{line[1:]}.")
    parser.set_defaults(action=action)
    parser.add_argument("-q", "--quiet", action="store_true", help="print no progress and no summary")
    return parser


def _configure_create(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add(
        "settings",
        nargs="*",
        metavar="RECIPE.yaml|NAME=VALUE",
        help="a recipe, and settings of it such as filters.properties.qed=[0.5,null] or splits.method=scaffold",
    )
    add("-m", "--model", metavar="NAME|FOLDER", help="the model (of a recipe without one: moses)")
    add(
        "--then",
        metavar="NAME|FOLDER",
        help="a second model, which draws the rest of each item, such as positions of a molecule",
    )
    add("-n", "--count", type=whole, metavar="N", help="items of the set")
    add("-o", "--output", required=True, metavar="FOLDER", help="the folder of the set")
    add("--seed", type=from_zero, metavar="N", help="of all randomness (default: 0)")
    add("--properties", type=names, metavar="LIST", help="properties to write beside each item, with commas")
    add("--resume", action="store_true", help="finish what is begun in the folder, and repair what is damaged")
    add("--engine", choices=ENGINES, default="local", help="who does the work (default: local processes)")
    add("--address", metavar="ADDRESS", help="of a Ray cluster that runs; its nodes share the folder")
    add("--workers", type=parallel, metavar="N", help="how many sample at a time (default: one for two processors)")
    add("--retries", type=whole, default=10, metavar="N", help="how often a task may lose its worker (default: 10)")
    add("--device", default="auto", metavar="NAME", help="auto, cpu, cuda, cuda:1, mps (default: auto)")
    take_settings_anywhere(parser)


def _configure_list(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("file", metavar="FILE", help="items that must not be made, or must be looked at")
    add("-o", "--output", required=True, metavar="FILE", help="the list: digests that say to nobody what is on it")
    add("--id", required=True, metavar="NAME", help="what the list is called")
    add("--date", required=True, metavar="YYYY-MM-DD", help="of what day its content is")
    add("--domain", default="molecules", metavar="NAME", help="of the items (default: molecules)")


# --- create ---------------------------------------------------------------------------------------


def _create(args: argparse.Namespace) -> int:
    from molgen_datasets.synthetic.making import create
    from molgen_datasets.synthetic.recipe import recipe_from

    values = _values(args)
    recipe = recipe_from(values) if values is not None else None
    with _watched(args.quiet) as watch:
        made = create(
            recipe,
            args.output,
            resume=args.resume,
            engine=args.engine,
            workers=args.workers,
            device=args.device,
            address=args.address,
            retries=args.retries,
            watch=watch,
        )
    for line in _summary(args.output, made):
        say(line, quiet=args.quiet)
    return 0


def _values(args: argparse.Namespace) -> dict[str, Any] | None:
    """The recipe that was typed; None where the folder has one, and nothing was typed."""
    given = {"model": args.model, "then": args.then, "count": args.count, "seed": args.seed}
    if args.resume and not args.settings and not args.properties and not any(v is not None for v in given.values()):
        return None
    from molgen_cli.domains import default_model
    from molgen_cli.recipes import composed

    values = composed(args.settings, given)
    if args.properties:
        values.setdefault("labels", {})["properties"] = list(args.properties)
    if "model" not in values and "models" not in values:
        values["model"] = default_model()
    return values


@contextmanager
def _watched(quiet: bool) -> Iterator[Callable[[Status], None]]:
    """A bar on a terminal; elsewhere a line now and then, so that a log says how it stands."""
    said, drawn = time.monotonic(), 0
    with progress("making", None, quiet=quiet) as bar:

        def watch(status: Status) -> None:
            nonlocal said, drawn
            bar.advance(status.tally.drawn - drawn, note=_line(status))
            drawn = status.tally.drawn
            if not on_terminal() and time.monotonic() - said >= EVERY:
                say(_line(status), quiet=quiet)
                said = time.monotonic()

        yield watch


def _line(status: Status) -> str:
    """How the making stands: the phase, the rate, the share that each filter lets pass, the time left."""
    tally = status.tally
    if not tally.drawn:
        return f"{status.phase} what the recipe names" if status.phase == "reading" else status.phase
    shares = {"valid": tally.valid / tally.drawn}
    shares |= {name: 1 - count / max(tally.valid, 1) for name, count in tally.failed.items()}
    shares["accepted"] = tally.accepted / tally.drawn
    told = ", ".join(f"{name} {share:.1%}" for name, share in shares.items())
    left = status.seconds_left
    rest = f"; about {_time(left)} left" if left is not None and status.phase == "drawing" else ""
    rate = f" at {status.rate:,.0f}/s" if status.drawn_here else ""
    return f"{status.phase}: {tally.drawn:,} draws{rate}, {told}{rest}"


def _time(seconds: float) -> str:
    minutes = int(seconds // 60)
    return f"{seconds:.0f} s" if minutes < 2 else f"{minutes} min" if minutes < 120 else f"{minutes // 60} h"


def _summary(output: str, made: dict[str, Any]) -> Iterator[str]:
    tally, files = made["tally"], made["files"]
    size = sum(one["bytes"] for one in files)
    yield (
        f"{made['items']:,} items in {len(files):,} files of {output} ({size:,} bytes), "
        f"from {tally['drawn']:,} draws; recipe {made['recipe_sha256'][:12]}"
    )
    splits = ", ".join(f"{name} {count:,}" for name, count in made["splits"].items())
    yield f"  splits: {splits}; the card is {Path(output) / 'README.md'}"
    for text in made["statements"]:
        yield f"  {text}"


# --- the others -----------------------------------------------------------------------------------


def _info(args: argparse.Namespace) -> int:
    from molgen_datasets.synthetic.folder import finished

    _, found = finished(args.set)
    show(json.dumps(found, indent=2, ensure_ascii=False) if args.format == "json" else "\n".join(_page(found)))
    return 0


def _page(found: dict[str, Any]) -> Iterator[str]:
    tally = found["tally"]
    for name in ("title", "domain", "created", "licence", "recipe_sha256"):
        yield f"{name}: {found[name]}"
    yield f"items: {found['items']:,}" + ("" if found["complete"] else f" of {found['recipe']['count']:,}")
    for split, count in found["splits"].items():
        yield f"split {split}: {count:,}"
    for one in found["models"]:
        yield f"model {_described(one)}"
        if "then" in one:
            yield f"then {_described(one['then'])}"
    yield f"draws: {tally['drawn']:,}, valid {tally['valid']:,}, accepted {tally['accepted']:,}"
    yield from (f"refused by {name}: {count:,}" for name, count in tally["failed"].items())
    yield from found["statements"]
    yield from (f"screened by {text}" for text in found["screening"])
    yield from (f"column {name}: {one['type']}, {one['what']}" for name, one in found["columns"].items())
    yield f"files: {len(found['files']):,}, {sum(one['bytes'] for one in found['files']):,} bytes"


def _described(one: dict[str, Any]) -> str:
    return f"{one['name']}: SHA-256 {one['sha256']}, {one['family']} over {one['encoder']}"


def _verify(args: argparse.Namespace) -> int:
    from molgen_datasets.synthetic.check import verify

    with progress("verifying", None, quiet=args.quiet) as bar:
        problems = verify(args.set, deep=args.deep, watch=lambda path: bar.advance(note=path))
    for line in problems:
        say(line)
    if problems:
        raise MolgenError(f"{args.set} is damaged; type: molgen dataset create -o {args.set} --resume")
    say(f"{args.set} is whole", quiet=args.quiet)
    return 0


def _convert(args: argparse.Namespace) -> int:
    from molgen_datasets.synthetic.conversion import convert

    made = convert(args.set, args.output, args.to, args.shard_size)
    say(f"{made['items']:,} items in {len(made['files']):,} files of {args.output}", quiet=args.quiet)
    return 0


def _card(args: argparse.Namespace) -> int:
    from molgen_datasets.synthetic import cards
    from molgen_datasets.synthetic.folder import finished

    folder, found = finished(args.set)
    if args.print:
        show(cards.card(found))
        return 0
    cards.write(folder, found)
    say(f"{folder.card} and {folder.croissant.name}", quiet=args.quiet)
    return 0


def _list(args: argparse.Namespace) -> int:
    from molgen import registry
    from molgen.atomic_files import sha256
    from molgen_datasets.synthetic.screen import write_list

    if Path(args.output).exists():
        raise UsageError(f"{args.output} exists; choose another name")
    domain = registry.get("domain", args.domain)()
    items = (record.item for record in domain.read(args.file))
    count = write_list(Path(args.output), domain, items, args.id, args.date)
    say(f"{count:,} digests in {args.output}; sha256: {sha256(Path(args.output))}", quiet=args.quiet)
    return 0
