"""What every encoder guarantees, as one function for each guarantee."""

from __future__ import annotations

import copy
import json
import pickle
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import numpy as np
import torch

from molgen import registry
from molgen.batch import collate, lengths, pack, separate, unpack
from molgen.config import make_settings, part_class
from molgen.domain import API_VERSION, Domain, Encoder, Invalid, Item, Sample
from molgen.space import Field, Space, axes, layout
from molgen.testing.batches import require_close, require_same_batch
from molgen.testing.checks import CheckFailed, Skipped, require, skip_unless
from molgen.testing.containment import require_encoded, require_sample
from molgen.testing.fixtures import tiny_config
from molgen.testing.random_samples import draw_samples
from molgen.testing.spaces import ROWS, Case

#: Random samples for what takes longer than to decode.
FEW = 20


def space_is_declared(trial: EncoderTrial) -> None:
    """The space names its fields, is the same each time, and can be a key."""
    space = trial.space
    require(len(space) > 0, "the space has no field")
    for name, field in space.items():
        require(name.isidentifier(), f"the field name {name!r} is no identifier, and networks name their parts by it")
        require(isinstance(field, Field), f"{name} is a {type(field).__name__}, where a field belongs")
        _require_hashable(name, field)
    axes(space)
    layout(space)
    require(dict(space) == dict(trial.encoder.space), "the space is another each time it is asked for")


def _require_hashable(name: str, field: Field) -> None:
    try:
        hash(field)
    except TypeError as error:
        raise CheckFailed(f"the field {name} cannot be hashed: {error}; channels and axes are tuples") from None


def speaks_the_plugin_api(trial: EncoderTrial) -> None:
    """The class says for which plugin API it was written."""
    version = getattr(trial.encoder, "molgen_api", None)
    require(version == API_VERSION, f"molgen_api is {version!r}, and this molgen speaks {API_VERSION}")


def examples_encode_into_the_space(trial: EncoderTrial) -> None:
    """What examples become lies in the space; some example is encoded."""
    for sample in trial.samples:
        require_encoded(trial.space, sample)


def decode_inverts_encode(trial: EncoderTrial) -> None:
    """decode(encode(item)) is the same item, or one that is encoded alike if the encoder is not lossless."""
    for item in trial.items:
        sample = trial.encoder.encode(item)
        if isinstance(sample, Invalid):
            continue
        back = trial.encoder.decode(sample)
        require(not isinstance(back, Invalid), f"the sample of {_short(item)} is decoded as {back}")
        if trial.encoder.lossless:
            before, after = _key(trial, item), _key(trial, back)
            require(before == after, f"{_short(item)} comes back as {_short(back)}")
        else:
            _require_encoded_alike(trial, item, sample, trial.encoder.encode(back))


def _require_encoded_alike(trial: EncoderTrial, item: Item, sample: Sample, again: Sample | Invalid) -> None:
    """What an item is decoded as has the sample of the item."""
    require(not isinstance(again, Invalid), f"what {_short(item)} is decoded as is not encoded: {again}")
    assert not isinstance(again, Invalid)
    for name in trial.space:
        same = np.array_equal(sample[name], again[name])
        require(same, f"the {name} of {_short(item)} is another after decoding and encoding again")


def _key(trial: EncoderTrial, item: Item) -> str:
    canonical = trial.domain.canonical(item)
    require(not isinstance(canonical, Invalid), f"the domain says of {_short(item)}: {canonical}")
    return trial.domain.key(canonical)


def _short(item: Any) -> str:
    text = " ".join(repr(item).split())
    return text if len(text) <= 80 else f"{text[:80]}..."


def decode_never_raises(trial: EncoderTrial) -> None:
    """Random samples of the space are decoded as items or as `Invalid` with a reason."""
    for sample in trial.random_samples:
        try:
            item = trial.encoder.decode(sample)
        except Exception as error:
            raise CheckFailed(f"decode raises {type(error).__name__}: {error} on {_short(dict(sample))}") from error
        require(item is not None, f"decode gives None on {_short(dict(sample))}; what is no item is Invalid(reason)")
        if isinstance(item, Invalid):
            require(bool(item.reason.strip()), f"decode gives no reason on {_short(dict(sample))}")


def decoded_items_can_be_judged(trial: EncoderTrial) -> None:
    """The domain finds the canonical form of whatever is decoded, or says why there is none; it has only one."""
    decoded = [_decoded(trial.encoder, sample) for sample in trial.random_samples]
    for item in [*trial.items, *(item for item in decoded if item is not None)]:
        try:
            once = trial.domain.canonical(item)
        except Exception as error:
            raise CheckFailed(f"canonical raises {type(error).__name__}: {error} on {_short(item)}") from error
        if not isinstance(once, Invalid):
            require(_key(trial, once) == trial.domain.key(once), f"the canonical form of {_short(item)} has another")


