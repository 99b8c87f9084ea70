"""The contract of a generative family, and what it returns.

Letters in shapes: B batch. Densities and likelihood losses are in nats, of the representation: of
that string, of that order of atoms. Time runs from 0 (data) to 1 (noise).
"""

from __future__ import annotations

import enum
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor, nn

from molgen.batch import Batch, Partial
from molgen.domain import API_VERSION, Config
from molgen.errors import UnsupportedSpace
from molgen.seeding import Rng
from molgen.space import Field, Space

if TYPE_CHECKING:
    from molgen.backbone import Build
    from molgen.data.statistics import Statistics


class Density(enum.IntEnum):
    """What the number of `log_density` means, the weakest first; a sum has the weakest kind of its parts."""

    CRITIC = 0
    UNNORMALISED = 1
    #: normalised by a constant that is itself estimated; `LogDensity.standard_error` says how well.
    ESTIMATE = 2
    LOWER_BOUND = 3
    EXACT = 4


class Known(enum.Enum):
    """How a family can keep a known part of a sample while it generates the rest."""

    NONE = "none"
    PREFIX = "prefix"
    REPLACEMENT = "replacement"
    EXACT = "exact"


@dataclass(frozen=True)
class Capability:
    """What a family can do; the conformance kit and the command line ask here, never by name."""

    density: Density
    known: Known = Known.NONE
    latent: bool = False
    guidance: bool = False
    #: whether the loss of an item depends on the other items of its batch (forbids private training).
    coupled: bool = False


@dataclass(frozen=True)
class Loss:
    """What training minimises: `total` (B,) and its named parts (B,); see `Family.loss_unit`."""

    total: Tensor
    parts: Mapping[str, Tensor] = field(default_factory=dict)


def parts_by_field(fields: Mapping[str, Tensor], **others: Tensor) -> dict[str, Tensor]:
    """The parts of a loss: of fields by their names, and others; a field that is called as one of these is marked.

    Users name fields, so one may be called `loss` or `size`.
    """
    taken = {"loss", *others}
    return {f"field {name}" if name in taken else name: part for name, part in fields.items()} | others


@dataclass(frozen=True)
class LogDensity:
    """log p(x) in nats, (B,); `dims` counts the elements of each sample, (B,), for figures per dimension."""

    value: Tensor
    kind: Density
    dims: Tensor
    standard_error: Tensor | None = None


@dataclass(frozen=True)
class Generated:
    """Samples, and their log-density where sampling gives it for free (of an unmodified model: temperature 1)."""

    batch: Batch
    log_density: LogDensity | None = None


@dataclass(frozen=True)
class Phase:
    """One part of a training step: which parameters it moves, and how.

    Attributes:
        modules: whose parameters are moved.
        learning_rate: a factor on `training.learning_rate`.
        betas: of AdamW; by default 0.9 and `training.beta2`.
        weight_decay: by default `training.weight_decay`.
        steps: optimiser steps in each training step, each on items and random numbers of its own.
        averaged: whether the moving average of the weights, which is kept, follows these parameters; else it has their
            last values.
    """

    modules: tuple[nn.Module, ...]
    learning_rate: float = 1.0
    betas: tuple[float, float] | None = None
    weight_decay: float | None = None
    steps: int = 1
    averaged: bool = True

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise ValueError(f"a phase takes at least one step, not {self.steps}")

    def parameters(self) -> list[nn.Parameter]:
        """The parameters that are moved, each once."""
        return list(dict.fromkeys(p for module in self.modules for p in module.parameters() if p.requires_grad))


def phases_of(family: Family) -> dict[str, Phase]:
    """The phases of a family by name; a module alone is a phase with the usual settings."""
    return {name: Phase((own,)) if isinstance(own, nn.Module) else own for name, own in family.phases.items()}


@dataclass(frozen=True)
class Diagnostics:
    """What a family sees of its own health: numbers to log by name, and sentences to show while it trains."""

    values: Mapping[str, float] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()


