"""The moving average of the weights of a family, which is what is checked and kept."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor
from torch.optim.swa_utils import AveragedModel

from molgen.family import Family, Phase


class AveragedFamily:
    """A copy of a family whose parameters follow those that are trained.

    Buffers are copied, for they are counts, tables or memories, no weights; and so are the parameters of phases that
    ask not to be averaged.

    Args:
        family: that is trained.
        phases: of the family.
        decay: of the exponential moving average.
    """

    def __init__(self, family: Family, phases: Mapping[str, Phase], decay: float) -> None:
        self._model = AveragedModel(family, multi_avg_fn=_averaging(decay))
        averaged = {p for phase in phases.values() if phase.averaged for p in phase.parameters()}
        last = {p for phase in phases.values() for p in phase.parameters()} - averaged
        self._copied = [name for name, parameter in family.named_parameters() if parameter in last]

    @property
    def family(self) -> Family:
        """The copy."""
        family = self._model.module
        assert isinstance(family, Family)
        return family

    @property
    def count(self) -> int:
        """How many steps the average is of."""
        return int(self._model.n_averaged)

    def to(self, device: torch.device) -> None:
        """Move the copy to a device."""
        self._model.to(device)

    def update(self, family: Family, *, restart: bool = False) -> None:
        """Follow one step of training; a restarted average begins with the weights as they are."""
        if restart:
            self._model.n_averaged.zero_()
        self._model.update_parameters(family)
        with torch.no_grad():
            for name in self._copied:
                self.family.get_parameter(name).copy_(family.get_parameter(name))

    def load(self, weights: Mapping[str, Tensor], count: int) -> None:
        """Go on from the weights of so many steps."""
        self.family.load_state_dict(weights)
        self._model.n_averaged.fill_(count)


def _averaging(decay: float) -> Callable[..., None]:
    """An exponential moving average that follows closely at first, so that short runs are not held back."""

    @torch.no_grad()
    def update(averaged: list[Tensor], current: list[Tensor], count: Tensor) -> None:
        weight = 1 - min(decay, (1 + int(count)) / (10 + int(count)))
        torch._foreach_lerp_(averaged, current, weight)

    return update
