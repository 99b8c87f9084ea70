"""The flow family: an invertible way from data to noise.

Letters in shapes: B batch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

import torch
from torch import Tensor

from molgen.backbone import Build
from molgen.batch import Batch, Partial
from molgen.config import by_name, options_of
from molgen.data.statistics import Statistics
from molgen.families.flow.autoregressive import AutoregressiveFlow
from molgen.families.flow.config import FlowConfig
from molgen.families.flow.coupling import CouplingFlow
from molgen.families.flow.discrete import DiscreteMatching
from molgen.families.flow.matching import Matching
from molgen.families.flow.variant import Items, Variant
from molgen.families.parts.elements import PackedElements
from molgen.families.parts.known import least_sizes
from molgen.families.parts.sizes import SizeModel
from molgen.family import Capability, Density, Family, Generated, LogDensity, Loss, parts_by_field
from molgen.seeding import Rng
from molgen.space import Real, Space

#: The variants by their names in the configuration.
VARIANTS: Mapping[str, type[Variant]] = {
    "coupling": CouplingFlow,
    "autoregressive": AutoregressiveFlow,
    "matching": Matching,
    "discrete": DiscreteMatching,
}


def usual_variant(space: Space) -> str:
    """The variant that takes a space, where none is asked for."""
    bound = any(isinstance(field, Real) and (field.centred or field.rotates) for field in space.values())
    return "matching" if bound else "coupling"


class Flow(Family):
    """loss: -log p(x) of invertible layers, or the regression of another variant; sample: from noise to data.

    Densities are exact for numbers without levels, and lower bounds where a field has classes or levels.
    """

    Config = FlowConfig
    #: small settings for the conformance kit.
    molgen_tiny: ClassVar[Mapping[str, Any]] = {
        "rounds": 1,
        "bins": 4,
        "draws": 2,
        "steps": 2,
        "width": 16,
        "layers": 1,
        "heads": 2,
    }
    capability: ClassVar[Capability] = Capability(density=Density.LOWER_BOUND)

    def __init__(self, space: Space, build: Build, config: FlowConfig, condition: Space | None = None) -> None:
        super().__init__(space, build, config, condition)
        self.variant = by_name("variant", config.variant or usual_variant(space), VARIANTS)(
            space, build, config, self.condition_space
        )
        self.sizes = SizeModel(space, condition)
        self.loss_unit = self.variant.loss_unit
        # Of this object: what a flow can do depends on its variant and on the space.
        self.capability = replace(  # type: ignore[misc]
            type(self).capability,
            density=self.variant.density,
            known=self.variant.known,
            guidance=self.variant.guidance,
            coupled=self.variant.coupled,
        )

    def loss(self, batch: Batch, condition: Partial | None, rng: Rng, phase: str = "model") -> Loss:
        """The loss of the variant, and -log p(size | condition) in nats."""
        return self._total(self.variant.loss(self._items(batch, condition, rng)), batch, condition)

    def validate(self, batch: Batch, condition: Partial | None, rng: Rng) -> Loss:
        """The held-out loss of the variant, and -log p(size | condition) in nats."""
        return self._total(self.variant.validate(self._items(batch, condition, rng)), batch, condition)

    def _total(self, parts: Mapping[str, Tensor], batch: Batch, condition: Partial | None) -> Loss:
        parts = parts_by_field(parts, size=-self._log_size(batch, condition))
        return Loss(torch.stack([part.double() for part in parts.values()]).sum(0), parts)

    def log_density(
        self, batch: Batch, condition: Partial | None = None, rng: Rng | None = None, **options: Any
    ) -> LogDensity:
        """log p(x | condition) in nats; options are those of `Scoring` of the variant.

        Raises:
            ValueError: an unknown option.
        """
        scoring = options_of(self.variant.Scoring, "the density of a flow", options)
        items = self._items(batch, condition, self._rng(rng, len(batch)))
        with torch.no_grad():
            value, error = self.variant.log_density(items, scoring)
            value = value.double() + self._log_size(batch, condition)
        return LogDensity(value, self.variant.density_by(scoring), items.elements.counts(), error)

    def sample(
        self,
        count: int,
        condition: Partial | None = None,
        rng: Rng | None = None,
        known: Partial | None = None,
        sizes: Mapping[str, Tensor] | None = None,
        **options: Any,
    ) -> Generated:
        """Draw samples; options are those of `Sampling` of the variant."""
        sampling = options_of(self.variant.Sampling, "sampling from a flow", options)
        rng = self._rng(rng, count)
        with torch.no_grad():
            drawn = self.sizes.sample(count, condition, rng, sizes, least_sizes(self.space, known))
            elements = PackedElements.of_sizes(self.space, drawn, count, self.device)
            found = self.variant.sample(elements, condition, rng, known, sampling)
            if found.log_density is None:
                return Generated(found.batch)
            value = found.log_density + self._log_size(found.batch, condition)
        return Generated(found.batch, LogDensity(value, self.variant.density, elements.counts()))

    def initialise(self, batch: Batch, statistics: Statistics) -> None:
        """Measure what the variant needs."""
        self.variant.initialise(self._items(batch, None, Rng(0, range(len(batch)))), statistics)

    def set_statistics(self, statistics: Statistics) -> None:
        """Take over the frequencies of sizes."""
        self.sizes.initialise(statistics)

    def _items(self, batch: Batch, condition: Partial | None, rng: Rng) -> Items:
        return Items(batch, PackedElements.of_batch(self.space, batch, self.device), condition, rng)

    def _log_size(self, batch: Batch, condition: Partial | None) -> Tensor:
        """log p(size | condition), (B,)."""
        return self.sizes.log_probability(batch.sizes, condition).expand(len(batch))

    def _rng(self, rng: Rng | None, rows: int) -> Rng:
        return rng if rng is not None else Rng(int(torch.randint(1 << 62, ())), range(rows))
