"""Which of the elements that wait for their turn takes the next one.

Given the elements that are open, each order draws the next from the same conditional distribution; so where the
predictions are right, samples have the right distribution in every order, also in one that looks at the predictions.
Where they are only nearly right, errors are fewer in an order that puts the hard choices off until more is known (Kim
et al., arXiv 2502.06768).

Letters in shapes: B batch, E packed elements.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

Elements = Mapping[str, Tensor]
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
