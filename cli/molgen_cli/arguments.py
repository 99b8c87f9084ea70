"""What `generate` and `score` share: the model with its device, and the properties to compute."""

from __future__ import annotations

import argparse
import json
import math
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from molgen_cli.console import warn
from molgen_cli.domains import default_model

if TYPE_CHECKING:
    from molgen.domain import Domain
    from molgen.model.generative_model import GenerativeModel
    from molgen.model.stages import Model


#: The most threads or processes for one processor: more gain nothing, and many more end the process.
PER_PROCESSOR = 16


def add_model_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments that say which model works, where, and what is computed beside the density."""
    add = parser.add_argument
    add("-m", "--model", metavar="NAME|FOLDER", help="an embedded model, or a folder (default: moses)")
    add("--batch-size", type=whole, default=1024, metavar="N", help="items at a time (default: 1024)")
    add(
        "--condition",
        action="append",
        type=named_value,
        default=[],
        metavar="NAME=VALUE",
        help="what is asked for, of a conditional model; may be repeated",
    )
    add(
        "--properties",
        type=names,
        metavar="LIST",
        help="names with commas, 'all' or 'none' (default: a few usual ones of the domain)",
    )
    add("--device", default="auto", metavar="NAME", help="auto, cpu, cuda, cuda:1, mps (default: auto)")
    add("--threads", type=parallel, metavar="N", help="processor threads of the model (default: as torch chooses)")
    add(
        "--precision",
        choices=("float32", "bf16"),
        default="float32",
        help="in which networks multiply: bf16, 16 bits, is faster where the processor has it, and gives other samples "
        "for a seed (default: float32)",
    )
    add("--workers", type=parallel, metavar="N", help="processes that check the items (default: one per processor)")


def add_option_argument(parser: argparse.ArgumentParser, whose: str, example: str) -> None:
    """The argument for what the family alone knows."""
    parser.add_argument(
        "--option",
        action="append",
        type=option,
        default=[],
        metavar="NAME=VALUE",
        help=f"an option of the family's {whose}, such as {example}; may be repeated",
    )


def whole(text: str) -> int:
    """A whole number from 1, as an argument."""
    return _number(text, int, lambda value: value >= 1, "a whole number from 1")


def parallel(text: str) -> int:
    """A number of threads or processes that this machine can run, as an argument."""
    most = PER_PROCESSOR * (os.cpu_count() or 1)
    return _number(text, int, lambda value: 1 <= value <= most, f"a whole number from 1 to {most} (on this machine)")


def from_zero(text: str) -> int:
    """A whole number from 0, as an argument."""
    return _number(text, int, lambda value: value >= 0, "a whole number from 0")


def positive(text: str) -> float:
    """A finite number above 0, as an argument."""
    return _number(text, float, lambda value: 0 < value < float("inf"), "a number above 0")


def share(text: str) -> float:
    """A number above 0 and at most 1, as an argument."""
    return _number(text, float, lambda value: 0 < value <= 1, "a number above 0 and at most 1")


def _number(text: str, kind: type, good: Callable[[Any], bool], wanted: str) -> Any:
    try:
        value = kind(text)
    except ValueError:
        value = None
    if value is None or not good(value):
        raise argparse.ArgumentTypeError(f"{text!r} is not {wanted}")
    return value


def names(text: str) -> tuple[str, ...]:
    """Names with commas between them, as an argument."""
    return tuple(name.strip() for name in text.split(",") if name.strip())


def named_value(text: str) -> tuple[str, str]:
    """NAME=VALUE, as an argument; the model knows whether the value is a number or a class."""
    name, equals, value = text.partition("=")
    if not name.strip() or not equals:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=VALUE")
    return name.strip(), value.strip()


def option(text: str) -> tuple[str, Any]:
    """NAME=VALUE, as an argument; the value is a number or another value of JSON where it reads as one, else text."""
    name, value = named_value(text)
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value


def region(text: str) -> tuple[str, tuple[float | None, float | None]]:
    """NAME=FROM:TO, as an argument; a limit that is left out is none."""
    name, value = named_value(text)
    start, colon, stop = value.partition(":")
    try:
        limits = tuple(float(limit) if limit.strip() else None for limit in (start, stop))
    except ValueError:
        limits = (math.nan,)
    if not colon or any(limit is not None and not math.isfinite(limit) for limit in limits):
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=FROM:TO with numbers, such as time=0.2:0.3 or time=1:")
    return name, (limits[0], limits[1])


def load_model(args: argparse.Namespace) -> GenerativeModel:
    """The model on its device.

    Raises:
        UsageError: there is no such model or device.
        CheckpointError: the model is damaged.
    """
    args.model = args.model or default_model()
    model = open_model(args, args.model)
    take_item(args, model)
    check_conditions(args, model)
    return model


def open_model(args: argparse.Namespace, name: str) -> GenerativeModel:
    """A model on the device that was asked for, with as many threads.

    Raises:
        UsageError: there is no such model or device.
        CheckpointError: the model is damaged.
    """
    import torch

    from molgen.model.devices import resolve_device
    from molgen.model.generative_model import GenerativeModel

    device = resolve_device(args.device)
    if args.threads is not None:
        torch.set_num_threads(args.threads)
    model = GenerativeModel.load(name, device)
    model.precision = args.precision
    warn_if_unfinished(name, model)
    return model


def check_conditions(args: argparse.Namespace, model: Model) -> None:
    """Say which numbers are beyond what the model was trained on.

    Raises:
        UsageError: a name or a value is none that it knows.
    """
    for line in model.conditions.outside(dict(args.condition)):
        warn(line)


def item_names(model: GenerativeModel) -> tuple[str, str]:
    """What `--condition` calls an item of which a model draws some fields: `molecule`, or the column of its domain."""
    return model.config.domain.removesuffix("s"), model.domain.column


def take_item(args: argparse.Namespace, model: GenerativeModel) -> None:
    """Make such an item `args.item`, None where there is none, in the place of a condition."""
    asked = dict(args.condition)
    named = [name for name in item_names(model) if model.family.given and name in asked]
    args.item = str(asked[named[0]]) if named else None
    args.condition = [(name, value) for name, value in args.condition if name not in named]


def warn_if_unfinished(name: str, model: GenerativeModel) -> None:
    """Say that a model is the last state of a run, where it is one."""
    if model.unfinished_step is not None:
        warn(f"{name}: the run is not finished; these are its averaged weights after step {model.unfinished_step:,}")


def properties_of(domain: Domain, asked: tuple[str, ...] | None) -> list[str]:
    """The properties to compute.

    Raises:
        UsageError: the domain has no property of a name that was asked for.
    """
    from molgen.workers.inspector import chosen_properties

    if asked == ("none",):
        return []
    known = list(domain.descriptors().properties)
    if asked == ("all",):
        return known
    return chosen_properties(domain, domain.usual_properties if asked is None else asked)


def describe_model(model: GenerativeModel, name: str) -> dict[str, Any]:
    """What a record says of the model that made a file."""
    return {
        "name": name,
        "sha256": model.digest,
        **{kind: getattr(model.config, kind).name for kind in ("encoder", "family", "backbone")},
        "device": str(model.device),
        "precision": model.precision,
    }


def take_settings_anywhere(parser: argparse.ArgumentParser) -> None:
    """Let settings and options alternate: argparse by itself takes positional arguments in one run only."""
    plain = parser.parse_known_args

    def intermixed(args: Any = None, namespace: Any = None) -> Any:
        parser.parse_known_args = plain  # type: ignore[method-assign] # which parse_known_intermixed_args calls
        try:
            return parser.parse_known_intermixed_args(args, namespace)
        finally:
            parser.parse_known_args = intermixed  # type: ignore[method-assign]

    parser.parse_known_args = intermixed  # type: ignore[method-assign]
