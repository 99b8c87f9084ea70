"""Sampling: the reverse processes of all fields, step by step from noise to data.

Letters in shapes: B batch, E packed elements.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from itertools import pairwise

import torch
from torch import Tensor

from molgen.batch import Batch, Partial
from molgen.config import by_name
from molgen.families.diffusion.config import Sampling
from molgen.families.diffusion.denoiser import Denoiser
from molgen.families.diffusion.gaussian_sampling import SOLVERS
from molgen.families.diffusion.process import Process
from molgen.families.diffusion.schedule import sampling_times
from molgen.families.diffusion.unmasking import ORDERS, unmasking_times
from molgen.families.parts.elements import ElementNoise, PackedElements
from molgen.families.parts.known import KnownElements

Elements = Mapping[str, Tensor]


@dataclass(frozen=True)
class Rows:
    """Unfinished samples, (B, E) for each field.

    Attributes:
        x: their states.
        unmasking: the time at which each masked element is unmasked.
        noise: uniform numbers for the next step.
        known_noise: uniform numbers of the noise on known elements, the same at all times.
        known: what is known.
        elements: which there are.
        condition: what is asked for.
        earlier: what was predicted at the step before; nothing at the first, or without self-conditioning.
    """

    x: Elements
    unmasking: Elements
    noise: Elements
    known_noise: Elements
    known: KnownElements
    elements: PackedElements
    condition: Partial | None
    earlier: Elements = field(default_factory=dict)

    def take(self, rows: Tensor) -> Rows:
        """The given rows."""
        x, unmasking, noise, known_noise, earlier = (
            {name: tensor[rows] for name, tensor in part.items()}
            for part in (self.x, self.unmasking, self.noise, self.known_noise, self.earlier)
        )
        condition = self.condition.take(rows) if self.condition is not None else None
        return Rows(
            x, unmasking, noise, known_noise, self.known.take(rows), self.elements.take(rows), condition, earlier
        )

    def put(self, rows: Tensor, new: Rows) -> Rows:
        """These with the states and unmasking times of some rows replaced by new ones."""
        x, unmasking = (
            {name: tensor.index_copy(0, rows, part[name]) for name, tensor in old.items()}
            for old, part in ((self.x, new.x), (self.unmasking, new.unmasking))
        )
        return replace(self, x=x, unmasking=unmasking)

    def at(self, time: float) -> Tensor:
        """One time for all rows, (B,)."""
        return torch.full((len(self.elements),), time, dtype=torch.float64, device=self.elements.device)


class Sampler:
    """x_1 from the priors, then x_t -> x_s along the times of the noise schedules, then x_0.

    For numbers this is algorithm 2 of EDM (Karras et al., arXiv 2206.00364): noise is put back where `churn` asks for
    it, then comes a step of second order. Without churn numbers follow the probability-flow ODE from their first
    noise, and an absorbing element is unmasked once, whatever the steps are. So the largest sample of a batch may
    decide how many steps there are.
    """

    def __init__(self, denoiser: Denoiser, options: Sampling, noise: ElementNoise) -> None:
        self.denoiser, self.options, self.noise = denoiser, options, noise
        by_name("solver", options.solver, SOLVERS)
        self.order = by_name("order", options.order, ORDERS)
        self.steps = options.steps or self._default_steps()
        self.times = sampling_times(denoiser.schedules, self.steps)

    def _default_steps(self) -> int:
        """One element at a time where the network reads no time, else what the processes ask for."""
        if self.denoiser.time_independent and not self.options.churn and not self.denoiser.earlier:
            return max(1, int(self.noise.elements.counts().max()))
        return max(own.reverse.default_steps for _, own in self.denoiser.each())

    def sample(self, known: KnownElements, condition: Partial | None) -> Batch:
        """A sample for each row."""
        rows = self._first(known, condition)
        for number, (later, earlier) in enumerate(pairwise(range(self.steps, -1, -1))):
            time = float(self.times[later])
            if self.options.churn or not self.denoiser.time_independent:
                rows = replace(rows, noise=self.noise.uniforms("step", number))
            if self.options.churn:
                rows, time = self._renoised(rows, later, number)
            rows = self._stepped_where_due(rows, time, float(self.times[earlier]))
        return self._finished(rows)

    # --- the parts of the loop -------------------------------------------------------------------------

    def _first(self, known: KnownElements, condition: Partial | None) -> Rows:
        """The rows at time 1."""
        elements, start = self.noise.elements, self.noise.uniforms("start")
        x = self._each(lambda name, own: self._typed(own.prior(start[name])))
        masked = {name: exists & ~known.elements(name, elements) for name, exists in elements.exists.items()}
        times, step, held = (
            unmasking_times(self.noise, masked),
            self.noise.uniforms("step"),
            self.noise.uniforms("held"),
        )
        return self._with_known(Rows(x, times, step, held, known, elements, condition), 1.0)

    def _renoised(self, rows: Rows, later: int, number: int) -> tuple[Rows, float]:
        """Some steps' worth of noise put back, and the time that this leads to."""
        place = min(later + self.options.churn, self.steps)
        below = min(int(place), self.steps - 1)
        time = float(self.times[below].lerp(self.times[below + 1], place - below))
        now, then, noise = rows.at(float(self.times[later])), rows.at(time), self.noise.uniforms("rise", number)
        x = self._each(lambda name, own: own.renoise(rows.x[name], now, then, noise[name]))
        times = {name: time * one for name, one in self.noise.uniforms("turn", number).items()}
        return self._with_known(replace(rows, x=x, unmasking=times), time), time

    def _stepped_where_due(self, rows: Rows, time: float, earlier: float) -> Rows:
        """A step from one time to an earlier one, for those rows that it can change."""
        then, exists = rows.at(earlier), rows.elements.exists
        due = self._each(
            lambda name, own: own.reverse.changed_rows(rows.x[name], then, rows.unmasking[name], exists[name])
        )
        changed = torch.stack(list(due.values())).any(0)
        # What is read of earlier predictions must not depend on which other rows are due.
        if bool(changed.all()) or self.denoiser.earlier:
            return self._stepped(rows, time, earlier)
        if not bool(changed.any()):
            return rows
        some = changed.nonzero().squeeze(1)
        return rows.put(some, self._stepped(rows.take(some), time, earlier))

    def _stepped(self, rows: Rows, time: float, earlier: float) -> Rows:
        """A step of every field, and its correction where a process has one (EDM, algorithm 2, lines 7 to 11)."""
        now, then = rows.at(time), rows.at(earlier)
        at_start = self._predict(rows, now)
        rows = self._in_order(rows, at_start)

        def step(name: str, own: Process) -> Tensor:
            return own.reverse.step(at_start[name], rows.x[name], now, then, rows.noise[name], rows.unmasking[name])

        moved = self._with_known(replace(rows, x=self._each(step), earlier=self._kept(at_start)), earlier)
        if not any(own.reverse.corrects for _, own in self.denoiser.each()):
            return moved
        at_end = self._predict(moved, then)

        def correct(name: str, own: Process) -> Tensor:
            return own.reverse.correct(self.options.solver, moved.x[name], at_end[name], at_start[name], now, then)

        return self._with_known(replace(moved, x=self._each(correct), earlier=self._kept(at_end)), earlier)

    def _kept(self, predictions: Elements) -> Elements:
        """What the next prediction reads of these."""
        return predictions if self.denoiser.earlier else {}

    def _in_order(self, rows: Rows, predictions: Elements) -> Rows:
        """The same with the unmasking times in the order that was asked for."""
        if self.order is None:
            return rows
        exists = rows.elements.exists
        confidence = self._each(lambda name, own: own.reverse.confidence(predictions[name], rows.x[name], exists[name]))
        return replace(rows, unmasking=self.order(rows.unmasking, confidence))

    def _with_known(self, rows: Rows, time: float) -> Rows:
        """The same with known elements as they are at this time."""
        x, now = dict(rows.x), rows.at(time)
        for name, x0 in rows.known.values.items():
            wanted = self.denoiser.of(name).reverse.known_state(x0, now, rows.known_noise[name])
            x[name] = rows.known.keep(name, x[name], wanted.to(x[name]), rows.elements)
        return replace(rows, x=x)

    def _finished(self, rows: Rows) -> Batch:
        """The samples of the states at time 0."""
        if any(own.reverse.finishes for _, own in self.denoiser.each()):
            predictions = self._predict(rows, rows.at(0.0))
            x = self._each(lambda name, own: own.reverse.finish(predictions[name], rows.x[name]))
            rows = replace(rows, x=x)
        known, elements = rows.known, rows.elements
        x = {name: known.keep(name, x, known.values.get(name, x), elements) for name, x in rows.x.items()}
        values = self._each(lambda name, own: own.from_state(x[name]))
        return known.exactly_in(elements.unpack_batch(values))

    # --- predictions ----------------------------------------------------------------------------------

    def _predict(self, rows: Rows, time: Tensor) -> dict[str, Tensor]:
        found = self.denoiser(rows.x, time, rows.elements, rows.condition, self.options.guidance, rows.earlier)
        if self.options.temperature == 1:
            return found
        return self._each(lambda name, own: own.reverse.temper(found[name], self.options.temperature))

    def _each(self, function: Callable[[str, Process], Tensor]) -> dict[str, Tensor]:
        return {name: function(name, own) for name, own in self.denoiser.each()}

    def _typed(self, x: Tensor) -> Tensor:
        return x.to(self.denoiser.dtype) if x.is_floating_point() else x
