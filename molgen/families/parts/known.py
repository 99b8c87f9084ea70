"""What is known of samples beforehand, and how it is kept.

Letters in shapes: B batch, E packed elements.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import pad

from molgen.batch import Batch, Partial, field_mask
from molgen.families.parts.elements import PackedElements, beside, fitted, of_own_place
from molgen.space import Field, Real, Space


@dataclass(frozen=True)
class KnownElements:
    """What is known of samples.

    Of a centred field, whose mean is zero, the known points are a fragment: they are known up to one translation,
    which follows from where all others come to lie. Their places about their own mean are elements of the field, and
    orthogonal to what is left open: the translation, and the other points.

    Attributes:
        space: the fields.
        values: of each field that is known in part, the packed elements as states at time 0, (B, E).
        full: the same as it was given, over places, (B, *axes, *channels).
        given: which places are known, (B, *axes).
    """

    space: Space
    values: Mapping[str, Tensor]
    full: Mapping[str, Tensor]
    given: Mapping[str, Tensor]

    @classmethod
    def of(
        cls, known: Partial | None, elements: PackedElements, to_state: Callable[[str, Tensor], Tensor]
    ) -> KnownElements:
        """The known part laid over the places of samples, which must be large enough for it."""
        if known is None:
            return cls(elements.space, {}, {}, {})
        full, given, values = {}, {}, {}
        for name in known.given:
            places, field = elements.places[name], elements.space[name]
            given[name] = fitted(_given(elements.space, known, name), places.shape[1:]).to(places.device)
            if name in known.closed:
                closed = known.closed_pairs(name, field, places.shape[1]).to(places.device)
                given[name] = given[name] | (closed & places)
            full[name] = fitted(known.batch.fields[name], places.shape[1:]).to(places.device)
            fragment = _about_its_mean(full[name], given[name]) if _centred(field) else full[name]
            values[name] = to_state(name, elements.pack(name, fragment))
        return cls(elements.space, values, full, given)

    def take(self, rows: Tensor) -> KnownElements:
        """That of the given rows."""
        return KnownElements(
            self.space,
            *({name: tensor[rows] for name, tensor in part.items()} for part in (self.values, self.full, self.given)),
        )

    def elements(self, name: str, elements: PackedElements) -> Tensor:
        """Which packed elements are known, (B, E); of a centred field none is by itself."""
        exists = elements.exists[name]
        field = elements.space[name]
        if name not in self.given or _centred(field):
            return torch.zeros_like(exists)
        given = beside(self.given[name], self.full[name]).expand(self.full[name].shape)
        return of_own_place(field, given) & exists

    def keep(self, name: str, x: Tensor, wanted: Tensor, elements: PackedElements) -> Tensor:
        """Packed elements with the known ones replaced by `wanted`, both (B, E).

        The points of a fragment are moved to where they should be about their mean. The mean stays where it is, and so
        do all other points: the fragment goes to the translation at which x has it.
        """
        if name not in self.given:
            return x
        if not _centred(elements.space[name]):
            return torch.where(self.elements(name, elements), wanted, x)
        move = elements.unpack(name, wanted - x)
        return x + elements.pack(name, _about_its_mean(move, self.given[name]))

    def exactly_in(self, batch: Batch) -> Batch:
        """Finished samples with known numbers exactly as they were given, free of rounding."""
        return batch.with_fields({name: self._exact(name, tensor) for name, tensor in batch.fields.items()})

    def _exact(self, name: str, tensor: Tensor) -> Tensor:
        if name not in self.given or not tensor.is_floating_point() or _centred(self.space[name]):
            return tensor
        return torch.where(beside(self.given[name], tensor), self.full[name].to(tensor), tensor)


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


def _centred(field: Field) -> bool:
    return isinstance(field, Real) and field.centred


def _about_its_mean(points: Tensor, given: Tensor) -> Tensor:
    """The given points about their mean, all others zero: (B, N, *channels)."""
    some = beside(given, points)
    kept = torch.where(some, points, 0.0)
    mean = kept.sum(1, keepdim=True) / some.sum(1, keepdim=True).clamp(min=1)
    return torch.where(some, points - mean, 0.0)


def with_known(tensor: Tensor, known: Partial, name: str) -> Tensor:
    """A tensor (B, *axes, *channels) with known numbers as they were given, free of the rounding of cells."""
    given, values = known.given[name].to(tensor.device), known.batch.fields[name].to(tensor)
    inside = tuple(slice(min(a, b)) for a, b in zip(tensor.shape[: given.ndim], given.shape, strict=True))
    own = given[inside].reshape(*given[inside].shape, *(1 for _ in range(tensor.ndim - given.ndim)))
    tensor = tensor.clone()
    tensor[inside] = torch.where(own, values[inside], tensor[inside])
    return tensor
