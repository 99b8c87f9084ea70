"""The packed elements of a batch: which there are, noise for them, and the way to full tensors and back.

A field has places, (B, *axes), and free elements: a pair of a symmetric field counts once, n centred points are n - 1
vectors, and padding is nothing at all. Losses, noise, densities and dimensions belong to the free elements; only
networks see full tensors. `PackedElements` takes tensors from one form to the other, `ElementNoise` draws a number for
each element, and `arrange` lays the outputs of a network's head beside the elements that they are about.

A family that adds noise to every real field, and predicts it, needs no more than this:

    >>> import torch
    >>> from molgen.batch import Batch
    >>> from molgen.seeding import Rng
    >>> from molgen.space import Axis, Real
    >>> space = {"places": Real((Axis("atom", 4),), channels=(3,), centred=True)}
    >>> batch = Batch({"places": torch.zeros(2, 3, 3)}, {"atom": torch.tensor([3, 2])})
    >>> elements = PackedElements.of_batch(space, batch)
    >>> elements.counts().tolist()  # 3 points with a common centre are 2 free vectors of 3 numbers
    [6, 3]
    >>> noise = ElementNoise(elements, Rng(0, range(2))).normal("places", "noise")
    >>> x = elements.pack("places", batch.fields["places"]) + noise.float()
    >>> seen = elements.unpack("places", x)  # what a network reads: full and centred
    >>> seen.shape, bool(seen.mean(1).abs().max() < 1e-6)
    (torch.Size([2, 3, 3]), True)
    >>> output = seen  # of a network with a head of width 3 at every place
    >>> predicted = arrange(space["places"], output, elements.places["places"]).squeeze(-1)
    >>> loss = torch.where(elements.exists["places"], (predicted - x) ** 2, 0.0).sum(1)
    >>> bool((loss < 1e-8).all())
    True

Letters in shapes: B batch, E packed elements, W width of a head, P parameters of an element.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod

import torch
from torch import Tensor
from torch.nn.functional import pad

from molgen.batch import Batch, lengths, mask, pack_field, unpack_field
from molgen.kinds import primitive
from molgen.seeding import Rng
from molgen.space import Field, Real, Space, axes


@dataclass(frozen=True)
class PackedElements:
    """Which elements some samples have.

    Attributes:
        space: the fields.
        sizes: of every variable axis, (B,).
        places: which places of each field exist, bool (B, *axes).
        exists: which packed elements exist, bool (B, E).
    """

    space: Space
    sizes: Mapping[str, Tensor]
    places: Mapping[str, Tensor]
    exists: Mapping[str, Tensor]

    @classmethod
    def of(
        cls, space: Space, sizes: Mapping[str, Tensor], lengths: Mapping[str, int], rows: int, device: torch.device
    ) -> PackedElements:
        """The elements of samples of these sizes.

        Args:
            space: the fields.
            sizes: of every variable axis, (B,).
            lengths: the padded length of every axis.
            rows: B.
            device: where the masks lie.
        """
        sizes = {name: size.to(device) for name, size in sizes.items()}
        places = {}
        for name, field in space.items():
            places[name] = mask(field, sizes, [lengths[axis.name] for axis in field.axes], rows).to(device)
        return cls(space, sizes, places, {name: _packed_mask(space[name], exists) for name, exists in places.items()})

    @classmethod
    def of_batch(cls, space: Space, batch: Batch, device: torch.device | None = None) -> PackedElements:
        """The elements of a batch, on its own device or another."""
        device = device or batch.fields[next(iter(space))].device
        return cls.of(space, batch.sizes, lengths(space, batch), len(batch), device)

    @classmethod
    def of_sizes(cls, space: Space, sizes: Mapping[str, Tensor], rows: int, device: torch.device) -> PackedElements:
        """The elements of samples of these sizes, padded to the largest of them.

        Args:
            space: the fields.
            sizes: of every variable axis, (B,).
            rows: B.
            device: where the masks lie.
        """
        longest = {name: int(sizes[name].max()) if a.variable else a.maximum for name, a in axes(space).items()}
        return cls.of(space, sizes, longest, rows, device)

    def over(self, space: Space) -> PackedElements:
        """The elements of another space of the same samples; axes that are new have a fixed length."""
        longest = {name: axis.maximum for name, axis in axes(space).items()} | {
            axis.name: self.places[name].shape[1 + number]
            for name, field in self.space.items()
            for number, axis in enumerate(field.axes)
        }
        return self.of(space, self.sizes, longest, len(self), self.device)

    def take(self, rows: Tensor) -> PackedElements:
        """Those of the given rows."""
        some = [
            {name: tensor[rows] for name, tensor in part.items()} for part in (self.sizes, self.places, self.exists)
        ]
        return PackedElements(self.space, *some)

    def __len__(self) -> int:
        return len(next(iter(self.places.values())))

    @property
    def device(self) -> torch.device:
        """Where they are."""
        return next(iter(self.places.values())).device

    def counts(self) -> Tensor:
        """The free elements of each sample over all fields, (B,): the dimensions of its density."""
        return torch.stack([exists.sum(1) for exists in self.exists.values()]).sum(0)

    def pack(self, name: str, tensor: Tensor) -> Tensor:
        """The free elements of a tensor (B, *axes, ...) over the places of a field, (B, E, ...), zero where none is."""
        return pack_field(self.space[name], tensor, self.places[name]).values

    def unpack(self, name: str, values: Tensor) -> Tensor:
        """The inverse of `pack`."""
        return unpack_field(self.space[name], values, self.places[name])

    def pack_batch(self, batch: Batch) -> dict[str, Tensor]:
        """`pack` for every field."""
        return {name: self.pack(name, batch.fields[name]) for name in self.space}

    def unpack_batch(self, values: Mapping[str, Tensor]) -> Batch:
        """`unpack` for every field, as a batch."""
        return Batch({name: self.unpack(name, values[name]) for name in self.space}, dict(self.sizes))

    def join(self, values: Mapping[str, Tensor]) -> Tensor:
        """The elements of all fields side by side, (B, E of all)."""
        return torch.cat([values[name] for name in self.space], dim=1)

    def split(self, joined: Tensor) -> dict[str, Tensor]:
        """The inverse of `join`."""
        counts = [self.exists[name].shape[1] for name in self.space]
        return dict(zip(self.space, joined.split(counts, dim=1), strict=True))


class ElementNoise:
    """Random numbers for packed elements, (B, E) in float64.

    A number follows from the seed and item of its row, from its purpose and step, and from the place of its element:
    neither padding nor other rows can change it.
    """

    def __init__(self, elements: PackedElements, rng: Rng) -> None:
        self.elements, self.rng = elements, rng

    def uniform(self, name: str, purpose: str, step: int = 0) -> Tensor:
        """A number in the open interval (0, 1) for each element of a field."""
        places, field = self.elements.places[name], self.elements.space[name]
        shape = places.shape[1:]
        # Numbers are counted along the last axes first: these must not depend on the padding.
        whole = (*shape[:1], *(axis.maximum for axis in field.axes[1:]), *field.channels_shape)
        numbers = self.rng.uniform(f"{purpose} {name}", whole, step)[(slice(None), *map(slice, shape))]
        return of_own_place(field, numbers).to(places.device)

    def normal(self, name: str, purpose: str, step: int = 0) -> Tensor:
        """A standard normal number for each element of a field; unpacked, those of a centred field are centred."""
        return torch.special.ndtri(self.uniform(name, purpose, step))

    def uniforms(self, purpose: str, step: int = 0) -> dict[str, Tensor]:
        """`uniform` for every field."""
        return {name: self.uniform(name, purpose, step) for name in self.elements.space}


@primitive
def arrange(field: Field, outputs: Tensor, places: Tensor) -> Tensor:
    """What a head gives at every place, (B, *axes, W), as the parameters of packed elements, (B, E, P).

    A class has all W numbers of its place; a channel of a real field has its own share of them, W = channels x P,
    channel by channel. In a centred field parameters are vectors, which are packed like the field itself. Teach
    one for a kind of field of your own.

    Args:
        field: what the head is for.
        outputs: of the head.
        places: which places exist, bool (B, *axes).
    """
    return pack_field(field, outputs, places).values


@arrange.register
def _(field: Real, outputs: Tensor, places: Tensor) -> Tensor:
    count = outputs.shape[-1] // prod(field.channels)
    wide = replace(field, channels=(*field.channels, count), levels=None)
    values = pack_field(wide, outputs.reshape(*places.shape, *wide.channels), places).values
    return values.reshape(len(values), values.shape[1] // count, count)


@primitive
def of_own_place(field: Field, values: Tensor) -> Tensor:
    """For each packed element the value of its own place, (B, E) of (B, *axes, *channels), without adding any two.

    So masks and random numbers become those of elements. Teach one where an element of a kind of field of your own
    is a sum over places.
    """
    exists = torch.ones(values.shape[: 1 + len(field.axes)], dtype=torch.bool, device=values.device)
    return pack_field(field, values, exists).values


@of_own_place.register
def _(field: Real, values: Tensor) -> Tensor:
    # Row k of the basis of centred points belongs to the place k + 1.
    own = values[:, 1:] if field.centred else values
    exists = torch.ones(own.shape[: 1 + len(field.axes)], dtype=torch.bool, device=values.device)
    return pack_field(replace(field, centred=False), own, exists).values


def fitted(tensor: Tensor, shape: Sequence[int]) -> Tensor:
    """A tensor (B, *axes, ...) cut, or filled up with zeros, to the lengths of its axes."""
    tensor = tensor[(slice(None), *map(slice, shape))]
    missing = [length - tensor.shape[1 + place] for place, length in enumerate(shape)]
    widths = [0] * 2 * (tensor.ndim - 1 - len(shape)) + [n for length in reversed(missing) for n in (0, length)]
    return pad(tensor, widths) if any(missing) else tensor


def beside(mask: Tensor, tensor: Tensor) -> Tensor:
    """A mask of places, (B, *axes), with dimensions for what a tensor has at each of them."""
    return mask.reshape(*mask.shape, *(1 for _ in range(tensor.ndim - mask.ndim)))


def _packed_mask(field: Field, places: Tensor) -> Tensor:
    empty = torch.zeros(*places.shape, *field.channels_shape, device=places.device)
    return pack_field(field, empty, places).mask
