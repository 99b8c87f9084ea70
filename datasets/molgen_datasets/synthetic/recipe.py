"""What a synthetic data set is made of: models, conditions, filters, labels, splits, output; no domain is named.

The settings are checked dataclasses; what only a domain or a model can check is checked when the recipe meets them.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from molgen.config import make_settings
from molgen.errors import UsageError

#: The name by which the keys that a model carries of its own training data are a reference of novelty.
TRAINING = "training"
#: The usual number of rows of a file of the set.
SHARD_SIZE = 100_000


@dataclass(frozen=True)
class ModelChoice:
    """One model of a mixture.

    Attributes:
        model: the name of an embedded model, or a folder.
        weight: how many of the draws are its own, relative to the other models.
        options: of the family's sampling, such as temperature.
        condition: what is asked for of this model, beside what the recipe asks of all.
        then: a second model, which draws the rest of each item, such as positions of a molecule; options of its
            sampling stand behind `then_`.
    """

    model: str
    weight: float = 1.0
    options: Mapping[str, Any] = field(default_factory=dict)
    condition: Mapping[str, Any] = field(default_factory=dict)
    then: str | None = None

    def __post_init__(self) -> None:
        if not 0 < self.weight < math.inf:
            raise ValueError(f"weight must be a number above 0, not {self.weight}")


@dataclass(frozen=True)
class ConditionSettings:
    """Where the conditions of draws come from; a name is in one of them at most.

    Attributes:
        fixed: values by name.
        rows: a table, or a data set as NAME or NAME:SPLIT: draw i takes the values of row i, and after the last row
            those of the first again.
        columns: the conditions to take from the rows; by default all of the model that are columns there.
        marginals: names that are drawn as they are distributed in the training data, each by itself.
    """

    fixed: Mapping[str, Any] = field(default_factory=dict)
    rows: str | None = None
    columns: tuple[str, ...] = ()
    marginals: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        twice = (set(self.fixed) & {*self.columns, *self.marginals}) | (set(self.columns) & set(self.marginals))
        if twice:
            raise ValueError(f"{min(twice)} is given in two ways")
        if self.columns and self.rows is None:
            raise ValueError("columns are those of rows, and no rows are given")


@dataclass(frozen=True)
class FilterSettings:
    """What an item must be to get into the set.

    Attributes:
        valid: an item of the domain at all; without it the others are rows too, with the reason.
        unique: different from all others of the set, by its canonical key.
        novel: not in these sets: `training` (what the models carry of their own data), NAME, NAME:SPLIT or a file.
        properties: name -> [lowest, highest]; null for no limit.
        contain: patterns, in the language of the domain such as SMARTS, all of which it has.
        exclude: patterns of which it has none.
        alerts: the domain's filters: `flag` writes a column for each, `drop` leaves out what fails one, `none`.
        require: single filters of the domain that it passes, whatever `alerts` says.
    """

    valid: bool = True
    unique: bool = True
    novel: tuple[str, ...] = ()
    properties: Mapping[str, Any] = field(default_factory=dict)
    contain: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    alerts: Literal["flag", "drop", "none"] = "flag"
    require: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name, limits in self.properties.items():
            if not _is_range(limits):
                raise ValueError(f"properties.{name} must be [lowest, highest] with null for no limit, not {limits!r}")

    @property
    def ranges(self) -> dict[str, tuple[float, float]]:
        """The limits of each property, infinite where there is none."""
        return {
            name: (-math.inf if low is None else float(low), math.inf if high is None else float(high))
            for name, (low, high) in self.properties.items()
        }


@dataclass(frozen=True)
class LabelSettings:
    """What is written beside each item.

    Attributes:
        properties: names of properties of the domain.
        density: the log-density of the item under its model, with what the number means.
        novelty: sets as in `filters.novel`, each with a column that says `seen`, `probably seen` or `not seen`.
        provenance: the model, the seed and the number of the draw of each row.
    """

    properties: tuple[str, ...] = ()
    density: bool = False
    novelty: tuple[str, ...] = ()
    provenance: bool = False

    def __post_init__(self) -> None:
        if len({set_name(text) for text in self.novelty}) < len(self.novelty):
            raise ValueError("novelty: two sets would have one column, because their files have one name")


@dataclass(frozen=True)
class SplitSettings:
    """How the set falls into splits.

    Attributes:
        method: `random`; `group` (or the word of the domain for it, such as `scaffold`): items of a group stay
            together; `cluster`: items that are alike stay together.
        shares: of the items in each split, by name; of groups and clusters they are what is aimed at.
        similarity: in `cluster`, the Tanimoto similarity to the centre from which on an item belongs to it.
        centres: in `cluster`, how many items are looked at for centres.
    """

    method: str = "random"
    shares: Mapping[str, float] = field(default_factory=lambda: {"train": 1.0})
    similarity: float = 0.6
    centres: int = 10_000

    def __post_init__(self) -> None:
        if not self.shares or any(not isinstance(s, int | float) or s <= 0 for s in self.shares.values()):
            raise ValueError("shares must be numbers above 0, by the name of the split")
        if abs(sum(self.shares.values()) - 1) > 1e-6:
            raise ValueError(f"shares must sum to 1, not {sum(self.shares.values()):g}")
        if bad := [name for name in self.shares if not name.replace("_", "").isalnum()]:
            raise ValueError(f"a split is named by letters and digits, not {bad[0]!r}")
        if not 0 < self.similarity <= 1 or self.centres < 1:
            raise ValueError("similarity is above 0 and at most 1, and centres at least 1")


@dataclass(frozen=True)
class ListChoice:
    """A list of what must not be in the set, or must be looked at; see `screen`.

    Attributes:
        path: the file.
        action: what is done with an item that is on it.
        sha256: what the file must have; it is recorded in any case.
    """

    path: str
    action: Literal["block", "flag"] = "block"
    sha256: str | None = None


@dataclass(frozen=True)
class ScreenSettings:
    """The lists that items are held against before they get into the set.

    Attributes:
        lists: those lists.
        flagged: whether an item that is flagged, or could not be checked, stays with its reason or is left out.
    """

    lists: tuple[ListChoice, ...] = ()
    flagged: Literal["keep", "drop"] = "keep"


@dataclass(frozen=True)
class OutputSettings:
    """How the set lies on disk.

    Attributes:
        format: `parquet`, `folder` (a file for each item and a table), `webdataset`, or what the domain writes, such
            as csv or sdf.
        shard_size: items in a file.
    """

    format: str = "parquet"
    shard_size: int = SHARD_SIZE

    def __post_init__(self) -> None:
        if self.shard_size < 1:
            raise ValueError(f"shard_size must be at least 1, not {self.shard_size}")


@dataclass(frozen=True)
class Recipe:
    """All that a data set follows from, beside the files that it names.

    Attributes:
        count: items of the set.
        model: the only model; or see `models`.
        options: of the only model's sampling.
        then: the second stage of the only model; see `ModelChoice`.
        models: a weighted mixture. The weights are those of draws: a filter that one model passes less often leaves
            fewer of its items, and the card says how many.
        title, licence: for the card.
        seed: of all randomness.
        batch_size: draws at a time.
        threads: of the model in each worker; another number may change the last digits of what is computed.
        max_draws: stop after so many draws even if too few items were accepted.
    """

    count: int
    model: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    then: str | None = None
    models: tuple[ModelChoice, ...] = ()
    title: str = ""
    licence: str = ""
    seed: int = 0
    conditions: ConditionSettings = field(default_factory=ConditionSettings)
    filters: FilterSettings = field(default_factory=FilterSettings)
    labels: LabelSettings = field(default_factory=LabelSettings)
    splits: SplitSettings = field(default_factory=SplitSettings)
    screen: ScreenSettings = field(default_factory=ScreenSettings)
    output: OutputSettings = field(default_factory=OutputSettings)
    batch_size: int = 1024
    threads: int = 1
    max_draws: int | None = None

    def __post_init__(self) -> None:
        if (self.model is None) == (not self.models):
            raise ValueError("give either model or models")
        for name in ("options", "then"):
            if getattr(self, name) and self.models:
                raise ValueError(f"{name} of a mixture: give it to each of its models")
        if min(self.count, self.batch_size, self.threads) < 1 or self.seed < 0 or (self.max_draws or 1) < 1:
            raise ValueError("count, batch_size, threads and max_draws are at least 1, and seed at least 0")
        if not self.filters.valid and self.output.format != "parquet":
            raise ValueError("rows that are no items, of filters.valid=false, are written as parquet only")

    @property
    def mixture(self) -> tuple[ModelChoice, ...]:
        """The models, whichever way they were given."""
        return self.models or (ModelChoice(str(self.model), options=self.options, then=self.then),)

    def to_json(self) -> dict[str, Any]:
        """The same as JSON values."""
        found: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(self)))
        return found


def set_name(text: str) -> str:
    """What columns and statements call a set: the name of a data set, or that of a file without its folder."""
    return Path(text).name


def recipe_from(values: Any, where: str = "recipe") -> Recipe:
    """A recipe from plain values; a wrong name or type is one line that says where and what was probably meant.

    Raises:
        UsageError: the condition itself.
    """
    if isinstance(values, Mapping) and "count" not in values:
        raise UsageError(f"{where}: count must be given")
    recipe: Recipe = _nested(Recipe, values, where)
    return recipe


def _nested(kind: Any, value: Any, where: str) -> Any:
    """A value with its mappings as the dataclasses that the type asks for."""
    if dataclasses.is_dataclass(kind):
        if not isinstance(value, Mapping):
            raise UsageError(f"{where} takes settings by name, not {value!r}")
        kinds = typing.get_type_hints(kind)
        parts = {str(name): _nested(kinds.get(name), one, f"{where}.{name}") for name, one in value.items()}
        return make_settings(typing.cast(type, kind), parts, where)
    inner = next(iter(typing.get_args(kind)), None)
    if typing.get_origin(kind) is tuple and dataclasses.is_dataclass(inner) and isinstance(value, list | tuple):
        return tuple(_nested(inner, one, f"{where}[{place}]") for place, one in enumerate(value))
    return value


def _is_range(limits: Any) -> bool:
    if not isinstance(limits, list | tuple) or len(limits) != 2:
        return False
    numbers = [limit for limit in limits if limit is not None]
    plain = all(isinstance(limit, int | float) and not isinstance(limit, bool) for limit in numbers)
    return plain and (len(numbers) < 2 or numbers[0] <= numbers[1])


def fingerprint(recipe: Recipe, facts: Mapping[str, Any]) -> str:
    """The SHA-256 of all that the items of a set follow from: the recipe, and the content of what it names.

    How the set is written, and what the card says, is no part of it.

    Args:
        recipe: the recipe.
        facts: what the files that it names hold; see `facts.gathered`.
    """
    values = recipe.to_json()
    for name in ("title", "licence", "output", "model", "models", "options", "then"):
        del values[name]
    values["models"] = [_contents(*pair) for pair in zip(recipe.mixture, facts["models"], strict=True)]
    values["references"] = {name: one["sha256"] for name, one in facts["references"].items()}
    values["lists"] = [one["sha256"] for one in facts["lists"]]
    values["conditions"]["rows"] = facts["conditions"] and facts["conditions"]["sha256"]
    del values["screen"]["lists"]
    values["actions"] = [one.action for one in recipe.screen.lists]
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def _contents(choice: ModelChoice, facts: Mapping[str, Any]) -> dict[str, Any]:
    """A model with its content for its name; one of a single stage as before there were two."""
    values = {**dataclasses.asdict(choice), "model": facts["sha256"]}
    return values | {"then": facts["then"]["sha256"]} if values.pop("then") is not None else values
