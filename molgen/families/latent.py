"""A distribution over the latents of a trained autoencoder, which another family learns.

A sample is drawn where the latents of data lie, and not where a standard normal prior has them, then decoded: the two
stages of Dai & Wipf (arXiv 1903.05789), of Vahdat et al. (arXiv 2106.05931) and of Rombach et al. (arXiv 2112.10752).

Letters in shapes: B batch, K draws of a latent.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from math import log
from typing import Any, ClassVar

import torch
from torch import Tensor

from molgen.backbone import Build
from molgen.batch import Batch, Partial
from molgen.config import Part, TrainedModel, options_of, settings_of, to_settings
from molgen.data.standardise import log_abs_det, restore, standardise
from molgen.data.statistics import Statistics, measure
from molgen.families.parts.elements import PackedElements
from molgen.families.parts.trained import Trained
from molgen.family import Capability, Density, Diagnostics, Family, Generated, LogDensity, Loss, Phase
from molgen.seeding import Rng
from molgen.space import Space, variable_axes

#: How the names of options begin that the autoencoder's decoder takes.
DECODER = "decode_"
#: Draws of the latent of each of the first items, from which the units of latents are measured, and items at a time.
FIRST_DRAWS, ROWS = 4, 128
#: What random numbers are for, beside those of the autoencoder.
PRIOR = "prior over latents"


@dataclass(frozen=True)
class LatentConfig:
    """Which latents are learned, and by what.

    Attributes:
        autoencoder: a trained model with a latent space, such as a `vae`.
        prior: the family that learns the distribution of its latents, by its registry name.
        prior_settings: of that family. Its networks are those of the backbone of the model.
        draws: of the latent in the bound on the density where none are asked for.
    """

    autoencoder: TrainedModel = ""
    prior: str = "flow"
    prior_settings: Mapping[str, Any] = field(default_factory=dict)
    draws: int = 8

    def __post_init__(self) -> None:
        if self.draws < 1:
            raise ValueError(f"draws must be at least 1, not {self.draws}")
        # With every default written out, so that later defaults cannot change a model.
        _, settings = settings_of("family", Part(self.prior, self.prior_settings))
        object.__setattr__(self, "prior_settings", to_settings(settings))


@dataclass(frozen=True)
class BoundOptions:
    """The options of `log_density` beside those of the prior.

    Attributes:
        draws: of the latent; 0 leaves it to the configuration.
    """

    draws: int = 0

    def __post_init__(self) -> None:
        if self.draws < 0:
            raise ValueError(f"draws must be 0 or more, not {self.draws}")


@dataclass(frozen=True)
class DecodingOptions:
    """The options of `sample` beside those of the prior, and those of the decoder behind `decode_`.

    Attributes:
        likeliest: whether each latent gives what is likeliest under it, and not a draw.
    """

    likeliest: bool = False


class Latent(Family):
    """loss: that of the prior on latents of the trained autoencoder; sample: the decoder's of latents that are drawn.

    log p(x) >= E_q[log p(x | z) + log p(z) - log q(z | x)], of the weakest kind of its parts. Latents reach the prior
    at unit scale. The conditions go to the prior, and to the autoencoder those that it knows.

    Raises:
        ValueError: no autoencoder is named, or what is named has no latent space.
    """

    Config = LatentConfig
    #: small settings for the conformance kit, and what it takes for a trained model.
    molgen_tiny: ClassVar[Mapping[str, Any]] = {"prior_settings": {"rounds": 1, "transform": "affine"}, "draws": 1}
    molgen_trained: ClassVar[Mapping[str, Any]] = {"autoencoder": ("vae",)}
    capability: ClassVar[Capability] = Capability(density=Density.LOWER_BOUND, latent=True)

    def __init__(
        self,
        space: Space,
        build: Build,
        config: LatentConfig,
        condition: Space | None = None,
        autoencoder: Family | None = None,
        state: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(space, build, config, condition)
        if autoencoder is None:
            raise ValueError("the latents of a trained autoencoder are learned; type family.autoencoder=RUN")
        if not autoencoder.capability.latent:
            raise ValueError(
                f"family.autoencoder is a {type(autoencoder).__name__}, which has no latent space; train a vae"
            )
        self.autoencoder = Trained(autoencoder, condition)
        #: of latents as the autoencoder has them.
        self.statistics = Statistics.from_json(state["statistics"]) if state else Statistics()
        cls: type[Family]
        cls, settings = settings_of("family", Part(config.prior, config.prior_settings))
        parts = (autoencoder.latent_space, build, settings, condition)
        try:
            self.prior: Family = cls.from_state(state["prior"], *parts) if state else cls(*parts)
        except ValueError as error:
            raise ValueError(f"{config.prior} as the prior of latents: {error}") from error
        self.loss_unit = self.prior.loss_unit
        own = self.prior.capability
        # Of this object: what it can do depends on the prior.
        self.capability = replace(  # type: ignore[misc]
            type(self).capability,
            density=min(own.density, Density.LOWER_BOUND, autoencoder.capability.density),
            guidance=own.guidance,
            coupled=own.coupled,
        )

    @classmethod
    def from_state(
        cls,
        state: Mapping[str, Any],
        space: Space,
        build: Build,
        config: Any,
        condition: Space | None = None,
        **trained: Family,
    ) -> Family:
        """With a prior from its own state."""
        return cls(space, build, config, condition, **trained, state=state)

    def state(self) -> dict[str, Any]:
        """The units of latents, and the state of the prior."""
        return {"statistics": self.statistics.to_json(), "prior": self.prior.state()}

    # --- training ---------------------------------------------------------------------------------

    @property
    def phases(self) -> Mapping[str, Phase | torch.nn.Module]:
        """Those of the prior; the autoencoder stays as it is."""
        return self.prior.phases

    def loss(self, batch: Batch, condition: Partial | None, rng: Rng, phase: str = "") -> Loss:
        """The loss of the prior on a draw of the latent of each item; without a phase, of the first."""
        latents = self._at_unit_scale(self.encode(batch, condition, rng))
        return self.prior.loss(latents, condition, rng.fold(PRIOR), phase=phase or next(iter(self.phases)))

    def validate(self, batch: Batch, condition: Partial | None, rng: Rng) -> Loss:
        """The held-out figure of the prior; where that is in nats, with all that makes it the bound on -log p(x)."""
        latents = self.encode(batch, condition, rng)
        found = self.prior.validate(self._at_unit_scale(latents), condition, rng.fold(PRIOR))
        if self.loss_unit != "nats":
            return found
        rest = self._beside_the_prior(batch, latents, condition, rng)
        parts = {f"latent {name}": part for name, part in found.parts.items()}
        return Loss(found.total - rest, {**parts, "decoding": -rest})

    def diagnose(self, batch: Batch, condition: Partial | None, rng: Rng) -> Diagnostics:
        """What the prior sees of its own health."""
        latents = self._at_unit_scale(self.encode(batch, condition, rng))
        return self.prior.diagnose(latents, condition, rng.fold(PRIOR))

    def initialise(self, batch: Batch, statistics: Statistics) -> None:
        """Measure the latents of training items, and start the prior from them."""
        rows, rng = torch.arange(len(batch)), Rng(0, range(len(batch)))
        latents = [
            self.encode(batch.take(some), None, rng.fold(f"draw {draw}").take(some))
            for draw in range(FIRST_DRAWS)
            for some in rows.split(ROWS)
        ]
        space = self.latent_space
        self.statistics = measure(space, latents)
        first = latents[: -(-len(batch) // ROWS)]
        joined = Batch(
            {name: torch.cat([one.fields[name] for one in first]) for name in space},
            {name: torch.cat([one.sizes[name] for one in first]) for name in first[0].sizes},
        )
        self.prior.initialise(self._at_unit_scale(joined), self.statistics)

    def set_statistics(self, statistics: Statistics) -> None:
        """Give the prior what was counted of the latents, which are those of a trained autoencoder: always the same."""
        # Where latents have the sizes of samples, these were counted of all items.
        own = variable_axes(self.latent_space) == variable_axes(self.space)
        sizes = statistics.sizes if own else self.statistics.sizes
        self.prior.set_statistics(replace(self.statistics, sizes=sizes))

    def begin_step(self, step: int, steps: int) -> None:
        """Tell the prior how far training is."""
        self.prior.begin_step(step, steps)

    def training_state(self) -> dict[str, Tensor]:
        """What training of the prior needs beside its weights."""
        return self.prior.training_state()

    def load_training_state(self, state: Mapping[str, Tensor]) -> None:
        """Take it back."""
        self.prior.load_training_state(state)

    # --- densities --------------------------------------------------------------------------------

    def log_density(
        self, batch: Batch, condition: Partial | None = None, rng: Rng | None = None, **options: Any
    ) -> LogDensity:
        """The bound on log p(x | condition) in nats, from some draws of the latent.

        Where the density of the prior is exact, the logarithm of the mean of importance weights
        p(x | z) p(z) / q(z | x) (Burda et al., arXiv 1509.00519), which rises with the draws; else the mean of their
        logarithms, since a mean of weights that are estimates themselves may lie above p(x).

        Args:
            batch: the samples.
            condition: what they are conditional on.
            rng: of the latents.
            **options: `draws`, and those of the density of the prior.
        """
        own = {name: options.pop(name) for name in ("draws",) if name in options}
        count = options_of(BoundOptions, "the density of a latent model", own).draws or self.config.draws
        rng = self._rng(rng, len(batch))
        found = [self._draw(batch, condition, rng.fold(f"draw {draw}"), options) for draw in range(count)]
        values, kind = torch.stack([one.value for one in found]), min(one.kind for one in found)
        error = found[0].standard_error
        if kind is Density.EXACT and error is None:
            value = values.logsumexp(0) - log(count)
            spread = (values - value.clamp(min=torch.finfo(value.dtype).min)).exp()
        else:
            value, spread = values.mean(0), values
        error = spread.std(0) / count**0.5 if count > 1 else error
        return LogDensity(
            value, min(kind, self.capability.density), PackedElements.of_batch(self.space, batch).counts(), error
        )

    def _draw(self, batch: Batch, condition: Partial | None, rng: Rng, options: Mapping[str, Any]) -> LogDensity:
        """log p(x | z) + log p(z) - log q(z | x) for one draw of z, and the kind of log p(z)."""
        with torch.no_grad():
            latents = self.encode(batch, condition, rng)
            rest = self._beside_the_prior(batch, latents, condition, rng)
        found = self.prior.log_density(self._at_unit_scale(latents), condition, rng.fold(PRIOR), **options)
        return replace(found, value=found.value.double() + rest)

    def _beside_the_prior(self, batch: Batch, latents: Batch, condition: Partial | None, rng: Rng) -> Tensor:
        """log p(x | z) - log q(z | x), and what log p(z) gains from the units of latents, (B,) in float64."""
        family, asked = self.autoencoder.family, self.autoencoder.condition(condition)
        likelihood = family.log_likelihood(batch, latents, asked, rng)
        units = log_abs_det(self.latent_space, self.statistics, latents)
        return likelihood - family.log_posterior(latents, batch, asked) - units

    # --- samples ----------------------------------------------------------------------------------

    def sample(
        self,
        count: int,
        condition: Partial | None = None,
        rng: Rng | None = None,
        known: Partial | None = None,
        sizes: Mapping[str, Tensor] | None = None,
        **options: Any,
    ) -> Generated:
        """Draw latents and decode them.

        Args:
            count: the number of rows.
            condition: what is asked for.
            rng: of latents and samples.
            known: nothing.
            sizes: of the variable axes, for the decoder.
            **options: `likeliest`; those of sampling from the prior; those of the decoder, behind `decode_`.

        Raises:
            ValueError: an unknown option, or a known part.
        """
        if known is not None and any(bool(given.any()) for given in known.given.values()):
            raise ValueError("a latent model cannot keep known parts of a sample; family=diffusion can")
        rng = self._rng(rng, count)
        own = {name: options.pop(name) for name in ("likeliest",) if name in options}
        likeliest = options_of(DecodingOptions, "sampling from a latent model", own).likeliest
        decoding = {name.removeprefix(DECODER): value for name, value in options.items() if name.startswith(DECODER)}
        asked = {name: value for name, value in options.items() if not name.startswith(DECODER)}
        placed = {name: size for name, size in (sizes or {}).items() if name in variable_axes(self.latent_space)}
        drawn = self.prior.sample(count, condition, rng.fold(PRIOR), sizes=placed or None, **asked).batch
        latents = restore(self.latent_space, self.statistics, drawn)
        return Generated(self.decode(latents, condition, None if likeliest else rng, sizes, **decoding).batch)

    def _at_unit_scale(self, latents: Batch) -> Batch:
        return standardise(self.latent_space, self.statistics, latents)

    def _rng(self, rng: Rng | None, rows: int) -> Rng:
        return rng if rng is not None else Rng(int(torch.randint(1 << 62, ())), range(rows))

    # --- latents: those of the autoencoder ----------------------------------------------------------

    @property
    def latent_space(self) -> Space:
        """That of the autoencoder."""
        return self.autoencoder.family.latent_space

    def encode(self, batch: Batch, condition: Partial | None = None, rng: Rng | None = None) -> Batch:
        """Draws from q(z | x) of the autoencoder, without `rng` its means."""
        return self.autoencoder.family.encode(batch, self.autoencoder.condition(condition), rng)

    def decode(
        self,
        latents: Batch,
        condition: Partial | None = None,
        rng: Rng | None = None,
        sizes: Mapping[str, Tensor] | None = None,
        **options: Any,
    ) -> Generated:
        """A sample of p(x | z) of the autoencoder for each latent, without `rng` the likeliest."""
        return self.autoencoder.family.decode(latents, self.autoencoder.condition(condition), rng, sizes, **options)

    def log_likelihood(
        self, batch: Batch, latents: Batch, condition: Partial | None = None, rng: Rng | None = None
    ) -> Tensor:
        """log p(x | z, condition) of the autoencoder."""
        return self.autoencoder.family.log_likelihood(batch, latents, self.autoencoder.condition(condition), rng)

    def log_posterior(self, latents: Batch, batch: Batch, condition: Partial | None = None) -> Tensor:
        """log q(z | x, condition) of the autoencoder."""
        return self.autoencoder.family.log_posterior(latents, batch, self.autoencoder.condition(condition))
