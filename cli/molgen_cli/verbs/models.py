"""`molgen models`: the models that come with the installed domains, what any model is made of, and small copies."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from molgen.errors import MolgenError, UsageError
from molgen_cli.console import printable, say, show, table, warn

if TYPE_CHECKING:
    from molgen.model.checkpoint import Checkpoint

#: Classes of a condition that are listed.
SHOWN = 20


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the verb."""
    actions = parser.add_subparsers(title="actions", metavar="ACTION", dest="action", required=True)
    listing = actions.add_parser("list", help="the embedded models", description="List the embedded models.")
    line = "parts, data, training, licence and card of a model"
    about = actions.add_parser("info", help=line, description=f"Print {line}.")
    about.add_argument("model", metavar="NAME|FOLDER", help="an embedded model, or the folder of one")
    line = "a copy of a model with its weights in float16, half the size"
    copy = actions.add_parser("export", help=line, description=f"Write {line}.")
    copy.add_argument("model", metavar="NAME|FOLDER", help="an embedded model, or the folder of one or of a run")
    copy.add_argument("folder", metavar="TARGET", help="the folder to write")
    copy.add_argument("--title", metavar="TEXT", help="the title of its card")
    copy.add_argument("--overwrite", action="store_true", help="replace a model in that folder")
    for action in (listing, about):
        action.add_argument(
            "--format", choices=("table", "json"), default="table", help="how to print (default: table)"
        )


def run(args: argparse.Namespace) -> int:
    """Do what the action says."""
    return {"list": _list, "info": _info, "export": _export}[args.action](args)


def _list(args: argparse.Namespace) -> int:
    from molgen.model.checkpoint import Checkpoint
    from molgen.model.pretrained import embedded

    rows, damaged = [], 0
    for name, path in sorted(embedded().items()):
        try:
            with _read(path):
                rows.append(_line(name, Checkpoint(path)))
        except MolgenError as error:
            damaged += 1
            warn(str(error))
    show(json.dumps(rows, indent=2) if args.format == "json" else table(rows))
    if not rows:
        say("no model comes with the installed domains; train one: molgen train --help")
    return 1 if damaged else 0


@contextmanager
def _read(path: Path) -> Iterator[None]:
    """What a checkpoint says may be anything; what is no description of a model is said to be damaged."""
    from molgen.model.checkpoint import CheckpointError

    try:
        yield
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{path}: the configuration is damaged ({type(error).__name__}: {error})") from error


def _line(name: str, checkpoint: Checkpoint) -> dict[str, Any]:
    parts = _parts(checkpoint)
    return {
        "name": name,
        "family": parts["family"]["name"],
        "encoder": parts["encoder"]["name"],
        "backbone": parts["backbone"]["name"],
        "megabytes": round(_size(checkpoint) / 1e6, 1),
        "about": checkpoint.config.get("info", {}).get("title", ""),
    }


def _info(args: argparse.Namespace) -> int:
    from molgen.model.checkpoint import CARD, Checkpoint
    from molgen.model.pretrained import resolve

    checkpoint = Checkpoint(resolve(args.model))
    card = (checkpoint.path / CARD).read_text(encoding="utf-8") if CARD in checkpoint.files else ""
    with _read(checkpoint.path):
        found = _description(checkpoint, card)
        text = json.dumps(found, indent=2) if args.format == "json" else _text(found)
    show(text)
    return 0


def _export(args: argparse.Namespace) -> int:
    from molgen.model.generative_model import GenerativeModel

    target = Path(args.folder)
    if target.exists() and not args.overwrite:
        raise UsageError(f"{target} exists; type --overwrite to replace it, or another folder")
    model = GenerativeModel.load(args.model)
    if args.title:
        model.info["title"] = args.title
    model.save(target, half=True)
    say(f"the model is in {target}")
    return 0


def _description(checkpoint: Checkpoint, card: str) -> dict[str, Any]:
    info = dict(checkpoint.config.get("info", {}))
    info.pop("resume", None)  # the state of a training that goes on, which concerns nobody else
    return {
        "path": str(checkpoint.path),
        "sha256": checkpoint.digest,
        "bytes": _size(checkpoint),
        "molgen": checkpoint.config.get("molgen"),
        "parts": _parts(checkpoint),
        "conditions": _conditions(checkpoint),
        "licence": info.get("licence") or info.get("data", {}).get("licence"),
        "training_keys": {name: keys["count"] for name, keys in checkpoint.config.get("keys", {}).items()},
        **info,
        "card": card,
    }


def _conditions(checkpoint: Checkpoint) -> dict[str, Any]:
    """By name the classes, or the smallest and the largest training number; null where they are unknown."""
    known = checkpoint.config.get("conditions", {})
    values = {**known.get("ranges", {}), **known.get("classes", {})}
    return {name: values.get(name) for name in known.get("names", [])}


def _condition(name: str, values: list[Any] | None) -> str:
    if not values:
        return name
    if isinstance(values[0], str):
        return f"{name} ({', '.join(values[:SHOWN])}{', ...' * (len(values) > SHOWN)})"
    return f"{name} ({values[0]:g} to {values[1]:g})"


def _parts(checkpoint: Checkpoint) -> dict[str, Any]:
    from molgen.config import ModelConfig

    config = ModelConfig.from_json(checkpoint.config.get("model", {}))
    return {kind: getattr(config, kind).to_json() for kind in ("encoder", "family", "backbone")}


def _size(checkpoint: Checkpoint) -> int:
    return sum(int(file["bytes"]) for file in checkpoint.files.values())


def _text(found: dict[str, Any]) -> str:
    """A few facts, and the card, which says the rest in words."""
    facts = {
        "path": found["path"],
        "sha256": found["sha256"],
        "size": f"{found['bytes'] / 1e6:.1f} MB",
        "conditions": ", ".join(_condition(*one) for one in found["conditions"].items()) or "none",
        "licence": found["licence"] or "not stated",
        "knows": ", ".join(f"{count:,} items of {name}" for name, count in found["training_keys"].items())
        or "no items",
    }
    width = max(map(len, facts))
    lines = [f"{name:<{width}}  {printable(str(value))}" for name, value in facts.items()]
    return "\n".join([*lines, "", found["card"]]).rstrip()
