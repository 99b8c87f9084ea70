"""The recipe of a data set from a YAML file, which Hydra composes, and from settings of the command line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.errors import HydraException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from molgen.errors import UsageError
from molgen_cli.overrides import RESOLVER, first_line, read, refuse_resolvers

ENDINGS = (".yaml", ".yml")


def composed(arguments: Sequence[str], given: Mapping[str, Any]) -> dict[str, Any]:
    """The values of a recipe: of a file, then of options of the command line, then of single settings.

    Args:
        arguments: at most one YAML file, and settings such as `filters.unique=false`.
        given: options by name of the setting, None where they were not typed.

    Raises:
        UsageError: the file cannot be read, or an argument is no setting.
    """
    files = [argument for argument in arguments if argument.endswith(ENDINGS) and "=" not in argument]
    if len(files) > 1:
        raise UsageError(f"one recipe at a time, not {' and '.join(files)}; a recipe takes others in by `defaults:`")
    values = _read(Path(files[0])) if files else {}
    typed = {name: value for name, value in given.items() if value is not None}
    if "model" in typed:  # whoever names a model means that one alone
        values.pop("models", None)
    values |= typed
    for argument in arguments:
        if argument not in files:
            _set(values, argument)
    return values


def _read(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise UsageError(f"{path}: there is no such file")
    try:
        with initialize_config_dir(str(path.resolve().parent), version_base="1.3"):
            config = compose(path.stem)
        if RESOLVER.search(OmegaConf.to_yaml(config, resolve=False)):
            raise UsageError(f"{path}: a recipe takes no value from the environment or another resolver")
        values = OmegaConf.to_container(config, resolve=True)
    except (HydraException, OmegaConfBaseException, YAMLError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: {first_line(error)}") from None
    if not isinstance(values, dict):
        raise UsageError(f"{path} is no recipe: it has no settings by name")
    return {str(name): value for name, value in values.items()}


def _set(values: dict[str, Any], argument: str) -> None:
    refuse_resolvers(argument)
    override = read(argument, "filters.unique=false")
    if override.is_sweep_override() or override.is_delete():
        raise UsageError(f"{argument}: a setting takes one value; a list is written in brackets: [a,b]")
    *sections, name = override.key_or_group.split(".")
    for section in sections:
        inner = values.setdefault(section, {})
        if not isinstance(inner, dict):
            raise UsageError(f"{argument}: {section} is a value, not settings by name")
        values = inner
    values[name] = override.value()
