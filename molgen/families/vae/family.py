"""The variational autoencoder (Kingma & Welling, arXiv 1312.6114) over any space.

log p(x) >= E_q[log p(x | z)] - KL(q(z | x) || p(z)): the loss is the negative bound, with the divergence weighted
as configured. The density is the tighter bound by importance weights (Burda et al., arXiv 1509.00519).

Letters in shapes: B batch, K draws of a latent.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from math import log
from typing import Any, ClassVar

import torch
from torch import Tensor

from molgen.backbone import Build
from molgen.batch import Batch, Partial
from molgen.config import options_of
from molgen.data.statistics import Statistics
from molgen.families.parts.elements import PackedElements
from molgen.families.vae.config import DensityOptions, PriorOptions, VAEConfig
from molgen.families.vae.decoders import AtPoints, AutoregressiveDecoder, Decoder, OneShot, in_order
from molgen.families.vae.latents import Encoded, FixedLatents, Latents, PointLatents
from molgen.families.vae.matching import Matched
from molgen.family import Capability, Density, Family, Generated, LogDensity, Loss
from molgen.seeding import Rng
from molgen.space import Space

#: The decoders by the name that a configuration gives.
DECODERS: Mapping[str, type[Decoder]] = {
    "one_shot": OneShot,
    "matched": Matched,
    "autoregressive": AutoregressiveDecoder,
    "points": AtPoints,
}
#: The latents that a decoder reads, where they are not those of most.
LATENTS: Mapping[str, type[Latents]] = {"points": PointLatents}
#: What has options, for messages; the options that are the prior's rather than the decoder's.
SAMPLING = "sampling from a vae"
PRIOR_OPTIONS = tuple(one.name for one in fields(PriorOptions))


class VAE(Family):
    """loss = -(bound on log p(x)); a sample is decoded from a standard normal latent.

    The latent has the places of `latents`: slots or a coarser grid, or the points of a sample. Conditions go to encoder
    and decoder; of the prior at most the size depends on them.
    """

    Config = VAEConfig
    #: small settings for the conformance kit.
    molgen_tiny: ClassVar[Mapping[str, Any]] = {"slots": 2, "channels": 3, "components": 2, "draws": 2}
    loss_unit = "nats"
    capability: ClassVar[Capability] = Capability(density=Density.LOWER_BOUND, latent=True)

    def __init__(self, space: Space, build: Build, config: VAEConfig, condition: Space | None = None) -> None:
        super().__init__(space, build, config, condition)
        if config.decoder not in DECODERS:
            raise ValueError(f"no decoder {config.decoder!r}; known: {', '.join(DECODERS)}")
        self.latents = LATENTS.get(config.decoder, FixedLatents)(space, config, self.condition_space)
        read = {name: in_order(field) for name, field in space.items()} if config.ordered_encoder else space
        self.encoder = build(read, self.latents.heads)
        self.decoder = DECODERS[config.decoder](space, self.latents.space, build, config, self.condition_space)
        #: the weight of the divergence now: that of the configuration, or less during the warm-up.
        self.beta: float = config.beta
        # Of this object: what can be kept depends on the decoder.
        self.capability = replace(type(self).capability, known=self.decoder.known)  # type: ignore[misc]

    @property
    def latent_space(self) -> Space:
        """One real field over fixed axes, standard normal under the prior; at points one of vectors beside it."""
        return self.latents.space

    def loss(self, batch: Batch, condition: Partial | None, rng: Rng, phase: str = "model") -> Loss:
        """-E_q[log p(x | z)] by one draw plus the weighted divergence, in nats; both are parts, the second unweighted.

        Free bits count at each place of the latent of each item.
        """
        posterior = self._posterior(batch, condition)
        reconstruction = -self.decoder.log_likelihood(batch, posterior.draw(rng), condition, rng)
        divergence = posterior.divergence()
        charged = self.beta * posterior.charge(self.config.free_bits)
        parts = {"reconstruction": reconstruction, "kl": divergence.sum(1)}
        if (log_size := self.latents.log_size(batch.sizes, condition)) is not None:
            parts["size"] = -log_size.to(reconstruction)
            charged = charged + parts["size"]
        return Loss(reconstruction + charged, parts)

    def validate(self, batch: Batch, condition: Partial | None, rng: Rng) -> Loss:
        """The negative evidence lower bound by one draw, in nats, whatever weight the divergence has in training."""
        parts = self.loss(batch, condition, rng).parts
        return Loss(parts["reconstruction"] + (parts["kl"] + parts.get("size", 0.0)), parts)

    def begin_step(self, step: int, steps: int) -> None:
        """Take the weight of the divergence at this step of training, and tell the decoder how far it is."""
        rising = self.config.warmup * steps
        share = min(1.0, step / rising) if rising else 1.0
        self.beta = self.config.beta * share**self.config.warmup_power
        self.decoder.begin_step(step, steps)

    def _posterior(self, batch: Batch, condition: Partial | None) -> Encoded:
        return self.latents.posterior(self.encoder(batch, None, condition), batch)

    def log_density(
        self, batch: Batch, condition: Partial | None = None, rng: Rng | None = None, **options: Any
    ) -> LogDensity:
        """A lower bound on log p(x | condition) in nats: log of the mean of K importance weights p(x, z) / q(z | x).

        In expectation it is at most log p(x), rises with K and tends to log p(x); with K = 1 it is the bound that
        training maximises. The standard error is of the logarithm, from the spread of the weights; one has none.

        Args:
            batch: the samples.
            condition: what they are conditional on.
            rng: of the latents.
            **options: `draws`, the number K.
        """
        count = options_of(DensityOptions, "the density of a vae", options).draws or self.config.draws
        rng = _some(rng, len(batch))
        with torch.no_grad():
            posterior = self._posterior(batch, condition)
            weights = torch.stack([self._log_weight(batch, condition, posterior, rng, k) for k in range(count)])
        value = weights.logsumexp(0) - log(count)
        # Each weight in parts of their mean.
        relative = (weights - value.clamp(min=torch.finfo(value.dtype).min)).exp()
        error = relative.std(0) / count**0.5 if count > 1 else None
        return LogDensity(value, Density.LOWER_BOUND, PackedElements.of_batch(self.space, batch).counts(), error)

    def _log_weight(self, batch: Batch, condition: Partial | None, posterior: Encoded, rng: Rng, number: int) -> Tensor:
        latents = posterior.draw(rng, number)
        likelihood = self.decoder.log_likelihood(batch, latents, condition, rng)
        return likelihood.double() + (self.latents.log_prior(latents, condition) - posterior.log_density(latents))

    def log_likelihood(
        self, batch: Batch, latents: Batch, condition: Partial | None = None, rng: Rng | None = None
    ) -> Tensor:
        """log p(x | z, condition) of each row, (B,) in float64: of the decoder, sizes included."""
        rng = _some(rng, len(batch))
        return self.decoder.log_likelihood(batch, self._typed(latents), condition, rng).double()

    def log_posterior(self, latents: Batch, batch: Batch, condition: Partial | None = None) -> Tensor:
        """log q(z | x, condition) of each row, (B,) in float64: of the encoder."""
        return self._posterior(batch, condition).log_density(self._typed(latents))

    def encode(self, batch: Batch, condition: Partial | None = None, rng: Rng | None = None) -> Batch:
        """Draws from q(z | x), without `rng` its means."""
        with torch.no_grad():
            posterior = self._posterior(batch, condition)
            return posterior.mean() if rng is None else posterior.draw(rng)

    def decode(
        self,
        latents: Batch,
        condition: Partial | None = None,
        rng: Rng | None = None,
        sizes: Mapping[str, Tensor] | None = None,
        **options: Any,
    ) -> Generated:
        """Draw a sample from p(x | z) for each latent.

        Without `rng` it is the likeliest element at every choice; a one-shot decoder of quantised numbers, such as
        the pixels of images, gives the level nearest to their mean.

        Raises:
            ValueError: an unknown option; known are those of the decoder.
        """
        return self._decoded(latents, condition, rng, None, sizes, options)

    def sample(
        self,
        count: int,
        condition: Partial | None = None,
        rng: Rng | None = None,
        known: Partial | None = None,
        sizes: Mapping[str, Tensor] | None = None,
        **options: Any,
    ) -> Generated:
        """Draw samples. With `known` or `sizes` the latent is drawn as without, and the decoder keeps to them.

        Args:
            count: the number of rows.
            condition: what is asked for.
            rng: of latents and samples.
            known: a beginning in the generation order, for an autoregressive decoder.
            sizes: of the variable axes.
            **options: `prior_temperature`, which multiplies the scale of the latents, and those of the decoder.

        Raises:
            ValueError: an unknown option, or a known part that the decoder cannot keep.
        """
        rng = _some(rng, count)
        of_prior = {name: options.pop(name) for name in PRIOR_OPTIONS if name in options}
        scale = options_of(PriorOptions, SAMPLING, of_prior).prior_temperature
        latents = self.latents.draw(count, condition, rng, sizes, self.device)
        latents = latents.with_fields({name: scale * z for name, z in latents.fields.items()})
        return self._decoded(latents, condition, rng, known, sizes, options)

    def _decoded(
        self,
        latents: Batch,
        condition: Partial | None,
        rng: Rng | None,
        known: Partial | None,
        sizes: Mapping[str, Tensor] | None,
        options: Mapping[str, Any],
    ) -> Generated:
        options_of(self.decoder.options, SAMPLING, options)
        with torch.no_grad():
            return Generated(self.decoder.sample(self._typed(latents), condition, rng, known, sizes, **options))

    def _typed(self, latents: Batch) -> Batch:
        like = next(self.parameters())
        return latents.with_fields({name: z.to(like) for name, z in latents.fields.items()})

    def initialise(self, batch: Batch, statistics: Statistics) -> None:
        """Start decoding from the statistics of the data."""
        self.decoder.initialise(batch, statistics)

    def set_statistics(self, statistics: Statistics) -> None:
        """Take over the frequencies of sizes."""
        self.latents.set_statistics(statistics)
        self.decoder.set_statistics(statistics)


def _some(rng: Rng | None, rows: int) -> Rng:
    return rng if rng is not None else Rng(int(torch.randint(1 << 62, ())), range(rows))
