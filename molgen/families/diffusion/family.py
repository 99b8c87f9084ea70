"""The diffusion family: its training loss, its samples and its densities.

Letters in shapes: B batch, E packed elements.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from molgen.backbone import Build
from molgen.batch import Batch, Partial
from molgen.config import by_name, options_of
from molgen.data.statistics import Statistics
from molgen.families.diffusion.config import DiffusionConfig, Sampling, Scoring
from molgen.families.diffusion.denoiser import Denoiser
from molgen.families.diffusion.elbo import lower_bound
from molgen.families.diffusion.probability_flow import ode_log_density
from molgen.families.diffusion.sampler import Sampler
from molgen.families.diffusion.unmasking import ORDERS
from molgen.families.parts.elements import ElementNoise, PackedElements
from molgen.families.parts.known import KnownElements, least_sizes
from molgen.families.parts.sizes import SizeModel
from molgen.family import Capability, Density, Family, Generated, Known, LogDensity, Loss, parts_by_field
from molgen.seeding import Rng
from molgen.space import Categorical, Space

#: What a log-density is made of, beside log p(size): the value and its error, (B,) each.
Method = Callable[[Denoiser, ElementNoise, Partial | None, Scoring, Mapping[str, Tensor]], tuple[Tensor, Tensor]]


def _along_the_equation(scoring: Scoring) -> Density:
    return Density.ESTIMATE if scoring.samples else Density.EXACT


#: The methods of `log_density` by their names, with what their numbers mean.
METHODS: dict[str, tuple[Method, Callable[[Scoring], Density]]] = {
    "bound": (lower_bound, lambda scoring: Density.LOWER_BOUND),
    "ode": (ode_log_density, _along_the_equation),
}


class Diffusion(Family):
    """loss: of a prediction of the data at a random time; sample: back from noise; log_density: a lower bound.

    The loss of classes is a bound on -log p in nats; that of numbers is the loss of EDM, a mean over elements.
    """

    Config = DiffusionConfig
    molgen_tiny: ClassVar[Mapping[str, Any]] = {"steps": 3, "samples": 8}
    capability = Capability(density=Density.LOWER_BOUND, known=Known.REPLACEMENT, guidance=True)

    def __init__(self, space: Space, build: Build, config: DiffusionConfig, condition: Space | None = None) -> None:
        super().__init__(space, build, config, condition)
        self.denoiser = Denoiser(space, build, config)
        self.sizes = SizeModel(space, condition)
        # The loss of EDM for numbers is no bound, and neither is a sum with weights.
        bounded = all(isinstance(field, Categorical) for field in space.values()) and not config.weights
        self.loss_unit = "nats" if bounded else ""
        by_name("order", config.order, ORDERS)
        if unknown := sorted(set(config.weights) - set(space)):
            raise ValueError(f"weights name the fields {', '.join(unknown)}; there are {', '.join(space)}")

    def loss(self, batch: Batch, condition: Partial | None, rng: Rng, phase: str = "model") -> Loss:
        """The weighted sum over fields of the loss at one random time, and -log p(size | condition)."""
        elements = self._elements(batch)
        noise, x0 = ElementNoise(elements, rng).uniforms("noise"), self._states(elements, batch)
        time = rng.uniform("time").to(elements.device)
        x = {name: own.corrupt(x0[name], time, noise[name]) for name, own in self.denoiser.each()}
        earlier = self._earlier(x, time, elements, condition, rng)
        predictions = self.denoiser(x, time, elements, condition, earlier=earlier)
        time = self.denoiser.weighting_time(x, time, elements)
        parts = {
            name: own.loss(predictions[name], x0[name], x[name], time, elements.exists[name])
            for name, own in self.denoiser.each()
        }
        total = torch.stack([self.config.weights.get(name, 1.0) * part for name, part in parts.items()]).sum(0)
        surprise = -self._log_size(batch, condition).to(total)
        return Loss(total + surprise, parts_by_field(parts, size=surprise))

    def _earlier(
        self, x: Mapping[str, Tensor], time: Tensor, elements: PackedElements, condition: Partial | None, rng: Rng
    ) -> dict[str, Tensor] | None:
        """What the network predicts of half of the rows by itself, and nothing of the others; None without it."""
        if not self.denoiser.earlier:
            return None
        with torch.no_grad():
            found = self.denoiser(x, time, elements, condition)
        some = rng.bernoulli(0.5, "self-conditioning").to(elements.device)
        return {name: self.denoiser.hidden(name, one, some) for name, one in found.items()}

    def log_density(
        self, batch: Batch, condition: Partial | None = None, rng: Rng | None = None, **options: Any
    ) -> LogDensity:
        """log p(x | condition), a lower bound or, by the probability-flow ODE, exact or estimated.

        The ODE's error is how much half the number of steps changes it, and that of random directions; its density
        is that of data with noise of the lowest level.

        Args:
            batch: the samples.
            condition: what they are conditioned on.
            rng: random numbers per row.
            **options: those of `config.Scoring`.

        Raises:
            ValueError: an unknown option.
            UnsupportedSpace: a method that the space has no means for.
        """
        scoring = options_of(Scoring, "the density of a diffusion", options)
        method, kind_by = by_name("method", scoring.method, METHODS)
        elements = self._elements(batch)
        noise = ElementNoise(elements, self._rng(rng, len(batch)))
        with torch.no_grad():
            value, error = method(self.denoiser, noise, condition, scoring, self._states(elements, batch))
            value = value.double() + self._log_size(batch, condition)
        return LogDensity(value, kind_by(scoring), elements.counts(), error)

    def sample(
        self,
        count: int,
        condition: Partial | None = None,
        rng: Rng | None = None,
        known: Partial | None = None,
        sizes: Mapping[str, Tensor] | None = None,
        **options: Any,
    ) -> Generated:
        """Generate samples; known elements are replaced at every step by what they are at its time.

        Options are those of `config.Sampling`.
        """
        usual = {"steps": self.config.steps, "order": self.config.order}
        sampling = options_of(Sampling, "sampling from a diffusion", usual | options)
        if sampling.guidance == 0:
            condition = None
        rng = self._rng(rng, count)
        with torch.no_grad():
            drawn = self.sizes.sample(count, condition, rng, sizes, least_sizes(self.space, known))
            elements = PackedElements.of_sizes(self.space, drawn, count, self.device)
            kept = KnownElements.of(known, elements, self._to_state)
            return Generated(Sampler(self.denoiser, sampling, ElementNoise(elements, rng)).sample(kept, condition))

    def initialise(self, batch: Batch, statistics: Statistics) -> None:
        """Measure what processes need, and start outputs from the frequencies of classes."""
        for name, own in self.denoiser.each():
            own.initialise(name, statistics)
            bias = own.bias(name, statistics)
            if bias is not None:
                self.denoiser.backbone.set_output_bias(name, bias)

    def set_statistics(self, statistics: Statistics) -> None:
        """Take over the frequencies of sizes."""
        self.sizes.initialise(statistics)

    def _elements(self, batch: Batch) -> PackedElements:
        return PackedElements.of_batch(self.space, batch, self.device)

    def _states(self, elements: PackedElements, batch: Batch) -> dict[str, Tensor]:
        """x_0 of every field, (B, E)."""
        return {name: self._to_state(name, values) for name, values in elements.pack_batch(batch).items()}

    def _to_state(self, name: str, values: Tensor) -> Tensor:
        x0 = self.denoiser.of(name).to_state(values)
        return x0.to(self.denoiser.dtype) if x0.is_floating_point() else x0

    def _log_size(self, batch: Batch, condition: Partial | None) -> Tensor:
        """log p(size | condition), (B,)."""
        return self.sizes.log_probability(batch.sizes, condition).expand(len(batch))

    def _rng(self, rng: Rng | None, rows: int) -> Rng:
        return rng if rng is not None else Rng(int(torch.randint(1 << 62, ())), range(rows))
