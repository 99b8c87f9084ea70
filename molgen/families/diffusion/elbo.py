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
from molgen.families.diffusion.schedule import sampling_times
from molgen.families.parts.elements import ElementNoise

#: For so many noised copies of an item one more is made at time 0.
COPIES_PER_ENDPOINT = 8

Elements = Mapping[str, Tensor]


class Bound(ABC):
    """Estimates a bound on -log p(x) from copies of x, whose times are stratified."""

    def __init__(self, denoiser: Denoiser, noise: ElementNoise, condition: Partial | None, scoring: Scoring) -> None:
        self.denoiser, self.noise, self.condition = denoiser, noise, condition
        self.samples = scoring.samples or denoiser.config.samples

    def estimate(self, x0: Elements) -> tuple[Tensor, Tensor]:
        """The bound on -log p(x_0), (B,) in nats, and its standard error, (B,)."""
        parts = [self._stratified(x0, names) for names in self._groups()]
        if any(own.has_endpoint_bound for _, own in self.denoiser.each()):
            parts.append(self._endpoints(x0))
        values, variances = zip(*parts, strict=True)
        return torch.stack(values).sum(0), torch.stack(variances).sum(0).sqrt()

    @abstractmethod
    def _groups(self) -> list[list[str]]:
        """The fields that share copies."""

    @abstractmethod
    def _term(self, x0: Elements, names: Sequence[str], u: Tensor, number: int) -> Tensor:
        """What one copy estimates at a u of the noise schedule, (B,)."""

    def _stratified(self, x0: Elements, names: Sequence[str]) -> tuple[Tensor, Tensor]:
        """The mean over copies, each in its own part of the schedule, and the variance of the mean."""
        terms = []
        for number in range(self.samples):
            within = self.noise.rng.uniform(f"time of {names[0]}", step=number).to(self.noise.elements.device)
            terms.append(self._term(x0, names, (number + within) / self.samples, number).double())
        # The difference of neighbours holds that of their parts of the schedule too, so on average the variance is not
        # too small (Cochran, Sampling Techniques, 1977, section 5A.12).
        pairs = torch.stack(terms).unflatten(0, (-1, 2))
        return pairs.mean((0, 1)), (pairs[:, 0] - pairs[:, 1]).square().sum(0) / self.samples**2

    def _endpoints(self, x0: Elements) -> tuple[Tensor, Tensor]:
        """The same for the terms of the two ends of time."""
        elements, count = self.noise.elements, max(2, self.samples // COPIES_PER_ENDPOINT)
        time = torch.zeros(len(elements), dtype=torch.float64, device=elements.device)
        terms = []
        for number in range(count):
            predictions = self.denoiser(self._noised(x0, time, "noise at 0 of", number), time, elements, self.condition)
            each = [
                own.endpoint_bound(predictions[name], x0[name], elements.exists[name])
                for name, own in self.denoiser.each()
            ]
            terms.append(torch.stack(each).sum(0))
        found = torch.stack(terms)
        return found.mean(0), found.var(0) / count

    def _noised(self, x0: Elements, time: Tensor, purpose: str, number: int) -> dict[str, Tensor]:
        return {
            name: own.corrupt(x0[name], time, self.noise.uniform(name, purpose, number))
            for name, own in self.denoiser.each()
        }


class ContinuousBound(Bound):
    """The bound for infinitely many steps: the integral over time of what a unit of time adds.

    Fields whose schedules differ have copies of their own, with times by the schedule.
    """

    def _groups(self) -> list[list[str]]:
        schedules = {name: own.schedule for name, own in self.denoiser.each()}
        return [[name for name in schedules if schedules[name] == one] for one in dict.fromkeys(schedules.values())]

    def _term(self, x0: Elements, names: Sequence[str], u: Tensor, number: int) -> Tensor:
        schedule, elements = self.denoiser.of(names[0]).schedule, self.noise.elements
        time = schedule.time(u)
        x = self._noised(x0, time, f"noise for {names[0]} on", number)
        predictions = self.denoiser(x, time, elements, self.condition)
        time = self.denoiser.weighting_time(x, time, elements)
        terms = [
            self.denoiser.of(name).rate_bound(predictions[name], x0[name], x[name], time, elements.exists[name])
            for name in names
        ]
        return schedule.dt_du(u) * torch.stack([term.double() for term in terms]).sum(0)


class StepBound(Bound):
    """The bound for a number of steps from noise to data; with so many copies, or a multiple, no step is left out."""

    def __init__(self, denoiser: Denoiser, noise: ElementNoise, condition: Partial | None, scoring: Scoring) -> None:
        super().__init__(denoiser, noise, condition, scoring)
        self.steps = scoring.steps
        self.times = sampling_times(denoiser.schedules, scoring.steps).to(noise.elements.device)

    def _groups(self) -> list[list[str]]:
        return [list(self.denoiser.space)]

    def _term(self, x0: Elements, names: Sequence[str], u: Tensor, number: int) -> Tensor:
        elements, step = self.noise.elements, (u * self.steps).long().clamp(max=self.steps - 1)
        time, earlier = self.times[step + 1], self.times[step]
        x = self._noised(x0, time, "noise on", number)
        predictions = self.denoiser(x, time, elements, self.condition)
        terms = [
            own.step_bound(predictions[name], x0[name], x[name], time, earlier, elements.exists[name])
            for name, own in self.denoiser.each()
        ]
        return self.steps * torch.stack([term.double() for term in terms]).sum(0)


def lower_bound(
    denoiser: Denoiser, noise: ElementNoise, condition: Partial | None, scoring: Scoring, x0: Elements
) -> tuple[Tensor, Tensor]:
    """A lower bound on log p(x_0), (B,) in nats, and its standard error, (B,)."""
    kind = StepBound if scoring.steps else ContinuousBound
    value, error = kind(denoiser, noise, condition, scoring).estimate(x0)
    return -value, error
