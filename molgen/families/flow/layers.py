"""What the layers of an invertible map have in common.

Letters in shapes: B batch, E packed numbers of one field, C channels.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from math import prod

import torch
from torch import Tensor, nn

from molgen.batch import Partial
from molgen.families.parts.elements import PackedElements
from molgen.layers.named import NamedParameters
from molgen.space import Real

States = Mapping[str, Tensor]
#: States after a layer, and log |determinant| of the layer, (B,).
Moved = tuple[dict[str, Tensor], Tensor]


class Layer(nn.Module, ABC):
    """map(states, elements, condition) -> states and log |determinant|; unmap is its inverse; after(elements)."""

    @abstractmethod
    def map(self, states: States, elements: PackedElements, condition: Partial | None) -> Moved:
        """From data towards noise."""

    @abstractmethod
    def unmap(self, states: States, elements: PackedElements, condition: Partial | None) -> Moved:
        """The inverse of `map`, with the logarithm of its own determinant.

        Args:
            states: what `map` gave.
            elements: of the states before `map`.
            condition: what all is conditioned on.
        """

    def after(self, elements: PackedElements) -> PackedElements:
        """The elements of the states after `map`; those before, unless a layer arranges numbers anew."""
        return elements


class Standardisation(Layer):
    """A shift and a scale for each channel of each field, measured once and learned from then on (ActNorm, Kingma &
    Dhariwal, arXiv 1807.03039)."""

    def __init__(self, space: Mapping[str, Real]) -> None:
        super().__init__()
        channels = {name: prod(field.channels) for name, field in space.items()}
        self.mean = NamedParameters({name: nn.Parameter(torch.zeros(count)) for name, count in channels.items()})
        self.log_scale = NamedParameters({name: nn.Parameter(torch.zeros(count)) for name, count in channels.items()})

    def map(self, states: States, elements: PackedElements, condition: Partial | None) -> Moved:
        """(y - mean) / scale."""
        found, total = {}, zeros(elements)
        for name, y in states.items():
            mean, log_scale = self._of(name, y)
            found[name] = torch.where(elements.exists[name], (y - mean) * (-log_scale).exp(), 0.0)
            total = total - torch.where(elements.exists[name], log_scale.double(), 0.0).sum(1)
        return found, total

    def unmap(self, states: States, elements: PackedElements, condition: Partial | None) -> Moved:
        """z scale + mean."""
        found, total = {}, zeros(elements)
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


def zeros(elements: PackedElements) -> Tensor:
    """0 for each row, (B,) in float64."""
    return torch.zeros(len(elements), dtype=torch.float64, device=elements.device)
