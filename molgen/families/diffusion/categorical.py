"""The processes of classes by their names in the configuration."""

from __future__ import annotations

from typing import TYPE_CHECKING

from molgen.config import by_name
from molgen.families.diffusion.absorbing import Absorbing
from molgen.families.diffusion.discrete import Discrete
from molgen.families.diffusion.process import Process, process
from molgen.families.diffusion.resampling import Marginal, Resampling
from molgen.space import Categorical

if TYPE_CHECKING:
    from molgen.families.diffusion.config import DiffusionConfig

PROCESSES: dict[str, type[Discrete]] = {"absorbing": Absorbing, "uniform": Resampling, "marginal": Marginal}


@process.register(Categorical)
def _(field: Categorical, config: DiffusionConfig) -> Process:
    return by_name("categorical", config.categorical, PROCESSES)(field, config)
