"""The family of energy-based models (LeCun et al., A Tutorial on Energy-Based Learning, 2006).

Letters in shapes: B batch.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from molgen.backbone import Build
from molgen.batch import Batch, Partial
from molgen.config import by_name
from molgen.data.statistics import Statistics
from molgen.families.energy.config import EnergyConfig
from molgen.families.energy.contrastive import Contrastive
from molgen.families.energy.matching import EnergyMatching
from molgen.families.energy.residual import Residual
from molgen.families.energy.variant import Parts, Variant
from molgen.family import Capability, Density, Diagnostics, Family, Generated, LogDensity, Loss, Phase
from molgen.seeding import Rng
from molgen.space import Space

#: The variants by their names in the configuration.
VARIANTS: Mapping[str, type[Variant]] = {
    "residual": Residual,
    "contrastive": Contrastive,
    "matching": EnergyMatching,
}
#: The variant that each setting is for which names a trained model.
OVER = {"base": "residual", "start": "contrastive"}


class Energy(Family):
    """A network gives an energy E to a whole sample: p(x) is proportional to exp(-E(x)), or to q(x) exp(-E(x)).

    Over a trained base q the density is a normalised estimate. Without one it is known up to a factor for each size and
    condition, unless annealed importance sampling is asked for.
    """

    Config = EnergyConfig
    #: small settings for the conformance kit, and what it tries as base.
    molgen_tiny: ClassVar[Mapping[str, Any]] = {
        "proposals": 2,
        "draws": 16,
        "chains": 8,
        "chain_steps": 2,
        "steps": 4,
        "mixing": 2,
    }
    molgen_trained: ClassVar[Mapping[str, tuple[str, ...]]] = {"base": ("autoregressive", "diffusion")}
    capability: ClassVar[Capability] = Capability(density=Density.CRITIC)

    def __init__(
        self,
        space: Space,
        build: Build,
        config: EnergyConfig,
        condition: Space | None = None,
        base: Family | None = None,
        start: Family | None = None,
    ) -> None:
        super().__init__(space, build, config, condition)
        variant = by_name("variant", config.variant, VARIANTS)
        given = {name: family for name, family in (("base", base), ("start", start)) if family is not None}
        _require(config.variant, variant, given)
        self.variant = variant(Parts(self.space, build, config, self.condition_space, given))
        self.loss_unit = self.variant.loss_unit
        # Of this object: what an energy can do depends on its variant and on what it is made over.
        self.capability = Capability(  # type: ignore[misc]
            density=self.variant.density,
            known=self.variant.known,
            guidance=self.variant.guidance,
            coupled=self.variant.coupled,
        )

    @property
    def phases(self) -> Mapping[str, Phase]:
        """One, as the variant has it."""
        return {"model": self.variant.phase}

    def loss(self, batch: Batch, condition: Partial | None, rng: Rng, phase: str = "model") -> Loss:
        """The training loss of the variant."""
        return self.variant.loss(batch, condition, rng)

    def validate(self, batch: Batch, condition: Partial | None, rng: Rng) -> Loss:
        """The held-out loss of the variant, in `loss_unit`."""
        return self.variant.validate(batch, condition, rng)

    def diagnose(self, batch: Batch, condition: Partial | None, rng: Rng) -> Diagnostics:
        """What the variant watches."""
        return self.variant.diagnose(batch, condition, rng)

    def sample(
        self,
        count: int,
        condition: Partial | None = None,
        rng: Rng | None = None,
        known: Partial | None = None,
        sizes: Mapping[str, Tensor] | None = None,
        **options: Any,
    ) -> Generated:
        """Draw samples; options are those of `Sampling` of the variant.

        Raises:
            ValueError: an unknown option, or a known part that cannot be kept.
        """
        with torch.no_grad():
            return Generated(self.variant.sample(count, condition, self._rng(rng, count), known, sizes, options))

    def log_density(
        self, batch: Batch, condition: Partial | None = None, rng: Rng | None = None, **options: Any
    ) -> LogDensity:
        """log p(x | condition) in nats; options are those of `Scoring` of the variant.

        Raises:
            ValueError: an unknown option.
        """
        with torch.no_grad():
            return self.variant.log_density(batch, condition, self._rng(rng, len(batch)), options)

    def initialise(self, batch: Batch, statistics: Statistics) -> None:
        """Count what the variant starts from."""
        self.variant.initialise(batch, statistics)

    def set_statistics(self, statistics: Statistics) -> None:
        """Take over the frequencies of sizes."""
        self.variant.set_statistics(statistics)

    def begin_step(self, step: int, steps: int) -> None:
        """Take note of how far training is."""
        self.variant.begin_step(step, steps)

    def training_state(self) -> dict[str, Tensor]:
        """The chains of the variant."""
        return self.variant.training_state()

    def load_training_state(self, state: Mapping[str, Tensor]) -> None:
        """Take the chains back."""
        self.variant.load_training_state(state)

    def _rng(self, rng: Rng | None, rows: int) -> Rng:
        return rng if rng is not None else Rng(int(torch.randint(1 << 62, ())), range(rows))


def _require(name: str, variant: type[Variant], given: Mapping[str, Family]) -> None:
    """See that a variant has the trained models that it needs, and no others.

    Raises:
        ValueError: it has not.
    """
    if "base" in variant.over and "base" not in given:
        raise ValueError(
            "a residual energy corrects a trained model; type family.base=RUN, or family.variant=contrastive for none"
        )
    for setting in given:
        if setting not in variant.over:
            raise ValueError(f"family.{setting} is for family.variant={OVER[setting]}, not {name}")
