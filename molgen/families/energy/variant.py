"""What the variants of an energy-based model share: one contract, that of a family, and the energy itself.

Letters in shapes: B batch.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from molgen.backbone import Build, Head
from molgen.batch import Batch, Partial
from molgen.data.statistics import Statistics
from molgen.families.energy.config import EnergyConfig
from molgen.family import Density, Diagnostics, Family, Known, LogDensity, Loss, Phase
from molgen.seeding import Rng
from molgen.space import Space

#: The head of the network.
ENERGY = "energy"


@dataclass(frozen=True)
class Parts:
    """What a variant is made of.

    Attributes:
        space: of the samples.
        build: makes the network.
        config: the settings.
        condition: what the model is conditioned on.
        trained: the families of trained models, by the setting that names each.
    """

    space: Space
    build: Build
    config: EnergyConfig
    condition: Space
    trained: Mapping[str, Family] = field(default_factory=dict)


class EnergyNetwork(nn.Module):
    """forward(batch, condition) -> the energy of whole samples, (B,); classes may be ids or one-hot numbers."""

    def __init__(self, space: Space, build: Build) -> None:
        super().__init__()
        self.network = build(space, {ENERGY: Head(1)})

    def forward(self, batch: Batch, condition: Partial | None) -> Tensor:
        """The energies in at least 32 bits: networks may run in 16."""
        found = self.network(batch, None, condition)[ENERGY].squeeze(-1)
        return found.to(torch.promote_types(found.dtype, torch.float32))


class Variant(nn.Module, ABC):
    """What a family does, for one way to learn an energy; see `Family` for each method."""

    #: the settings that name trained models which it is made over.
    over: ClassVar[tuple[str, ...]] = ()
    coupled: ClassVar[bool] = False
    guidance: bool = False
    known: Known = Known.NONE
    density: Density = Density.UNNORMALISED
    loss_unit: ClassVar[str] = ""
    #: the options of `sample` and of `log_density`, as dataclasses.
    Sampling: ClassVar[type[Any]]
    Scoring: ClassVar[type[Any]]

    def __init__(self, parts: Parts) -> None:
        super().__init__()
        self.space, self.config = dict(parts.space), parts.config

    @property
    def phase(self) -> Phase:
        """How the parameters are moved."""
        return Phase((self,))

    @abstractmethod
    def loss(self, batch: Batch, condition: Partial | None, rng: Rng) -> Loss:
        """The training loss of each item."""

    def validate(self, batch: Batch, condition: Partial | None, rng: Rng) -> Loss:
        """The held-out loss of each item in `loss_unit`."""
        return self.loss(batch, condition, rng)

    def diagnose(self, batch: Batch, condition: Partial | None, rng: Rng) -> Diagnostics:
        """What to watch while training."""
        return Diagnostics()

    @abstractmethod
    def sample(
        self,
        count: int,
        condition: Partial | None,
        rng: Rng,
        known: Partial | None,
        sizes: Mapping[str, Tensor] | None,
        options: Mapping[str, Any],
    ) -> Batch:
        """Draw samples."""

    @abstractmethod
    def log_density(self, batch: Batch, condition: Partial | None, rng: Rng, options: Mapping[str, Any]) -> LogDensity:
        """log p(x | condition) of each item, normalised or not."""

    def initialise(self, batch: Batch, statistics: Statistics) -> None:
        """Set what depends on the training data, once."""

    def set_statistics(self, statistics: Statistics) -> None:
        """Take over what is counted."""

    def begin_step(self, step: int, steps: int) -> None:
        """Take note of how far training is."""

    def training_state(self) -> dict[str, Tensor]:
        """What training needs beside the weights."""
        return {}

    def load_training_state(self, state: Mapping[str, Tensor]) -> None:
        """Take back what `training_state` gave."""

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.parameters()).device
