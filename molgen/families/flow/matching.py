"""Flow matching: a velocity field takes noise to data along straight paths.

The method is that of Lipman et al., arXiv 2210.02747, and Liu et al., arXiv 2209.03003: x_t = (1 - t) x_0 + t n from
data x_0 to normal noise n, and a network predicts the mean velocity v(x, t) = E[n - x_0 | x_t]. Samples follow
dx / dt = v from time 1 to time 0, and densities are those of this equation. Numbers that rotate or have a common centre
are matched by their packed elements, which are free; with a network that is equivariant samples and densities are too
(Klein et al., arXiv 2306.15030). Classes and levels are numbers with noise, see `numbers`.

Letters in shapes: B batch, E packed elements.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from math import log, pi, prod

import torch
from torch import Tensor

from molgen.backbone import Build, Head
from molgen.batch import Partial
from molgen.config import by_name
from molgen.families.flow.config import EquationOptions, FlowConfig, MatchingSampling
from molgen.families.flow.numbers import NumberSpace
from molgen.families.flow.pairing import PAIRINGS
from molgen.families.flow.variant import Drawn, Items, Variant
from molgen.families.parts.elements import ElementNoise, PackedElements, arrange
from molgen.families.parts.known import KnownElements
from molgen.families.parts.ode import directions, integrate, mean_and_error
from molgen.family import Density, Known
from molgen.seeding import Rng
from molgen.space import Space

States = Mapping[str, Tensor]

#: Up to so many numbers of a sample the divergence is exact where nothing is asked for: its time grows with them.
MOST_EXACT = 64
#: Random directions for larger samples.
DIRECTIONS = 2


class Matching(Variant):
    """The loss is the mean square error of the velocity; the density is exact up to the steps of the equation.

    Of classes and levels it is a lower bound.
    """

    Sampling, Scoring = MatchingSampling, EquationOptions
    known, guidance = Known.REPLACEMENT, True

    def __init__(self, space: Space, build: Build, config: FlowConfig, condition: Space) -> None:
        super().__init__(space, build, config, condition)
        self.pairing = by_name("pairing", config.pairing, PAIRINGS)
        self.coupled = self.pairing.coupled
        self.numbers = NumberSpace(space)
        heads = {
            name: Head(prod(field.channels), field.axes, rotates=field.rotates)
            for name, field in self.numbers.space.items()
        }
        self.network = build(self.numbers.space, heads)

    @property
    def density(self) -> Density:
        """Exact for numbers without levels, where there are few; a bound for classes and levels."""
        return self.density_by(EquationOptions())

    def density_by(self, options: EquationOptions) -> Density:
        """An estimate where it would be exact but for random directions."""
        if not self.numbers.exact:
            return Density.LOWER_BOUND
        return Density.ESTIMATE if self._directions(options) else Density.EXACT

    def _directions(self, options: EquationOptions) -> int:
        """How many random directions are taken; by the largest sample, since no row may depend on others beside it."""
        if options.directions is not None:
            return options.directions
        return 0 if self._most_numbers() <= MOST_EXACT else DIRECTIONS

    def _most_numbers(self) -> int:
        fields = self.numbers.space.values()
        return sum(prod(axis.maximum for axis in field.axes) * prod(field.channels) for field in fields)

    def loss(self, items: Items) -> Mapping[str, Tensor]:
        """The mean over the elements of each field of (v - (n - x_0))^2 at one random time."""
        elements = self.numbers.elements(items.elements)
        noise, time = ElementNoise(elements, items.rng), items.rng.uniform("time").to(elements.device)
        x0 = {name: y.to(self.dtype) for name, y in self.numbers.numbers(items.packed(), noise)[0].items()}
        n = {name: noise.normal(name, "noise").to(self.dtype) for name in x0}
        paired = self.pairing.pair(replace(items, elements=elements), elements.join(x0), elements.join(n))
        n = elements.split(paired)
        share = time.to(self.dtype)[:, None]
        x = {name: torch.where(elements.exists[name], x0[name].lerp(n[name], share), 0.0) for name in x0}
        found = {}
        for name, v in self.velocity(x, time, elements, items.condition).items():
            exists = elements.exists[name]
            square = torch.where(exists, (v - (n[name] - x0[name])) ** 2, 0.0)
            found[name] = square.sum(1) / exists.sum(1).clamp(min=1)
        return found

    def velocity(
        self, x: States, time: Tensor, elements: PackedElements, condition: Partial | None
    ) -> dict[str, Tensor]:
        """v at times (B,), (B, E) by field."""
        kind = next(self.network.parameters()).dtype
        outputs = self.network(elements.unpack_batch(x), time.to(kind), condition)
        return {
            name: arrange(field, outputs[name].to(self.dtype), elements.places[name]).squeeze(-1)
            for name, field in self.numbers.space.items()
        }

    def _joined(
        self, x: Tensor, time: float, elements: PackedElements, condition: Partial | None, weight: float
    ) -> Tensor:
        """v of all fields side by side, between those with and without the condition or beyond."""
        now = torch.full((len(elements),), time, dtype=torch.float64, device=elements.device)
        states = elements.split(x)
        asked = elements.join(self.velocity(states, now, elements, condition if weight else None))
        if condition is not None and weight not in (0, 1):
            free = elements.join(self.velocity(states, now, elements, None))
            asked = free + weight * (asked - free)
        return torch.where(elements.join(elements.exists), asked, 0.0)

    def log_density(self, items: Items, options: EquationOptions) -> tuple[Tensor, Tensor]:
        """log p(x) along the equation, and how much half the steps and the random directions change it.

        Of classes and levels it is the logarithm of the mean of so many `draws` of their numbers.
        """
        count = 1 if self.numbers.exact else options.draws
        found = [self._draw(items, options, step) for step in range(count)]
        values, errors = (torch.stack(part) for part in zip(*found, strict=True))
        value = values.logsumexp(0) - log(count)
        spread = (values - value).exp().std(0) / count**0.5 if count > 1 else torch.zeros_like(value)
        return value, (errors.square().mean(0) + spread**2).sqrt()

    def _draw(self, items: Items, options: EquationOptions, step: int) -> tuple[Tensor, Tensor]:
        """The same for one draw of numbers, (B,) each."""
        elements, steps = self.numbers.elements(items.elements), options.steps or self.config.steps
        noise = ElementNoise(elements, items.rng)
        numbers, surprise = self.numbers.numbers(items.packed(), noise, step)
        x = elements.join(numbers).to(self.dtype)
        along = directions(noise, self._directions(options), self.dtype)

        def value(count: int) -> Tensor:
            end, change = integrate(
                lambda x, t: self._joined(x, t, elements, items.condition, 1.0), x, (0.0, 1.0), count, along
            )
            normal = -(end.double() ** 2) / 2 - log(2 * pi) / 2
            return torch.where(elements.join(elements.exists), normal, 0.0).sum(1) + change

        found, error = mean_and_error(value(steps), value(max(1, steps // 2)))
        return found + surprise, error

    def sample(
        self,
        elements: PackedElements,
        condition: Partial | None,
        rng: Rng,
        known: Partial | None,
        options: MatchingSampling,
    ) -> Drawn:
        """From noise to data by Heun's method; known elements are what they are at each time."""
        given = KnownElements.of(known, elements, lambda name, values: values)
        elements = self.numbers.elements(elements)
        noise = ElementNoise(elements, rng)
        held = self._held(given, elements, noise)
        steps = options.steps or self.config.steps
        n = {name: noise.normal(name, "start").to(self.dtype) for name in self.original}
        x = elements.join({name: torch.where(elements.exists[name], one, 0.0) for name, one in n.items()})
        for number in range(steps, 0, -1):
            time, earlier, length = number / steps, (number - 1) / steps, 1 / steps
            v = self._joined(x, time, elements, condition, options.guidance)
            then = self._joined(x - length * v, earlier, elements, condition, options.guidance)
            x = self._keeping(x - length / 2 * (v + then), earlier, n, held, elements)
        values = self.numbers.values(elements.split(x))
        return Drawn(given.exactly_in(replace(elements, space=self.original).unpack_batch(values)))

    def _held(self, given: KnownElements, elements: PackedElements, noise: ElementNoise) -> KnownElements:
        """What is known as numbers."""
        numbers, _ = self.numbers.numbers(given.values, noise)
        values = {name: y.to(self.dtype) for name, y in numbers.items()}
        full = {name: elements.unpack(name, y) for name, y in values.items()}
        return KnownElements(self.numbers.space, values, full, given.given)

    def _keeping(self, x: Tensor, time: float, n: States, held: KnownElements, elements: PackedElements) -> Tensor:
        states = elements.split(x)
        for name, x0 in held.values.items():
            wanted = (1 - time) * x0 + time * n[name]
            states[name] = torch.where(elements.exists[name], held.keep(name, states[name], wanted, elements), 0.0)
        return elements.join(states)
