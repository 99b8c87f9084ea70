"""Two stages as one: what a model draws, and then the rest of it by a second model, such as positions of a molecule.

Any second model will do that draws some fields of an item which has the others (`families.conditional`), over the same
domain. So log p(item) = log p(given) + log p(rest | given).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import cached_property
from itertools import islice
from typing import Any

import numpy as np
import torch

from molgen.config import ModelConfig
from molgen.data.bloom import BloomFilter
from molgen.data.conditions import Conditions
from molgen.domain import Domain, Invalid, Item, Sample
from molgen.errors import UsageError
from molgen.family import Density
from molgen.model.generative_model import GenerativeModel
from molgen.model.sampling import RawSample, Scored
from molgen.model.workflow import SampledRows
from molgen.seeding import Rng

#: What the two summands of a log-density, and the parts of a sample, are called.
GIVEN, REST = "given", "rest"
#: What stands before the name of an option of the second model.
THEN = "then_"

#: Canonical forms of items, in order; `Invalid` where there is none.
Canonical = Callable[[Sequence[Item | Invalid]], Sequence[Item | Invalid]]


class Stages(SampledRows):
    """Draws and scores as a `GenerativeModel` does: items of a first model, completed by a second one.

    What is known, and conditions that the first model has, are those of the first model; other conditions are those of
    the second, and so are options behind `then_`, such as `then_steps`. A draw of the first model that is no item, or
    that the second cannot be given, is invalid.

    Example:
        >>> from molgen.model.stages import Stages
        >>> model = Stages(GenerativeModel.load("graphs"), GenerativeModel.load("positions"))  # doctest: +SKIP
        >>> [row.item for row in model.sample_rows(3, seed=0, then_steps=20)]  # doctest: +SKIP

    Args:
        first: draws items.
        second: draws some fields of an item that has the others.
        canonical: gives the canonical forms of what the first model drew; by default the domain does, in this process.

    Raises:
        UsageError: the second model draws whole items, or items of another domain.
    """

    density_parts = (GIVEN, REST)

    def __init__(self, first: GenerativeModel, second: GenerativeModel, canonical: Canonical | None = None) -> None:
        if first.config.domain != second.config.domain:
            raise UsageError(
                f"the first model draws {first.config.domain} and the second {second.config.domain}; "
                "both stages are of one domain"
            )
        if not second.family.given:
            raise UsageError(
                f"the second model ({second.config.family.name}) draws whole items; a second stage draws some fields "
                "of a given item, as family=conditional learns it"
            )
        self.first, self.second = first, second
        self.encoder = StagesEncoder(first, second)
        #: gives the canonical forms of what the first model drew.
        self.canonical: Canonical = canonical or self._canonical_here

    @property
    def domain(self) -> Domain:
        """That of both models."""
        return self.second.domain

    @property
    def config(self) -> ModelConfig:
        """The parts of the second model, which writes the items."""
        return self.second.config

    @property
    def device(self) -> torch.device:
        """Where the weights of the second model are."""
        return self.second.device

    @property
    def conditions(self) -> Conditions:
        """Those of both models; of one that both have, as the first has it."""
        others = [name for name in self.second.conditions.names if name not in self.first.conditions.names]
        return self.first.conditions.joined(self.second.conditions.only(others))

    @cached_property
    def keys(self) -> Mapping[str, BloomFilter]:
        """The keys of the training items of both models."""
        return {f"{stage} {name}": keys for stage, model in self._models() for name, keys in model.keys.items()}

    def _models(self) -> tuple[tuple[str, GenerativeModel], ...]:
        return (GIVEN, self.first), (REST, self.second)

    # --- generating -------------------------------------------------------------------------------

    def sample(
        self,
        count: int,
        *,
        seed: int = 0,
        first: int = 0,
        batch_size: int = 1024,
        condition: Mapping[str, Any] | None = None,
        known: Item | None = None,
        given: Sequence[Item | Invalid] | None = None,
        **options: Any,
    ) -> Iterator[RawSample]:
        """Draw items one after the other, as `GenerativeModel.sample` does.

        Args:
            count: how many raw draws.
            seed: of all randomness; draw number i depends on (seed, i) alone.
            first: the number of the first draw.
            batch_size: draws at a time.
            condition: what is asked for, by name: a value for all draws, or one for each.
            known: what every item of the first model has.
            given: to the first model, where that is a second stage itself.
            **options: of sampling from the first model and, behind `then_`, from the second.
        """
        asked = {stage: self._asked(stage, condition) for stage, _ in self._models()}
        own, then = split_options(options)
        how: dict[str, Any] = {"batch_size": batch_size, "known": known, "given": given, **own}
        drawn = self.first.sample(count, seed=seed, first=first, condition=asked[GIVEN], **how)
        begin = 0
        while chunk := list(islice(drawn, batch_size)):
            rows = slice(begin, begin + len(chunk))
            items = self.canonical([draw.item for draw in chunk])
            # Noise of the second stage is its own, although both are keyed by the seed and the number of the draw.
            rng = Rng(seed, [draw.index for draw in chunk]).fold(REST)
            here = {name: values[rows] if np.ndim(values) else values for name, values in asked[REST].items()}
            rest = self.second.draws(rng, batch_size=batch_size, condition=here, given=items, **then)
            yield from map(_joined, chunk, rest)
            begin += len(chunk)

    def _asked(self, stage: str, condition: Mapping[str, Any] | None) -> dict[str, Any]:
        """The conditions of one stage; what no model has is left to the first one, which says so."""
        known, others = self.first.conditions.names, self.second.conditions.names
        return {
            name: np.asarray(value) if np.ndim(value) else value
            for name, value in (condition or {}).items()
            if (name in known or name not in others) == (stage == GIVEN)
        }

    def _canonical_here(self, items: Sequence[Item | Invalid]) -> list[Item | Invalid]:
        domain = self.domain
        return [item if isinstance(item, Invalid) else domain.canonical(item) for item in items]

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
        """log p of what the encoder made of canonical items, in nats, with that of each stage."""
        found = []
        for (stage, model), own in zip(self._models(), split_options(options), strict=True):
            samples = [one if isinstance(one, Invalid) else part_of(one, stage) for one in encoded]
            asked = self._asked(stage, condition)
            found.append(model.log_density_of(samples, batch_size=batch_size, condition=asked, seed=seed, **own))
        return [_sum(own, rest) for own, rest in zip(*found, strict=True)]


class StagesEncoder:
    """An item as the samples of both stages side by side, with the stage before the name of each field."""

    repairs: Collection[str] = ()

    def __init__(self, first: GenerativeModel, second: GenerativeModel) -> None:
        self._first, self._second = first.encoder, second.encoder

    def encode(self, item: Item) -> Sample | Invalid:
        """Both samples of an item, or why there is one of them at most."""
        parts = {GIVEN: self._first.encode(item), REST: self._second.encode(item)}
        found: dict[str, np.ndarray] = {}
        for stage, sample in parts.items():
            if isinstance(sample, Invalid):
                return sample
            found |= _named(stage, sample)
        return found

    def decode(self, sample: Sample) -> Item | Invalid:
        """The item that the second sample stands for."""
        return self._second.decode(part_of(sample, REST))

    def repaired(self, sample: Sample, name: str) -> Sample:
        """Nothing can be repaired once the rest has been drawn."""
        raise ValueError(f"two stages have no repair {name!r}")


#: What draws and scores items.
Model = GenerativeModel | Stages


def split_options(options: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Options of the first and, without `then_`, of the second model."""
    own = {name: value for name, value in options.items() if not name.startswith(THEN)}
    return own, {name.removeprefix(THEN): value for name, value in options.items() if name not in own}