def made_up_items_are_items(trial: EncoderTrial) -> None:
    """What the domain makes up for audits is an item, whatever the randomness; a domain may make up none and say so."""
    found = [item if isinstance(item, Invalid) else trial.domain.canonical(item) for item in trial.items]
    real = [item for item in found if not isinstance(item, Invalid)]
    for seed in range(FEW):
        try:
            item = trial.domain.canary(np.random.default_rng(seed), real)
            judged = item if isinstance(item, Invalid) else trial.domain.canonical(item)
        except Exception as error:
            raise CheckFailed(f"canary raises {type(error).__name__}: {error}") from error
        if isinstance(item, Invalid):
            require(bool(item.reason.strip()), "canary gives no reason")
        elif isinstance(judged, Invalid):
            raise CheckFailed(f"canary makes up {_short(item)}, which is no item: {judged.reason}")


def decoded_items_encode_again(trial: EncoderTrial) -> None:
    """Whatever is decoded is encoded into the space, or as `Invalid` with a reason."""
    skip_unless(partial(examples_encode_into_the_space, trial), "examples are not encoded into the space either")
    for sample in trial.random_samples[:FEW]:
        item = _decoded(trial.encoder, sample)
        if item is None:
            continue
        try:
            again = trial.encoder.encode(item)
        except Exception as error:
            raise CheckFailed(f"encode raises {type(error).__name__}: {error} on {_short(item)}") from error
        if not isinstance(again, Invalid):
            require_sample(trial.space, again)


def _decoded(encoder: Encoder, sample: Sample) -> Item | None:
    """The item of a sample, None where there is none; what decode raises is the matter of another check."""
    try:
        item = encoder.decode(sample)
    except Exception:
        return None
    return None if isinstance(item, Invalid) else item


def batches_come_back(trial: EncoderTrial) -> None:
    """Samples of mixed sizes leave a batch as they came, and batches their packed form."""
    samples = [*trial.samples, *_random(trial)]
    batch = collate(trial.space, samples)
    for before, after in zip(samples, separate(trial.space, batch), strict=True):
        for name in trial.space:
            _require_equal(name, np.asarray(before[name]), after[name])
    packed = {name: part.values for name, part in pack(trial.space, batch).items()}
    again = unpack(trial.space, packed, batch.sizes, lengths(trial.space, batch))
    require_same_batch(trial.space, batch, again, "a batch and what was packed of it", 1e-4)


def _random(trial: EncoderTrial) -> list[Sample]:
    try:
        return trial.random_samples[:FEW]
    except Skipped:  # examples alone will do
        return []


def _require_equal(name: str, before: np.ndarray, after: np.ndarray) -> None:
    message = f"{name} before and after it was in a batch"
    first, second = (torch.from_numpy(np.array(array, dtype=np.float64)) for array in (before, after))
    require_close(first, second, message, 1e-6)


def preparing_twice_changes_nothing(trial: EncoderTrial) -> None:
    """An encoder that was prepared learns nothing more from the same items."""
    again = copy.deepcopy(trial.encoder)
    again.prepare(iter(trial.items))
    _require_alike(trial, again, "prepared twice")
    require(_json(again.state()) == _json(trial.encoder.state()), "the state is another after the second time")


def state_survives_json(trial: EncoderTrial) -> None:
    """A fresh encoder that takes the state as JSON encodes as the prepared one does."""
    fresh = trial.fresh()
    fresh.load_state(json.loads(_json(trial.encoder.state())))
    _require_alike(trial, fresh, "with the state of a prepared one")


def _json(state: Any) -> str:
    try:
        return json.dumps(state, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise CheckFailed(f"the state is not JSON: {error}") from None


def can_be_pickled(trial: EncoderTrial) -> None:
    """An encoder goes to worker processes and encodes there as here."""
    try:
        twin = pickle.loads(pickle.dumps(trial.encoder))
    except Exception as error:
        raise CheckFailed(f"it cannot be pickled: {error}") from error
    _require_alike(trial, twin, "unpickled")


def _require_alike(trial: EncoderTrial, other: Encoder, what: str) -> None:
    require(dict(trial.space) == dict(other.space), f"an encoder {what} has another space")
    for item in trial.items:
        before, after = trial.encoder.encode(item), other.encode(item)
        if isinstance(before, Invalid) or isinstance(after, Invalid):
            require(before == after, f"{_short(item)}: an encoder {what} says {after}, not {before}")
            continue
        for name in trial.space:
            same = np.array_equal(before[name], after[name])
            require(same, f"an encoder {what} encodes {_short(item)} as another {name}")


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
