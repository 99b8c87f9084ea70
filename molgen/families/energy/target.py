"""An energy relative to a reference, and what a chain must know of a state under it.

Letters in shapes: B batch, E packed elements, K choices of an element.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from molgen.backbone import Build
from molgen.batch import Batch, Partial
from molgen.families.energy.sites import Choices, Site, proposal
from molgen.families.energy.variant import EnergyNetwork
from molgen.families.parts.elements import ElementNoise, PackedElements
from molgen.families.parts.known import KnownElements
from molgen.layers.named import NamedModules
from molgen.seeding import Rng
from molgen.space import Space

#: States of all fields by name, (B, E) each.
State = Mapping[str, Tensor]


class RelativeEnergy(nn.Module):
    """log p(x | size, condition) = log q0(x) - E(x, condition) + constant, over states of chains.

    Args:
        space: of the samples.
        build: makes the network.
    """

    def __init__(self, space: Space, build: Build) -> None:
        super().__init__()
        self.sites = NamedModules({name: proposal(field) for name, field in space.items()})
        self.energy = EnergyNetwork(space, build)

    def site(self, name: str) -> Site:
        """That of a field."""
        found = self.sites[name]
        assert isinstance(found, Site)
        return found

    def of_kind(self, kind: type[Site]) -> dict[str, Site]:
        """The sites of a class."""
        return {name: self.site(name) for name in self.sites if isinstance(self.site(name), kind)}

    @property
    def choices(self) -> dict[str, Choices]:
        """The sites that flip."""
        return {name: site for name in self.sites if isinstance(site := self.site(name), Choices)}

    @property
    def numbers(self) -> list[str]:
        """The fields that move by Langevin's steps."""
        return [name for name in self.sites if name not in self.choices]

    def state(self, elements: PackedElements, batch: Batch) -> dict[str, Tensor]:
        """The states of samples."""
        packed = elements.pack_batch(batch)
        return {
            name: torch.where(elements.exists[name], self.site(name).state(values), 0)
            for name, values in packed.items()
        }

    def batch(self, elements: PackedElements, state: State) -> Batch:
        """The samples of states."""
        return elements.unpack_batch({name: self.site(name).values(one) for name, one in state.items()})

    def start(self, elements: PackedElements, rng: Rng) -> dict[str, Tensor]:
        """States that follow q0."""
        uniform = ElementNoise(elements, rng).uniforms("start")
        return {name: torch.where(elements.exists[name], self.site(name).start(u), 0) for name, u in uniform.items()}

    def read(self, state: State) -> dict[str, Tensor]:
        """What the network reads of each field."""
        kind = torch.promote_types(next(self.energy.parameters()).dtype, torch.float32)
        return {name: self.site(name).read(one, kind) for name, one in state.items()}

    def forward(self, elements: PackedElements, state: State, condition: Partial | None) -> Tensor:
        """E, (B,)."""
        return self.energy(elements.unpack_batch(self.read(state)), condition)

    def log_reference(self, elements: PackedElements, state: State) -> Tensor:
        """log q0, (B,) in float64."""
        each = [
            torch.where(elements.exists[name], self.site(name).log_reference(one), 0.0).sum(1)
            for name, one in state.items()
        ]
        return torch.stack(each).sum(0)


@dataclass(frozen=True)
class Point:
    """States, and what is known of them.

    Attributes:
        state: of all fields.
        energy: E, (B,) in float64.
        reference: log q0, (B,) in float64.
        slopes: of E by what the network reads of each field.
    """

    state: dict[str, Tensor]
    energy: Tensor
    reference: Tensor
    slopes: dict[str, Tensor]

    def where(self, rows: Tensor, other: Point) -> Point:
        """This one in some rows, (B,), and another in the others."""

        def mixed(one: Tensor, two: Tensor) -> Tensor:
            return torch.where(rows.reshape(-1, *(1 for _ in range(one.ndim - 1))), one, two)

        return Point(
            {name: mixed(one, other.state[name]) for name, one in self.state.items()},
            mixed(self.energy, other.energy),
            mixed(self.reference, other.reference),
            {name: mixed(one, other.slopes[name]) for name, one in self.slopes.items()},
        )


@dataclass
class Target:
    """A distribution that chains follow: (q0 exp(-share E))^(1 / temperature), given sizes, condition and known parts.

    Attributes:
        model: says q0 and E.
        elements: which the samples have.
        condition: what is asked for.
        held: what is known.
        share: of the energy; 0 is the reference.
        temperature: of both.
    """

    model: RelativeEnergy
    elements: PackedElements
    condition: Partial | None = None
    held: KnownElements | None = None
    share: float = 1.0
    temperature: float = 1.0
    #: which elements may move, (B, E).
    free: dict[str, Tensor] = field(init=False)

    def __post_init__(self) -> None:
        self.free = {}
        for name, exists in self.elements.exists.items():
            known = self.held.elements(name, self.elements) if self.held is not None else torch.zeros_like(exists)
            self.free[name] = exists & ~known

    def at(self, state: State) -> Point:
        """What is known of a state; only inputs of the network get gradients."""
        model = self.model
        with torch.enable_grad():
            read = {name: one.detach().requires_grad_() for name, one in model.read(state).items()}
            energy = model.energy(self.elements.unpack_batch(read), self.condition)
            slopes = torch.autograd.grad(energy.sum(), list(read.values()), allow_unused=True)
        found = {
            name: slope if slope is not None else torch.zeros_like(read[name])
            for name, slope in zip(read, slopes, strict=True)
        }
        return Point(dict(state), energy.detach().double(), model.log_reference(self.elements, state), found)

    def log_p(self, point: Point) -> Tensor:
        """The logarithm of the density up to a constant, (B,)."""
        return (point.reference - self.share * point.energy) / self.temperature

    def keep(self, state: State) -> dict[str, Tensor]:
        """A state with known elements as they are known."""
        if self.held is None:
            return dict(state)
        return {
            name: self.held.keep(name, one, self.held.values[name], self.elements) if name in self.held.values else one
            for name, one in state.items()
        }
