"""Trained models inside a model, where settings of its family name them, as that of an energy names its base.

A setting of the type `config.TrainedModel` takes a folder, or the name of an embedded model. From then on that model is
a part of the new one, which reads the same samples in the same units: its weights are among those of the family, what
else it needs lies in the configuration of the checkpoint under `trained`, and its folder is never read again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from molgen import registry
from molgen.config import ModelConfig, Part, trained_settings
from molgen.errors import UsageError
from molgen.family import Family
from molgen.model.checkpoint import DAMAGED, Checkpoint, CheckpointError
from molgen.model.pretrained import resolve
from molgen.space import without_grammars

if TYPE_CHECKING:
    from molgen.model.generative_model import GenerativeModel


def named_models(family: Part) -> dict[str, str]:
    """The folders or names that settings of a family give of trained models, by setting; those not given are left out.

    Raises:
        UsageError: there is no such family.
    """
    fields = trained_settings(registry.get("family", family.name).Config)
    return {name: str(value) for name in fields if (value := family.settings.get(name))}


def named_configurations(family: Part) -> dict[str, ModelConfig]:
    """What these models are made of, without their weights.

    Raises:
        UsageError: there is no such model.
        CheckpointError: it is damaged.
    """
    return {name: _configuration(name, path) for name, path in named_models(family).items()}


def _configuration(name: str, path: str) -> ModelConfig:
    with _about(name):
        checkpoint = Checkpoint(resolve(path))
    try:
        return ModelConfig.from_json(checkpoint.config["model"])
    except DAMAGED as error:
        raise CheckpointError(f"{checkpoint.path}: the configuration is damaged ({error!r})") from error


def load_named(family: Part, load: Callable[[str], GenerativeModel]) -> dict[str, GenerativeModel]:
    """These models with their weights, by setting.

    Raises:
        UsageError: there is no such model.
        CheckpointError: it is damaged.
    """
    found = {}
    for name, path in named_models(family).items():
        with _about(name):
            found[name] = load(path)
    return found


@contextmanager
def _about(name: str) -> Iterator[None]:
    """Say of which setting an error is."""
    try:
        yield
    except UsageError as error:
        raise UsageError(f"family.{name}: {error}") from None


def encoder_over(models: Mapping[str, GenerativeModel], encoder: Part) -> Part:
    """The encoder of a new model over trained ones: theirs, of which a caller can only ask the same.

    Raises:
        UsageError: the caller asks for another encoder or other settings.
    """
    for name, model in models.items():
        own = model.config.encoder
        if encoder.name != own.name:
            raise UsageError(f"family.{name} is a model of {own.name}, not of {encoder.name}; type encoder={own.name}")
        given = {key: list(value) if isinstance(value, tuple) else value for key, value in encoder.settings.items()}
        if changed := [key for key, value in given.items() if own.settings.get(key) != value]:
            raise UsageError(
                f"family.{name} reads samples with encoder.{changed[0]}={own.settings.get(changed[0])}, "
                f"not {given[changed[0]]}; leave the settings of the encoder to it"
            )
        encoder = own
    return encoder


def trained_family(name: str, inner: GenerativeModel, outer: GenerativeModel) -> Family:
    """The family of a trained model for the constructor of the family around it.

    Raises:
        ValueError: the samples of the new model are no longer those that it reads.
    """
    if without_grammars(inner.encoder.space) != without_grammars(outer.encoder.space):
        raise ValueError(f"family.{name} reads other samples; it was trained with other settings of the encoder")
    return inner.family_or_build()


def description(model: GenerativeModel) -> str:
    """A trained model in one line: its family and encoder, what it learned from, and the licence of that."""
    data, config = model.info.get("data", {}), model.config
    licence = f", licence: {data['licence']}" if "licence" in data else ""
    return f"{config.family.name} over {config.encoder.name} (trained on {data.get('name', 'unknown data')}{licence})"
