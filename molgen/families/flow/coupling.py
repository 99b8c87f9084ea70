"""The flow of couplings (Dinh et al., arXiv 1605.08803; Durkan et al., arXiv 1906.04032) over any space.

Half of all numbers are transformed one by one, by functions whose parameters a network reads off the other half; then
the halves change elements. The transformed numbers are standard normal. Grids may have several scales, see `scales`.

Letters in shapes: B batch, E packed numbers of one field, C channels, P parameters of one number.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from math import prod

import torch
from torch import Tensor, nn

from molgen.backbone import Build, Head
from molgen.batch import Batch, Partial
from molgen.config import by_name
from molgen.families.flow.config import FlowConfig
from molgen.families.flow.halves import Half, halves
from molgen.families.flow.invertible import TRANSFORMS, Invertible
from molgen.families.flow.layers import Layer, Moved, States, zeros
from molgen.families.flow.scales import at_scales
from molgen.families.flow.splines import Mapped, Transform
from molgen.families.parts.elements import PackedElements, arrange, of_own_place
from molgen.layers.named import accept_old_names
from molgen.space import Real, Space


class Coupling(Layer):
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
        """From data towards noise; states of other fields stay what they are."""
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
        masks = {name: self._mask(name, elements) for name in self.space}
        outputs = self.network(self._read(states, masks, elements), None, condition)
        found, total = dict(states), zeros(elements)
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
        for name, mask in masks.items():
            full, exists = elements.unpack(name, states[name]), elements.places[name]
            full = full.reshape(*exists.shape, mask.shape[-1])
            shown = (mask & exists[..., None]).to(full)
            fields[name] = torch.cat([full * ~mask, shown], -1)
        return Batch(fields, elements.sizes)


class CouplingFlow(Invertible):
    """f is a sequence of couplings, at one scale or at several."""

    def __init__(self, space: Space, build: Build, config: FlowConfig, condition: Space) -> None:
        super().__init__(space, build, config, condition)
        transform = by_name("transform", config.transform, TRANSFORMS)(config)

        def couplings(own: Mapping[str, Real]) -> list[Layer]:
            splits = halves(own)
            turns = [(splits[turn % len(splits)], first) for turn in range(config.rounds) for first in (True, False)]
            return [
                Coupling(own, build, split, first, transform) for split, first in turns if _moves(own, split, first)
            ]

        self.layers = nn.ModuleList(at_scales(self.dequantisation.space, config.scales, couplings))
        accept_old_names(self, {"layers": "couplings"})


def _moves(space: Mapping[str, Real], split: Mapping[str, Half], first: bool) -> bool:
    """Whether a coupling would transform anything."""
    shapes = {name: [axis.maximum for axis in field.axes] for name, field in space.items()}
    return any(bool((split[name](shapes[name], prod(field.channels)) == first).any()) for name, field in space.items())
