"""The latent space of a model: where items lie in it, what lies there, and what lies between two items.

A latent is a row of numbers here, those of the fields of `family.latent_space` one after the other.

Letters in shapes: N items, D numbers of a latent, B batch.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from molgen.batch import Batch, Partial, pack, separate, unpack
from molgen.data.conditions import Conditions
from molgen.data.standardise import restore
from molgen.data.statistics import Statistics
from molgen.domain import Encoder, Invalid, Item, Sample
from molgen.errors import UnsupportedSpace, UsageError
from molgen.family import Family, Generated
from molgen.model.workflow import require_items
from molgen.seeding import Rng
from molgen.space import Space, axes, variable_axes

if TYPE_CHECKING:
    from molgen.config import ModelConfig

#: What is asked for, by name: a value for all rows, or one for each.
Asked = Mapping[str, Any]
#: Below this sine of the angle between two latents no great circle is told from a line.
PARALLEL = 1e-6


class WithLatents:
    """What a model with a latent space can do beside the rest: `encode`, `decode`, `reconstruct`, `interpolate`.

    Each raises a UsageError where the family of the model has no latent space.
    """

    config: ModelConfig
    encoder: Encoder
    conditions: Conditions
    statistics: Statistics

    if TYPE_CHECKING:

        @property
        def family(self) -> Family:
            """The trained family."""

        @property
        def device(self) -> torch.device:
            """Where the weights are."""

        def _collate(self, samples: Sequence[Sample]) -> Batch: ...

        def arithmetic(self) -> AbstractContextManager[None]:
            """A context in which networks multiply as the model is asked to."""

    @property
    def latent_space(self) -> Space:
        """The fields of a latent.

        Raises:
            UsageError: the family has none.
        """
        try:
            return self.family.latent_space
        except UnsupportedSpace:
            raise UsageError(
                f"the family {self.config.family.name} has no latent space; one that has is vae, for example"
            ) from None

    @property
    def latent_width(self) -> int:
        """How many numbers a latent has, D.

        Raises:
            UsageError: the family has none, or one whose size is that of the sample.
        """
        if varying := ", ".join(variable_axes(self.latent_space)):
            raise UsageError(
                f"the latents of this model have a place for each {varying} of a sample, so they are no rows of one "
                "length; from Python, family.encode gives them as a batch"
            )
        return sum(_count(self.latent_space, name) for name in self.latent_space)

    def encode(
        self, items: Sequence[Item], *, condition: Asked | None = None, seed: int | None = None, batch_size: int = 1024
    ) -> np.ndarray:
        """The latents of items, float32 (N, D), NaN for an item that the model cannot represent.

        Args:
            items: of the domain.
            condition: what is known of the items, by name.
            seed: of draws from q(z | x); without it the latents are its means.
            batch_size: items at a time.
        """
        require_items(items)
        encoded = [self.encoder.encode(item) for item in items]
        return self.encode_of(encoded, condition=condition, seed=seed, batch_size=batch_size)

    def encode_of(
        self,
        encoded: Sequence[Sample | Invalid],
        *,
        condition: Asked | None = None,
        seed: int | None = None,
        batch_size: int = 1024,
    ) -> np.ndarray:
        """The same for what the encoder made of the items."""
        found = np.full((len(encoded), self.latent_width), np.nan, dtype=np.float32)
        for rows, latents in self._encoded(encoded, self._columns(condition, len(encoded)), seed, batch_size):
            packed = pack(self.latent_space, latents).values()
            found[rows] = torch.cat([part.values for part in packed], 1).float().cpu().numpy()
        return found

    def _encoded(
        self, encoded: Sequence[Sample | Invalid], columns: Mapping[str, np.ndarray], seed: int | None, batch_size: int
    ) -> Iterator[tuple[list[int], Batch]]:
        """The latents of what is an item, some rows at a time."""
        valid = {row: sample for row, sample in enumerate(encoded) if not isinstance(sample, Invalid)}
        # Neighbours of one size pad least.
        ranked = sorted(valid, key=lambda row: sum(int(np.size(array)) for array in valid[row].values()))
        for rows in _portions(ranked, batch_size):
            batch = self._collate([valid[row] for row in rows]).to(self.device)
            rng = None if seed is None else Rng(seed, rows)
            with self.arithmetic():
                latents = self.family.encode(batch, self._given(columns, rows), rng)
            yield rows, latents

    def decode(
        self,
        latents: np.ndarray,
        *,
        condition: Asked | None = None,
        seed: int | None = None,
        sizes: Mapping[str, Any] | None = None,
        batch_size: int = 1024,
        **options: Any,
    ) -> list[Item | Invalid]:
        """The items that latents stand for, one for each row.

        Args:
            latents: (N, D), as `encode` gives them; a row with NaN stands for nothing.
            condition: what is asked for, by name.
            seed: of draws from p(x | z); without it every choice is the likeliest.
            sizes: of variable axes by name, a number for all rows or one for each; chosen by the model where absent.
            batch_size: rows at a time.
            **options: of the family, such as temperature.

        Raises:
            UsageError: rows of another length than latents have here.
        """
        latents = self._checked(latents)
        columns, wanted = self._columns(condition, len(latents)), _spread(sizes or {}, len(latents))
        found: list[Item | Invalid] = [Invalid("there is no latent")] * len(latents)
        for rows in _portions(np.flatnonzero(np.isfinite(latents).all(1)).tolist(), batch_size):
            with self.arithmetic():
                generated = self.family.decode(
                    _unpacked(self.latent_space, torch.from_numpy(latents[rows])).to(self.device),
                    self._given(columns, rows),
                    None if seed is None else Rng(seed, rows),
                    {name: torch.from_numpy(values[rows]).to(self.device) for name, values in wanted.items()} or None,
                    **options,
                )
            for row, item in zip(rows, self._items(generated), strict=True):
                found[row] = item
        return found

    def _items(self, generated: Generated) -> Iterator[Item | Invalid]:
        batch = restore(self.encoder.space, self.statistics, generated.batch)
        return map(self.encoder.decode, separate(self.encoder.space, batch))

    def reconstruct(
        self, items: Sequence[Item], *, condition: Asked | None = None, batch_size: int = 1024
    ) -> list[Item | Invalid]:
        """What comes back of items through the means of their latents, each choice the likeliest."""
        require_items(items)
        encoded = [self.encoder.encode(item) for item in items]
        return self.reconstruct_of(encoded, condition=condition, batch_size=batch_size)

    def reconstruct_of(
        self, encoded: Sequence[Sample | Invalid], *, condition: Asked | None = None, batch_size: int = 1024
    ) -> list[Item | Invalid]:
        """The same for what the encoder made of the items, whatever the size of their latents."""
        _ = self.latent_space  # says now that there is none
        found: list[Item | Invalid] = list(encoded)
        columns = self._columns(condition, len(encoded))
        for rows, latents in self._encoded(encoded, columns, None, batch_size):
            with self.arithmetic():
                generated = self.family.decode(latents, self._given(columns, rows))
            for row, item in zip(rows, self._items(generated), strict=True):
                found[row] = item
        return found

    def interpolate(
        self,
        first: Item,
        last: Item,
        steps: int,
        *,
        condition: Asked | None = None,
        seed: int | None = None,
        **options: Any,
    ) -> list[Item | Invalid]:
        """Items on the way from one to another through the latent space, both ends among them; see `spherical`.

        Args:
            first, last: items of the domain; at their ends of the way is what comes back of them.
            steps: how many items, at least 2.
            condition: what is asked for, by name.
            seed: of draws from p(x | z); without it every choice is the likeliest.
            **options: of the family.

        Raises:
            UsageError: an end that the model cannot represent, or fewer than two steps.
        """
        if steps < 2:
            raise UsageError(f"a way from one item to another has at least 2 steps, not {steps}")
        encoded = [self.encoder.encode(item) for item in (first, last)]
        for item, sample in zip((first, last), encoded, strict=True):
            if isinstance(sample, Invalid):
                raise UsageError(f"{item!r}: {sample.reason}")
        ends = self.encode_of(encoded, condition=condition)
        way = spherical(ends[0], ends[1], np.linspace(0, 1, steps))
        return self.decode(way, condition=condition, seed=seed, **options)

    def _columns(self, condition: Asked | None, rows: int) -> dict[str, np.ndarray]:
        return _spread(self.conditions.numbers(condition or {}), rows)

    def _given(self, columns: Mapping[str, np.ndarray], rows: list[int]) -> Partial | None:
        given = self.conditions.encode({name: values[rows] for name, values in columns.items()}, len(rows))
        return given.to(self.device) if given is not None else None

    def _checked(self, latents: np.ndarray) -> np.ndarray:
        latents, width = np.asarray(latents, dtype=np.float32), self.latent_width
        if latents.ndim != 2 or latents.shape[1] != width:
            raise UsageError(f"latents of this model are rows of {width} numbers, not of the shape {latents.shape}")
        return latents


def spherical(first: np.ndarray, last: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """Latents on the way between two, (D,) each, at the given shares of it, (N,), to (N, D).

    Directions turn evenly along the great circle (Shoemake, SIGGRAPH 1985), lengths change evenly. A straight line
    would pass nearer to the origin than almost all of a standard normal distribution in many dimensions lies, where
    nothing was learned (White, arXiv 1609.04468). Where there is no great circle, the line is what is left.
    """
    one, other = first.astype(np.float64), last.astype(np.float64)
    lengths = np.linalg.norm(one), np.linalg.norm(other)
    t = np.asarray(shares, dtype=np.float64)[:, None]
    if min(lengths) == 0:
        return ((1 - t) * one + t * other).astype(np.float32)
    angle = np.arccos(np.clip(one @ other / (lengths[0] * lengths[1]), -1, 1))
    if np.sin(angle) < PARALLEL:
        return ((1 - t) * one + t * other).astype(np.float32)
    turned = np.sin((1 - t) * angle) * one / lengths[0] + np.sin(t * angle) * other / lengths[1]
    length = (1 - t) * lengths[0] + t * lengths[1]
    return (length * turned / np.sin(angle)).astype(np.float32)


def _count(space: Space, name: str) -> int:
    """How many numbers a field over fixed axes has."""
    field = space[name]
    return prod(axis.maximum for axis in field.axes) * prod(field.channels_shape)


def _unpacked(space: Space, rows: Tensor) -> Batch:
    parts = rows.split([_count(space, name) for name in space], dim=1)
    lengths = {name: axis.maximum for name, axis in axes(space).items()}
    return unpack(space, dict(zip(space, parts, strict=True)), {}, lengths)


def _spread(values: Mapping[str, Any], rows: int) -> dict[str, np.ndarray]:
    """A value for each row, where one for all may be given."""
    return {name: np.broadcast_to(value, rows) for name, value in values.items()}


def _portions(rows: list[int], size: int) -> Iterator[list[int]]:
    for start in range(0, len(rows), size):
        yield rows[start : start + size]
