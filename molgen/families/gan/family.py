"""The generative adversarial network (Goodfellow et al., arXiv 1406.2661) over any space.

Letters in shapes: B batch.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from molgen.backbone import Build, Head
from molgen.batch import Batch, Partial
from molgen.config import by_name, options_of
from molgen.data.statistics import Statistics
from molgen.families.gan.config import GANConfig, Sampling, Scoring
from molgen.families.gan.generator import Elements, Generator
from molgen.families.gan.health import Health, energy_score, points
from molgen.families.gan.objectives import OBJECTIVES
from molgen.families.parts.double_backward import twice_differentiable
from molgen.families.parts.elements import PackedElements
from molgen.families.parts.sizes import SizeModel
from molgen.family import Capability, Density, Diagnostics, Family, Generated, LogDensity, Loss, Phase
from molgen.seeding import Rng
from molgen.space import Space

#: The head of the critic.
VALUE = "value"
#: Of Adam, without momentum: both networks follow an opponent that moves.
BETAS = (0.0, 0.99)


class GAN(Family):
    """A generator of all elements at once learns from a critic of whole samples; `log_density` is the critic's value.

    Both read the condition. In training a generated sample has the size of the real one beside it, so that sizes tell
    the critic nothing; p(size | condition) is learned by its likelihood, with the generator.

    The critic is no density: its values compare samples of one size and condition with each other. There are no latents
    to encode into, and no part of a sample can be known beforehand.
    """

    Config = GANConfig
    molgen_tiny: ClassVar[Mapping[str, Any]] = {"latent": 3, "element_noise": 2, "validation_samples": 2}
    capability = Capability(density=Density.CRITIC)
    loss_unit = "energy score"

    def __init__(self, space: Space, build: Build, config: GANConfig, condition: Space | None = None) -> None:
        super().__init__(space, build, config, condition)
        self.objective = by_name("objective", config.objective, OBJECTIVES)()
        self.generator = Generator(space, build, config)
        self.critic = build(space, {VALUE: Head(1)})
        self.sizes = SizeModel(space, condition)
        #: the weight of the penalty now.
        self.penalty: float = config.penalty_at(0, 1, self.objective.penalty)

    @property
    def phases(self) -> Mapping[str, Phase]:
        """The critic, then the generator, whose weights alone are averaged."""
        steps = self.config.critic_steps or self.objective.critic_steps
        return {
            "critic": Phase((self.critic,), betas=BETAS, weight_decay=0.0, steps=steps, averaged=False),
            "generator": Phase((self.generator, self.sizes), self.config.generator_rate, betas=BETAS, weight_decay=0.0),
        }

    def loss(self, batch: Batch, condition: Partial | None, rng: Rng, phase: str = "critic") -> Loss:
        """That of the objective for one network; the generator's with -log p(size | condition)."""
        with twice_differentiable():
            elements = PackedElements.of_batch(self.space, batch, self.device)
            real = self.generator.read(elements, batch)

            def critic(values: Elements) -> Tensor:
                return self._value(elements, values, condition)

            if phase == "generator":
                fake = critic(self.generator(elements, rng, condition))
                with torch.no_grad():
                    beside = critic(real)
                own = self.objective.generator_loss(beside, fake)
                surprise = -self._log_size(batch, condition).to(own)
                return Loss(own + surprise, {"adversarial": own, "size": surprise})
            with torch.no_grad():
                generated = self.generator(elements, rng, condition)
            return Loss(*self.objective.critic_loss(critic, real, generated, self.penalty, rng))

    def validate(self, batch: Batch, condition: Partial | None, rng: Rng) -> Loss:
        """The energy score of each item among generated samples of its size and condition, see `health.energy_score`.

        Its parts are the mean distance of these from the item, half their mean distance from each other, and D at the
        item less D at one of them.
        """
        elements = PackedElements.of_batch(self.space, batch, self.device)
        real = self.generator.read(elements, batch)
        with torch.no_grad():
            drawn = [
                self.generator(elements, rng.fold(f"sample {number}"), condition)
                for number in range(self.config.validation_samples)
            ]
            gap = self._value(elements, real, condition) - self._value(elements, drawn[0], condition)
            far, apart = energy_score(points(elements, real), [points(elements, own) for own in drawn])
        return Loss(far - apart, {"distance": far, "spread": apart, "gap": gap})

    def diagnose(self, batch: Batch, condition: Partial | None, rng: Rng) -> Diagnostics:
        """Whether samples of the sizes and conditions of the items are more alike than these; see `health.Health`."""
        if len(batch) < 2:
            return Diagnostics()
        elements = PackedElements.of_batch(self.space, batch, self.device)
        with torch.no_grad():
            drawn = self.generator(elements, rng, condition)
            real = self.generator.read(elements, batch)
            return Health.of(points(elements, real), points(elements, drawn)).diagnostics()

    def log_density(
        self, batch: Batch, condition: Partial | None = None, rng: Rng | None = None, **options: Any
    ) -> LogDensity:
        """The value of the critic, which is no density, of kind CRITIC.

        Raises:
            ValueError: an option; there are none.
        """
        options_of(Scoring, "the critic of a gan", options)
        elements = PackedElements.of_batch(self.space, batch, self.device)
        with torch.no_grad():
            value = self._value(elements, self.generator.read(elements, batch), condition)
        return LogDensity(value.double(), Density.CRITIC, elements.counts())

    def sample(
        self,
        count: int,
        condition: Partial | None = None,
        rng: Rng | None = None,
        known: Partial | None = None,
        sizes: Mapping[str, Tensor] | None = None,
        **options: Any,
    ) -> Generated:
        """Generate samples in one step. Options are those of `config.Sampling`.

        Raises:
            ValueError: an unknown option, or a known part.
        """
        sampling = options_of(Sampling, "sampling from a gan", options)
        if known is not None:
            raise ValueError("a gan makes all elements at once, so it keeps no known part; a diffusion keeps any")
        rng = rng if rng is not None else Rng(int(torch.randint(1 << 62, ())), range(count))
        with torch.no_grad():
            drawn = self.sizes.sample(count, condition, rng, sizes)
            elements = PackedElements.of_sizes(self.space, drawn, count, self.device)
            chosen = self.generator(elements, rng, condition, sampling)
            return Generated(elements.unpack_batch(self.generator.values(chosen)))

    def initialise(self, batch: Batch, statistics: Statistics) -> None:
        """Start from the frequencies of classes and the means of levels."""
        self.generator.initialise(statistics)

    def set_statistics(self, statistics: Statistics) -> None:
        """Take over the frequencies of sizes."""
        self.sizes.initialise(statistics)

    def begin_step(self, step: int, steps: int) -> None:
        """Take the weight of the penalty at this step of training."""
        self.penalty = self.config.penalty_at(step, steps, self.objective.penalty)

    def _value(self, elements: PackedElements, values: Elements, condition: Partial | None) -> Tensor:
        """D, (B,)."""
        return self.critic(elements.unpack_batch(values), None, condition)[VALUE].squeeze(-1).float()

    def _log_size(self, batch: Batch, condition: Partial | None) -> Tensor:
        """log p(size | condition), (B,)."""
        return self.sizes.log_probability(batch.sizes, condition).expand(len(batch))
