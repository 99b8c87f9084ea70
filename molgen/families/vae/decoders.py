"""Decoders: how a sample comes out of a latent, and how likely it is under one.

Letters in shapes: B batch, E packed elements, W width of a head.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, TypeVar

import torch
from torch import Tensor, nn

from molgen.backbone import Backbone, Build, Head
from molgen.batch import Batch, Partial
from molgen.data.statistics import Statistics
from molgen.families.parts.elements import ElementNoise, PackedElements, fitted
from molgen.families.parts.frames import Frames
from molgen.families.parts.latent import as_condition, with_latents
from molgen.families.parts.likelihood import Likelihood, likelihood
from molgen.families.parts.sampling_options import SamplingOptions
from molgen.families.parts.sizes import SizeModel
from molgen.families.parts.token_model import TokenConfig, TokenModel
from molgen.families.vae.config import OneShotOptions, VAEConfig
from molgen.family import Known
from molgen.layers.condition_embedding import ConditionEmbedding
from molgen.layers.named import NamedModules
from molgen.ordering import TokenBatch
from molgen.seeding import Rng
from molgen.space import Field, Space

#: What lies over axes.
Placed = TypeVar("Placed", Head, Field)
#: Times the scale that keeps a linear layer from changing the scale of what passes, because of the SiLU before it.
GAIN = 1.5


class Decoder(nn.Module, ABC):
    """log p(x | z, condition) in nats, sizes included and charged once, and draws from it.

    Args:
        space: of the samples.
        latents: the latent space.
        build: makes networks.
        config: of the family.
        condition: what the model is conditioned on.
    """

    #: what of a sample can be given while the rest is drawn.
    known: ClassVar[Known] = Known.NONE
    #: a dataclass of the options of `sample`.
    options: ClassVar[type]

    @abstractmethod
    def __init__(self, space: Space, latents: Space, build: Build, config: VAEConfig, condition: Space) -> None:
        super().__init__()

    @abstractmethod
    def log_likelihood(self, batch: Batch, latents: Batch, condition: Partial | None, rng: Rng) -> Tensor:
        """log p(x | z, condition) of each row, (B,); `rng` is for what only training does at random."""

    @abstractmethod
    def sample(
        self,
        latents: Batch,
        condition: Partial | None,
        rng: Rng | None,
        known: Partial | None,
        sizes: Mapping[str, Tensor] | None,
        **options: Any,
    ) -> Batch:
        """A sample for each latent, without `rng` what is to be expected: the likeliest element, or the mean level."""

    @abstractmethod
    def initialise(self, batch: Batch, statistics: Statistics) -> None:
        """Start from the statistics of the data."""

    def set_statistics(self, statistics: Statistics) -> None:
        """Take over what is counted."""

    def begin_step(self, step: int, steps: int) -> None:
        """Take what follows from how far training is."""


class AllAtOnce(Decoder):
    """p(x | z) = p(sizes | z) times the product over all free elements of p(element | z, sizes).

    Args:
        space: what is decoded, of which a sample follows.
    """

    options = OneShotOptions
    network: Backbone

    def __init__(self, space: Space, latents: Space, build: Build, config: VAEConfig, condition: Space) -> None:
        super().__init__(space, latents, build, config, condition)
        self.space = dict(space)
        parts = {name: likelihood(field, config.components) for name, field in space.items()}
        self.likelihoods = NamedModules(parts)

    @abstractmethod
    def log_size(self, batch: Batch, latents: Batch, condition: Partial | None) -> Tensor:
        """log p(sizes | z), (B,) in float64, or one number for all."""

    @abstractmethod
    def draw_sizes(
        self, latents: Batch, condition: Partial | None, rng: Rng | None, fixed: Mapping[str, Tensor] | None
    ) -> dict[str, Tensor]:
        """Sizes of samples, (B,) for each variable axis."""

    def to_decoded(self, batch: Batch) -> tuple[Batch, Tensor | float]:
        """Samples as what is decoded, and what log p(x) has beside its log p, (B,)."""
        return batch, 0.0

    def from_decoded(self, batch: Batch, rng: Rng | None) -> Batch:
        """The samples of what is decoded."""
        return batch

    def log_likelihood(self, batch: Batch, latents: Batch, condition: Partial | None, rng: Rng) -> Tensor:
        """The sum over free elements and of log p(sizes | z), (B,) in float64."""
        batch, volume = self.to_decoded(batch)
        total = self.log_size(batch, latents, condition) + volume
        elements = PackedElements.of_batch(self.space, batch)
        parameters = self._parameters_of(latents, condition, elements)
        for name, values in elements.pack_batch(self.placed(batch, parameters)).items():
            found = self.likelihood(name).log_density(parameters[name], values)
            total = total + torch.where(elements.exists[name], found, 0.0).sum(1)
        return total

    def placed(self, batch: Batch, parameters: Mapping[str, Tensor]) -> Batch:
        """The sample in the order in which it is scored: the one in which it comes."""
        return batch

    def likelihood(self, name: str) -> Likelihood:
        """That of a field."""
        part = self.likelihoods[name]
        assert isinstance(part, Likelihood)
        return part

    def _parameters_of(self, latents: Batch, condition: Partial | None, elements: PackedElements) -> dict[str, Tensor]:
        """The parameters of the packed elements of each field, (B, E, P)."""
        outputs = self.network(Batch(latents.fields, elements.sizes), None, condition)
        found = {}
        for name, places in elements.places.items():
            # Networks may run in 16 bits; sums of log-probabilities need more.
            output = outputs[name].to(torch.promote_types(outputs[name].dtype, torch.float32))
            found[name] = self.likelihood(name).arrange(fitted(output, places.shape[1:]), places)
        return found

    def sample(
        self,
        latents: Batch,
        condition: Partial | None,
        rng: Rng | None,
        known: Partial | None,
        sizes: Mapping[str, Tensor] | None,
        **options: Any,
    ) -> Batch:
        """A sample for each latent; the option `temperature` sharpens the elements, not the sizes.

        Raises:
            ValueError: a known part, a temperature that is none, or a size that the space does not allow.
        """
        if known is not None:
            raise ValueError("a one-shot decoder keeps no known part; one with decoder=autoregressive keeps beginnings")
        temperature = OneShotOptions(**options).temperature
        drawn = self.draw_sizes(latents, condition, rng, sizes)
        device = next(iter(latents.fields.values())).device
        elements = PackedElements.of_sizes(self.space, drawn, len(latents), device)
        values = {}
        for name, parameters in self._parameters_of(latents, condition, elements).items():
            part = self.likelihood(name)
            if rng is None:
                values[name] = part.estimate(parameters)
            else:
                uniform = ElementNoise(elements, rng).uniform(name, "element")
                values[name] = part.sample(parameters, uniform, temperature)
        return self.from_decoded(elements.unpack_batch(values), rng)

    def initialise(self, batch: Batch, statistics: Statistics) -> None:
        """Start from the statistics of each field."""
        for name in self.space:
            self.network.set_output_bias(name, self.likelihood(name).bias(name, statistics))


class OneShot(AllAtOnce):
    """All elements at once, from a latent that belongs to none of them.

    The elements along an unordered axis are told apart by their place in the encoder's canonical order: a network
    that may not look at places would predict the same for all of them, for it is given no element. So the density is of
    that order, as it is in the autoregressive family; `matching.Matched` scores samples without one. Points in space
    are decoded as coordinates in the frame of the first three, and turned at random; see `parts.frames`.
    """

    def __init__(self, space: Space, latents: Space, build: Build, config: VAEConfig, condition: Space) -> None:
        # Of points what is decoded are their coordinates, because a latent that does not turn knows no orientation.
        frames = Frames(space)
        super().__init__(frames.coordinates, latents, build, config, condition)
        self.frames = frames
        self.network = build(latents, {name: in_order(self.likelihood(name).head) for name in self.space})
        given = as_condition(latents)
        self.sizes = SizeModel(space, {**condition, **given})
        _open_to(self.sizes, given)

    def log_size(self, batch: Batch, latents: Batch, condition: Partial | None) -> Tensor:
        """Of a model of the sizes that reads the latent."""
        return self.sizes.log_probability(batch.sizes, with_latents(condition, latents))

    def draw_sizes(
        self, latents: Batch, condition: Partial | None, rng: Rng | None, fixed: Mapping[str, Tensor] | None
    ) -> dict[str, Tensor]:
        """Of the same model."""
        return self.sizes.sample(len(latents), with_latents(condition, latents), rng, fixed=fixed)

    def to_decoded(self, batch: Batch) -> tuple[Batch, Tensor | float]:
        """Coordinates in the frame."""
        batch = self.frames.to_coordinates(batch)
        return batch, self.frames.log_volume(batch)

    def from_decoded(self, batch: Batch, rng: Rng | None) -> Batch:
        """Points that are turned at random."""
        return self.frames.to_points(batch, rng)

    def set_statistics(self, statistics: Statistics) -> None:
        """Take the frequencies of the sizes."""
        self.sizes.initialise(statistics)


class AtPoints(AllAtOnce):
    """All elements at once, from a latent at each point, which says of which size the sample is; no order matters."""

    def __init__(self, space: Space, latents: Space, build: Build, config: VAEConfig, condition: Space) -> None:
        super().__init__(space, latents, build, config, condition)
        self.network = build(latents, {name: self.likelihood(name).head for name in space})

    def log_size(self, batch: Batch, latents: Batch, condition: Partial | None) -> Tensor:
        """The size is that of the latent."""
        same = torch.ones(len(latents), dtype=torch.bool, device=next(iter(latents.fields.values())).device)
        for name, size in latents.sizes.items():
            same = same & (size == batch.sizes[name].to(size.device))
        return torch.zeros(len(latents), dtype=torch.float64, device=same.device).masked_fill(~same, -torch.inf)

    def draw_sizes(
        self, latents: Batch, condition: Partial | None, rng: Rng | None, fixed: Mapping[str, Tensor] | None
    ) -> dict[str, Tensor]:
        """Those of the latents.

        Raises:
            ValueError: others are asked for.
        """
        for name, size in (fixed or {}).items():
            if name not in latents.sizes:
                raise ValueError(f"no axis {name!r} has a size of its own; known: {', '.join(latents.sizes)}")
            if bool((size.to(latents.sizes[name].device) != latents.sizes[name]).any()):
                raise ValueError(f"the latents have other sizes along {name!r} than those that are asked for")
        return dict(latents.sizes)


class AutoregressiveDecoder(Decoder):
    """p(x | z) is an autoregressive family whose network has the latent as a further condition; it ends itself."""

    known = Known.PREFIX
    options = SamplingOptions

    def __init__(self, space: Space, latents: Space, build: Build, config: VAEConfig, condition: Space) -> None:
        super().__init__(space, latents, build, config, condition)
        given = as_condition(latents)

        def build_under_latents(
            inputs: Space, outputs: Mapping[str, Head], causal: bool = False, condition: Space | None = None
        ) -> Backbone:
            return build(inputs, outputs, causal, {**given, **(condition or {})})

        everything = {**condition, **given}
        self.family = _Forgetful(
            space, build_under_latents, _ForgetfulConfig(word_dropout=config.word_dropout), everything
        )
        _open_to(self.family, given)

    def log_likelihood(self, batch: Batch, latents: Batch, condition: Partial | None, rng: Rng) -> Tensor:
        """The sum over all choices, (B,)."""
        return -self.family.loss(batch, with_latents(condition, latents), rng).total

    def sample(
        self,
        latents: Batch,
        condition: Partial | None,
        rng: Rng | None,
        known: Partial | None,
        sizes: Mapping[str, Tensor] | None,
        **options: Any,
    ) -> Batch:
        """A sample for each latent; options are those of `SamplingOptions`."""
        rows = len(latents)
        if rng is None:
            # Among equals any will do; the numbers are fixed, so it is the same one every time.
            rng, options = Rng(0, range(rows)), {"top_k": 1}
        return self.family.sample(rows, with_latents(condition, latents), rng, known, sizes, **options).batch

    def initialise(self, batch: Batch, statistics: Statistics) -> None:
        """As the autoregressive family does."""
        self.family.initialise(batch, statistics)

    def set_statistics(self, statistics: Statistics) -> None:
        """As the autoregressive family does."""
        self.family.set_statistics(statistics)


@dataclass(frozen=True)
class _ForgetfulConfig(TokenConfig):
    word_dropout: float = 0.0


class _Forgetful(TokenModel):
    """Reads, in training, classes drawn at random in the place of some earlier choices."""

    def _read(self, made: TokenBatch, rng: Rng) -> TokenBatch:
        """The tokens, in training with some replaced."""
        return self._half_read(made, rng) if self.training and self.config.word_dropout else made

    def _half_read(self, made: TokenBatch, rng: Rng) -> TokenBatch:
        """The choices with some replaced. END is never one of them: nothing is read after it."""
        steps = made.ids.shape[1]
        dropped = (rng.uniform("word dropout", (steps,)) < self.config.word_dropout).to(made.ids.device)
        others = rng.uniform("words", (steps,)).to(made.ids.device)
        count = torch.tensor([self.classes[step.field] for step in made.ordering.slices], device=made.ids.device)
        dropped &= made.ids < count
        return replace(made, ids=torch.where(dropped, (others * count).long(), made.ids))


def in_order(placed: Placed) -> Placed:
    """The same output or field over axes along which places carry meaning."""
    return replace(placed, axes=tuple(replace(axis, ordered=True) for axis in placed.axes))


def _open_to(module: nn.Module, names: Mapping[str, Any]) -> None:
    """Prepare networks that read latents among their conditions, by one vector.

    The usual first weights of a chain of layers take away most of the scale of what passes through. A decoder would
    then learn to do without the latent before it depends on it, so these pass the scale on. The vector that stands for
    an absent condition is frozen: a latent is never absent.
    """
    for part in module.modules():
        if isinstance(part, ConditionEmbedding) and set(names) <= set(part.embeddings):
            for name in names:
                part.absent[name].requires_grad_(False)
            for layer in [part.mix, *(part.embeddings[name] for name in names)]:
                layer.apply(_pass_scale_on)


def _pass_scale_on(layer: nn.Module) -> None:
    if isinstance(layer, nn.Linear):
        nn.init.normal_(layer.weight, std=GAIN / layer.in_features**0.5)
        nn.init.zeros_(layer.bias)
