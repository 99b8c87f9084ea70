"""What a model generates and how likely it takes items to be: raw samples and log-densities, batch by batch.

Letters in shapes: B batch.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from molgen.batch import Batch, Partial, collate, field_mask, separate
from molgen.data.conditions import Conditions
from molgen.data.standardise import log_abs_det, restore, standardise
from molgen.data.statistics import Statistics
from molgen.domain import Domain, Encoder, Invalid, Item, KnownPart, Sample
from molgen.errors import UsageError
from molgen.family import Density, Family, LogDensity
from molgen.inference.pictures import as_html
from molgen.model.filling import Fill, around
from molgen.model.precision import multiplying_in
from molgen.seeding import Rng, content_key

T = TypeVar("T")

#: The most draws of given items at a time: those of like size together, because padding costs as much as elements.
PIECE = 128
#: What a log-density is a sum of, in nats with what each number means, by name.
Parts = Mapping[str, tuple[float, Density | None]]


@dataclass(frozen=True)
class RawSample:
    """One sample: its number, what it decodes to, and the log-density of `sample`, which it was decoded from.

    The sample of an item that could not be given to the model is empty.
    """

    index: int
    item: Item | Invalid
    log_density: float
    kind: Density | None
    sample: Sample
    domain: Domain | None = field(default=None, repr=False, compare=False)
    parts: Parts = field(default_factory=dict)

    def _repr_html_(self) -> str | None:
        return as_html(self.domain, [self.item]) if self.domain is not None else None


@dataclass(frozen=True)
class Scored:
    """log p of an item in nats, NaN where the model cannot represent it, with the reason; its elements are counted."""

    log_density: float
    kind: Density | None
    error: str | None = None
    elements: int = 0
    parts: Parts = field(default_factory=dict)


class WithSamples:
    """What every model can do: `sample`, `sample_batch`, `log_density_of`."""

    encoder: Encoder
    conditions: Conditions
    statistics: Statistics
    #: how networks multiply, see `precision.PRECISIONS`; densities are those of a network that multiplies so.
    precision: str = "float32"
    #: what a log-density is a sum of, by name; nothing where it is one number.
    density_parts: tuple[str, ...] = ()

    if TYPE_CHECKING:

        @property
        def domain(self) -> Domain:
            """A domain object that knows the items of this model."""

        @property
        def family(self) -> Family:
            """The trained family."""

        @property
        def device(self) -> torch.device:
            """Where the weights are."""

    def arithmetic(self) -> AbstractContextManager[None]:
        """A context in which networks multiply as `precision` says.

        Raises:
            UsageError: there is no such precision.
        """
        return multiplying_in(self.precision, self.family, self.device)

    # --- generating -------------------------------------------------------------------------------

    def sample(
        self,
        count: int,
        *,
        seed: int = 0,
        first: int = 0,
        batch_size: int = 1024,
        condition: Mapping[str, Any] | None = None,
        known: Item | KnownPart | Partial | None = None,
        fill: Fill | None = None,
        given: Sequence[Item | Invalid] | None = None,
        **options: Any,
    ) -> Iterator[RawSample]:
        """Draw items one after the other, made in batches; the same seed gives the same items.

        Args:
            count: how many raw draws; a draw may turn out to be `Invalid`.
            seed: of all randomness; draw number i depends on (seed, i) alone.
            first: the number of the first draw, to go on where an earlier call ended.
            batch_size: draws at a time; halved when memory runs out.
            condition: what is asked for, by name: a value for all draws, or one for each.
            known: what every sample has, as `Encoder.known_part` reads it, or gives it, or as a `Partial` of one row.
            fill: the part of the known item that is drawn anew, where it is not the whole that is kept: ranges along
                directions that the encoder names (`Encoder.extents`), such as `{"time": [(0.2, 0.3)]}`.
            given: of a model that draws some fields of an item: the items that have the others, one for each draw. A
                draw of what has not is `Invalid`, with the reason.
            **options: of the family, such as temperature, top_k and top_p.

        Raises:
            UsageError: items are given to a model that draws whole ones.
        """
        rng = Rng(seed, range(first, first + count))
        known = around(self.encoder, known, fill) if fill else known
        return self.draws(rng, batch_size=batch_size, condition=condition, known=known, given=given, **options)

    def draws(
        self,
        rng: Rng,
        *,
        batch_size: int = 1024,
        condition: Mapping[str, Any] | None = None,
        known: Item | KnownPart | Partial | None = None,
        given: Sequence[Item | Invalid] | None = None,
        **options: Any,
    ) -> Iterator[RawSample]:
        """A draw for each row of a generator, which has its number; see `sample`."""
        asked, start = self.conditions.numbers(condition or {}), 0
        while start < len(rng):
            size = min(batch_size, len(rng) - start)
            rows = slice(start, start + size)
            here = {name: values[rows] if values.ndim else values for name, values in asked.items()}
            try:
                if given is None:
                    drawn = self._draw(rng.take(rows), here, known, options)
                else:
                    drawn = self._draw_given(rng.take(rows), here, given[rows], options)
            except (MemoryError, RuntimeError) as error:
                if not _out_of_memory(error) or batch_size == 1:
                    raise
                batch_size = max(1, size // 2)
                continue
            yield from drawn
            start += size

    def _draw_given(
        self, rng: Rng, condition: Mapping[str, Any], items: Sequence[Item | Invalid], options: Mapping[str, Any]
    ) -> list[RawSample]:
        """Draws of what has the given fields, and `Invalid` ones of all else, in order."""
        encoded = self._given_fields(items)
        found = {
            row: RawSample(int(rng.items[row]), one, math.nan, None, {})
            for row, one in enumerate(encoded)
            if isinstance(one, Invalid)
        }
        fields = {row: one for row, one in enumerate(encoded) if not isinstance(one, Invalid)}
        for rows in _pieces(fields, PIECE):
            here = {name: values[rows] if values.ndim else values for name, values in condition.items()}
            given = self._given_part([fields[row] for row in rows])
            found |= zip(rows, self._draw(rng.take(np.array(rows)), here, given, options), strict=True)
        return [found[row] for row in range(len(encoded))]

    def _draw(self, rng: Rng, condition: Mapping[str, Any], known: Any, options: Mapping[str, Any]) -> list[RawSample]:
        items = rng.items.tolist()
        asked = self.conditions.encode(condition, len(items))
        with self.arithmetic():
            generated = self.family.sample(
                len(items),
                condition=asked.to(self.device) if asked else None,
                rng=rng,
                known=self._known(known, rng, asked, options),
                sizes=self._sizes(known, len(items)),
                **options,
            )
        density, space = generated.log_density, self.encoder.space
        values = self._in_user_units(density, generated.batch) if density else [math.nan] * len(items)
        samples = separate(space, restore(space, self.statistics, generated.batch))
        kind, domain = density.kind if density else None, self.domain
        return [
            RawSample(index, self.encoder.decode(sample), value, kind, sample, domain)
            for index, sample, value in zip(items, samples, values, strict=True)
        ]

    def sample_batch(
        self,
        count: int,
        *,
        seed: int = 0,
        condition: Mapping[str, float | str] | None = None,
        known: Item | KnownPart | Partial | None = None,
        fill: Fill | None = None,
        **options: Any,
    ) -> Batch:
        """Samples as the tensors of `encoder.space` with their sizes, in the units of the encoder, undecoded.

        Example:
            >>> from molgen import GenerativeModel
            >>> batch = GenerativeModel.load("moses").sample_batch(4, seed=0)
            >>> {name: tensor.shape[0] for name, tensor in batch.fields.items()}
            {'tokens': 4}

        Args:
            count: rows, all at once.
            seed: of all randomness; row i is that of sample i.
            condition: what is asked for, by name.
            known: what every sample has.
            fill: the part of the known item that is drawn anew.
            **options: of the family.
        """
        known = around(self.encoder, known, fill) if fill else known
        asked = self.conditions.encode(self.conditions.numbers(condition or {}), count)
        given = asked.to(self.device) if asked else None
        rng = Rng(seed, range(count))
        with self.arithmetic():
            kept = self._known(known, rng, asked, options)
            generated = self.family.sample(count, given, rng, kept, self._sizes(known, count), **options)
        return restore(self.encoder.space, self.statistics, generated.batch)

    def _known(
        self,
        known: Item | KnownPart | Partial | None,
        rng: Rng,
        condition: Partial | None,
        options: Mapping[str, Any],
    ) -> Partial | None:
        """What each row of a batch has, one of the ways to have the known part where there are several."""
        plain = torch.zeros(len(rng), dtype=torch.long)
        if known is None or (isinstance(known, Partial) and len(known) == len(rng)):
            return known
        if isinstance(known, Partial):
            return known.take(plain)
        if self.family.given and not isinstance(known, KnownPart):
            return self._given_part([self._possible(known, one) for one in self._given_fields([known])]).take(plain)
        part = known if isinstance(known, KnownPart) else self._possible(known, self.encoder.known_part(known))
        batch = self._collate(part.ways or [part.sample])
        given = {name: field_mask(self.encoder.space, batch, name) for name in batch.fields}
        given |= {name: torch.as_tensor(mask)[None].expand(given[name].shape) for name, mask in part.given.items()}
        closed = {name: torch.as_tensor(mask)[None].expand(len(batch), -1) for name, mask in part.closed.items()}
        ways = Partial(batch, given, closed)
        return ways.take(self._ways_drawn(ways, rng, condition, options) if len(batch) > 1 else plain)

    def _sizes(self, known: Any, rows: int) -> dict[str, Tensor] | None:
        """The sizes of all rows, where the known part says them."""
        found = known.sizes if isinstance(known, KnownPart) else {}
        return {name: torch.full((rows,), size, device=self.device) for name, size in found.items()} or None

    def _possible(self, known: Item, found: T | Invalid) -> T:
        """What of samples a known item says.

        Raises:
            UsageError: it says nothing.
        """
        if isinstance(found, Invalid):
            raise UsageError(f"the known part {known!r}: {found.reason}")
        return found

    def _given_fields(self, items: Sequence[Item | Invalid]) -> list[Sample | Invalid]:
        """The given fields of items, each item encoded once.

        Raises:
            UsageError: the model draws whole items.
        """
        names = self.family.given
        if not names:
            raise UsageError("this model draws whole items, and nothing of them can be given")
        once = {id(item): item for item in items}
        found = {
            key: one if isinstance(one, Invalid) else self.encoder.encode_fields(one, names)
            for key, one in once.items()
        }
        return [found[id(item)] for item in items]

    def _given_part(self, fields: Sequence[Sample]) -> Partial:
        """The given fields of some samples as their known part, a row for each."""
        space = {name: self.encoder.space[name] for name in self.family.given}
        batch = standardise(space, self.statistics, collate(space, fields))
        return Partial(batch, {name: field_mask(space, batch, name) for name in space})

    def _ways_drawn(self, ways: Partial, rng: Rng, condition: Partial | None, options: Mapping[str, Any]) -> Tensor:
        """Which of the ways each row takes, (B,): each as often as draws begin with it; the first if none is known."""
        # What is asked for is the same in all rows.
        asked = condition.take(torch.zeros(len(ways.batch), dtype=torch.long)) if condition else None
        log_p = self.family.log_known(ways, asked.to(self.device) if asked else None, **options)
        if log_p is None or bool(log_p.isneginf().all()):
            return torch.zeros(len(rng), dtype=torch.long)
        likely = torch.softmax(log_p, 0).cpu().expand(len(rng), -1)
        return rng.categorical(likely, "way")

    # --- scoring ----------------------------------------------------------------------------------

    def log_density_of(
        self,
        encoded: Sequence[Sample | Invalid],
        *,
        batch_size: int = 1024,
        condition: Mapping[str, Any] | None = None,
        seed: int = 0,
        **options: Any,
    ) -> list[Scored]:
        """log p of what the encoder made of items, in nats and in their order; see `log_density`."""
        scored = [Scored(math.nan, None, s.reason) if isinstance(s, Invalid) else None for s in encoded]
        valid = {i: sample for i, sample in enumerate(encoded) if not isinstance(sample, Invalid)}
        asked = self.conditions.numbers(condition or {})
        columns = {name: np.broadcast_to(values, len(encoded)) for name, values in asked.items()}
        for rows in _pieces(valid, batch_size):
            given = {name: values[rows] for name, values in columns.items()}
            for row, value in zip(rows, self._score([valid[i] for i in rows], given, seed, options), strict=True):
                scored[row] = value
        return [value for value in scored if value is not None]

    def _score(
        self, samples: list[Sample], asked: Mapping[str, Any], seed: int, options: Mapping[str, Any]
    ) -> list[Scored]:
        batch = self._collate(samples).to(self.device)
        condition = self.conditions.encode(asked, len(samples))
        # An estimate is of the item, wherever in a file it stands.
        rng = Rng(seed, [content_key(sample) for sample in samples])
        with self.arithmetic():
            density = self.family.log_density(batch, condition.to(self.device) if condition else None, rng, **options)
        values, elements = self._in_user_units(density, batch), density.dims.tolist()
        return [Scored(value, density.kind, None, count) for value, count in zip(values, elements, strict=True)]

    def _collate(self, samples: Sequence[Sample]) -> Batch:
        """Samples of the encoder as the family reads them: at unit scale."""
        return standardise(self.encoder.space, self.statistics, collate(self.encoder.space, samples))

    def _in_user_units(self, density: LogDensity, batch: Batch) -> list[float]:
        """log p per unit of the encoder's samples, where the family gave it per unit of standardised ones.

        What is no normalised density, a critic's score or an energy, has no such unit and stays as it is.
        """
        if density.kind < Density.ESTIMATE:
            return density.value.tolist()
        return (density.value - log_abs_det(self.encoder.space, self.statistics, batch)).tolist()


def _pieces(samples: Mapping[int, Sample], most: int) -> Iterator[list[int]]:
    """The numbers of samples in lists of at most so many; neighbours of one size pad least."""
    ranked = sorted(samples, key=lambda row: sum(int(np.size(array)) for array in samples[row].values()))
    for start in range(0, len(ranked), most):
        yield ranked[start : start + most]


def _out_of_memory(error: BaseException) -> bool:
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or "can't allocate memory" in str(error)
