"""The optimiser of a phase, and its moments by the names of the parameters that they are of."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from molgen.family import Phase
from molgen.training.config import TrainingConfig


def optimiser_of(phase: Phase, config: TrainingConfig) -> torch.optim.Optimizer:
    """AdamW with the settings of a phase."""
    # Decay pulls matrices towards zero; biases and other vectors stay free.
    matrices = [p for p in phase.parameters() if p.ndim >= 2]
    vectors = [p for p in phase.parameters() if p.ndim < 2]
    decay = config.weight_decay if phase.weight_decay is None else phase.weight_decay
    groups = [{"params": matrices, "weight_decay": decay}, {"params": vectors, "weight_decay": 0.0}]
    return torch.optim.AdamW(
        [group for group in groups if group["params"]],
        lr=phase.learning_rate * config.learning_rate,
        betas=phase.betas or (0.9, config.beta2),
        fused=True,
    )


def moments_of(optimiser: Any, module: nn.Module) -> dict[str, Tensor]:
    """What an optimiser remembers, by `PARAMETER.NAME`."""
    names = _parameter_names(module)
    return {
        f"{names[parameter]}.{key}": value
        for parameter, moments in optimiser.state.items()
        for key, value in moments.items()
    }


def load_moments(optimiser: Any, module: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Take back what `moments_of` gave."""
    for parameter, name in _parameter_names(module).items():
        own = {key.rpartition(".")[2]: value for key, value in tensors.items() if key.rpartition(".")[0] == name}
        if own:
            optimiser.state[parameter] = {key: value.to(parameter.device).clone() for key, value in own.items()}


def _parameter_names(module: nn.Module) -> dict[Tensor, str]:
    return {parameter: name for name, parameter in module.named_parameters()}
