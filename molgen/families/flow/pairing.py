"""Which noise of a batch is the end of the path of which sample.

Letters in shapes: B batch, E packed elements of all fields.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from molgen.families.flow.variant import Items

#: Of some items, their packed elements and noise, (B, E) each: the noise of each of them, (B, E).
Pair = Callable[[Items, Tensor, Tensor], Tensor]


class Pairing(NamedTuple):
    """How noise is given to samples, and whether that depends on the other samples of the batch."""

    pair: Pair
    coupled: bool


def independent(items: Items, x0: Tensor, noise: Tensor) -> Tensor:
    """To each sample the noise of its own row."""
    return noise


def optimal(items: Items, x0: Tensor, noise: Tensor) -> Tensor:
    """Noise exchanged between items that are alike, so that squared distances have the least sum.

    Minibatch optimal transport (Pooladian et al., arXiv 2304.14772; Tong et al., arXiv 2302.00482): paths cross less,
    so that fewer steps follow them.
    """
    return exchanged(x0, noise, alike(items))


def exchanged(x0: Tensor, noise: Tensor, groups: Tensor) -> Tensor:
    """The rows of noise, (B, E), in the order that is nearest to x0, (B, E), inside each group, (B,)."""
    found = noise.clone()
    for group in groups.unique().tolist():
        rows = (groups == group).nonzero().squeeze(1)
        if len(rows) > 1:
            cost = torch.cdist(x0[rows].double(), noise[rows].double()).square()
            _, chosen = linear_sum_assignment(cost.cpu().numpy())
            found[rows] = noise[rows[torch.from_numpy(chosen).to(rows.device)]]
    return found


#: The ways to give noise to samples, by their names in the configuration.
PAIRINGS: Mapping[str, Pairing] = {
    "independent": Pairing(independent, coupled=False),
    "optimal": Pairing(optimal, coupled=True),
}


def alike(items: Items) -> Tensor:
    """A number for each item, (B,), the same for those of one size and one condition.

    Noise that is exchanged only among them stays independent of both, as sampling draws it.
    """
    columns = [size.to(items.elements.device).double() for size in items.batch.sizes.values()]
    if items.condition is not None:
        asked = items.condition
        for name, given in asked.given.items():
            values = asked.batch.fields[name].double().reshape(*given.shape, -1)
            columns += [given.double(), torch.where(given[..., None], values, 0.0)]
    if not columns:
        return torch.zeros(len(items.batch), dtype=torch.long, device=items.elements.device)
    return torch.cat([column.reshape(len(column), -1) for column in columns], 1).unique(dim=0, return_inverse=True)[1]
