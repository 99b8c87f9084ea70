"""Energy matching: flow matching whose velocity is the slope of one potential V (Balcerak et al., arXiv 2504.10612).

Along the straight path x_t = (1 - t) x_0 + t n from data x_0 to noise n the slope of V(x) learns n - x_0, at all times
with one V. So -dV/dx leads from noise to data, without chains in training. In the last part of training a contrastive
loss shapes V about the data, where p(x) is proportional to exp(-V(x) / temperature). Classes and levels are matched as
numbers, see `Site.relax`.

Letters in shapes: B batch, E packed elements of the relaxed fields.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from molgen.batch import Batch, Partial
from molgen.config import by_name, options_of
from molgen.data.statistics import Statistics
from molgen.families.energy.config import MatchingSampling, PotentialScoring
from molgen.families.energy.rows import alike, numbers_of
from molgen.families.energy.sites import Site, proposal
from molgen.families.energy.variant import EnergyNetwork, Parts, Variant
from molgen.families.parts.double_backward import twice_differentiable
from molgen.families.parts.elements import ElementNoise, PackedElements
from molgen.families.parts.known import KnownElements, least_sizes
from molgen.families.parts.sizes import SizeModel
from molgen.family import Density, Known, LogDensity, Loss, parts_by_field
from molgen.layers.named import NamedModules
from molgen.seeding import Rng
from molgen.space import Space

States = Mapping[str, Tensor]
#: Whether noise goes to the data nearest to it in a batch.
PAIRINGS = {"optimal": True, "independent": False}
#: V of the data may lie so far below that of samples before the contrastive loss lets it be.
MARGIN = 0.05


class EnergyMatching(Variant):
    """loss: the mean square error of the slope of V; sample: down the slope from noise, then mixed at a temperature."""

    known = Known.REPLACEMENT
    Sampling, Scoring = MatchingSampling, PotentialScoring

    def __init__(self, parts: Parts) -> None:
        super().__init__(parts)
        self.sites = NamedModules({name: proposal(field) for name, field in parts.space.items()})
        self.relaxed: Space = {name: self.site(name).relaxed for name in parts.space}
        self.potential = EnergyNetwork(self.relaxed, parts.build)
        self.sizes = SizeModel(parts.space, parts.condition)
        self.paired = by_name("pairing", self.config.pairing, PAIRINGS)
        self.coupled = self.paired  # type: ignore[misc]
        #: whether the contrastive loss is added now.
        self.contrasts = self.config.contrast_from == 0

    def site(self, name: str) -> Site:
        """That of a field."""
        found = self.sites[name]
        assert isinstance(found, Site)
        return found

    # --- learning ---------------------------------------------------------------------------------

    def loss(self, batch: Batch, condition: Partial | None, rng: Rng) -> Loss:
        """Of the slope, of contrast in its part of training, and -log p(size | condition)."""
        with twice_differentiable():
            elements, x0 = self._relaxed(batch)
            found = self._matched(elements, x0, batch, condition, rng, paired=self.paired and self.training)
            at_data = self._v(elements, x0, condition)
            # Slopes leave V open by a constant.
            others = {"level": self.config.penalty * at_data**2 / elements.counts().clamp(min=1)}
            if self.contrasts and self.training and self.config.contrast:
                gap = at_data - self._v(elements, self._sampled(elements, x0, condition, rng), condition)
                others["contrast"] = self.config.contrast * gap.clamp(min=-MARGIN)
        others["size"] = -self._log_size(batch, condition).to(at_data)
        parts = parts_by_field(found, **others)
        return Loss(torch.stack([*parts.values()]).sum(0), parts)

    def validate(self, batch: Batch, condition: Partial | None, rng: Rng) -> Loss:
        """The same without contrast."""
        return self.loss(batch, condition, rng)

    def _matched(
        self,
        elements: PackedElements,
        x0: States,
        batch: Batch,
        condition: Partial | None,
        rng: Rng,
        *,
        paired: bool,
    ) -> dict[str, Tensor]:
        """By field the mean over the elements of (dV/dx - (n - x_0))^2 at one random time, (B,)."""
        n = self._noise(elements, rng, "noise")
        if paired:
            order = self._pairs(elements, x0, n, numbers_of(condition, batch.sizes))
            n = {name: torch.where(elements.exists[name], one[order], 0.0) for name, one in n.items()}
        time = rng.uniform("time").to(elements.device)[:, None]
        x = {name: x0[name].lerp(n[name], time.to(n[name])) for name in x0}
        found = {}
        for name, slope in self._slopes(elements, x, condition, keep=True).items():
            exists = elements.exists[name]
            square = torch.where(exists, (slope - (n[name] - x0[name])) ** 2, 0.0)
            found[name] = square.sum(1) / exists.sum(1).clamp(min=1)
        return found

    def _pairs(self, elements: PackedElements, x0: States, n: States, asked: list[Tensor]) -> Tensor:
        """Which noise goes to each item, (B,): the shortest ways among those that ask the same (arXiv 2302.00482)."""
        _, kind = alike(asked, len(elements))
        cost = torch.cdist(elements.join(x0).double().cpu(), elements.join(n).double().cpu()) ** 2
        order = torch.arange(len(elements))
        for number in range(int(kind.max()) + 1):
            rows = (kind == number).nonzero().squeeze(1)
            _, chosen = linear_sum_assignment(cost[rows][:, rows].numpy())
            order[rows] = rows[torch.from_numpy(chosen)]
        return order.to(elements.device)

    def _sampled(self, elements: PackedElements, x0: States, condition: Partial | None, rng: Rng) -> dict[str, Tensor]:
        """Samples of the model, half of which start from noise and half at the data."""
        steps = self.config.chain_steps
        with torch.no_grad():
            down = self._down(elements, self._noise(elements, rng, "start"), condition, steps)
            from_noise = rng.bernoulli(0.5, "from noise").to(elements.device)[:, None]
            x = {name: torch.where(from_noise, down[name], x0[name]) for name in x0}
            return self._mixed(elements, x, condition, rng, steps, self.config.temperature)

    # --- V and its slope --------------------------------------------------------------------------

    def _v(self, elements: PackedElements, x: States, condition: Partial | None) -> Tensor:
        """V, (B,)."""
        return self.potential(elements.unpack_batch(x), condition)

    def _slopes(
        self, elements: PackedElements, x: States, condition: Partial | None, *, keep: bool = False
    ) -> dict[str, Tensor]:
        """dV/dx, zero where there is no element; with gradients of their own where they are kept."""
        with torch.enable_grad():
            read = {name: one.detach().requires_grad_() for name, one in x.items()}
            total = self._v(elements, read, condition).sum()
            found = torch.autograd.grad(total, list(read.values()), create_graph=keep)
        return {name: torch.where(elements.exists[name], slope, 0.0) for name, slope in zip(read, found, strict=True)}

    def _noise(self, elements: PackedElements, rng: Rng, purpose: str, step: int = 0) -> dict[str, Tensor]:
        """Standard normal numbers."""
        noise, kind = ElementNoise(elements, rng), self._kind
        return {
            name: torch.where(elements.exists[name], noise.normal(name, purpose, step), 0.0).to(kind)
            for name in self.relaxed
        }

    @property
    def _kind(self) -> torch.dtype:
        return torch.promote_types(next(self.potential.parameters()).dtype, torch.float32)

    # --- sampling ---------------------------------------------------------------------------------

    def sample(
        self,
        count: int,
        condition: Partial | None,
        rng: Rng,
        known: Partial | None,
        sizes: Mapping[str, Tensor] | None,
        options: Mapping[str, Any],
    ) -> Batch:
        """From noise down the slope of V in unit time, then mixed; known elements are what they are at each time.

        Raises:
            ValueError: an unknown option.
        """
        own = options_of(MatchingSampling, "sampling from energy matching", options)
        drawn = self.sizes.sample(count, condition, rng, sizes, least_sizes(self.space, known))
        hard = PackedElements.of_sizes(self.space, drawn, count, self.device)
        elements = hard.over(self.relaxed)
        held = Held(self, KnownElements.of(known, hard, lambda name, values: self._relax(name, values)), hard)
        start = self._noise(elements, rng, "start")
        x = self._down(elements, start, condition, own.steps or self.config.steps, held)
        mixing = self.config.mixing if own.mixing is None else own.mixing
        temperature = self.config.temperature if own.temperature is None else own.temperature
        x = self._mixed(elements, x, condition, rng, mixing, temperature, held)
        return held.known.exactly_in(self._hardened(hard, x))

    def _down(
        self, elements: PackedElements, n: States, condition: Partial | None, steps: int, held: Held | None = None
    ) -> dict[str, Tensor]:
        """From noise to data along -dV/dx by Euler's method."""
        x = dict(n)
        for number in range(steps):
            slopes = self._slopes(elements, x, condition)
            x = {name: one - slopes[name] / steps for name, one in x.items()}
            x = held.at(x, n, 1 - (number + 1) / steps) if held is not None else x
        return x

    def _mixed(
        self,
        elements: PackedElements,
        x: States,
        condition: Partial | None,
        rng: Rng,
        steps: int,
        temperature: float,
        held: Held | None = None,
    ) -> dict[str, Tensor]:
        """Langevin's steps at a temperature, not corrected, as long as a 64th of the way from noise to data."""
        length, x = 1 / 64, dict(x)
        for number in range(steps):
            slopes, n = self._slopes(elements, x, condition), self._noise(elements, rng, "mixing", number)
            x = {
                name: one - length * slopes[name] + (2 * temperature * length) ** 0.5 * n[name]
                for name, one in x.items()
            }
            x = held.at(x, x, 0.0) if held is not None else x
        return x

    # --- density ----------------------------------------------------------------------------------

    def log_density(self, batch: Batch, condition: Partial | None, rng: Rng, options: Mapping[str, Any]) -> LogDensity:
        """-V(x) / temperature + log p(size | condition), up to a constant for each size and condition.

        Raises:
            ValueError: an option; there are none.
        """
        options_of(PotentialScoring, "the density of energy matching, which is not annealed,", options)
        elements, x0 = self._relaxed(batch)
        value = -self._v(elements, x0, condition).double() / self.config.temperature
        counts = PackedElements.of_batch(self.space, batch, self.device).counts()
        return LogDensity(value + self._log_size(batch, condition), Density.UNNORMALISED, counts)

    # --- what is counted, and samples as numbers --------------------------------------------------

    def set_statistics(self, statistics: Statistics) -> None:
        """Take over the frequencies of sizes."""
        self.sizes.initialise(statistics)

    def begin_step(self, step: int, steps: int) -> None:
        """Add contrast in the last part of training."""
        self.contrasts = step >= self.config.contrast_from * steps

    def _relaxed(self, batch: Batch) -> tuple[PackedElements, dict[str, Tensor]]:
        """The elements of the relaxed fields of samples, and what they are."""
        hard = PackedElements.of_batch(self.space, batch, self.device)
        elements = hard.over(self.relaxed)
        x = {name: self._relax(name, values) for name, values in hard.pack_batch(batch).items()}
        return elements, {name: torch.where(elements.exists[name], one, 0.0) for name, one in x.items()}

    def _relax(self, name: str, values: Tensor) -> Tensor:
        """Packed elements of samples as numbers."""
        site = self.site(name)
        return site.relax(site.state(values)).to(self._kind)

    def _hardened(self, elements: PackedElements, x: States) -> Batch:
        """The samples nearest to numbers."""
        sites = {name: self.site(name) for name in self.space}
        return elements.unpack_batch({name: site.values(site.harden(x[name])) for name, site in sites.items()})

    def _log_size(self, batch: Batch, condition: Partial | None) -> Tensor:
        """log p(size | condition), (B,)."""
        return self.sizes.log_probability(batch.sizes, condition).expand(len(batch))


class Held:
    """What is known of samples, kept as numbers on their way from noise.

    Args:
        variant: relaxes them.
        known: in the samples' own elements, with relaxed values.
        elements: of the samples.
    """

    def __init__(self, variant: EnergyMatching, known: KnownElements, elements: PackedElements) -> None:
        self.known, self._variant, self._elements = known, variant, elements

    def at(self, x: States, n: States, time: float) -> dict[str, Tensor]:
        """Numbers with known ones where they are at a time, from data at 0 to noise at 1."""
        found = dict(x)
        for name, x0 in self.known.values.items():
            wanted = (1 - time) * x0 + time * n[name]
            count = x0.shape[1] // max(1, self._elements.exists[name].shape[1])
            if count == 1:
                found[name] = self.known.keep(name, x[name], wanted, self._elements)
            else:
                mask = self.known.elements(name, self._elements).repeat_interleave(count, 1)
                found[name] = torch.where(mask, wanted, x[name])
        return found
