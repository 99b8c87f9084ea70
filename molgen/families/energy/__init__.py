"""Energy-based models: one number for a whole sample, the lower the likelier."""

from molgen.families.energy.config import EnergyConfig
from molgen.families.energy.family import Energy

__all__ = ["Energy", "EnergyConfig"]
