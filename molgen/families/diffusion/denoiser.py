"""The network of a diffusion with its processes: from noised states to predictions of the data.

Letters in shapes: B batch, E packed elements.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from molgen.backbone import Build
from molgen.batch import Batch, Partial
from molgen.families.diffusion.config import DiffusionConfig
from molgen.families.diffusion.process import Process, process
from molgen.families.diffusion.schedule import Clock
from molgen.families.parts.elements import PackedElements
from molgen.layers.named import NamedModules
from molgen.space import Space

States = Mapping[str, Tensor]


class Denoiser(nn.Module):
    """(x_t, t, condition) -> a prediction of x_0 for each field; all fields are at the same time."""

    def __init__(self, space: Space, build: Build, config: DiffusionConfig) -> None:
        super().__init__()
        self.space, self.config = dict(space), config
        self.processes = NamedModules({name: process(field, config) for name, field in space.items()})
        seen = {name: own.seen for name, own in self.each()}
        self.backbone = build(seen, {name: own.head for name, own in self.each()})

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
    def clocks(self) -> set[Clock]:
        """The distinct clocks of the fields."""
        return {own.clock for _, own in self.each()}

    @property
    def timeless(self) -> bool:
        """Whether the network is told no time, so that the state is all it knows."""
        return all(own.timeless for _, own in self.each())

    def visible_time(self, states: States, time: Tensor, places: PackedElements) -> Tensor:
        """The time for the weights of losses, (B,).

        Where the network is told no time, the weight 1 / t is replaced by its mean given how many of the E elements
        are masked: at uniform times it is (E + 1) / m, for one of E + 1 counts is as likely as another.
        """
        if not self.timeless:
            return time
        hidden = [own.hidden(states[name], places.exists[name]) for name, own in self.each()]
        return torch.stack(hidden).sum(0).clamp(min=1).to(time) / (places.counts() + 1)

    def forward(
        self, states: States, time: Tensor, places: PackedElements, condition: Partial | None, guidance: float = 1.0
    ) -> dict[str, Tensor]:
        """Predictions, see `Process`.

        Args:
            states: x_t, (B, E) for each field.
            time: t, (B,) in float64.
            places: where the elements are.
            condition: what is asked for.
            guidance: see `config.Sampling`.
        """
        if condition is None or guidance == 1:
            return self._predicted(states, time, places, condition)
        free = self._predicted(states, time, places, None)
        if guidance == 0:
            return free
        asked = self._predicted(states, time, places, condition)
        return {name: own.mix(asked[name], free[name], guidance) for name, own in self.each()}

    def _predicted(
        self, states: States, time: Tensor, places: PackedElements, condition: Partial | None
    ) -> dict[str, Tensor]:
        seen = {name: places.unpack(name, own.seen_values(states[name], time)) for name, own in self.each()}
        times = {name: own.seen_time(time) for name, own in self.each()}
        kind = next(self.backbone.parameters()).dtype
        told = {name: one.to(kind) for name, one in times.items() if one is not None}
        outputs = self.backbone(Batch(seen, places.sizes), told, condition)
        predictions = {}
        for name, own in self.each():
            output = own.arrange(outputs[name].to(self.dtype), places.full[name])
            predictions[name] = own.predict(output, states[name], time)
        return predictions