def _named(stage: str, sample: Sample) -> dict[str, np.ndarray]:
    return {f"{stage} {name}": array for name, array in sample.items()}


def part_of(sample: Sample, stage: str) -> dict[str, np.ndarray]:
    """The sample of one stage."""
    before = f"{stage} "
    return {name.removeprefix(before): array for name, array in sample.items() if name.startswith(before)}


def _joined(draw: RawSample, rest: RawSample) -> RawSample:
    """A draw of the first model with what the second one made of it."""
    if isinstance(rest.item, Invalid):
        own = draw.item.raw if isinstance(draw.item, Invalid) else draw.item
        raw = own if rest.item.raw is None else rest.item.raw
        return RawSample(draw.index, Invalid(rest.item.reason, raw), math.nan, None, {}, rest.domain)
    both = Scored(draw.log_density, draw.kind), Scored(rest.log_density, rest.kind)
    total = _sum(*both)
    sample = _named(GIVEN, draw.sample) | _named(REST, rest.sample)
    return RawSample(draw.index, rest.item, total.log_density, total.kind, sample, rest.domain, total.parts)


def _sum(own: Scored, rest: Scored) -> Scored:
    """log p(given) + log p(rest | given), which means no more than the less certain of both."""
    parts = {GIVEN: (own.log_density, own.kind), REST: (rest.log_density, rest.kind)}
    error, elements = own.error or rest.error, own.elements + rest.elements
    if own.kind is None or rest.kind is None:
        return Scored(math.nan, None, error, elements, parts)
    kind = Density(min(own.kind, rest.kind))
    return Scored(own.log_density + rest.log_density, kind, error, elements, parts)
