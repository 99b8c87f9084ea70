"""What is known of samples beforehand, and how it is kept.

Letters in shapes: B batch, E packed elements.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import pad

from molgen.batch import Partial, field_mask
from molgen.families.parts.elements import PackedElements
from molgen.space import Field, Real, Space


@dataclass(frozen=True)
class KnownElements:
    """What is known of samples.

    Attributes:
        values: of each field that is known in part, the packed elements as states at time 0, (B, E).
        full: the same as it was given, over places, (B, *axes, *channels).
        given: which places are known, (B, *axes).
    """

    values: Mapping[str, Tensor]
    full: Mapping[str, Tensor]
    given: Mapping[str, Tensor]

    @classmethod
    def of(
        cls, known: Partial | None, places: PackedElements, inward: Callable[[str, Tensor], Tensor]
    ) -> KnownElements:
        """The known part laid over the places of samples, which must be large enough for it."""
        if known is None:
            return cls({}, {}, {})
        full, given, values = {}, {}, {}
        for name in known.given:
            exists = places.full[name]
            given[name] = _reaching(_given(places.space, known, name), exists.shape[1:]).to(exists.device)
            if name in known.closed:
                shut = known.shut(name, places.space[name], exists.shape[1]).to(exists.device)
                given[name] = given[name] | (shut & exists)
            full[name] = _reaching(known.batch.fields[name], exists.shape[1:]).to(exists.device)
            complete = _completed(places.space[name], full[name], given[name], exists)
            values[name] = inward(name, places.pack(name, complete))
        return cls(values, full, given)

    def take(self, rows: Tensor) -> KnownElements:
        """That of the given rows."""
        return KnownElements(
            *({name: tensor[rows] for name, tensor in part.items()} for part in (self.values, self.full, self.given))
        )

    def elements(self, name: str, places: PackedElements) -> Tensor:
        """Which packed elements are known, (B, E); of a centred field none is by itself."""
        exists = places.exists[name]
        field = places.space[name]
        if name not in self.given or (isinstance(field, Real) and field.centred):
            return torch.zeros_like(exists)
        given = _beside(self.given[name], self.full[name]).expand(self.full[name].shape)
        return places.pack(name, given) & exists

    def keep(self, name: str, x: Tensor, wanted: Tensor, places: PackedElements) -> Tensor:
        """Packed elements with the known ones replaced by `wanted`, both (B, E).

        Of a centred field the known points are moved to where they should be, and all others together by as little
        as keeps the centre.
        """
        if name not in self.given:
            return x
        field = places.space[name]
        if not (isinstance(field, Real) and field.centred):
            return torch.where(self.elements(name, places), wanted, x)
        move = places.unpack(name, wanted - x)
        return x + places.pack(name, _completed(field, move, self.given[name], places.full[name]))

    def restore(self, fields: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Finished fields with known numbers exactly as they were given, free of rounding."""
        return {name: self._exact(name, tensor) for name, tensor in fields.items()}

    def _exact(self, name: str, tensor: Tensor) -> Tensor:
        if name not in self.given or not tensor.is_floating_point():
            return tensor
        return torch.where(_beside(self.given[name], tensor), self.full[name].to(tensor), tensor)


def least_sizes(space: Space, known: Partial | None) -> dict[str, Tensor]:
    """How large a sample must be, (B,) for each variable axis, so that the known part has its place."""
    least: dict[str, Tensor] = {}
    for name in known.given if known is not None else ():
        assert known is not None
        given = _given(space, known, name)
        for place, axis in enumerate(space[name].axes):
            if axis.variable:
                numbers = torch.arange(1, given.shape[1 + place] + 1, device=given.device)
                shape = [-1 if k == place else 1 for k in range(given.ndim - 1)]
                reach = pad((given * numbers.view(shape)).flatten(1), (1, 0)).amax(1)
                least[axis.name] = torch.maximum(least.get(axis.name, reach), reach)
    return least


def _given(space: Space, known: Partial, name: str) -> Tensor:
    return known.given[name] & field_mask(space, known.batch, name)


def _reaching(tensor: Tensor, shape: torch.Size) -> Tensor:
    """A tensor (B, *axes, ...) cut, or filled up with zeros, to the lengths of its axes."""
    tensor = tensor[(slice(None), *map(slice, shape))]
    missing = [length - tensor.shape[1 + place] for place, length in enumerate(shape)]
    widths = [0] * 2 * (tensor.ndim - 1 - len(shape)) + [n for length in reversed(missing) for n in (0, length)]
    return pad(tensor, widths) if any(missing) else tensor


def _completed(field: Field, tensor: Tensor, given: Tensor, exists: Tensor) -> Tensor:
    """Known points of a centred field with all others at one point, so that the mean is zero; others as they are."""
    if not (isinstance(field, Real) and field.centred):
        return tensor
    known, free = _beside(given, tensor), _beside(exists & ~given, tensor)
    rest = -torch.where(known, tensor, 0.0).sum(1, keepdim=True) / free.sum(1, keepdim=True).clamp(min=1)
    return torch.where(known, tensor, torch.where(free, rest, 0.0))


def _beside(mask: Tensor, tensor: Tensor) -> Tensor:
    """A mask of places with dimensions for the channels of a tensor."""
    return mask.reshape(*mask.shape, *(1 for _ in range(tensor.ndim - mask.ndim)))
