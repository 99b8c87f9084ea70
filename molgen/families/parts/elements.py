"""The packed elements of a batch: which there are, to and from full tensors, and random numbers for them.

Letters in shapes: B batch, E packed elements.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from molgen.batch import mask, pack_field, unpack_field
from molgen.seeding import Rng
from molgen.space import Field, Real, Space


@dataclass(frozen=True)
class PackedElements:
    """Where the elements of some samples are.

    Attributes:
        space: the fields.
        sizes: of every variable axis, (B,).
        full: which places of each field exist, (B, *axes).
        exists: the same for packed elements, (B, E).
    """

    space: Space
    sizes: Mapping[str, Tensor]
    full: Mapping[str, Tensor]
    exists: Mapping[str, Tensor]

    @classmethod
    def of(
        cls, space: Space, sizes: Mapping[str, Tensor], lengths: Mapping[str, int], rows: int, device: torch.device
    ) -> PackedElements:
        """The places of samples of these sizes, padded to these lengths."""
        full = {}
        for name, field in space.items():
            full[name] = mask(field, sizes, [lengths[axis.name] for axis in field.axes], rows).to(device)
        return cls(space, sizes, full, {name: _packed_mask(space[name], exists) for name, exists in full.items()})

    def take(self, rows: Tensor) -> PackedElements:
        """Those of the given rows."""
        some = [{name: tensor[rows] for name, tensor in part.items()} for part in (self.sizes, self.full, self.exists)]
        return PackedElements(self.space, *some)

    def __len__(self) -> int:
        return len(next(iter(self.full.values())))

    @property
    def device(self) -> torch.device:
        """Where they are."""
        return next(iter(self.full.values())).device

    def counts(self) -> Tensor:
        """The free elements of each sample, (B,)."""
        return torch.stack([exists.sum(1) for exists in self.exists.values()]).sum(0)

    def pack(self, name: str, tensor: Tensor) -> Tensor:
        """The free elements of a tensor (B, *axes, ...) over the places of a field."""
        return pack_field(self.space[name], tensor, self.full[name]).values

    def unpack(self, name: str, values: Tensor) -> Tensor:
        """The inverse of `pack`."""
        return unpack_field(self.space[name], values, self.full[name])


class ElementNoise:
    """Uniform random numbers for packed elements, (B, E) in float64, in the open interval (0, 1).

    The number of an element depends on its own place, so neither padding nor other rows can change it.
    """

    def __init__(self, places: PackedElements, rng: Rng) -> None:
        self.places, self.rng = places, rng

    def uniform(self, name: str, purpose: str, step: int = 0) -> Tensor:
        """A number for each element of a field."""
        exists, field = self.places.full[name], self.places.space[name]
        shape = exists.shape[1:]
        # Numbers are counted along the last axes first: these must not depend on the padding.
        whole = (*shape[:1], *(axis.maximum for axis in field.axes[1:]), *field.channels_shape)
        numbers = self.rng.uniform(f"{purpose} {name}", whole, step)[(slice(None), *map(slice, shape))]
        return _of_elements(field, numbers).to(exists.device)

    def turns(self, taking: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Times in (0, 1) at which the elements of each row take turns: in random order, evenly spaced.

        Args:
            taking: which elements take part, (B, E) for each field.
        """
        names = list(taking)
        order = torch.cat([torch.where(taking[name], self.uniform(name, "turn"), 2.0) for name in names], dim=1)
        count = torch.cat(list(taking.values()), dim=1).sum(1, keepdim=True)
        times = (order.argsort(1).argsort(1) + 0.5) / count.clamp(min=1)
        return dict(zip(names, times.split([taking[name].shape[1] for name in names], dim=1), strict=True))


def _of_elements(field: Field, numbers: Tensor) -> Tensor:
    """A number for each packed element from one for each place, without adding any two."""
    if isinstance(field, Real) and field.centred:
        # Row k of the basis belongs to the place k + 1.
        return numbers[:, 1:].flatten(1)
    exists = torch.ones(numbers.shape[: 1 + len(field.axes)], dtype=torch.bool)
    return pack_field(field, numbers, exists).values


def _packed_mask(field: Field, exists: Tensor) -> Tensor:
    return pack_field(field, exists.new_zeros((*exists.shape, *field.channels_shape), dtype=torch.float32), exists).mask
