"""From noise to data: the same walk for all kinds of fields.

Letters in shapes: B batch, E packed elements.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from itertools import pairwise

import torch
from torch import Tensor

from molgen.batch import Batch, Partial
from molgen.config import by_name
from molgen.families.diffusion.config import Sampling
from molgen.families.diffusion.denoiser import Denoiser
from molgen.families.diffusion.gaussian import SOLVERS
from molgen.families.diffusion.inpainting import KnownElements
from molgen.families.diffusion.schedule import grid
from molgen.families.parts.elements import ElementNoise, PackedElements

Elements = Mapping[str, Tensor]


@dataclass(frozen=True)
class Rows:
    """Samples on their way, (B, E) for each field.

    Attributes:
        x: their states.
        turns: times at which elements take turns.
        noise: uniform numbers for the next step.
        held_noise: uniform numbers of the noise on known elements, the same at all times.
        held: what is known.
        places: where the elements are.
        condition: what is asked for.
    """

    x: Elements
    turns: Elements
    noise: Elements
    held_noise: Elements
    held: KnownElements
    places: PackedElements
    condition: Partial | None

    def take(self, rows: Tensor) -> Rows:
        """The given rows."""
        x, turns, noise, held_noise = (
            {name: tensor[rows] for name, tensor in part.items()}
            for part in (self.x, self.turns, self.noise, self.held_noise)
        )
        condition = self.condition.take(rows) if self.condition is not None else None
        return Rows(x, turns, noise, held_noise, self.held.take(rows), self.places.take(rows), condition)

    def time(self, time: float) -> Tensor:
        """One time for all rows, (B,)."""
        device = next(iter(self.x.values())).device
        return torch.full((len(self.places),), time, dtype=torch.float64, device=device)


class Sampler:
    """Draws samples at given places.

    Without churn numbers follow the probability-flow line from their first noise, and an absorbing element has one
    turn and one choice, whatever the steps are. So the largest sample of a batch may decide how many steps there are.
    """

    def __init__(self, denoiser: Denoiser, options: Sampling, draws: ElementNoise) -> None:
        self.denoiser, self.options, self.draws = denoiser, options, draws
        by_name("solver", options.solver, SOLVERS)
        self.order = by_name("order", options.order, ORDERS)
        self.steps = options.steps or self._enough()
        self.times = grid(denoiser.clocks, self.steps)

    def _enough(self) -> int:
        """One element at a time where no process is told the time, else what the processes ask for."""
        if self.denoiser.timeless and not self.options.churn:
            return max(1, int(self.draws.places.counts().max()))
        return max(own.steps for _, own in self.denoiser.each())

    def sample(self, held: KnownElements, condition: Partial | None) -> Batch:
        """A sample for each row."""
        rows = self._start(held, condition)
        for number, (later, earlier) in enumerate(pairwise(range(self.steps, -1, -1))):
            time = float(self.times[later])
            if self.options.churn or not self.denoiser.timeless:
                rows = replace(rows, noise=self._uniform("step", number))
            if self.options.churn:
                rows, time = self._risen(rows, later, number)
            rows = self._moved(rows, time, float(self.times[earlier]))
        rows = self._finished(rows)
        places = rows.places
        fields = {name: places.unpack(name, own.outward(rows.x[name])) for name, own in self.denoiser.each()}
        return Batch(held.restore(fields), dict(places.sizes))

    # --- the parts of the walk -------------------------------------------------------------------------

    def _start(self, held: KnownElements, condition: Partial | None) -> Rows:
        places, start = self.draws.places, self._uniform("start")
        x = {name: self._typed(own.start(start[name])) for name, own in self.denoiser.each()}
        free = {name: exists & ~held.elements(name, places) for name, exists in places.exists.items()}
        turns = self.draws.turns(free)
        rows = Rows(x, turns, self._uniform("step"), self._uniform("held"), held, places, condition)
        return self._keeping(rows, 1.0)

    def _risen(self, rows: Rows, later: int, number: int) -> tuple[Rows, float]:
        """Some steps' worth of noise put back, and the time that this leads to."""
        place = min(later + self.options.churn, self.steps)
        below = min(int(place), self.steps - 1)
        time = float(self.times[below].lerp(self.times[below + 1], place - below))
        now, then, noise = rows.time(float(self.times[later])), rows.time(time), self._uniform("rise", number)
        x = {name: own.rise(rows.x[name], now, then, noise[name]) for name, own in self.denoiser.each()}
        turns = {name: time * turn for name, turn in self._uniform("turn", number).items()}
        return self._keeping(replace(rows, x=x, turns=turns), time), time

    def _moved(self, rows: Rows, time: float, earlier: float) -> Rows:
        """A step from one time to an earlier one, for those rows that it can change."""
        moving = torch.zeros(len(rows.places), dtype=torch.bool, device=rows.time(time).device)
        for name, own in self.denoiser.each():
            moving |= own.moves(rows.x[name], rows.time(earlier), rows.turns[name], rows.places.exists[name])
        if bool(moving.all()):
            return self._stepped(rows, time, earlier)
        if not bool(moving.any()):
            return rows
        number = moving.nonzero().squeeze(1)
        part = self._stepped(rows.take(number), time, earlier)
        x, turns = (
            {name: tensor.index_copy(0, number, new[name]) for name, tensor in old.items()}
            for old, new in ((rows.x, part.x), (rows.turns, part.turns))
        )
        return replace(rows, x=x, turns=turns)

    def _stepped(self, rows: Rows, time: float, earlier: float) -> Rows:
        now, then = rows.time(time), rows.time(earlier)
        said = self._predict(rows, now)
        rows = self._ordered(rows, said)
        x = {
            name: own.step(said[name], rows.x[name], now, then, rows.noise[name], rows.turns[name])
            for name, own in self.denoiser.each()
        }
        moved = self._keeping(replace(rows, x=x), earlier)
        if not any(own.corrects for _, own in self.denoiser.each()):
            return moved
        reached = self._predict(moved, then)
        x = {
            name: own.correct(self.options.solver, moved.x[name], reached[name], said[name], now, then)
            for name, own in self.denoiser.each()
        }
        return self._keeping(replace(moved, x=x), earlier)

    def _ordered(self, rows: Rows, said: Mapping[str, Tensor]) -> Rows:
        """The same with the turns of waiting elements in the order that was asked for."""
        if self.order is None:
            return rows
        exists = rows.places.exists
        sureness = {name: own.sureness(said[name], rows.x[name], exists[name]) for name, own in self.denoiser.each()}
        return replace(rows, turns=self.order(rows.turns, sureness))

    def _finished(self, rows: Rows) -> Rows:
        """x_0 from the states at time 0."""
        if any(own.finishes for _, own in self.denoiser.each()):
            said = self._predict(rows, rows.time(0.0))
            rows = replace(rows, x={name: own.last(said[name], rows.x[name]) for name, own in self.denoiser.each()})
        x = {name: rows.held.keep(name, x, rows.held.values.get(name, x), rows.places) for name, x in rows.x.items()}
        return replace(rows, x=x)

    def _keeping(self, rows: Rows, time: float) -> Rows:
        """The same with known elements as they are at this time."""
        x, now = dict(rows.x), rows.time(time)
        for name, x0 in rows.held.values.items():
            own = self.denoiser.of(name)
            wanted = own.held(x0, now, rows.held_noise[name])
            x[name] = rows.held.keep(name, x[name], wanted.to(x[name]), rows.places)
        return replace(rows, x=x)

    # --- predictions and noise ----------------------------------------------------------------------------------------

    def _predict(self, rows: Rows, time: Tensor) -> dict[str, Tensor]:
        said = self.denoiser(rows.x, time, rows.places, rows.condition, self.options.guidance)
        if self.options.temperature == 1:
            return said
        return {name: own.sharpen(said[name], self.options.temperature) for name, own in self.denoiser.each()}

    def _uniform(self, purpose: str, step: int = 0) -> dict[str, Tensor]:
        return {name: self.draws.uniform(name, purpose, step) for name in self.denoiser.space}

    def _typed(self, x: Tensor) -> Tensor:
        return x.to(self.denoiser.dtype) if x.is_floating_point() else x


#: Turns with the surenesses of waiting elements, -inf for all others, to turns: (B, E) for each field.
Order = Callable[[Elements, Elements], Elements]


def surest_first(turns: Elements, sureness: Elements) -> Elements:
    """The turns of the waiting elements of a row, handed out anew: the next one to the surest."""
    names = list(turns)
    own, sure = (torch.cat([part[name] for name in names], dim=1) for part in (turns, sureness))
    waits = sure > -torch.inf
    rank = sure.argsort(dim=1, descending=True, stable=True).argsort(1)
    free = own.masked_fill(~waits, -torch.inf).sort(dim=1, descending=True).values
    handed = torch.where(waits, free.gather(1, rank), own)
    return dict(zip(names, handed.split([turns[name].shape[1] for name in names], dim=1), strict=True))


#: The orders by their names in the options; None leaves turns as they were drawn.
ORDERS: dict[str, Order | None] = {"random": None, "surest": surest_first}
