"""Which element of a sample goes to which place of a decoder: quadratic assignment, solved approximately.

The worth of an order is a sum over elements and over pairs of them. Two searches are made for each row, and the better
result is kept. One starts at the order as it is; the other at the one to which assignments lead that begin soft and
harden (Gold & Rangarajan, IEEE PAMI 18, 377, 1996), which does not depend on the order as it is. Both go on by
exchanges of two elements for as long as that gains.

Letters in shapes: B batch, N elements and as many places along an axis, K classes.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor
from torch.nn.functional import one_hot

#: Exchanges that gain no more nats than this are rounding.
LEAST_GAIN = 1e-4
#: How hard soft assignments are, one step after the other, per nat.
HARDNESS = (0.05, 0.1, 0.2, 0.4, 0.8, 1.6)
#: Updates at each hardness, and how often rows and columns are made to sum to 1 in each.
UPDATES, NORMALISATIONS = 2, 5


@dataclass(frozen=True)
class Table:
    """Log-probabilities in nats, from which those of a whole order are added up.

    Attributes:
        exists: (B, N), the elements of each row, which come before others, and as many places.
        alone: (B, N, N), of element j at place i, over all fields without pairs.
        pairs: (B, N, N, K) for each field of pairs, of each class at two places; 0 for a place and itself.
        classes: (B, N, N, K) for each field of pairs, 1 at the class of two elements.
    """

    exists: Tensor
    alone: Tensor
    pairs: list[Tensor]
    classes: list[Tensor]

    @property
    def allowed(self) -> Tensor:
        """Which elements can go to which places, or be exchanged, (B, N, N)."""
        return self.exists[:, :, None] & self.exists[:, None, :]

    def worth(self, placing: Tensor) -> Tensor:
        """What element j adds at place i while all others stand as in `placing`, (B, N places, N elements)."""
        worth = self.alone
        for nats, beside in zip(self.pairs, self._beside(placing), strict=True):
            worth = worth + nats.flatten(2) @ beside.flatten(1, 2)
        return worth

    def total(self, order: Tensor) -> Tensor:
        """log p of every row in an order, (B,)."""
        placing = one_hot(order, order.shape[1]).to(self.alone)
        # Of a pair half is counted at either place.
        found = (self.worth(placing) + self.alone) / 2 * placing
        return torch.where(self.exists[:, :, None], found, 0.0).sum((1, 2))

    def gains(self, order: Tensor) -> Tensor:
        """What an order gains, in nats, where the elements at two places are exchanged, (B, N, N)."""
        count = order.shape[1]
        placing = one_hot(order, count).to(self.alone)
        at_second = order[:, None, :].expand(-1, count, -1)
        moved = self.worth(placing).gather(2, at_second)
        stayed = moved.diagonal(dim1=1, dim2=2)
        gains = moved + moved.transpose(1, 2) - stayed[:, :, None] - stayed[:, None, :]
        for nats, beside in zip(self.pairs, self._beside(placing), strict=True):
            own = beside.gather(3, order[:, None, None, :].expand(*beside.shape[:3], -1)).permute(0, 1, 3, 2)
            # The pair of both places is counted in the sums of both, and is the same after the exchange.
            gains = gains + 2 * ((nats * own).sum(3) - nats[..., 0])
        return torch.where(self.allowed, gains, 0.0)

    def _beside(self, placing: Tensor) -> list[Tensor]:
        """The classes of each element with what stands at each place, (B, N places, K, N elements)."""
        return [torch.einsum("bul,bjlk->bukj", placing, classes) for classes in self.classes]


def likely_order(table: Table) -> Tensor:
    """Which element goes to each place, (B, N); those that do not exist stay where they are."""
    rows, count = table.exists.shape
    as_it_is = exchanged(table, torch.arange(count, device=table.exists.device).repeat(rows, 1))
    other = exchanged(table, hardened(table))
    better = table.total(other) > table.total(as_it_is)
    return torch.where(better[:, None], other, as_it_is)


def exchanged(table: Table, order: Tensor) -> Tensor:
    """The order after the exchanges that gain most, one in each row at a time, until none gains."""
    count = order.shape[1]
    # No order comes twice, for each exchange gains; this many may not suffice for the last few nats.
    for _ in range(2 * count):
        gain, best = table.gains(order).flatten(1).max(1)
        if not bool((gain > LEAST_GAIN).any()):
            break
        first, second = (best // count)[:, None], (best % count)[:, None]
        swapped = order.scatter(1, first, order.gather(1, second)).scatter(1, second, order.gather(1, first))
        order = torch.where((gain > LEAST_GAIN)[:, None], swapped, order)
    return order


def hardened(table: Table) -> Tensor:
    """The order to which soft assignments lead: each follows what its elements are worth beside the others."""
    allowed = table.allowed
    placing = allowed / table.exists.sum(1).clamp(min=1)[:, None, None]
    for hardness in HARDNESS:
        for _ in range(UPDATES):
            placing = _balanced(hardness * table.worth(placing.to(table.alone)), allowed)
    # What does not exist is worth most where it is.
    rest = torch.diag_embed(~table.exists).to(placing)
    shares = (placing + rest).cpu().double().numpy()
    found = [torch.from_numpy(linear_sum_assignment(row, maximize=True)[1]) for row in shares]
    return torch.stack(found).to(table.exists.device)


def _balanced(logits: Tensor, allowed: Tensor) -> Tensor:
    """exp(logits), made to sum to 1 over what is allowed in each row and column (Sinkhorn), (B, N, N)."""
    lowest = torch.finfo(logits.dtype).min / 4
    logits = logits.masked_fill(~allowed, lowest)
    for _ in range(NORMALISATIONS):
        for dimension in (2, 1):
            logits = (logits - logits.logsumexp(dimension, keepdim=True)).masked_fill(~allowed, lowest)
    return logits.exp()
