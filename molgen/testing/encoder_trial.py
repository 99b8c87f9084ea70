"""An encoder with the items that it is checked on, and the domain that says when two items are the same."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from molgen import registry
from molgen.config import make_settings, part_class
from molgen.domain import Domain, Encoder, Invalid, Item, Sample
from molgen.space import Space
from molgen.testing.checks import Skipped, require
from molgen.testing.drawing import draw_samples
from molgen.testing.spaces import ROWS, Case
from molgen.testing.tiny import tiny_config

#: Random samples that are decoded, and from which seed.
DRAWS, SEED = 100, 0


@dataclass(frozen=True)
class EncoderTrial:
    """One encoder.

    Attributes:
        name: what it is called in messages.
        original: the encoder as it was given.
        items: examples.
        domain: of the items.
    """

    name: str
    original: Encoder
    items: Sequence[Item]
    domain: Domain

    @cached_property
    def encoder(self) -> Encoder:
        """The encoder, prepared for the examples as for training data."""
        encoder = self.fresh()
        encoder.prepare(iter(self.items))
        return encoder

    def fresh(self) -> Encoder:
        """A copy that is not prepared."""
        return copy.deepcopy(self.original)

    @property
    def space(self) -> Space:
        """Of the samples."""
        return self.encoder.space

    @cached_property
    def samples(self) -> list[Sample]:
        """What the examples are encoded as, without those that this encoder refuses.

        Raises:
            CheckFailed: it refuses all.
        """
        encoded = [self.encoder.encode(item) for item in self.items]
        reasons = [found.reason for found in encoded if isinstance(found, Invalid)]
        require(len(reasons) < len(encoded), f"no example is encoded; the reason for the first: {reasons[:1]}")
        return [found for found in encoded if not isinstance(found, Invalid)]

    @cached_property
    def random_samples(self) -> list[Sample]:
        """Random samples of the space."""
        return draw_samples(self.space, DRAWS, SEED)

    @cached_property
    def case(self) -> Case:
        """What families are trained on: the encoded examples, filled up with random samples of such sizes."""
        try:
            return Case.of(self.name, self.space, self.samples)
        except Skipped:  # nothing draws a field of this kind, so examples come twice
            again = -(-ROWS // len(self.samples))
            return Case(self.name, self.space, (self.samples * again)[:ROWS])


def encoder_trial(
    encoder: str | type[Encoder] | Encoder, items: Sequence[Item] = (), *, tiny: bool = False
) -> EncoderTrial:
    """The trial of an encoder.

    Args:
        encoder: a registry name, a class, or one with settings of its own.
        items: examples; by default those of its domain.
        tiny: take the small settings of its class; an encoder with settings of its own keeps them.

    Raises:
        PluginError: a name that leads to no encoder.
        ValueError: nobody knows the domain of the encoder, and no examples are given.
    """
    if isinstance(encoder, str):
        cls: type[Any] = part_class("encoder", encoder)
        return _trial(encoder, _made(cls, tiny), items, _domain_called(encoder))
    if isinstance(encoder, type):
        return _trial(encoder.__name__, _made(encoder, tiny), items, _domain_of(encoder))
    return _trial(type(encoder).__name__, encoder, items, _domain_of(type(encoder)))


def _trial(name: str, encoder: Encoder, items: Sequence[Item], domain: type[Domain] | None) -> EncoderTrial:
    if isinstance(encoder, Domain):
        return EncoderTrial(name, encoder, list(items) or encoder.examples(), encoder)
    if domain is None and not items:
        raise ValueError(f"{name} belongs to no domain that is known; say which items it encodes: items=[...]")
    own = (domain or _AnyItems)()
    return EncoderTrial(name, encoder, list(items) or own.examples(), own)


def _made(cls: type[Any], tiny: bool) -> Encoder:
    return cls(tiny_config(cls) if tiny else make_settings(cls.Config, {}, cls.__name__))


def _domain_called(encoder: str) -> type[Domain] | None:
    """The domain by the name of its encoder, which is that of the domain up to the dot."""
    name = encoder.rpartition(":")[2].partition(".")[0]
    return registry.get("domain", name) if name in registry.names("domain") else None


def _domain_of(cls: type[Any]) -> type[Domain] | None:
    """The domain of a class, by the name under which the class is registered."""
    target = f"{cls.__module__}:{cls.__qualname__}"
    names = [plugin.name for plugin in registry.plugins("encoder") if plugin.target == target]
    return _domain_called(names[0]) if names else None


class _AnyItems(Domain):
    """A domain in which items are equal if they look alike."""

    def examples(self) -> list[Item]:
        return []
