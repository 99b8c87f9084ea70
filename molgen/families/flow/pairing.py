"""Which noise of a batch is the end of the path of which sample.

Letters in shapes: B batch, E packed elements of all fields.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from molgen.batch import Partial
from molgen.families.flow.variant import Items
from molgen.space import Field, Real

#: Times that order and orientation of noise are sought, one given the other.
ROUNDS = 2

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


def aligned(items: Items, x0: Tensor, noise: Tensor) -> Tensor:
    """The noise of each item in the orientation and the order of points that is near to it.

    Paths are then as straight as those of any turned and reordered copy of the noise, which is as likely (Song et al.,
    arXiv 2312.07168; Klein et al., arXiv 2306.15030); that sampling draws it at random is right where the network is
    equivariant. Only points are turned and reordered, about their common centre and without a mirror. Points that a
    condition tells apart, such as given atoms, keep their order: noise that is chosen by what an atom is, as the outer
    points for hydrogens, is none that sampling draws for it.
    """
    elements = items.elements
    turning = [name for name, field in elements.space.items() if isinstance(field, Real) and field.rotates]
    bound = [name for name in turning if _is_of_points(elements.space[name])]
    if not bound:
        return noise
    ends, starts = elements.split(x0), elements.split(noise)
    full = {name: elements.unpack(name, starts[name].double()) for name in turning}
    targets = {name: elements.unpack(name, ends[name].double()) for name in bound}
    for _ in range(ROUNDS):
        for name in bound:
            if not elements.space[name].axes[0].ordered and not _tells_apart(items.condition):
                order = _nearest_order(full[name], targets[name], elements.places[name])
                full[name] = full[name].gather(1, order[..., None].expand_as(full[name]))
        turn = _nearest_turn(torch.cat([*(full[n] for n in bound)], 1), torch.cat([*(targets[n] for n in bound)], 1))
        full = {name: _turned(own, turn) for name, own in full.items()}
    found = {name: elements.pack(name, own).to(noise) for name, own in full.items()}
    return elements.join({**starts, **found})


def _tells_apart(condition: Partial | None) -> bool:
    """Whether a condition says something of single places, and not of samples alone."""
    return condition is not None and any(given.ndim > 1 for given in condition.given.values())


def _is_of_points(field: Field) -> bool:
    return isinstance(field, Real) and field.centred and field.channels == (3,)


def _nearest_order(points: Tensor, targets: Tensor, exists: Tensor) -> Tensor:
    """Which of the points goes to each target, (B, N), so that squared distances have the least sum."""
    closeness = (targets @ points.transpose(1, 2)).cpu().numpy()
    order = torch.arange(points.shape[1]).repeat(len(points), 1)
    for row, count in enumerate(exists.sum(1).tolist()):
        order[row, :count] = torch.from_numpy(linear_sum_assignment(-closeness[row, :count, :count])[1])
    return order.to(points.device)


def _nearest_turn(points: Tensor, targets: Tensor) -> Tensor:
    """The rotations, (B, 3, 3), that take rows of points nearest to targets (Kabsch, Acta Cryst. A 32, 1976)."""
    first, _, second = torch.linalg.svd(points.transpose(1, 2) @ targets)
    mirror = torch.ones(len(points), 3, dtype=points.dtype, device=points.device)
    mirror[:, 2] = torch.linalg.det(first @ second).sign()
    return (first * mirror[:, None]) @ second


def _turned(vectors: Tensor, turn: Tensor) -> Tensor:
    """Vectors, (B, ..., 3) with any places and channels between, turned row by row."""
    flat = vectors.reshape(len(vectors), -1, 3)
    return (flat @ turn).view_as(vectors)


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
    "aligned": Pairing(aligned, coupled=False),
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
