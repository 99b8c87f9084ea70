"""Settings as they are typed, `NAME=VALUE`, one by one: read, written, and checked for what no setting may be."""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException

from molgen.errors import UsageError
from molgen_cli.console import warn

#: The groups whose options are registry names; each is the kind of the registry that it is called after.
GROUPS = ("encoder", "family", "backbone", "dataset")
#: A value that would come from somewhere else than the setting.
RESOLVER = re.compile(r"\$\{[^}]*:")


def parsed(argument: str) -> Override:
    """A setting as Hydra reads it.

    Raises:
        UsageError: it is none, or none that a run may have.
    """
    refuse_resolvers(argument)
    argument = _withquoted_names(argument)
    # A preset is an addition to Hydra's list of defaults; the sign for that is optional here.
    argument = _with_current_name(re.sub(r"^experiment=", "+experiment=", argument))
    override = read(argument, "training.steps=1000", data="--data takes it")
    _require_plain(override, argument)
    return override


def refuse_resolvers(argument: str) -> None:
    """See that a setting does not come from somewhere else.

    Raises:
        UsageError: it does.
    """
    if RESOLVER.search(argument):
        raise UsageError(
            f"{argument}: a setting is never taken from the environment or another resolver; type the value itself"
        )


def read(argument: str, example: str, data: str = "") -> Override:
    """A setting by Hydra's grammar.

    Args:
        argument: as it was typed.
        example: a setting, for whoever typed none.
        data: what takes a file, for whoever typed one.

    Raises:
        UsageError: it is none.
    """
    try:
        override: Override = OverridesParser.create().parse_override(argument)
    except (HydraException, OmegaConfBaseException) as error:
        reason = _what_is_wrong(argument, data) or first_line(error)
        raise UsageError(f"{argument!r} is no setting ({reason}); settings look like {example}") from None
    return override


def _what_is_wrong(argument: str, data: str) -> str:
    """In plain words where that is known, empty elsewhere: Hydra speaks of the symbols of its grammar."""
    if data and Path(argument).exists():
        return f"it is a file, {data}"
    if "=" in argument:
        return ""
    return "it has no '=', and no file is named so" if data and Path(argument).suffix else "it has no '='"


def _with_current_name(argument: str) -> str:
    """A setting of the training under the name that it has today."""
    from molgen.training.config import FORMER_NAMES

    key, equals, value = argument.partition("=")
    if not key.startswith("training.") or (name := FORMER_NAMES.get(key.removeprefix("training."))) is None:
        return argument
    warn(f"{key} is called training.{name} now")
    return f"training.{name}{equals}{value}"


def _withquoted_names(argument: str) -> str:
    """`conditions=[IC50 (nM)]` with its names in quotes, so that they may have any character of a column's name."""
    key, _, value = argument.partition("=")
    if key != "conditions" or not (value.startswith("[") and value.endswith("]")) or not value[1:-1].strip():
        return argument
    quote = "'" if "'" in value else '"'
    names = next(csv.reader([value[1:-1]], skipinitialspace=True, quotechar=quote))
    return f"conditions=[{','.join(map(quoted, names))}]"


def quoted(name: str) -> str:
    """A text as Hydra takes it literally."""
    escaped = re.sub(r"(\\*)('|$)", lambda found: found[1] * 2 + ("\\'" if found[2] else ""), name.strip())
    return f"'{escaped}'"


def _require_plain(override: Override, argument: str) -> None:
    if override.is_sweep_override():
        raise UsageError(f"{argument}: a run takes one value; a list is written in brackets: [a,b]")
    if override.is_delete() or (override.is_add() and override.key_or_group != "experiment") or override.package:
        raise UsageError(f"{argument}: settings can be changed, not added or removed; type NAME=VALUE")
    if (group := override.key_or_group) in (*GROUPS, "experiment") and not isinstance(override.value(), str):
        raise UsageError(f"{argument}: {group} takes a name; its settings are {group}.NAME=VALUE")


def overruled(arguments: Sequence[str], by: Sequence[str]) -> list[str]:
    """The arguments without those that later ones replace: the same setting, and settings of a part that is another."""
    keys = {argument.partition("=")[0] for argument in by}
    return [
        argument for argument in arguments if not {(key := argument.partition("=")[0]), key.partition(".")[0]} & keys
    ]


def literal(value: Any) -> str:
    """A value as Hydra reads it."""
    if isinstance(value, str):
        return quoted(value)
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{quoted(str(name))}:{literal(one)}" for name, one in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ",".join(map(literal, value)) + "]"
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else repr(value)


def typed(arguments: Sequence[str], *keys: str) -> bool:
    """Whether one of the settings is among the arguments."""
    return any(argument.partition("=")[0].lstrip("+") in keys for argument in arguments)


def first_line(error: Exception) -> str:
    """What an error says, in a line."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__
