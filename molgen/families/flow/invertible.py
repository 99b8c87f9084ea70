"""Flows that are a sequence of invertible layers, whose density follows from the change of variables.

Letters in shapes: B batch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from math import log, pi

import torch
from torch import Tensor, nn

from molgen.backbone import Build
from molgen.batch import Batch, Partial
from molgen.data.statistics import Statistics
from molgen.errors import UnsupportedSpace
from molgen.families.flow.config import BoundOptions, FlowConfig, InvertibleSampling
from molgen.families.flow.dequantise import Dequantisation
from molgen.families.flow.layers import Layer, Moved, Standardisation, States, zeros
from molgen.families.flow.splines import Affine, Spline, Transform
from molgen.families.flow.variant import Drawn, Items, Variant
from molgen.families.parts.elements import ElementNoise, PackedElements
from molgen.family import Density
from molgen.seeding import Rng
from molgen.space import Real, Space

#: The functions of one number that layers can use, by their names in the configuration.
TRANSFORMS: Mapping[str, Callable[[FlowConfig], Transform]] = {
    "spline": lambda config: Spline(config.bins, config.reach),
    "affine": lambda config: Affine(),
}


class Invertible(Variant):
    """log p(x) = log N(f(x)) + log |det df/dx|, for classes and levels with the bound of `dequantise`.

    A subclass gives `layers`, those of f behind a standardisation.
    """

    Sampling, Scoring = InvertibleSampling, BoundOptions
    loss_unit = "nats"
    layers: nn.ModuleList

    def __init__(self, space: Space, build: Build, config: FlowConfig, condition: Space) -> None:
        super().__init__(space, build, config, condition)
        for name, field in space.items():
            if isinstance(field, Real) and (field.centred or field.rotates):
                raise UnsupportedSpace(
                    f"the numbers of {name!r} rotate or have a common centre, which no function of single numbers "
                    "keeps; family.variant=matching takes them"
                )
        self.dequantisation = Dequantisation(space, build, config.dequantisation or "argmax")
        self.standardisation = Standardisation(self.dequantisation.space)

    @property
    def density(self) -> Density:
        """Exact for numbers without levels."""
        return Density.EXACT if self.dequantisation.exact else Density.LOWER_BOUND

    def loss(self, items: Items) -> Mapping[str, Tensor]:
        """The negative log-density, by one draw of the noise in cells."""
        return {"elements": -self._draws(items, 1)[0]}

    def log_density(self, items: Items, options: BoundOptions) -> tuple[Tensor, Tensor | None]:
        """The logarithm of the mean importance weight."""
        if self.dequantisation.exact:
            return self._draws(items, 1)[0], None
        count = options.draws or self.config.draws
        weights = self._draws(items, count)
        value = weights.logsumexp(0) - log(count)
        if count == 1:
            return value, None
        return value, (weights - value).exp().std(0) / count**0.5

    def _draws(self, items: Items, count: int) -> Tensor:
        """log p(y) + log |dy/du| - log q(u | x) for some draws of u, (draws, B) in float64."""
        elements, values = self.dequantisation.elements(items.elements), items.packed()
        learned = self.dequantisation.learned(items.batch, items.condition, elements)
        noise, found = ElementNoise(elements, items.rng), []
        last = self._along(elements)[-1]
        for step in range(count):
            states, volume = self.dequantisation(values, learned, noise, step)
            states = {name: y.to(self.dtype) for name, y in states.items()}
            z, log_det = self._map(states, elements, items.condition)
            found.append(_normal(z, last) + log_det + volume)
        return torch.stack(found)

    def _all(self) -> list[Layer]:
        own = [layer for layer in self.layers if isinstance(layer, Layer)]
        return [self.standardisation, *own]

    def _along(self, elements: PackedElements) -> list[PackedElements]:
        """The elements before each layer, and those behind the last."""
        found = [elements]
        for layer in self._all():
            found.append(layer.after(found[-1]))
        return found

    def _map(self, states: States, elements: PackedElements, condition: Partial | None) -> Moved:
        layers = zip(self._all(), self._along(elements), strict=False)
        return _through(states, condition, zeros(elements), ((layer.map, own) for layer, own in layers))

    def _unmap(self, states: States, elements: PackedElements, condition: Partial | None) -> Moved:
        layers = reversed([*zip(self._all(), self._along(elements), strict=False)])
        return _through(states, condition, zeros(elements), ((layer.unmap, own) for layer, own in layers))

    def sample(
        self,
        elements: PackedElements,
        condition: Partial | None,
        rng: Rng,
        known: Partial | None,
        options: InvertibleSampling,
    ) -> Drawn:
        """The inverse of the flow at normal numbers.

        Raises:
            ValueError: parts are known, which such a flow cannot keep.
        """
        if known is not None and any(bool(given.any()) for given in known.given.values()):
            raise ValueError(
                "a flow of invertible layers cannot keep known parts of a sample; family=diffusion can, and "
                "family.variant=matching or discrete"
            )
        first = self.dequantisation.elements(elements)
        last = self._along(first)[-1]
        draws = ElementNoise(last, rng)
        z = {
            name: (options.temperature * torch.special.ndtri(draws.uniform(name, "base"))).to(self.dtype)
            for name in last.space
        }
        z = {name: torch.where(last.exists[name], values, 0.0) for name, values in z.items()}
        states, log_det = self._unmap(z, first, condition)
        fields = {name: elements.unpack(name, one) for name, one in self.dequantisation.values(states).items()}
        free = self.dequantisation.exact and options.temperature == 1
        return Drawn(Batch(fields, dict(elements.sizes)), _normal(z, last) - log_det if free else None)

    @torch.no_grad()
    def initialise(self, items: Items, statistics: Statistics) -> None:
        """Measure the moments of the numbers."""
        elements = self.dequantisation.elements(items.elements)
        states, _ = self.dequantisation(items.packed(), {}, ElementNoise(elements, items.rng))
        self.standardisation.measure({name: y.to(self.dtype) for name, y in states.items()}, elements)


#: `map` or `unmap` of a layer, and the elements before its `map`.
Step = tuple[Callable[[States, PackedElements, Partial | None], Moved], PackedElements]


def _through(states: States, condition: Partial | None, total: Tensor, steps: Iterable[Step]) -> Moved:
    moved = dict(states)
    for step, elements in steps:
        moved, log_det = step(moved, elements, condition)
        total = total + log_det
    return moved, total


def _normal(states: States, elements: PackedElements) -> Tensor:
    """log of the standard normal density of all numbers, (B,) in float64."""
    total = zeros(elements)
    for name, z in states.items():
        log_density = -(z.double() ** 2) / 2 - log(2 * pi) / 2
        total = total + torch.where(elements.exists[name], log_density, 0.0).sum(1)
    return total
