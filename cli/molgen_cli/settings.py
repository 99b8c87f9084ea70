"""From `encoder=molecules.smiles training.steps=20000` to checked settings; Hydra does the merging.

Group options are registry names, and the keys below a group are the fields of that part's `Config`. A
configuration is data: nothing in it makes molgen import code or read the environment.
"""

from __future__ import annotations

import dataclasses
import difflib
import types
import typing
from collections.abc import Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import MISSING, DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from molgen import registry
from molgen.config import ModelConfig, Part, make_settings, part_class, to_settings
from molgen.errors import UsageError
from molgen_cli.domains import DEFAULT, encoder_for
from molgen_cli.overrides import GROUPS, RESOLVER, first_line, literal, parsed, quoted

PRESETS = Path(__file__).parent / "conf"
#: Where nothing is given. The encoder is that of the default domain, the backbone follows from its space.
DEFAULTS: Mapping[str, str | None] = {
    "encoder": None,
    "family": "autoregressive",
    "backbone": "auto",
    "dataset": None,
}
#: Behind the name of a condition: its values are classes, even where they look like numbers.
CLASS = ":class"
#: The preset for tuning a trained model.
TUNING = "finetune"

_PRIMARY = "molgen_train"
_PLAIN = (int, float, bool, str)


@dataclass(frozen=True)
class Composition:
    """What a training run is made of: every setting written out."""

    model: ModelConfig
    training: Mapping[str, Any]
    dataset: Part | None
    preset: str | None
    #: conditions that hold classes even where their values look like numbers.
    classes: tuple[str, ...] = ()
    #: nobody asked for a network or for a setting of one: it follows from the samples, once their sizes are known.
    default_network: bool = False

    def to_json(self) -> dict[str, Any]:
        """The same as JSON values."""
        return {
            "preset": self.preset,
            "dataset": self.dataset.to_json() if self.dataset else None,
            **self.model.to_json(),
            "classes": list(self.classes),
            "training": dict(self.training),
        }


def composed(
    arguments: Sequence[str], base: ModelConfig | None = None, fitting: Mapping[str, Any] | None = None
) -> Composition:
    """The settings that the arguments of the command line ask for.

    Args:
        arguments: overrides as Hydra writes them.
        base: the parts of the model to tune; only settings of its encoder can be changed then.
        fitting: settings of the encoder that fit the data, for those that nobody types.

    Raises:
        UsageError: a wrong name, key or value; one line says which, and what was probably meant.
    """
    typed = [parsed(argument) for argument in arguments]
    keys = {override.key_or_group for override in typed}
    fitted = [
        f"encoder.{name}={literal(value)}" for name, value in (fitting or {}).items() if f"encoder.{name}" not in keys
    ]
    overrides = [*map(parsed, fitted), *typed]
    if base is not None and not any(override.key_or_group == "experiment" for override in overrides):
        overrides.insert(0, parsed(f"experiment={TUNING}"))
    parts, is_default = _chosen(overrides, base)
    sections = _sections(parts)
    for override in overrides:
        _require_known(override, sections, base)
    made = _merged(overrides, parts, sections, base)
    usual = parts["backbone"] and to_settings(
        make_settings(sections["backbone"], parts["backbone"].settings, "backbone")
    )
    return dataclasses.replace(made, default_network=is_default and made.model.backbone.settings == usual)


def dataset_domain(arguments: Sequence[str]) -> str | None:
    """The domain of the data set that the arguments name, if they do."""
    name = next((value for key, _, value in (a.partition("=") for a in arguments) if key == "dataset"), None)
    return registry.get("dataset", name).domain if name in registry.names("dataset") else None


