"""Whether a draw gets into the set, and what is written beside it: filters, lists and labels of a recipe."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from molgen.data.bloom import BloomFilter
from molgen.data.keys import KeyIndex, digest
from molgen.domain import Domain
from molgen.inference.generate import Row
from molgen.workers.inspector import Inspection, Inspector
from molgen_datasets.synthetic.recipe import TRAINING, Recipe, set_name
from molgen_datasets.synthetic.screen import BLOCK, FLAG, Screen

SEEN, PROBABLY_SEEN, NOT_SEEN = "seen", "probably seen", "not seen"

#: The keys that a model carries of its training data, by the name of the data.
Carried = Mapping[str, BloomFilter]


@dataclass
class Tally:
    """What became of draws.

    Attributes:
        drawn: how many there were.
        valid: how many are items.
        accepted: how many may be rows, as far as that can be said of each alone.
        failed: how many items each filter refused, by its name; one item may fail several.
        screened: how many items the lists let pass, flagged and blocked.
        models: how many accepted items each model gave, by its place in the mixture.
    """

    drawn: int = 0
    valid: int = 0
    accepted: int = 0
    failed: Counter[str] = field(default_factory=Counter)
    screened: Counter[str] = field(default_factory=Counter)
    models: Counter[str] = field(default_factory=Counter)

    def add(self, other: Mapping[str, Any]) -> None:
        """Add what `to_json` gave of others."""
        self.drawn += other["drawn"]
        self.valid += other["valid"]
        self.accepted += other["accepted"]
        self.failed.update(other["failed"])
        self.screened.update(other["screened"])
        self.models.update(other["models"])

    def to_json(self) -> dict[str, Any]:
        """The same as JSON values."""
        return {
            "drawn": self.drawn,
            "valid": self.valid,
            "accepted": self.accepted,
            "failed": dict(sorted(self.failed.items())),
            "screened": dict(sorted(self.screened.items())),
            "models": dict(sorted(self.models.items())),
        }


class Judge:
    """The filters, lists and labels of a recipe, for rows of one domain.

    Args:
        recipe: what is asked for.
        domain: what the items are.
        references: the sets of novelty by name, those of the models' own data excepted.
        screen: the lists.
    """

    def __init__(self, recipe: Recipe, domain: Domain, references: Mapping[str, KeyIndex], screen: Screen) -> None:
        self._recipe, self._filters, self._domain = recipe, recipe.filters, domain
        self._references, self._screen = references, screen
        self._ranges = recipe.filters.ranges

    # --- what has to be found of each item --------------------------------------------------------

    @property
    def properties(self) -> list[str]:
        """The properties that filters or labels read."""
        return list(dict.fromkeys([*self._recipe.labels.properties, *self._ranges]))

    @property
    def rules(self) -> list[str]:
        """The domain's filters that become columns."""
        return list(self._domain.descriptors().filters) if self._filters.alerts != "none" else []

    def inspector(self, processes: int) -> Inspector:
        """What finds all that filters and labels read."""
        settings, filters = self._recipe.splits.method, self._filters
        features = [*self._screen.features(self._domain), *split_features(settings, self._domain)]
        patterns = list(dict.fromkeys([*filters.contain, *filters.exclude, *self._screen.patterns]))
        ruled = bool(self.rules or filters.require)
        return Inspector(self._domain, self.properties, ruled, processes, features, patterns)

    # --- judging ----------------------------------------------------------------------------------

    def __call__(self, row: Row, carried: Carried, tally: Tally) -> dict[str, Any] | None:
        """The columns of a row beside its item, or None where it does not get into the set; the tally is kept.

        Args:
            row: a draw that the domain has inspected.
            carried: what its model carries of its training data.
            tally: of the part.
        """
        tally.drawn += 1
        if row.item is None:
            tally.accepted += not self._filters.valid
            return None if self._filters.valid else {}
        tally.valid += 1
        key = digest(self._domain.key(row.item))
        seen = {name: self._seen(name, key, row, carried) for name in self._sets}
        failed = self._failed(row.inspection, seen)
        verdict = self._screen.verdict(row.item, row.inspection, self._domain)
        if verdict is not None:
            tally.screened[verdict.outcome] += 1
            if verdict.outcome == BLOCK or (verdict.outcome == FLAG and self._recipe.screen.flagged == "drop"):
                failed.append("screen")
        tally.failed.update(failed)
        if failed:
            return None
        tally.accepted += 1
        found: dict[str, Any] = {f"passes_{name}": row.inspection.flags.get(name) for name in self.rules}
        found |= {f"novelty_{set_name(name)}": seen[name] for name in self._recipe.labels.novelty}
        return found | (verdict.columns() if verdict is not None else {}) | {"_key": key}

    @property
    def _sets(self) -> dict[str, None]:
        return dict.fromkeys([*self._filters.novel, *self._recipe.labels.novelty])

    def _seen(self, name: str, key: bytes, row: Row, carried: Carried) -> str:
        if name != TRAINING:
            return SEEN if self._references[name].has(key) else NOT_SEEN
        text = self._domain.key(row.item)
        return PROBABLY_SEEN if any(text in known for known in carried.values()) else NOT_SEEN

    def _failed(self, found: Inspection, seen: Mapping[str, str]) -> list[str]:
        """The names of the filters that refuse an item; what cannot be computed is within no limits."""
        filters = self._filters
        required = [*(self.rules if filters.alerts == "drop" else ()), *filters.require]
        return [
            *(name for name, limits in self._ranges.items() if not _within(found.properties.get(name), limits)),
            *(f"contain {text}" for text in filters.contain if not found.matches.get(text, False)),
            *(f"exclude {text}" for text in filters.exclude if found.matches.get(text, True)),
            *(f"filter {name}" for name in dict.fromkeys(required) if not found.flags.get(name, False)),
            *(f"novel {name}" for name in filters.novel if seen[name] != NOT_SEEN),
        ]


def _within(value: float | None, limits: tuple[float, float]) -> bool:
    return value is not None and math.isfinite(value) and limits[0] <= value <= limits[1]


def filter_names(recipe: Recipe, rules: Sequence[str]) -> list[str]:
    """The names of all filters of a recipe, in the order in which reports have them."""
    filters = recipe.filters
    required = [*(rules if filters.alerts == "drop" else ()), *filters.require]
    return [
        *filters.ranges,
        *(f"contain {text}" for text in filters.contain),
        *(f"exclude {text}" for text in filters.exclude),
        *(f"filter {name}" for name in dict.fromkeys(required)),
        *(f"novel {name}" for name in filters.novel),
        *(["screen"] if recipe.screen.lists else ()),
    ]


def split_features(method: str, domain: Domain) -> list[str]:
    """The features of the domain that a method of splitting reads."""
    names: Mapping[str, Callable[[], str | None]] = {
        "group": lambda: domain.group_feature,
        domain.group_words[0]: lambda: domain.group_feature,
        "cluster": lambda: domain.bits_feature,
    }
    feature = names[method]() if method in names else None
    return [feature] if feature else []
