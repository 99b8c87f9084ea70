"""The models of a recipe: each loaded, or two as the stages of one, and what a set says of them.

Reading what is said needs no torch; loading does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from molgen.errors import UsageError
from molgen.inference.generate import false_positive_rate
from molgen.workers.inspector import Inspector
from molgen_datasets.synthetic.recipe import ModelChoice, Recipe

if TYPE_CHECKING:
    from molgen.model.generative_model import GenerativeModel
    from molgen.model.stages import Model

# --- loading --------------------------------------------------------------------------------------


def load_models(recipe: Recipe, device: str) -> list[Model]:
    """The models of a recipe, each on the device.

    The number of threads is a part of the recipe, because it may change the last digits of what is computed.

    Raises:
        UsageError: there is no such model, or two stages do not fit each other.
    """
    import torch

    from molgen.model.devices import resolve_device
    from molgen.model.generative_model import GenerativeModel

    torch.set_num_threads(recipe.threads)
    return models_of(recipe, lambda name: GenerativeModel.load(name, resolve_device(device)))


def models_of(recipe: Recipe, load: Callable[[str], GenerativeModel]) -> list[Model]:
    """The models of a recipe, each as `load` gives it."""
    return [_stages(choice, load) for choice in recipe.mixture]


def _stages(choice: ModelChoice, load: Callable[[str], GenerativeModel]) -> Model:
    from molgen.model.stages import Stages

    first = load(choice.model)
    if first.family.given:
        raise UsageError(
            f"{choice.model} draws the rest of given items, so it is a second stage: name it as `then` of a model "
            "that draws them"
        )
    if choice.then is None:
        return first
    try:
        return Stages(first, load(choice.then))
    except UsageError as error:
        raise UsageError(f"{choice.then} cannot be the second stage of {choice.model}: {error}") from None


def stages_of(model: Model) -> tuple[GenerativeModel, ...]:
    """The one model, or the first and the second of two stages."""
    from molgen.model.stages import Stages

    return (model.first, model.second) if isinstance(model, Stages) else (model,)


def canonical_in_workers(models: Sequence[Model], processes: int) -> list[Inspector]:
    """Let what first stages draw be made canonical where a hostile item takes nothing else down; to be closed."""
    from molgen.model.stages import Stages

    staged = [model for model in models if isinstance(model, Stages)]
    inspectors = [Inspector(model.domain, processes=processes) for model in staged[:1]]
    for model in staged:
        model.canonical = inspectors[0].canonical
    return inspectors


# --- what a set says of them ----------------------------------------------------------------------


def facts_of(choice: ModelChoice, model: Model) -> dict[str, Any]:
    """What is known of a model, as JSON values; of two stages the second is under `then`."""
    found = [_facts(str(name), one) for name, one in zip((choice.model, choice.then), stages_of(model), strict=False)]
    return found[0] if len(found) == 1 else {**found[0], "then": found[1]}


def _facts(name: str, model: GenerativeModel) -> dict[str, Any]:
    parts = {kind: getattr(model.config, kind).name for kind in ("encoder", "family", "backbone")}
    return {
        "name": (short := Path(name).resolve().name if Path(name).exists() else name),
        "sha256": model.digest,
        "title": str(model.info.get("title", short)),
        "data": model.info.get("data", {}),
        **({"privacy": model.info["privacy"]} if "privacy" in model.info else {}),
        **parts,
        "keys": {data: keys.count for data, keys in model.keys.items()},
        "false_positive_rate": false_positive_rate(model) if model.keys else None,
    }


def every(models: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The facts of all models, those of second stages too, each with what it is called."""
    for place, one in enumerate(models, 1):
        yield f"Model {place}", one
        if "then" in one:
            yield f"Model {place}, second stage", one["then"]


def full_name(one: Mapping[str, Any]) -> str:
    """The name of a model, or those of both stages."""
    return f"{one['name']}, then {one['then']['name']}" if "then" in one else str(one["name"])


def identity(one: Mapping[str, Any]) -> dict[str, Any]:
    """The name and the SHA-256 of a model, and those of its second stage."""
    found = {name: one[name] for name in ("name", "sha256")}
    return {**found, "then": identity(one["then"])} if "then" in one else found
