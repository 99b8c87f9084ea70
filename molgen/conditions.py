"""Conditions: named numbers that a model can be asked for, standardised, with gaps.

Letters in shapes: B batch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from molgen.batch import Batch, Partial
from molgen.errors import UsageError
from molgen.seeding import Rng
from molgen.space import Real, Space


@dataclass(frozen=True)
class Conditions:
    """The numbers a model is conditioned on, each with the mean and scale of its training values."""

    names: tuple[str, ...] = ()
    means: tuple[float, ...] = ()
    scales: tuple[float, ...] = ()

    @classmethod
    def fit(cls, columns: Mapping[str, np.ndarray]) -> Conditions:
        """Means and scales of training columns, (R,) each with NaN where absent.

        Raises:
            UsageError: a column has no number at all.
        """
        for name, values in columns.items():
            if not np.isfinite(values).any():
                raise UsageError(f"the condition {name!r} has no number in the training data")
        finite = {name: values[np.isfinite(values)] for name, values in columns.items()}
        return cls(
            tuple(finite),
            tuple(float(values.mean()) for values in finite.values()),
            tuple(_scale(values) for values in finite.values()),
        )

    @property
    def space(self) -> Space:
        """One axis-free real field per name."""
        return {name: Real() for name in self.names}

    def encode(self, columns: Mapping[str, Any], rows: int) -> Partial | None:
        """Columns of numbers, (B,) each or one number for all rows, NaN where not given.

        Raises:
            UsageError: a name that the model was not trained on.
        """
        if unknown := [name for name in columns if name not in self.names]:
            raise UsageError(
                f"this model has no condition {', '.join(unknown)}; it has {', '.join(self.names) or 'none'}"
            )
        if not self.names:
            return None
        values, given = {}, {}
        for name, mean, scale in zip(self.names, self.means, self.scales, strict=True):
            raw = np.broadcast_to(np.asarray(columns.get(name, np.nan), dtype=np.float64), (rows,))
            finite = np.isfinite(raw)
            given[name] = torch.from_numpy(finite)
            values[name] = torch.from_numpy(np.where(finite, (raw - mean) / scale, 0.0)).float()
        return Partial(Batch(values, {}), given)

    def to_json(self) -> dict[str, Any]:
        """The same as JSON values."""
        return {"names": list(self.names), "means": list(self.means), "scales": list(self.scales)}

    @classmethod
    def from_json(cls, data: Mapping[str, Sequence[Any]]) -> Conditions:
        """What `to_json` gave."""
        return cls(tuple(data["names"]), tuple(data["means"]), tuple(data["scales"]))


def _scale(values: np.ndarray) -> float:
    """The standard deviation, 1 where it is nothing but rounding."""
    deviation = float(values.std())
    return deviation if deviation > 1e-12 * float(np.abs(values).max()) else 1.0


def drop_at_random(condition: Partial | None, probability: float, rng: Rng, step: int) -> Partial | None:
    """Hide each condition of each row with a probability, so that a model learns to do without it."""
    if condition is None or probability == 0:
        return condition
    given = {
        name: mask & ~rng.bernoulli(probability, f"drop {name}", step).to(mask.device)
        for name, mask in condition.given.items()
    }
    return Partial(condition.batch, given)