def from_file(path: Path) -> tuple[list[str], dict[str, Any]]:
    """The settings in a `config.yaml` that a run wrote, as arguments, and what the run learned from.

    Raises:
        UsageError: there is no such file, or it is no configuration of a run.
    """
    try:
        found: Any = OmegaConf.to_container(OmegaConf.load(path))
    except (OSError, ValueError, OmegaConfBaseException, YAMLError) as error:
        raise UsageError(f"{path}: cannot be read: {first_line(error)}") from None
    if not isinstance(found, dict) or not {"encoder", "family", "backbone", "training"} <= found.keys():
        raise UsageError(f"{path} is no configuration of a run, such as its config.yaml")
    try:
        return list(_arguments(found)), {name: found.get(name) for name in ("from", "data", "column", "input_format")}
    except (AttributeError, KeyError, TypeError) as error:
        raise UsageError(f"{path} is damaged: {error!r}") from None


def _arguments(found: Mapping[str, Any]) -> typing.Iterator[str]:
    classes = set(found.get("classes") or ())
    if found.get("conditions"):
        names = (f"{name}{CLASS}" if name in classes else name for name in found["conditions"])
        yield f"conditions=[{','.join(map(quoted, names))}]"
    for group in GROUPS:
        if part := found.get(group):
            yield f"{group}={part['name']}"
            yield from (f"{group}.{name}={literal(value)}" for name, value in part["settings"].items())
    yield from (f"training.{name}={literal(value)}" for name, value in found["training"].items())


def _require_known(override: Override, sections: Mapping[str, type], base: ModelConfig | None) -> None:
    key = override.key_or_group
    section, _, name = key.partition(".")
    if key in (*GROUPS, "experiment", "conditions"):
        return
    if section not in sections or not name:
        known = [*GROUPS, "conditions", *(f"{s}.{f}" for s, schema in sections.items() for f in _types(schema))]
        raise UsageError(
            f"no setting {key!r}{_suggestion(key, known)} Groups: {', '.join((*GROUPS, 'training', 'conditions'))}"
        )
    if base is not None and section not in ("training", "encoder"):
        raise UsageError(
            f"{key}: the parts of a model stay as they are when it is tuned; "
            "only training.NAME and encoder.NAME can be set"
        )
    if name == "_target_":
        raise UsageError(f"{key}: a configuration names parts of the registry, never code to import")
    if "${" in str(override.value()):
        return
    outer, _, inner = name.partition(".")
    if inner and _is_mapping(_types(sections[section]).get(outer)):
        return  # whose names the part itself knows
    make_settings(_checked_alone(sections[section], name), {name: override.value()}, section)


def _is_mapping(kind: Any) -> bool:
    return typing.get_origin(kind) is Mapping


def _checked_alone(schema: type, name: str) -> type:
    """The schema without its own checks, and without the other required fields, to test one value's type."""
    kinds = _types(schema)
    return dataclasses.make_dataclass(schema.__name__, [(f, kind, field(default=None)) for f, kind in kinds.items()])


# --- which parts ----------------------------------------------------------------------------------


def _chosen(overrides: Sequence[Override], base: ModelConfig | None) -> tuple[dict[str, Part | None], bool]:
    """The part of each group, and whether the network is the default one.

    Only names are composed here, so only the named parts are imported.
    """
    names = [override for override in overrides if override.key_or_group in (*GROUPS, "experiment")]
    _require_names(names, base)
    given: dict[str, Part] = {}
    if base is not None:
        given = {"encoder": base.encoder, "family": base.family, "backbone": base.backbone}
    defaults = {**DEFAULTS, "encoder": encoder_for(DEFAULT), **{kind: part.name for kind, part in given.items()}}
    stubs: dict[str, dict[str, Any]] = {
        kind: {name: {} for name in _options(kind, default, names)} for kind, default in defaults.items()
    }
    choices = _compose(names, stubs, defaults, schema={}).hydra.runtime.choices
    if any(choices[kind] != part.name for kind, part in given.items()):
        raise UsageError(f"the preset {choices.get('experiment')} is for a model of other parts; choose another")
    parts = {kind: given.get(kind) or _part(choices[kind]) for kind in GROUPS}
    if is_default := choices["backbone"] == "auto":
        parts["backbone"] = _default_backbone(parts["encoder"], parts["family"])
    return parts, is_default


