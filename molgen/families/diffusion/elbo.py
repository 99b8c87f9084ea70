"""The variational lower bound on log p(x), from noised copies of x.

Letters in shapes: B batch, E packed elements, S noised copies of an item.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from molgen.batch import Partial
from molgen.families.diffusion.config import Scoring
from molgen.families.diffusion.denoiser import Denoiser
from molgen.families.diffusion.schedule import grid
from molgen.families.parts.elements import ElementNoise

#: For so many noised copies of an item one more is made at time 0.
LAST = 8

Elements = Mapping[str, Tensor]


class Bound(ABC):
    """Estimates a bound on -log p(x) from copies of x, whose times are stratified."""

    def __init__(self, denoiser: Denoiser, draws: ElementNoise, condition: Partial | None, scoring: Scoring) -> None:
        self.denoiser, self.draws, self.condition = denoiser, draws, condition
        self.samples = scoring.samples or denoiser.config.samples

    def estimate(self, x0: Elements) -> tuple[Tensor, Tensor]:
        """The bound on -log p(x_0), (B,) in nats, and its standard error, (B,)."""
        parts = [self._stratified(x0, names) for names in self._groups()]
        if any(own.finishes for _, own in self.denoiser.each()):
            parts.append(self._last(x0))
        values, variances = zip(*parts, strict=True)
        return torch.stack(values).sum(0), torch.stack(variances).sum(0).sqrt()

    @abstractmethod
    def _groups(self) -> list[list[str]]:
        """The fields that share copies."""

    @abstractmethod
    def _term(self, x0: Elements, names: Sequence[str], share: Tensor, number: int) -> Tensor:
        """What one copy estimates at a share of the walk, (B,)."""

    def _stratified(self, x0: Elements, names: Sequence[str]) -> tuple[Tensor, Tensor]:
        """The mean over copies, each in its own part of the walk, and the variance of the mean."""
        terms = []
        for number in range(self.samples):
            within = self.draws.rng.uniform(f"time of {names[0]}", step=number).to(self.draws.places.device)
            terms.append(self._term(x0, names, (number + within) / self.samples, number).double())
        # The difference of neighbours holds that of their parts of the walk too, so the variance is not too small on
        # average (Cochran, Sampling Techniques, 1977, section 5A.12).
        pairs = torch.stack(terms).unflatten(0, (-1, 2))
        return pairs.mean((0, 1)), (pairs[:, 0] - pairs[:, 1]).square().sum(0) / self.samples**2

    def _last(self, x0: Elements) -> tuple[Tensor, Tensor]:
        """The same for what happens at the two ends of time."""
        places, count = self.draws.places, max(2, self.samples // LAST)
        time = torch.zeros(len(places), dtype=torch.float64, device=places.device)
        terms = []
        for number in range(count):
            said = self.denoiser(self._noised(x0, time, "noise at 0 of", number), time, places, self.condition)
            each = [own.last_bound(said[name], x0[name], places.exists[name]) for name, own in self.denoiser.each()]
            terms.append(torch.stack(each).sum(0))
        found = torch.stack(terms)
        return found.mean(0), found.var(0) / count

    def _noised(self, x0: Elements, time: Tensor, purpose: str, number: int) -> dict[str, Tensor]:
        return {
            name: own.corrupt(x0[name], time, self.draws.uniform(name, purpose, number))
            for name, own in self.denoiser.each()
        }


class ContinuousBound(Bound):
    """The bound for infinitely many steps: the integral over time of what a unit of time adds.

    Fields whose clocks differ have copies of their own, noised as the clock asks.
    """

    def _groups(self) -> list[list[str]]:
        clocks = {name: own.clock for name, own in self.denoiser.each()}
        return [[name for name in clocks if clocks[name] == clock] for clock in dict.fromkeys(clocks.values())]

    def _term(self, x0: Elements, names: Sequence[str], share: Tensor, number: int) -> Tensor:
        clock, places = self.denoiser.of(names[0]).clock, self.draws.places
        time = clock.pace(share)
        x = self._noised(x0, time, f"noise for {names[0]} on", number)
        said = self.denoiser(x, time, places, self.condition)
        time = self.denoiser.visible_time(x, time, places)
        terms = [
            self.denoiser.of(name).rate_bound(said[name], x0[name], x[name], time, places.exists[name])
            for name in names
        ]
        return clock.rate(share) * torch.stack([term.double() for term in terms]).sum(0)


class StepBound(Bound):
    """The bound for a number of steps from noise to data; with so many copies, or a multiple, no step is left out."""

    def __init__(self, denoiser: Denoiser, draws: ElementNoise, condition: Partial | None, scoring: Scoring) -> None:
        super().__init__(denoiser, draws, condition, scoring)
        self.steps = scoring.steps
        self.times = grid(denoiser.clocks, scoring.steps).to(draws.places.device)

    def _groups(self) -> list[list[str]]:
        return [list(self.denoiser.space)]

    def _term(self, x0: Elements, names: Sequence[str], share: Tensor, number: int) -> Tensor:
        places, step = self.draws.places, (share * self.steps).long().clamp(max=self.steps - 1)
        time, earlier = self.times[step + 1], self.times[step]
        x = self._noised(x0, time, "noise on", number)
        said = self.denoiser(x, time, places, self.condition)
        terms = [
            own.step_bound(said[name], x0[name], x[name], time, earlier, places.exists[name])
            for name, own in self.denoiser.each()
        ]
        return self.steps * torch.stack([term.double() for term in terms]).sum(0)


def lower_bound(
    denoiser: Denoiser, draws: ElementNoise, condition: Partial | None, scoring: Scoring, x0: Elements
) -> tuple[Tensor, Tensor]:
    """A lower bound on log p(x_0), (B,) in nats, and its standard error, (B,)."""
    kind = StepBound if scoring.steps else ContinuousBound
    value, error = kind(denoiser, draws, condition, scoring).estimate(x0)
    return -value, error
