"""What a model is made of, by registry name, with one frozen dataclass of settings per part.

A configuration is data: it names parts of the registry, never a module or a path to import.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, TypeVar

from molgen import registry
from molgen.errors import UsageError, hint

Options = TypeVar("Options")
T = TypeVar("T")

#: What marks a setting that names a trained model.
_TRAINED = "a trained model"
#: The type of a setting of a family that names a trained model, by its folder or as an embedded one; empty for none.
#: The family is given that model's family, as an argument of its constructor that is called like the setting.
TrainedModel = Annotated[str, _TRAINED]


@dataclass(frozen=True)
class Part:
    """One part of a model: its registry name and its settings as plain values."""

    name: str
    settings: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """The same as JSON values."""
        return {"name": self.name, "settings": dict(self.settings)}

    @classmethod
    def from_json(cls, data: Any, where: str) -> Part:
        """What `to_json` gave.

        Raises:
            UsageError: the data have another form.
        """
        if not isinstance(data, Mapping) or not isinstance(data.get("name"), str):
            raise UsageError(f"{where}: expected a part with a name")
        if unknown := sorted(map(str, set(data) - {"name", "settings"})):
            raise UsageError(f"{where}: a part has a name and settings, not {', '.join(unknown)}")
        settings = data.get("settings", {})
        if not isinstance(settings, Mapping):
            raise UsageError(f"{where}: the settings must be a mapping")
        return cls(data["name"], dict(settings))


@dataclass(frozen=True)
class ModelConfig:
    """The three parts of a model and the names of the numbers that it can be conditioned on."""

    encoder: Part
    family: Part
    backbone: Part
    conditions: tuple[str, ...] = ()

    @property
    def domain(self) -> str:
        """The registry name of the domain: the encoder's name up to the dot."""
        return self.encoder.name.partition(".")[0]

    def to_json(self) -> dict[str, Any]:
        """The same as JSON values."""
        return {
            "encoder": self.encoder.to_json(),
            "family": self.family.to_json(),
            "backbone": self.backbone.to_json(),
            "conditions": list(self.conditions),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> ModelConfig:
        """What `to_json` gave."""
        parts = {name: Part.from_json(data.get(name), name) for name in ("encoder", "family", "backbone")}
        return cls(**parts, conditions=tuple(map(str, data.get("conditions", ()))))


def settings_of(kind: registry.Kind, part: Part) -> tuple[type, Any]:
    """The class of a part and its checked settings, as its own `Config`.

    Raises:
        UsageError: an unknown name (see the registry), an unknown setting, or a value of a wrong type.
    """
    cls = part_class(kind, part.name)
    return cls, make_settings(cls.Config, part.settings, f"{kind} {part.name}")


def with_all_settings(config: ModelConfig) -> ModelConfig:
    """The same configuration with every default written out, so that later defaults cannot change a model."""

    def full(kind: registry.Kind, part: Part) -> Part:
        return Part(part.name, to_settings(settings_of(kind, part)[1]))

    return dataclasses.replace(
        config,
        encoder=full("encoder", config.encoder),
        family=full("family", config.family),
        backbone=full("backbone", config.backbone),
    )


def named_part(kind: registry.Kind, given: Any, domain: str | None = None) -> Part:
    """A part as a configuration has it, from what a caller may give.

    Args:
        kind: the group.
        given: a registry name, a `Part`, a class of that kind, installed or not, or an encoder. A class that is not
            installed is registered for this process.
        domain: of an encoder that is not installed and no domain itself.

    Raises:
        UsageError: an encoder without a domain, or something else than these.
    """
    if isinstance(given, Part):
        return given
    if isinstance(given, str):
        return Part(given)
    cls = given if isinstance(given, type) else type(given)
    if not hasattr(cls, "molgen_api"):
        raise UsageError(f"{kind} is a registry name, a Part or a class of molgen, not {given!r}")
    config = {} if isinstance(given, type) else to_settings(given.config) if given.config is not None else {}
    if kind != "encoder":
        return Part(registry.register(kind, cls.__name__, cls), config)
    return Part(_encoder_name(cls, domain), config)


def _encoder_name(cls: type[Any], domain: str | None) -> str:
    if hasattr(cls, "examples"):  # a domain that is its own encoder
        return registry.register("domain", cls.__name__, cls)
    if domain is None:
        target = f"{cls.__module__}:{cls.__qualname__}"
        for plugin in registry.plugins("encoder"):
            if plugin.target == target:
                return plugin.name
        raise UsageError(
            f"{cls.__name__} does not say of which domain it is; give domain= as well, such as 'molecules'"
        )
    return registry.register("encoder", f"{domain}.{cls.__name__}", cls)


def part_class(kind: registry.Kind, name: str) -> type[Any]:
    """The class of a name; a domain that is its own encoder is registered once, as a domain.

    Raises:
        UsageError: an unknown name (see the registry), or a domain that is no encoder.
    """
    if kind != "encoder" or name in registry.names("encoder") or name not in registry.names("domain"):
        return registry.get(kind, name)
    cls = registry.get("domain", name)
    if not hasattr(cls, "encode"):
        own = [encoder for encoder in registry.names("encoder") if encoder.startswith(f"{name}.")]
        raise UsageError(f"the domain {name!r} is no encoder; its encoders: {', '.join(own) or 'none'}")
    return cls


def make_settings(schema: type, values: Mapping[str, Any], where: str) -> Any:
    """Values as a settings dataclass; a wrong name or type is one line that says where.

    Raises:
        UsageError: the condition itself.
    """
    types_of = typing.get_type_hints(schema)
    known = {f.name: types_of[f.name] for f in dataclasses.fields(schema)}
    for name, value in values.items():
        if name not in known:
            raise UsageError(f"{where}: no setting {name!r}{_suggestion(name, known)}")
        if not _fits(value, known[name]):
            raise UsageError(f"{where}: {name} must be {_type_name(known[name])}, not {value!r}")
    try:
        return schema(**{name: _converted(value, known[name]) for name, value in values.items()})
    except (TypeError, ValueError) as error:
        raise UsageError(f"{where}: {error}") from None


def trained_settings(schema: type) -> list[str]:
    """The settings of a `Config` that name trained models."""
    kinds = typing.get_type_hints(schema, include_extras=True)
    return [one.name for one in dataclasses.fields(schema) if _TRAINED in getattr(kinds[one.name], "__metadata__", ())]


def by_name(setting: str, name: str, table: Mapping[str, T]) -> T:
    """What a setting names in a table.

    Raises:
        ValueError: the table does not have it.
    """
    if name not in table:
        raise ValueError(f"{setting} must be one of {', '.join(table)}, not {name!r}")
    return table[name]


def options_of(schema: type[Options], what: str, values: Mapping[str, Any]) -> Options:
    """Options of a call as their dataclass.

    Args:
        schema: a dataclass whose fields all have a default.
        what: has these options, for the message.
        values: by name.

    Raises:
        ValueError: an unknown option, or a value of a wrong type or without meaning.
    """
    types_of = typing.get_type_hints(schema)
    known = [one.name for one in dataclasses.fields(schema)]  # type: ignore[arg-type]
    if unknown := sorted(set(values) - set(known)):
        raise ValueError(f"{what} has no option {', '.join(unknown)}; known: {', '.join(known)}")
    for name, value in values.items():
        if not _fits(value, types_of[name]):
            raise ValueError(f"{what}: {name} must be {_type_name(types_of[name])}, not {value!r}")
    return schema(**values)


def to_settings(config: Any) -> dict[str, Any]:
    """A settings dataclass as plain JSON values."""
    return {f.name: _plain(getattr(config, f.name)) for f in dataclasses.fields(config)}


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _suggestion(name: str, known: Mapping[str, Any]) -> str:
    return f"{hint(name, known)} Known: {', '.join(known) or 'none'}"


def _fits(value: Any, kind: Any) -> bool:
    origin = typing.get_origin(kind)
    if origin in (types.UnionType, typing.Union):
        return any(_fits(value, option) for option in typing.get_args(kind))
    if origin is tuple:
        inner = typing.get_args(kind)[0]
        return isinstance(value, list | tuple) and all(_fits(item, inner) for item in value)
    if origin is typing.Literal:
        return value in typing.get_args(kind)
    if kind is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if kind is int:
        return isinstance(value, int) and not isinstance(value, bool)
    return kind is Any or isinstance(value, origin or kind)


def _converted(value: Any, kind: Any) -> Any:
    if kind is float:
        return float(value)
    wants_tuple = any(typing.get_origin(option) is tuple for option in (kind, *typing.get_args(kind)))
    return tuple(value) if wants_tuple and isinstance(value, list) else value


def _type_name(kind: Any) -> str:
    if typing.get_origin(kind) is typing.Literal:
        return f"one of {', '.join(map(repr, typing.get_args(kind)))}"
    if typing.get_origin(kind) is Mapping:
        return "names with values, {NAME: VALUE}"
    return kind.__name__ if isinstance(kind, type) else str(kind)
