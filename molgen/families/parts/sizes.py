"""p(size | condition): how many elements a sample has, for families whose likelihood does not end itself.

Letters in shapes: B batch, S all sizes that a space allows, R sizes of one axis.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import prod

import torch
from torch import Tensor, nn

from molgen.batch import Partial
from molgen.data.statistics import Statistics
from molgen.errors import UnsupportedSpace
from molgen.layers.condition_embedding import ConditionEmbedding
from molgen.layers.named import NamedModules
from molgen.seeding import Rng, inverse_cdf
from molgen.space import Axis, Space, variable_axes

#: The most combinations of sizes that are kept in a table.
MOST = 1 << 14
#: Width of the embedding of the condition.
WIDTH = 64


class SizeModel(nn.Module):
    """The sizes of all variable axes together: their frequencies, tilted for each axis by what the condition says.

    p(s) = (n(s) + 1/S) / (N + 1): the training data and one more sample of any size, so that no size is impossible.
    p(s | c) is proportional to p(s) exp(sum over the axes of f(c)[s along the axis]); f is learned with the family
    and starts as 0. Without variable axes there is one size, of probability 1.

    Args:
        space: its variable axes have the sizes.
        condition: what the model is conditioned on; empty for p(s) alone.

    Raises:
        UnsupportedSpace: more than `MOST` combinations of sizes.
    """

    logits: Tensor

    def __init__(self, space: Space, condition: Space | None = None) -> None:
        super().__init__()
        self.axes = variable_axes(space)
        ranges = [_range(axis) for axis in self.axes.values()]
        if prod(ranges) > MOST:
            raise UnsupportedSpace(f"the axes {', '.join(self.axes)} allow {prod(ranges):,} sizes, more than {MOST:,}")
        table = torch.ones(ranges, dtype=torch.bool).nonzero()
        for place, axis in enumerate(self.axes.values()):
            self.register_buffer(f"sizes_{place}", table[:, place] + axis.minimum, persistent=False)
        self.register_buffer("logits", torch.zeros(len(table)))
        depends = len(table) > 1 and bool(condition)
        self.condition = ConditionEmbedding(condition or {}, WIDTH) if depends else None
        self.tilt = NamedModules(
            {name: nn.Linear(WIDTH, _range(axis)) for name, axis in self.axes.items()} if depends else {}
        )
        for parameter in self.tilt.parameters():
            nn.init.zeros_(parameter)

    def initialise(self, statistics: Statistics) -> None:
        """Take the frequencies of the training data; sizes beyond the axes are left out."""
        ranges = [_range(axis) for axis in self.axes.values()]
        counts = torch.zeros(ranges, dtype=torch.float64)
        for sizes, count in statistics.sizes.items():
            place = tuple(size - axis.minimum for size, axis in zip(sizes, self.axes.values(), strict=True))
            if all(0 <= k < n for k, n in zip(place, ranges, strict=True)):
                counts[place] += count
        smooth = (counts + 1 / counts.numel()).flatten()
        self.logits.copy_((smooth / smooth.sum()).log())

    def log_probability(self, sizes: Mapping[str, Tensor], condition: Partial | None = None) -> Tensor:
        """log p(size | condition) in nats, (B,) in float64, -inf for a size outside its axis.

        Without variable axes the number of rows is not known and the result is the scalar 0.
        """
        if not self.axes:
            return torch.zeros((), dtype=torch.float64, device=self.logits.device)
        rows = len(next(iter(sizes.values())))
        number, inside = self._number(sizes)
        found = self._log_p(condition, rows).gather(1, number[:, None]).squeeze(1)
        return torch.where(inside, found, -torch.inf)

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
            ValueError: a fixed size that the space does not allow, or one for no variable axis.
        """
        if unknown := [name for name in fixed or {} if name not in self.axes]:
            raise ValueError(f"no axis {unknown[0]!r} has a size of its own; known: {', '.join(self.axes) or 'none'}")
        if not self.axes:
            return {}
        allowed = self._allowed(count, fixed or {}, least or {})
        if not bool(allowed.any(1).all()):
            bounds = ", ".join(f"{name} from {axis.minimum} to {axis.maximum}" for name, axis in self.axes.items())
            raise ValueError(f"no sample can have these sizes; allowed are {bounds}")
        p = torch.where(allowed, self._log_p(condition, count), -torch.inf).softmax(1)
        number = p.argmax(1) if rng is None else inverse_cdf(p, rng.uniform("size"))
        return {name: self._sizes(name)[number] for name in self.axes}

    def _log_p(self, condition: Partial | None, rows: int) -> Tensor:
        """log p of every combination, (B, S) in float64."""
        logits = self.logits.double().expand(rows, -1)
        if self.condition is not None:
            about = self.condition(condition, rows)
            for name, axis in self.axes.items():
                logits = logits + self.tilt[name](about).double()[:, self._sizes(name) - axis.minimum]
        return logits.log_softmax(1)

    def _sizes(self, name: str) -> Tensor:
        """The size along one axis in every combination, (S,)."""
        return self.get_buffer(f"sizes_{[*self.axes].index(name)}")

    def _number(self, sizes: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Which combination the rows have, (B,), and whether there is one."""
        number = torch.zeros_like(next(iter(sizes.values())))
        inside = torch.ones_like(number, dtype=torch.bool)
        for name, axis in self.axes.items():
            inside &= (sizes[name] >= axis.minimum) & (sizes[name] <= axis.maximum)
            number = number * _range(axis) + (sizes[name] - axis.minimum).clamp(0, _range(axis) - 1)
        return number, inside

    def _allowed(self, count: int, fixed: Mapping[str, Tensor], least: Mapping[str, Tensor]) -> Tensor:
        allowed = torch.ones(count, len(self.logits), dtype=torch.bool, device=self.logits.device)
        for name, sizes in fixed.items():
            allowed &= self._sizes(name) == sizes.to(allowed.device)[:, None]
        for name, sizes in least.items():
            allowed &= self._sizes(name) >= sizes.to(allowed.device)[:, None]
        return allowed


def _range(axis: Axis) -> int:
    return axis.maximum - axis.minimum + 1