class Family(nn.Module, ABC):
    """loss(batch, condition, rng) -> (B,); sample(count, condition, rng) -> samples; log_density(batch) -> (B,).

    Whoever wants tensors uses that of a model, `model.family`: a batch of
    samples goes in, and a value for each comes out; `loss` is the one with gradients.

    Example:
        >>> import molgen
        >>> from molgen.batch import collate
        >>> model = molgen.GenerativeModel.load("moses")
        >>> samples = [model.encoder.encode(item) for item in ("CCO", "c1ccccc1")]
        >>> found = model.family.log_density(collate(model.encoder.space, samples))
        >>> found.value.shape, found.kind.name
        (torch.Size([2]), 'EXACT')

    A family knows fields, never domains. It receives `build`, which makes networks for the space,
    and calls it as often as it needs networks. Where a setting of its `Config` has the type `config.TrainedModel`, the
    constructor takes the family of the trained model that the setting names as an argument of the same name.
    """

    molgen_api: ClassVar[int] = API_VERSION
    Config: ClassVar[type] = Config
    capability: ClassVar[Capability]
    #: the unit of what `validate` gives: "nats" of a likelihood or a bound of one, or the name of another figure that
    #: users may know; else empty.
    loss_unit: str = ""
    #: whether the network decides element after element in the generation order; chooses the default network.
    causal: ClassVar[bool] = False
    #: fields that a sample is drawn for, which must be known as a whole; see `families.conditional`.
    given: Mapping[str, Field] = {}

    def __init__(self, space: Space, build: Build, config: Any, condition: Space | None = None) -> None:
        super().__init__()
        self.space = dict(space)
        self.condition_space = dict(condition or {})
        self.config = config

    @property
    def phases(self) -> Mapping[str, Phase | nn.Module]:
        """What each training step optimises, one phase after the other; a module is a phase with the usual settings.

        `loss` is called with the name of the phase. Only the parameters of the phase require gradients then.
        """
        return {"model": Phase((self,))}

    @abstractmethod
    def loss(self, batch: Batch, condition: Partial | None, rng: Rng, phase: str = "model") -> Loss:
        """The training loss of each item."""

    def validate(self, batch: Batch, condition: Partial | None, rng: Rng) -> Loss:
        """The held-out loss of each item, the less the better, in `loss_unit`: by default that of the first phase.

        The trainer calls it in evaluation, with parameters that require no gradients; inputs may.
        """
        return self.loss(batch, condition, rng, phase=next(iter(self.phases)))

    def diagnose(self, batch: Batch, condition: Partial | None, rng: Rng) -> Diagnostics:
        """What to watch while training, such as a collapse to few samples; called at each check.

        Args:
            batch: held-out items where there are any, else training items.
            condition: of the items.
            rng: random numbers for their rows.
        """
        return Diagnostics()

    @abstractmethod
    def sample(
        self,
        count: int,
        condition: Partial | None = None,
        rng: Rng | None = None,
        known: Partial | None = None,
        sizes: Mapping[str, Tensor] | None = None,
        **options: Any,
    ) -> Generated:
        """Draw `count` samples.

        Args:
            count: the number of rows.
            condition: what is asked for, with gaps where nothing is asked.
            rng: random numbers per row; its items name the rows, whatever the batching.
            known: elements that every sample must have; points of a centred field up to one translation.
            sizes: the size of each variable axis, (B,) each; drawn by the model where absent.
            **options: of the family, such as temperature or steps.

        Raises:
            ValueError: an unknown option, or a known part that the family cannot keep.
        """

    @abstractmethod
    def log_density(
        self, batch: Batch, condition: Partial | None = None, rng: Rng | None = None, **options: Any
    ) -> LogDensity:
        """log p(x | condition) of each item, with its kind."""

    def log_known(self, known: Partial, condition: Partial | None = None, **options: Any) -> Tensor | None:
        """The log of the probability that a sample has each known part, (B,); None where the family cannot say.

        Args:
            known: the parts, one a row.
            condition: what is asked for.
            **options: of `sample`, which may change the distribution.
        """
        return None

    @property
    def latent_space(self) -> Space:
        """What `encode` gives: fields over fixed axes, or over those of the sample, whose sizes they then have.

        They are standard normal under the prior of a plain model.

        Raises:
            UnsupportedSpace: the family has no latent space; see `Capability.latent`.
        """
        raise UnsupportedSpace(f"{type(self).__name__} has no latent space")

    def encode(self, batch: Batch, condition: Partial | None = None, rng: Rng | None = None) -> Batch:
        """Where samples lie in the latent space: a sample of q(z | x), without `rng` its mean.

        Raises:
            UnsupportedSpace: the family has no latent space.
        """
        raise UnsupportedSpace(f"{type(self).__name__} has no latent space")

    def decode(
        self,
        latents: Batch,
        condition: Partial | None = None,
        rng: Rng | None = None,
        sizes: Mapping[str, Tensor] | None = None,
        **options: Any,
    ) -> Generated:
        """A sample of p(x | z) for each latent, without `rng` the likeliest element at every choice.

        Raises:
            UnsupportedSpace: the family has no latent space.
        """
        raise UnsupportedSpace(f"{type(self).__name__} has no latent space")

    def log_likelihood(
        self, batch: Batch, latents: Batch, condition: Partial | None = None, rng: Rng | None = None
    ) -> Tensor:
        """log p(x | z, condition) of each row in nats, (B,) in float64, with gradients.

        Under any prior p(z), log p(x | z) + log p(z) - log q(z | x) at latents of `encode` with an `rng` is in
        expectation a lower bound on log p(x).

        Args:
            batch: the samples.
            latents: one for each.
            condition: what both are conditional on.
            rng: for what only training does at random.

        Raises:
            UnsupportedSpace: the family has no latent space.
        """
        raise UnsupportedSpace(f"{type(self).__name__} has no latent space")

    def log_posterior(self, latents: Batch, batch: Batch, condition: Partial | None = None) -> Tensor:
        """log q(z | x, condition) of each row in nats, (B,) in float64, with gradients: what `encode` samples from.

        Raises:
            UnsupportedSpace: the family has no latent space.
        """
        raise UnsupportedSpace(f"{type(self).__name__} has no latent space")

    def initialise(self, batch: Batch, statistics: Statistics) -> None:
        """Set weights that depend on the data, once before training.

        Args:
            batch: training items, chosen at random.
            statistics: of all items.
        """

    def set_statistics(self, statistics: Statistics) -> None:
        """Take over what is counted, not learned, such as the sizes of samples: before every training, tuning too."""

    def begin_step(self, step: int, steps: int) -> None:
        """Take note of how far training is, before each of its `steps`: for what follows a schedule."""

    def training_state(self) -> dict[str, Tensor]:
        """What training needs beside the weights, such as a replay buffer."""
        return {}

    def load_training_state(self, state: Mapping[str, Tensor]) -> None:
        """Take back what `training_state` gave."""

    def state(self) -> dict[str, Any]:
        """What the family needs, beside its settings and weights, to be made again from a checkpoint: JSON values."""
        return {}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Take back what `state` gave, before the weights are loaded; it may make modules."""

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
        """The family of a checkpoint, without its weights: by default the constructor, then `load_state`.

        Override it where the constructor needs what only lies in the state. Checkpoints of families that had no state
        give an empty one. `trained` are the families of trained models, see `config.TrainedModel`.
        """
        family = cls(space, build, config, condition, **trained)
        family.load_state(state)
        return family

    def forward(self, *args: Any, **kwargs: Any) -> Loss:
        """The loss: wrappers of modules, as accelerate has them, call this."""
        return self.loss(*args, **kwargs)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.parameters()).device
