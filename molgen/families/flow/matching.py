"""Flow matching: a velocity field takes noise to data along straight paths.

The method is that of Lipman et al., arXiv 2210.02747, and Liu et al., arXiv 2209.03003: x_t = (1 - t) x_0 + t n from
data x_0 to normal noise n, and a network predicts the mean velocity v(x, t) = E[n - x_0 | x_t]. Samples follow
dx / dt = v from time 1 to time 0, and densities are those of this equation. Numbers that rotate or have a common centre
are matched by their packed elements, which are free.

Letters in shapes: B batch, E packed elements.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import log, pi, prod

import torch
from torch import Tensor

from molgen.backbone import Build, Head
from molgen.batch import Partial
from molgen.config import by_name
from molgen.errors import UnsupportedSpace
from molgen.families.flow.config import EquationOptions, FlowConfig, MatchingSampling
from molgen.families.flow.pairing import PAIRINGS
from molgen.families.flow.variant import Drawn, Items, Variant
from molgen.families.parts.elements import ElementNoise, PackedElements, arrange
from molgen.families.parts.known import KnownElements
from molgen.families.parts.ode import directions, integrate, mean_and_error
from molgen.family import Density, Known
from molgen.seeding import Rng
from molgen.space import Real, Space

States = Mapping[str, Tensor]


class Matching(Variant):
    """The loss is the mean square error of the velocity; the density is exact up to the steps of the equation."""

    Sampling, Scoring = MatchingSampling, EquationOptions
    known, guidance = Known.REPLACEMENT, True
    density = Density.EXACT

    def __init__(self, space: Space, build: Build, config: FlowConfig, condition: Space) -> None:
        super().__init__(space, build, config, condition)
        self.pairing = by_name("pairing", config.pairing, PAIRINGS)
        self.coupled = self.pairing.coupled
        heads = {}
        for name, field in space.items():
            if not isinstance(field, Real) or field.levels is not None:
                raise UnsupportedSpace(
                    f"flow matching is for numbers without levels, and {name!r} has classes or levels; "
                    "family.variant=coupling takes them, and family.variant=discrete takes classes"
                )
            heads[name] = Head(prod(field.channels), field.axes, rotates=field.rotates)
        self.network = build(space, heads)

    def loss(self, items: Items) -> Mapping[str, Tensor]:
        """The mean over the elements of each field of (v - (n - x_0))^2 at one random time."""
        elements, x0 = items.elements, items.elements.pack_batch(items.batch)
        noise, time = ElementNoise(elements, items.rng), items.rng.uniform("time").to(elements.device)
        n = {name: noise.normal(name, "noise").to(self.dtype) for name in x0}
        n = elements.split(self.pairing.pair(items, elements.join(x0), elements.join(n)))
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
            for name, field in self.original.items()
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
        """log p(x) along the equation, and how much half the steps and the random directions change it."""
        elements, steps = items.elements, options.steps or self.config.steps
        x = elements.join(elements.pack_batch(items.batch)).to(self.dtype)
        along = directions(ElementNoise(elements, items.rng), options.directions, self.dtype)

        def value(count: int) -> Tensor:
            end, change = integrate(
                lambda x, t: self._joined(x, t, elements, items.condition, 1.0), x, (0.0, 1.0), count, along
            )
            normal = -(end.double() ** 2) / 2 - log(2 * pi) / 2
            return torch.where(elements.join(elements.exists), normal, 0.0).sum(1) + change

        return mean_and_error(value(steps), value(max(1, steps // 2)))

    def sample(
        self,
        elements: PackedElements,
        condition: Partial | None,
        rng: Rng,
        known: Partial | None,
        options: MatchingSampling,
    ) -> Drawn:
        """From noise to data by Heun's method; known elements are what they are at each time."""
        noise = ElementNoise(elements, rng)
        held = KnownElements.of(known, elements, lambda name, values: values.to(self.dtype))
        steps = options.steps or self.config.steps
        n = {name: noise.normal(name, "start").to(self.dtype) for name in self.original}
        x = elements.join({name: torch.where(elements.exists[name], one, 0.0) for name, one in n.items()})
        for number in range(steps, 0, -1):
            time, earlier, length = number / steps, (number - 1) / steps, 1 / steps
            v = self._joined(x, time, elements, condition, options.guidance)
            then = self._joined(x - length * v, earlier, elements, condition, options.guidance)
            x = self._keeping(x - length / 2 * (v + then), earlier, n, held, elements)
        return Drawn(held.exactly_in(elements.unpack_batch(elements.split(x))))

    def _keeping(self, x: Tensor, time: float, n: States, held: KnownElements, elements: PackedElements) -> Tensor:
        states = elements.split(x)
        for name, x0 in held.values.items():
            wanted = (1 - time) * x0 + time * n[name]
            states[name] = torch.where(elements.exists[name], held.keep(name, states[name], wanted, elements), 0.0)
        return elements.join(states)
