"""p(size | condition): how many elements a sample has, for families whose likelihood does not end itself.

Letters in shapes: B batch, S all sizes that a space allows, or bins of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import prod

import torch
from torch import Tensor, nn

from molgen.batch import Partial
from molgen.data.statistics import Statistics
from molgen.layers.condition_embedding import ConditionEmbedding
from molgen.layers.named import NamedModules
from molgen.seeding import Rng, inverse_cdf
from molgen.space import Axis, Field, Space, variable_axes

#: The most combinations of sizes, or of bins of sizes, that are kept in a table.
MOST = 1 << 14
#: Width of the embedding of the condition.
WIDTH = 64
#: The size of a row for which none is given.
UNKNOWN = -1
#: The least and the largest size along each axis that are asked for, (B, 1) each.
Bounds = Mapping[str, tuple[Tensor, Tensor]]


def aligned(axes: Mapping[str, Axis], condition: Space) -> dict[str, Field]:
    """The fields of a condition over axes of the sample, which have its sizes."""
    return {name: field for name, field in condition.items() if any(axis.name in axes for axis in field.axes)}


def condition_sizes(axes: Mapping[str, Axis], space: Space, condition: Partial | None) -> dict[str, Tensor]:
    """The sizes that a condition has, (B,) for each axis that it shares, `UNKNOWN` in rows in which it gives nothing.

    Args:
        axes: the variable axes of the sample by name.
        space: of the condition.
        condition: what is given.
    """
    found: dict[str, Tensor] = {}
    for name, field in aligned(axes, space).items():
        if condition is None or name not in condition.given:
            continue
        given = condition.given[name].flatten(1).any(1)
        for axis in field.axes:
            if axis.name in axes:
                size = condition.batch.sizes[axis.name].to(given.device)
                before = found.get(axis.name, torch.full_like(size, UNKNOWN))
                found[axis.name] = torch.where(given, size, before)
    return found


class SizeModel(nn.Module):
    """The sizes of all variable axes together: their frequencies, tilted for each axis by the condition.

    p(s) = (n(s) + 1/S) / (N + 1): the training data and one more sample of any size, so that no size is impossible.
    p(s | c) is proportional to p(s) exp(sum over the axes of f(c)[s along the axis]); f is learned with the family
    and starts as 0. Without variable axes there is one size, of probability 1.

    Where there are more than `MOST` combinations, neighbouring sizes share a bin, and are equally likely inside it. An
    axis that the condition has too has the size that it has there: that size has probability 1.

    Args:
        space: its variable axes have the sizes.
        condition: what the model is conditioned on; empty for p(s) alone.
    """

    logits: Tensor

    def __init__(self, space: Space, condition: Space | None = None) -> None:
        super().__init__()
        self.axes, self.condition_space = variable_axes(space), dict(condition or {})
        self.widths = _bin_widths(self.axes)
        table = torch.ones(self._bins(), dtype=torch.bool).nonzero()
        for place, (name, axis) in enumerate(self.axes.items()):
            first = table[:, place] * self.widths[name] + axis.minimum
            self.register_buffer(f"sizes_{place}", first, persistent=False)
        self.register_buffer("logits", torch.zeros(len(table)))
        shared = aligned(self.axes, self.condition_space)
        other = {name: field for name, field in self.condition_space.items() if name not in shared}
        depends = len(table) > 1 and bool(other)
        self.condition = ConditionEmbedding(other, WIDTH) if depends else None
        counts = dict(zip(self.axes, self._bins(), strict=True))
        self.tilt = NamedModules({name: nn.Linear(WIDTH, count) for name, count in counts.items()} if depends else {})
        for parameter in self.tilt.parameters():
            nn.init.zeros_(parameter)

    def _bins(self) -> list[int]:
        """How many bins each axis has."""
        return [-(-_range(axis) // self.widths[name]) for name, axis in self.axes.items()]

    def initialise(self, statistics: Statistics) -> None:
        """Take the frequencies of the training data; sizes beyond the axes are left out."""
        counts = torch.zeros(self._bins(), dtype=torch.float64)
        for sizes, count in statistics.sizes.items():
            if all(a.minimum <= size <= a.maximum for size, a in zip(sizes, self.axes.values(), strict=True)):
                bins = zip(sizes, self.axes.items(), strict=True)
                counts[tuple((size - axis.minimum) // self.widths[name] for size, (name, axis) in bins)] += count
        # One more sample of any size: a bin has the share of its sizes.
        every = self._log_room({}).exp().view(counts.shape) if self.axes else torch.ones(())
        smooth = (counts + every.to(counts) / every.sum().item()).flatten()
        self.logits.copy_((smooth / smooth.sum()).log())

    def log_probability(self, sizes: Mapping[str, Tensor], condition: Partial | None = None) -> Tensor:
        """log p(size | condition) in nats, (B,) in float64, -inf for a size outside its axis.

        Without variable axes the number of rows is not known and the result is the scalar 0.
        """
        if not self.axes:
            return torch.zeros((), dtype=torch.float64, device=self.logits.device)
        rows, bounds = len(next(iter(sizes.values()))), self._bounds(condition)
        number, inside = self._number(sizes, bounds)
        found = self._log_p(condition, rows, bounds).gather(1, number[:, None]).squeeze(1)
        room = self._log_room(bounds).expand(rows, -1).gather(1, number[:, None]).squeeze(1)
        return torch.where(inside, found - room, -torch.inf)

    def sample(
        self,
        count: int,
        condition: Partial | None,
        rng: Rng | None,
        fixed: Mapping[str, Tensor] | None = None,
        least: Mapping[str, Tensor] | None = None,
    ) -> dict[str, Tensor]:
        """Draw the size of every variable axis, (B,) each, given those of some and lower bounds of some.

        Without `rng` they are the likeliest.

        Raises:
            ValueError: a fixed size that the space or the condition does not allow, or one for no variable axis.
        """
        if unknown := [name for name in fixed or {} if name not in self.axes]:
            raise ValueError(f"no axis {unknown[0]!r} has a size of its own; known: {', '.join(self.axes) or 'none'}")
        if not self.axes:
            return {}
        bounds = self._bounds(condition, fixed, least)
        room, log_p = self._log_room(bounds).expand(count, -1), self._log_p(condition, count, bounds)
        if not bool((room > -torch.inf).any(1).all()):
            raise ValueError(f"no sample can have these sizes; allowed are {self._allowed_sizes(condition)}")
        p = log_p.softmax(1)
        number = (log_p - room).nan_to_num(-torch.inf).argmax(1) if rng is None else inverse_cdf(p, rng.uniform("size"))
        return {name: self._within(name, number, bounds, rng) for name in self.axes}

    def _allowed_sizes(self, condition: Partial | None) -> str:
        given = condition_sizes(self.axes, self.condition_space, condition)
        return ", ".join(
            f"{name} from {axis.minimum} to {axis.maximum}" + ", as its condition has it" * (name in given)
            for name, axis in self.axes.items()
        )

    def _within(self, name: str, number: Tensor, bounds: Bounds, rng: Rng | None) -> Tensor:
        """A size along one axis inside each of some bins, (B,)."""
        least, most = (reach.squeeze(-1) for reach in self._reach(name, bounds, number[:, None]))
        if self.widths[name] == 1:
            return least
        share = 0.5 if rng is None else rng.uniform(f"size within {name}").to(least.device)
        return torch.minimum(least + ((most - least + 1) * share).long(), most)

    def _bounds(
        self,
        condition: Partial | None,
        fixed: Mapping[str, Tensor] | None = None,
        least: Mapping[str, Tensor] | None = None,
    ) -> Bounds:
        """What sizes are asked for; axes of which nothing is asked are left out."""
        found: dict[str, tuple[Tensor, Tensor]] = {}
        given = condition_sizes(self.axes, self.condition_space, condition)
        for name, axis in self.axes.items():
            exact = [part[name].to(self.logits.device)[:, None] for part in (given, fixed or {}) if name in part]
            lows = [torch.where(size == UNKNOWN, axis.minimum, size) for size in exact]
            highs = [torch.where(size == UNKNOWN, axis.maximum, size) for size in exact]
            if name in (least or {}):
                assert least is not None
                lows.append(least[name].to(self.logits.device)[:, None])
                highs.append(torch.full_like(lows[-1], axis.maximum))
            if lows:
                found[name] = torch.stack(lows).amax(0), torch.stack(highs).amin(0)
        return found

    def _reach(self, name: str, bounds: Bounds, number: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """The least and the largest size that is allowed in every bin, or in some, (B, S) or (1, S)."""
        axis, first = self.axes[name], self._first(name)
        first = first[None] if number is None else first[number]
        last = (first + self.widths[name] - 1).clamp(max=axis.maximum)
        if name not in bounds:
            return first, last
        low, high = bounds[name]
        return torch.maximum(first, low), torch.minimum(last, high)

    def _log_room(self, bounds: Bounds) -> Tensor:
        """log of how many of the sizes in every bin are allowed, (B, S) or (1, S) in float64."""
        total = torch.zeros(1, len(self.logits), dtype=torch.float64, device=self.logits.device)
        for name in self.axes:
            least, most = self._reach(name, bounds)
            total = total + (most - least + 1).clamp(min=0).double().log()
        return total

    def _log_p(self, condition: Partial | None, rows: int, bounds: Bounds) -> Tensor:
        """log p of every bin, given the bounds, (B, S) in float64."""
        logits = self.logits.double().expand(rows, -1)
        if self.condition is not None:
            about = self.condition(condition, rows)
            for name, axis in self.axes.items():
                bins = (self._first(name) - axis.minimum) // self.widths[name]
                logits = logits + self.tilt[name](about).double()[:, bins]
        if bounds:
            logits = logits + self._log_room(bounds) - self._log_room({})
        return logits.log_softmax(1)

    def _first(self, name: str) -> Tensor:
        """The first size along one axis in every bin, (S,)."""
        return self.get_buffer(f"sizes_{[*self.axes].index(name)}")

    def _number(self, sizes: Mapping[str, Tensor], bounds: Bounds) -> tuple[Tensor, Tensor]:
        """In which bin the rows are, (B,), and whether their sizes are allowed."""
        number = torch.zeros_like(next(iter(sizes.values())), device=self.logits.device)
        inside = torch.ones_like(number, dtype=torch.bool)
        for (name, axis), count in zip(self.axes.items(), self._bins(), strict=True):
            size = sizes[name].to(number.device)
            low, high = (bound.squeeze(1) for bound in bounds[name]) if name in bounds else (axis.minimum, axis.maximum)
            inside &= (size >= low) & (size <= high) & (size >= axis.minimum) & (size <= axis.maximum)
            number = number * count + ((size - axis.minimum) // self.widths[name]).clamp(0, count - 1)
        return number, inside


def _range(axis: Axis) -> int:
    return axis.maximum - axis.minimum + 1


def _bin_widths(axes: Mapping[str, Axis]) -> dict[str, int]:
    """How many sizes share a bin along each axis, so that there are at most `MOST` combinations of bins."""
    widths = dict.fromkeys(axes, 1)

    def bins(name: str) -> int:
        return -(-_range(axes[name]) // widths[name])

    while prod(map(bins, axes)) > MOST:
        widths[max(axes, key=bins)] *= 2
    return widths
