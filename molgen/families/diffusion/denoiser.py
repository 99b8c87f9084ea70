"""The network of a diffusion with its processes: from noised states to predictions of the data.

Letters in shapes: B batch, E packed elements.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from molgen.backbone import Build
from molgen.batch import Batch, Partial, pack_field, unpack_field
from molgen.families.diffusion.config import DiffusionConfig
from molgen.families.diffusion.process import Process, process
from molgen.families.diffusion.schedule import NoiseSchedule
from molgen.families.parts.elements import PackedElements, arrange
from molgen.layers.named import NamedModules
from molgen.space import Field, Space

States = Mapping[str, Tensor]


class Denoiser(nn.Module):
    """(x_t, t, condition) -> a prediction of x_0 for each field; all fields are at the same time."""

    def __init__(self, space: Space, build: Build, config: DiffusionConfig) -> None:
        super().__init__()
        self.space, self.config = dict(space), config
        self.processes = NamedModules({name: process(field, config) for name, field in space.items()})
        read = {name: own.network_field for name, own in self.each()}
        #: under which names the network reads earlier predictions, by field; none without self-conditioning.
        self.earlier = {name: _other_name(name, space) for name in space} if config.self_conditioning else {}
        read |= {other: self.of(name).prediction_field for name, other in self.earlier.items()}
        self.backbone = build(read, {name: own.head for name, own in self.each()})

    def each(self) -> list[tuple[str, Process]]:
        """The names of the fields and their processes."""
        return [(name, self.of(name)) for name in self.space]

    def of(self, name: str) -> Process:
        """The process of a field."""
        own = self.processes[name]
        assert isinstance(own, Process)
        return own

    @property
    def dtype(self) -> torch.dtype:
        """Of states of numbers: networks may run in 16 bits, states need more."""
        return torch.promote_types(next(self.backbone.parameters()).dtype, torch.float32)

    @property
    def schedules(self) -> set[NoiseSchedule]:
        """The distinct noise schedules of the fields."""
        return {own.schedule for _, own in self.each()}

    @property
    def time_independent(self) -> bool:
        """Whether the network reads no time, so that the state is all it knows."""
        return all(own.time_independent for _, own in self.each())

    def weighting_time(self, states: States, time: Tensor, elements: PackedElements) -> Tensor:
        """The time for the weights of losses, (B,).

        Where the network reads no time, the weight 1 / t is replaced by its mean given how many of the E elements are
        masked: at uniform times it is (E + 1) / m, for one of E + 1 counts is as likely as another.
        """
        if not self.time_independent:
            return time
        masked = [own.masked_count(states[name], elements.exists[name]) for name, own in self.each()]
        return torch.stack(masked).sum(0).clamp(min=1).to(time) / (elements.counts() + 1)

    def hidden(self, name: str, prediction: Tensor, shown: Tensor) -> Tensor:
        """A prediction that the network reads as nothing in rows that are not shown, (B,)."""
        nothing = self.of(name).no_prediction
        return torch.where(shown.view(-1, *(1 for _ in prediction.shape[1:])), prediction, nothing)

    def forward(
        self,
        states: States,
        time: Tensor,
        elements: PackedElements,
        condition: Partial | None,
        guidance: float = 1.0,
        earlier: States | None = None,
    ) -> dict[str, Tensor]:
        """Predictions, see `Process`.

        Args:
            states: x_t, (B, E) for each field.
            time: t, (B,) in float64.
            elements: which there are.
            condition: what is asked for.
            guidance: see `config.Sampling`.
            earlier: what was predicted before; None for nothing, as zeros.
        """
        if condition is None or guidance == 1:
            return self._predictions(states, time, elements, condition, earlier)
        free = self._predictions(states, time, elements, None, earlier)
        if guidance == 0:
            return free
        conditional = self._predictions(states, time, elements, condition, earlier)
        return {name: own.reverse.guide(conditional[name], free[name], guidance) for name, own in self.each()}

    def _read(self, states: States, time: Tensor, elements: PackedElements, earlier: States | None) -> Batch:
        """What the network reads."""
        read = {name: elements.unpack(name, own.network_input(states[name], time)) for name, own in self.each()}
        for name, other in self.earlier.items():
            field, places = self.of(name).prediction_field, elements.places[name]
            if earlier:
                packed = self.of(name).prediction_input(earlier[name]).to(self.dtype)
            else:
                packed = torch.zeros(len(places), _packed_length(field, places), dtype=self.dtype, device=places.device)
            read[other] = unpack_field(field, packed, places)
        return Batch(read, elements.sizes)

    def _predictions(
        self,
        states: States,
        time: Tensor,
        elements: PackedElements,
        condition: Partial | None,
        earlier: States | None,
    ) -> dict[str, Tensor]:
        times = {name: own.network_time(time) for name, own in self.each()}
        kind = next(self.backbone.parameters()).dtype
        typed = {name: one.to(kind) for name, one in times.items() if one is not None}
        outputs = self.backbone(self._read(states, time, elements, earlier), typed, condition)
        predictions = {}
        for name, own in self.each():
            output = arrange(own.field, outputs[name].to(self.dtype), elements.places[name])
            predictions[name] = own.predict(output, states[name], time)
        return predictions


def _packed_length(field: Field, places: Tensor) -> int:
    empty = torch.zeros(*places.shape, *field.channels_shape, device=places.device)
    return pack_field(field, empty, places).values.shape[1]


def _other_name(name: str, taken: Space) -> str:
    """The name of an earlier prediction of a field, which no field has."""
    found = f"{name} before"
    while found in taken:
        found += "_"
    return found
