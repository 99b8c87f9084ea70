"""What the variants of a flow share: one contract, on the packed elements of samples whose sizes are given.

Letters in shapes: B batch, E packed elements.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from molgen.backbone import Build
from molgen.batch import Batch, Partial
from molgen.data.statistics import Statistics
from molgen.families.flow.config import FlowConfig
from molgen.families.parts.elements import PackedElements
from molgen.family import Density, Known
from molgen.seeding import Rng
from molgen.space import Space


@dataclass(frozen=True)
class Items:
    """Some samples as a variant is given them.

    Attributes:
        batch: the samples.
        elements: which they have.
        condition: what they are conditioned on.
        rng: random numbers per row.
    """

    batch: Batch
    elements: PackedElements
    condition: Partial | None
    rng: Rng

    def packed(self) -> dict[str, Tensor]:
        """The packed elements of every field, (B, E)."""
        return self.elements.pack_batch(self.batch)


@dataclass(frozen=True)
class Drawn:
    """Samples, and log p(x | size) of each, (B,), where sampling gives it for free."""

    batch: Batch
    log_density: Tensor | None = None


class Variant(nn.Module, ABC):
    """loss(items) -> parts (B,) each; log_density(items) -> value and error (B,); sample(elements) -> samples.

    All are given the sizes of samples, and charge nothing for them.
    """

    known: ClassVar[Known] = Known.NONE
    guidance: ClassVar[bool] = False
    coupled: bool = False
    #: of the loss that `validate` gives, see `Family.loss_unit`.
    loss_unit: ClassVar[str] = ""
    #: the options of `sample` and of `log_density`, as dataclasses.
    Sampling: ClassVar[type[Any]]
    Scoring: ClassVar[type[Any]]

    @abstractmethod
    def __init__(self, space: Space, build: Build, config: FlowConfig, condition: Space) -> None:
        super().__init__()
        self.original, self.config = dict(space), config

    @property
    @abstractmethod
    def density(self) -> Density:
        """What the numbers of `log_density` mean."""

    def density_by(self, options: Any) -> Density:
        """The same with these options of `log_density`."""
        return self.density

    @abstractmethod
    def loss(self, items: Items) -> Mapping[str, Tensor]:
        """What is added up to the training loss."""

    def validate(self, items: Items) -> Mapping[str, Tensor]:
        """What is added up to the held-out loss in `loss_unit`."""
        return self.loss(items)

    @abstractmethod
    def log_density(self, items: Items, options: Any) -> tuple[Tensor, Tensor | None]:
        """log p(x | size, condition) in nats, and its standard error where it is estimated."""

    @abstractmethod
    def sample(
        self, elements: PackedElements, condition: Partial | None, rng: Rng, known: Partial | None, options: Any
    ) -> Drawn:
        """Samples with these elements."""

    def initialise(self, items: Items, statistics: Statistics) -> None:
        """Set what depends on the training data, once."""

    @property
    def dtype(self) -> torch.dtype:
        """Of states: networks may run in 16 bits, states need more."""
        return torch.promote_types(next(self.parameters()).dtype, torch.float32)
