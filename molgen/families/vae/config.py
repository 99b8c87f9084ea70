"""The settings of the variational autoencoder."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

from molgen.families.parts.latent import LatentConfig


@dataclass(frozen=True)
class VAEConfig(LatentConfig):
    """How large the latent is, how samples come out of it, and how much it may hold.

    Attributes:
        decoder: `one_shot`, which gives all elements at once, independent of each other under a latent; `matched`, the
            same for what has no order, such as atoms: a sample is scored in the likeliest order that is found;
            `autoregressive`, which gives elements in the generation order, each under the latent and those before it;
            or `points`, all at once from a latent at each point in space, which turns with the sample.
        beta: weight of the divergence from the prior (Higgins et al., ICLR 2017); 1 is the bound itself.
        free_bits: nats at each place of the latent that cost nothing (Kingma et al., arXiv 1606.04934, section C.8,
            there over averages of a batch; here for each item, so that no item's loss depends on others).
        warmup: the share of training in which that weight rises from 0 (arXiv 1511.06349, section 3.1), so that the
            latent is in use before it has to be paid for.
        warmup_power: of that share, as which the weight rises; above 1 it stays near 0 for longer.
        word_dropout: the share of earlier choices that the autoregressive decoder is kept from reading in training
            (Bowman et al., arXiv 1511.06349, section 3.2), so that it asks the latent.
        components: of the mixtures by which the one-shot decoder describes quantised numbers.
        draws: latents by which a density is estimated by default.
        ordered_encoder: whether the encoder sees where elements stand along unordered axes. Encoder and one-shot
            decoder then mean the same by a place from the start, and training needs far fewer steps before the latent
            is in use. The latent depends on the order in which a sample comes, which is canonical for molecules.
        search_after: the share of training after which `matched` searches for likely orders. A decoder that knows
            nothing of the latent gains by the search as well, so that it may never learn to listen; before that share
            samples are scored in the order in which they come.
    """

    decoder: str = "one_shot"
    beta: float = 1.0
    free_bits: float = 0.0
    warmup: float = 0.0
    warmup_power: float = 1.0
    word_dropout: float = 0.0
    components: int = 5
    draws: int = 16
    ordered_encoder: bool = False
    search_after: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("components", "draws"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, not {getattr(self, name)}")
        for name in ("beta", "free_bits"):
            if not 0 <= getattr(self, name) < inf:
                raise ValueError(f"{name} must be at least 0, not {getattr(self, name)}")
        for name in ("warmup", "search_after"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must be at least 0 and at most 1, not {getattr(self, name)}")
        if not 0 < self.warmup_power < inf:
            raise ValueError(f"warmup_power must be above 0, not {self.warmup_power}")
        if not 0 <= self.word_dropout < 1:
            raise ValueError(f"word_dropout must be at least 0 and below 1, not {self.word_dropout}")


@dataclass(frozen=True)
class PriorOptions:
    """How latents of samples depart from the prior: `prior_temperature` multiplies their scale."""

    prior_temperature: float = 1.0

    def __post_init__(self) -> None:
        if not 0 <= self.prior_temperature < inf:
            raise ValueError(f"prior_temperature must be at least 0, not {self.prior_temperature}")


@dataclass(frozen=True)
class OneShotOptions:
    """How the elements of samples depart from the model: `temperature` below 1 sharpens them."""

    temperature: float = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.temperature < inf:
            raise ValueError(f"temperature must be above 0, not {self.temperature}")


@dataclass(frozen=True)
class DensityOptions:
    """How a density is estimated: from so many `draws` of the latent; None leaves it to the configuration."""

    draws: int | None = None

    def __post_init__(self) -> None:
        if self.draws is not None and self.draws < 1:
            raise ValueError(f"draws must be at least 1, not {self.draws}")
