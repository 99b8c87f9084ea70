"""The settings of the flow family, and the options of its sampling and its densities."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf


@dataclass(frozen=True)
class FlowConfig:
    """Which flow it is, and how classes become numbers.

    Attributes:
        variant: `coupling`.
        dequantisation: of classes and levels: `uniform`, `variational`, `argmax` or `bits`; see `dequantise`. Empty
            leaves it to the variant.
        rounds: of couplings, in each of which both halves of the numbers are transformed.
        transform: of a coupling: `spline` or `affine`.
        bins: of splines.
        reach: half of the interval that splines bend, for numbers of unit scale.
        draws: of the bound on the density of classes and levels where none are asked for, see `BoundOptions`.
    """

    variant: str = "coupling"
    dequantisation: str = ""
    rounds: int = 4
    transform: str = "spline"
    bins: int = 8
    reach: float = 4.0
    draws: int = 8

    def __post_init__(self) -> None:
        for name, least in (("rounds", 1), ("bins", 2), ("draws", 1)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be at least {least}, not {getattr(self, name)}")
        if not 0 < self.reach < inf:
            raise ValueError(f"reach must be above 0, not {self.reach}")


@dataclass(frozen=True)
class CouplingSampling:
    """The options of `sample`.

    Attributes:
        temperature: multiplies the scale of the noise that samples are made from; 1 is the model itself.
    """

    temperature: float = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.temperature < inf:
            raise ValueError(f"temperature must be above 0, not {self.temperature}")


@dataclass(frozen=True)
class BoundOptions:
    """The options of `log_density`.

    Attributes:
        draws: of the noise in the cells of classes and levels, whose importance weights are averaged (Burda et al.,
            arXiv 1509.00519); 0 leaves it to the configuration. Densities of numbers without levels need none.
    """

    draws: int = 0

    def __post_init__(self) -> None:
        if self.draws < 0:
            raise ValueError(f"draws must be 0 or more, not {self.draws}")