def _require_names(overrides: Sequence[Override], base: ModelConfig | None) -> None:
    for override in overrides:
        kind, name = override.key_or_group, str(override.value())
        if kind == "experiment":
            _require_preset(name)
        elif base is not None and kind != "dataset":
            raise UsageError(f"{kind}={name}: the parts of a model stay as they are when it is tuned")
        elif kind == "encoder" and name in registry.names("domain"):
            part_class("encoder", name)  # a domain may be its own encoder
        else:
            registry.find(_kind(kind), name)


def _kind(group: str) -> registry.Kind:
    return typing.cast(registry.Kind, group)


def _require_preset(name: str) -> None:
    known = presets()
    if name not in known:
        raise UsageError(f"no preset is named {name!r}{_suggestion(name, known)} Presets: {', '.join(known)}")


def presets() -> list[str]:
    """The names that `+experiment=` takes."""
    return sorted(path.stem for path in (PRESETS / "experiment").glob("*.yaml"))


def _options(group: str, default: str | None, overrides: Sequence[Override]) -> set[str]:
    asked = {str(override.value()) for override in overrides if override.key_or_group == group}
    return {*registry.names(_kind(group)), *asked, *([default] if default else [])}


def _part(name: str | None) -> Part | None:
    return None if name is None else Part(name)


def _default_backbone(encoder: Part | None, family: Part | None) -> Part:
    from molgen.model.generative_model import GenerativeModel

    assert encoder is not None
    assert family is not None
    return GenerativeModel(encoder, family).config.backbone


def _sections(parts: Mapping[str, Part | None]) -> dict[str, type]:
    """The schema of each section."""
    from molgen.training.config import TrainingConfig

    classes: dict[str, Any] = {group: part_class(_kind(group), part.name) for group, part in parts.items() if part}
    return {**{group: cls.Config for group, cls in classes.items()}, "training": TrainingConfig}


# --- merging --------------------------------------------------------------------------------------


def _merged(
    overrides: Sequence[Override],
    parts: Mapping[str, Part | None],
    sections: Mapping[str, type],
    base: ModelConfig | None,
) -> Composition:
    nodes = {group: {part.name: _node(sections[group], part.settings)} if part else {} for group, part in parts.items()}
    defaults = {group: part.name if part else None for group, part in parts.items()}
    schema = {"training": _node(sections["training"], {}), "conditions": list(base.conditions) if base else []}
    config = _compose(overrides, nodes, defaults, schema)
    values = _plain_values(config, sections)
    made = {name: make_settings(schema, values[name], name) for name, schema in sections.items()}
    checked = {group: Part(part.name, to_settings(made[group])) for group, part in parts.items() if part}
    conditions, classes = _conditions(values["conditions"])
    if base is not None:  # which keeps its conditions and may gain others
        conditions = tuple(dict.fromkeys([*base.conditions, *conditions]))
    model = ModelConfig(checked["encoder"], checked["family"], checked["backbone"], conditions)
    if base is not None and (model.family, model.backbone) != (base.family, base.backbone):
        raise UsageError("this preset is for a model of other settings; choose another, or train from the start")
    preset = config.hydra.runtime.choices.get("experiment")
    return Composition(model, to_settings(made["training"]), checked.get("dataset"), preset, classes)


