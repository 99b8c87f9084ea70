"""The flow of couplings (Dinh et al., arXiv 1605.08803; Durkan et al., arXiv 1906.04032) over any space.

Half of all numbers are transformed one by one, by functions whose parameters a network reads off the other half; then
the halves change elements. The transformed numbers are standard normal.

Letters in shapes: B batch, E packed numbers of one field, C channels, P parameters of one number.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from math import log, pi, prod

import torch
from torch import Tensor, nn

from molgen.backbone import Build, Head
from molgen.batch import Batch, Partial
from molgen.config import by_name
from molgen.data.statistics import Statistics
from molgen.errors import UnsupportedSpace
from molgen.families.flow.config import BoundOptions, CouplingSampling, FlowConfig
from molgen.families.flow.dequantise import Dequantisation
from molgen.families.flow.halves import Half, halves
from molgen.families.flow.splines import Affine, Mapped, Spline, Transform
from molgen.families.flow.variant import Drawn, Items, Variant
from molgen.families.parts.elements import ElementNoise, PackedElements, arrange, of_own_place
from molgen.family import Density
from molgen.layers.named import NamedParameters
from molgen.seeding import Rng
from molgen.space import Real, Space

States = Mapping[str, Tensor]
#: States after a layer, and log |determinant| of the layer, (B,).
Moved = tuple[dict[str, Tensor], Tensor]

#: The functions of one number that couplings can use, by their names in the configuration.
TRANSFORMS: Mapping[str, Callable[[FlowConfig], Transform]] = {
    "spline": lambda config: Spline(config.bins, config.reach),
    "affine": lambda config: Affine(),
}


class Standardisation(nn.Module):
    """A shift and a scale for each channel of each field, measured once and learned from then on (ActNorm, Kingma &
    Dhariwal, arXiv 1807.03039)."""

    def __init__(self, space: Mapping[str, Real]) -> None:
        super().__init__()
        channels = {name: prod(field.channels) for name, field in space.items()}
        self.mean = NamedParameters({name: nn.Parameter(torch.zeros(count)) for name, count in channels.items()})
        self.log_scale = NamedParameters({name: nn.Parameter(torch.zeros(count)) for name, count in channels.items()})

    def map(self, states: States, elements: PackedElements, condition: Partial | None) -> Moved:
        """(y - mean) / scale."""
        found, total = {}, _zeros(elements)
        for name, y in states.items():
            mean, log_scale = self._of(name, y)
            found[name] = torch.where(elements.exists[name], (y - mean) * (-log_scale).exp(), 0.0)
            total = total - torch.where(elements.exists[name], log_scale.double(), 0.0).sum(1)
        return found, total

    def unmap(self, states: States, elements: PackedElements, condition: Partial | None) -> Moved:
        """z scale + mean."""
        found, total = {}, _zeros(elements)
        for name, z in states.items():
            mean, log_scale = self._of(name, z)
            found[name] = torch.where(elements.exists[name], z * log_scale.exp() + mean, 0.0)
            total = total + torch.where(elements.exists[name], log_scale.double(), 0.0).sum(1)
        return found, total

    def _of(self, name: str, states: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log scale of each packed number, (E,)."""
        own = self.mean[name].to(states), self.log_scale[name].to(states)
        return own[0].repeat(states.shape[1] // len(own[0])), own[1].repeat(states.shape[1] // len(own[1]))

    @torch.no_grad()
    def measure(self, states: States, elements: PackedElements) -> None:
        """Take the moments of some numbers."""
        for name, y in states.items():
            mean, exists = self.mean[name], elements.exists[name]
            count = exists.unflatten(1, (-1, len(mean))).sum((0, 1)).clamp(min=1).to(y)
            parts = torch.where(exists, y, 0.0).unflatten(1, (-1, len(mean)))
            average = parts.sum((0, 1)) / count
            spread = torch.where(exists.unflatten(1, (-1, len(mean))), (parts - average) ** 2, 0.0).sum((0, 1)) / count
            mean.copy_(average)
            self.log_scale[name].copy_(spread.clamp(min=1e-4).log() / 2)


class Coupling(nn.Module):
    """Transforms some numbers, with parameters read off the others.

    Args:
        space: the fields of numbers.
        build: makes the network. It reads two channels for each of a field: the number, 0 where it is transformed, and
            which are.
        split: the halves of each field.
        first: whether the first half is transformed.
        transform: the function of one number.
    """

    def __init__(
        self, space: Mapping[str, Real], build: Build, split: Mapping[str, Half], first: bool, transform: Transform
    ) -> None:
        super().__init__()
        self.space, self.split, self.first, self.transform = dict(space), dict(split), first, transform
        read = {name: replace(field, channels=(2 * prod(field.channels),)) for name, field in space.items()}
        self.transformed = [name for name, field in space.items() if self._ever(field, split[name])]
        heads = {
            name: Head(prod(space[name].channels) * transform.count, space[name].axes) for name in self.transformed
        }
        self.network = build(read, heads)

    def _ever(self, field: Real, half: Half) -> bool:
        """Whether anything of a field is transformed, in samples of some size."""
        most = half([axis.maximum for axis in field.axes], prod(field.channels))
        return bool((most == self.first).any())

    def map(self, states: States, elements: PackedElements, condition: Partial | None) -> Moved:
        """From data towards noise."""
        return self._moved(self.transform.map, states, elements, condition)

    def unmap(self, states: States, elements: PackedElements, condition: Partial | None) -> Moved:
        """The inverse of `map`, with the logarithm of its own determinant."""
        return self._moved(self.transform.unmap, states, elements, condition)

    def _moved(
        self,
        function: Callable[[Tensor, Tensor], Mapped],
        states: States,
        elements: PackedElements,
        condition: Partial | None,
    ) -> Moved:
        masks = {name: self._mask(name, elements) for name in states}
        outputs = self.network(self._read(states, masks, elements), None, condition)
        found, total = dict(states), _zeros(elements)
        for name in self.transformed:
            field, mask = self.space[name], self._packed(name, masks[name])
            parameters = arrange(field, outputs[name].to(states[name].dtype), elements.places[name])
            # Only what is transformed is computed.
            moved, log_slope = function(states[name][:, mask], parameters[:, mask])
            number = mask.nonzero().squeeze(1)
            exists = elements.exists[name][:, mask]
            found[name] = states[name].index_copy(1, number, torch.where(exists, moved, 0.0))
            total = total + torch.where(exists, log_slope.double(), 0.0).sum(1)
        return found, total

    def _mask(self, name: str, elements: PackedElements) -> Tensor:
        """Which numbers are transformed, bool (*axes, C)."""
        own = self.split[name](elements.places[name].shape[1:], prod(self.space[name].channels))
        return (own == self.first).to(elements.device)

    def _packed(self, name: str, mask: Tensor) -> Tensor:
        """The same for packed numbers, bool (E,)."""
        field = replace(self.space[name], channels=(mask.shape[-1],))
        return of_own_place(field, mask[None].float())[0] > 0

    def _read(self, states: States, masks: Mapping[str, Tensor], elements: PackedElements) -> Batch:
        fields = {}
        for name, values in states.items():
            full, mask = elements.unpack(name, values), masks[name]
            exists = elements.places[name]
            full = full.reshape(*exists.shape, mask.shape[-1])
            shown = (mask & exists[..., None]).to(full)
            fields[name] = torch.cat([full * ~mask, shown], -1)
        return Batch(fields, elements.sizes)


class CouplingFlow(Variant):
    """log p(x) = log N(f(x)) + log |det df/dx|, for classes and levels with the bound of `dequantise`."""

    Sampling, Scoring = CouplingSampling, BoundOptions
    loss_unit = "nats"

    def __init__(self, space: Space, build: Build, config: FlowConfig) -> None:
        super().__init__(space, build, config)
        for name, field in space.items():
            if isinstance(field, Real) and (field.centred or field.rotates):
                raise UnsupportedSpace(
                    f"the numbers of {name!r} rotate or have a common centre, which no coupling of some with others "
                    "keeps; family.variant=matching takes them"
                )
        self.dequantisation = Dequantisation(space, build, config.dequantisation or "argmax")
        own = self.dequantisation.space
        transform = by_name("transform", config.transform, TRANSFORMS)(config)
        self.standardisation = Standardisation(own)
        splits = halves(own)
        turns = [(splits[turn % len(splits)], first) for turn in range(config.rounds) for first in (True, False)]
        self.couplings = nn.ModuleList(
            Coupling(own, build, split, first, transform) for split, first in turns if _moves(own, split, first)
        )

    @property
    def density(self) -> Density:
        """Exact for numbers without levels."""
        return Density.EXACT if self.dequantisation.exact else Density.LOWER_BOUND

    def loss(self, items: Items) -> Mapping[str, Tensor]:
        """The negative log-density, by one draw of the noise in cells."""
        return {"elements": -self._draws(items, 1)[0]}

    def log_density(self, items: Items, options: BoundOptions) -> tuple[Tensor, Tensor | None]:
        """The logarithm of the mean importance weight."""
        if self.dequantisation.exact:
            return self._draws(items, 1)[0], None
        count = options.draws or self.config.draws
        weights = self._draws(items, count)
        value = weights.logsumexp(0) - log(count)
        if count == 1:
            return value, None
        return value, (weights - value).exp().std(0) / count**0.5

    def _draws(self, items: Items, count: int) -> Tensor:
        """log p(y) + log |dy/du| - log q(u | x) for some draws of u, (draws, B) in float64."""
        elements, values = self.dequantisation.elements(items.elements), items.packed()
        learned = self.dequantisation.learned(items.batch, items.condition, elements)
        noise, found = ElementNoise(elements, items.rng), []
        for step in range(count):
            states, volume = self.dequantisation(values, learned, noise, step)
            states = {name: y.to(self.dtype) for name, y in states.items()}
            z, log_det = self._map(states, elements, items.condition)
            found.append(_normal(z, elements) + log_det + volume)
        return torch.stack(found)

    def _map(self, states: States, elements: PackedElements, condition: Partial | None) -> Moved:
        moved, total = dict(states), _zeros(elements)
        for layer in (self.standardisation, *self.couplings):
            moved, log_det = layer.map(moved, elements, condition)
            total = total + log_det
        return moved, total

    def _unmap(self, states: States, elements: PackedElements, condition: Partial | None) -> Moved:
        moved, total = dict(states), _zeros(elements)
        for layer in reversed((self.standardisation, *self.couplings)):
            moved, log_det = layer.unmap(moved, elements, condition)
            total = total + log_det
        return moved, total

    def sample(
        self,
        elements: PackedElements,
        condition: Partial | None,
        rng: Rng,
        known: Partial | None,
        options: CouplingSampling,
    ) -> Drawn:
        """The inverse of the flow at normal numbers.

        Raises:
            ValueError: parts are known, which couplings cannot keep.
        """
        if known is not None and any(bool(given.any()) for given in known.given.values()):
            raise ValueError("a flow of couplings cannot keep known parts of a sample; family=diffusion can")
        own = self.dequantisation.elements(elements)
        draws = ElementNoise(own, rng)
        z = {
            name: (options.temperature * torch.special.ndtri(draws.uniform(name, "base"))).to(self.dtype)
            for name in own.space
        }
        z = {name: torch.where(own.exists[name], values, 0.0) for name, values in z.items()}
        states, log_det = self._unmap(z, own, condition)
        fields = {name: elements.unpack(name, one) for name, one in self.dequantisation.values(states).items()}
        free = self.dequantisation.exact and options.temperature == 1
        return Drawn(Batch(fields, dict(elements.sizes)), _normal(z, own) - log_det if free else None)

    @torch.no_grad()
    def initialise(self, items: Items, statistics: Statistics) -> None:
        """Measure the moments of the numbers."""
        elements = self.dequantisation.elements(items.elements)
        states, _ = self.dequantisation(items.packed(), {}, ElementNoise(elements, items.rng))
        self.standardisation.measure({name: y.to(self.dtype) for name, y in states.items()}, elements)


def _moves(space: Mapping[str, Real], split: Mapping[str, Half], first: bool) -> bool:
    """Whether a coupling would transform anything."""
    shapes = {name: [axis.maximum for axis in field.axes] for name, field in space.items()}
    return any(bool((split[name](shapes[name], prod(field.channels)) == first).any()) for name, field in space.items())


def _zeros(elements: PackedElements) -> Tensor:
    return torch.zeros(len(elements), dtype=torch.float64, device=elements.device)


def _normal(states: States, elements: PackedElements) -> Tensor:
    """log of the standard normal density of all numbers, (B,) in float64."""
    total = _zeros(elements)
    for name, z in states.items():
        log_density = -(z.double() ** 2) / 2 - log(2 * pi) / 2
        total = total + torch.where(elements.exists[name], log_density, 0.0).sum(1)
    return total
