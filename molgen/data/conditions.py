"""Conditions: named numbers and classes that a model can be asked for, with gaps.

Letters in shapes: B batch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from molgen.batch import Batch, Partial
from molgen.errors import UsageError
from molgen.seeding import Rng
from molgen.space import Categorical, Real, Space

#: Classes that a message names.
SHOWN = 12
#: Values that stand for the distribution of a number in the training data.
QUANTILES = 256


@dataclass(frozen=True)
class Conditions:
    """What a model is conditioned on: numbers, standardised by their training values, and classes.

    Attributes:
        names: of all conditions.
        means, scales: of the training values of each; 0 and 1 for classes.
        classes: the names of the classes of each condition that is no number.
        ranges: the smallest and the largest training value of each number; models of earlier versions have none.
        marginals: how each is distributed in the training data: of a number `QUANTILES` values, equally likely, of
            classes the share of each; models of earlier versions have none.
    """

    names: tuple[str, ...] = ()
    means: tuple[float, ...] = ()
    scales: tuple[float, ...] = ()
    classes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    ranges: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    marginals: Mapping[str, tuple[float, ...]] = field(default_factory=dict)

    @classmethod
    def fit(cls, columns: Mapping[str, np.ndarray], classes: Mapping[str, tuple[str, ...]] | None = None) -> Conditions:
        """Means and scales of training columns, (R,) each with NaN where absent; class numbers have neither.

        Raises:
            UsageError: a column has no value at all.
        """
        known = {name: names for name, names in (classes or {}).items() if name in columns}
        for name, values in columns.items():
            if not np.isfinite(values).any():
                what = "class" if name in known else "number"
                raise UsageError(f"the condition {name!r} has no {what} in the training data")
        finite = {name: values[np.isfinite(values)] for name, values in columns.items()}
        return cls(
            tuple(finite),
            tuple(0.0 if name in known else float(values.mean()) for name, values in finite.items()),
            tuple(1.0 if name in known else _scale(values) for name, values in finite.items()),
            known,
            {name: (float(v.min()), float(v.max())) for name, v in finite.items() if name not in known},
            {name: _shares(v, known[name]) if name in known else _quantiles(v) for name, v in finite.items()},
        )

    @property
    def space(self) -> Space:
        """One axis-free field per name, real or categorical."""
        return {
            name: Categorical(classes=len(self.classes[name])) if name in self.classes else Real()
            for name in self.names
        }

    def joined(self, others: Conditions) -> Conditions:
        """These and others, whose names are different."""
        return Conditions(
            (*self.names, *others.names),
            (*self.means, *others.means),
            (*self.scales, *others.scales),
            {**self.classes, **others.classes},
            {**self.ranges, **others.ranges},
            {**self.marginals, **others.marginals},
        )

    def only(self, names: Sequence[str]) -> Conditions:
        """Those of them that have one of the names."""
        kept = [place for place, name in enumerate(self.names) if name in names]
        return Conditions(
            tuple(self.names[place] for place in kept),
            tuple(self.means[place] for place in kept),
            tuple(self.scales[place] for place in kept),
            {name: classes for name, classes in self.classes.items() if name in names},
            {name: limits for name, limits in self.ranges.items() if name in names},
            {name: values for name, values in self.marginals.items() if name in names},
        )

    def drawn(self, names: Sequence[str], rng: Rng) -> dict[str, np.ndarray]:
        """Values as the training data have them, each condition by itself: numbers or names of classes, (B,) each.

        Raises:
            UsageError: the model does not have such a condition, or was saved before distributions were kept.
        """
        self._require_known(dict.fromkeys(names))
        if missing := [name for name in names if name not in self.marginals]:
            raise UsageError(
                f"the model does not say how {missing[0]} is distributed in its training data, because an earlier "
                "version made it; take the values from the rows of a file or a data set"
            )
        return {name: self._drawn(name, rng.uniform(f"marginal {name}").numpy()) for name in names}

    def _drawn(self, name: str, uniform: np.ndarray) -> np.ndarray:
        values = np.array(self.marginals[name])
        if name not in self.classes:
            return values[(uniform * len(values)).astype(np.int64)]
        passed = np.cumsum(values)
        return np.array(self.classes[name])[np.searchsorted(passed, uniform * passed[-1], side="right")]

    def numbers(self, asked: Mapping[str, Any]) -> dict[str, np.ndarray]:
        """What a user asks for as numbers: those as they are, classes by their place among the known ones.

        Args:
            asked: a value for all rows, or one for each, by name; numbers may be written as text.

        Raises:
            UsageError: a name or a class that the model was not trained on, no number, or one that is not finite;
                only NaN among the values for single rows says that one is not given.
        """
        self._require_known(asked)
        return {name: self._column(name, np.asarray(values)) for name, values in asked.items()}

    def _column(self, name: str, values: np.ndarray) -> np.ndarray:
        if name not in self.classes:
            try:
                numbers = values.astype(np.float64)
            except ValueError:
                raise UsageError(f"the condition {name} takes a number, not {str(values)!r}") from None
            if np.isinf(numbers).any() or (numbers.ndim == 0 and np.isnan(numbers)):
                raise UsageError(f"the condition {name} takes a finite number, not {str(values)!r}")
            return numbers
        return np.vectorize(lambda value: self._class(name, value), otypes=[np.float64])(values)

    def outside(self, asked: Mapping[str, Any]) -> list[str]:
        """A line for each number that is beyond what the model was trained on, where it cannot be trusted."""
        found = []
        for name, values in self.numbers(asked).items():
            low, high = self.ranges.get(name, (-np.inf, np.inf))
            if (np.nan_to_num(values, nan=low) < low).any() or (np.nan_to_num(values, nan=high) > high).any():
                found.append(
                    f"the condition {name}={asked[name]} is outside of what the model was trained on, "
                    f"{low:g} to {high:g}"
                )
        return found

    def _class(self, name: str, value: Any) -> float:
        text = f"{value:g}" if isinstance(value, float) else str(value)
        if text not in self.classes[name]:
            known = ", ".join(self.classes[name][:SHOWN]) + ", ..." * (len(self.classes[name]) > SHOWN)
            raise UsageError(f"the condition {name} has no class {text!r}; it has {known}")
        return float(self.classes[name].index(text))

    def encode(self, columns: Mapping[str, Any], rows: int) -> Partial | None:
        """Columns of numbers, (B,) each or one number for all rows, NaN where not given; see `numbers` for classes.

        Raises:
            UsageError: a name that the model was not trained on.
        """
        self._require_known(columns)
        if not self.names:
            return None
        values, given = {}, {}
        for name, mean, scale in zip(self.names, self.means, self.scales, strict=True):
            raw = np.broadcast_to(np.asarray(columns.get(name, np.nan), dtype=np.float64), (rows,))
            finite = np.isfinite(raw)
            tensor = torch.from_numpy(np.where(finite, (raw - mean) / scale, 0.0))
            given[name] = torch.from_numpy(finite)
            values[name] = tensor.long() if name in self.classes else tensor.float()
        return Partial(Batch(values, {}), given)

    def _require_known(self, columns: Mapping[str, Any]) -> None:
        if unknown := [name for name in columns if name not in self.names]:
            raise UsageError(
                f"this model has no condition {', '.join(unknown)}; it has {', '.join(self.names) or 'none'}"
            )

    def to_json(self) -> dict[str, Any]:
        """The same as JSON values."""
        found: dict[str, Any] = {"names": list(self.names), "means": list(self.means), "scales": list(self.scales)}
        found["ranges"] = {name: list(limits) for name, limits in self.ranges.items()}
        found["marginals"] = {name: list(values) for name, values in self.marginals.items()}
        return found | {"classes": {name: list(names) for name, names in self.classes.items()}}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Conditions:
        """What `to_json` gave; models of earlier versions have no classes or no ranges."""
        classes = {str(name): tuple(map(str, names)) for name, names in data.get("classes", {}).items()}
        ranges = {str(name): (float(low), float(high)) for name, (low, high) in data.get("ranges", {}).items()}
        marginals = {str(name): tuple(map(float, values)) for name, values in data.get("marginals", {}).items()}
        means, scales = tuple(map(float, data["means"])), tuple(map(float, data["scales"]))
        return cls(tuple(data["names"]), means, scales, classes, ranges, marginals)


def _scale(values: np.ndarray) -> float:
    """The standard deviation, 1 where it is nothing but rounding."""
    deviation = float(values.std())
    return deviation if deviation > 1e-12 * float(np.abs(values).max()) else 1.0


def _quantiles(values: np.ndarray) -> tuple[float, ...]:
    """Training values that are equally likely, smallest first."""
    places = (np.arange(QUANTILES) + 0.5) / QUANTILES
    return tuple(np.quantile(values, places, method="inverted_cdf").tolist())


def _shares(values: np.ndarray, names: Sequence[str]) -> tuple[float, ...]:
    return tuple((np.bincount(values.astype(np.int64), minlength=len(names)) / len(values)).tolist())


def drop_at_random(condition: Partial | None, probability: float, rng: Rng, step: int) -> Partial | None:
    """Hide each condition of each row, at all its places, with a probability, so that a model learns to do without."""
    if condition is None or probability == 0:
        return condition
    given = {}
    for name, mask in condition.given.items():
        kept = ~rng.bernoulli(probability, f"drop {name}", step).to(mask.device)
        given[name] = mask & kept.reshape(-1, *(1 for _ in mask.shape[1:]))
    return Partial(condition.batch, given)