def _conditions(values: Any) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The names of the conditions, and of those that were written as `NAME:class`."""
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        raise UsageError(f"conditions must be a list of names such as [qed,logp], not {values!r}")
    names = [value.removesuffix(CLASS) for value in values]
    if len(set(names)) < len(names):
        raise UsageError("conditions: a name occurs twice")
    return tuple(names), tuple(value.removesuffix(CLASS) for value in values if value.endswith(CLASS))


def _compose(
    overrides: Sequence[Override],
    nodes: Mapping[str, Mapping[str, Any]],
    defaults: Mapping[str, str | None],
    schema: Mapping[str, Any],
) -> DictConfig:
    order: list[Any] = [{kind: name} for kind, name in defaults.items()]
    with _stored(nodes, {"defaults": [*order, "_self_"], **schema}):
        try:
            with initialize_config_dir(str(PRESETS.resolve()), version_base="1.3"):
                lines = [_line(override) for override in overrides]
                return compose(_PRIMARY, overrides=lines, return_hydra_config=True)
        except (HydraException, OmegaConfBaseException) as error:
            raise UsageError(first_line(error)) from None


def _line(override: Override) -> str:
    """An override as Hydra takes it, which lets values of a mapping be added only where that is said."""
    line = str(override.input_line)
    nested = override.key_or_group.count(".") > 1 or isinstance(override.value(), dict)
    return f"++{line}" if nested else line


@contextmanager
def _stored(nodes: Mapping[str, Mapping[str, Any]], primary: Mapping[str, Any]) -> typing.Iterator[None]:
    """Hydra's store is a global: it holds our nodes only while one configuration is composed."""
    store = ConfigStore.instance()
    before = store.repo
    store.repo = dict(before)
    try:
        for kind, options in nodes.items():
            for name, node in options.items():
                store.store(name=name, group=kind, node=node)
        store.store(name=_PRIMARY, node=OmegaConf.create(dict(primary)))
        yield
    finally:
        store.repo = before


def _node(schema: type, given: Mapping[str, Any]) -> Any:
    """A `Config` as OmegaConf takes it: mutable, and with types that it knows."""
    kinds = _types(schema)
    fields = [(f.name, _omegaconf_type(kinds[f.name]), _default(f, given)) for f in dataclasses.fields(schema)]
    return OmegaConf.structured(dataclasses.make_dataclass(schema.__name__, fields))


def _types(schema: type) -> dict[str, Any]:
    hints = typing.get_type_hints(schema)
    return {f.name: hints[f.name] for f in dataclasses.fields(schema)}


def _omegaconf_type(kind: Any) -> Any:
    if kind in _PLAIN:
        return kind
    options = typing.get_args(kind)
    if isinstance(kind, types.UnionType) and len(options) == 2 and types.NoneType in options:
        plain = next(option for option in options if option is not types.NoneType)
        return typing.Optional[plain] if plain in _PLAIN else Any  # noqa: UP045 - OmegaConf reads this form
    return Any


def _default(one: dataclasses.Field[Any], given: Mapping[str, Any]) -> Any:
    if one.name in given:
        value = given[one.name]
    elif one.default is not dataclasses.MISSING:
        value = one.default
    elif one.default_factory is not dataclasses.MISSING:
        value = one.default_factory()
    else:
        return field(default=MISSING)
    value = list(value) if isinstance(value, tuple) else value
    return field(default_factory=lambda: value)


def _plain_values(config: DictConfig, sections: Mapping[str, type]) -> dict[str, Any]:
    wanted = OmegaConf.masked_copy(config, [*sections, "conditions"])
    if RESOLVER.search(OmegaConf.to_yaml(wanted, resolve=False)):
        raise UsageError("a preset cannot take settings from the environment or from another resolver")
    try:
        missing = sorted(OmegaConf.missing_keys(wanted))
        values = OmegaConf.to_container(wanted, resolve=True)
    except OmegaConfBaseException as error:
        raise UsageError(first_line(error)) from None
    if missing:
        raise UsageError(f"{missing[0]} must be given; type: {missing[0]}=VALUE")
    assert isinstance(values, dict)
    return {str(name): value for name, value in values.items()}


# --- words ----------------------------------------------------------------------------------------


def _suggestion(word: str, known: Sequence[str]) -> str:
    close = difflib.get_close_matches(word, known, n=1)
    return f"; did you mean {close[0]!r}?" if close else "."
