"""The settings of the flow family, and the options of its sampling and its densities."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

#: The least value of each setting that is a number of things.
LEAST = {"rounds": 1, "bins": 2, "draws": 1, "steps": 1, "samples": 2} | dict.fromkeys(
    ("scales", "patch", "token_size", "width", "layers", "heads"), 1
)


@dataclass(frozen=True)
class FlowConfig:
    """Which flow it is, and how classes become numbers.

    Attributes:
        variant: `coupling`, `autoregressive`: each number given those before it, `matching`: flow matching of numbers,
            or `discrete`: that of classes. Empty stands for `matching` where numbers rotate or have a common centre,
            and for `coupling` elsewhere.
        dequantisation: of classes and levels: `uniform`, `variational`, `argmax` or `bits`; see `dequantise`. Empty
            leaves it to the variant.
        rounds: of couplings, in each of which both halves of the numbers are transformed; blocks of `autoregressive`,
            every other one from the end to the beginning.
        transform: of a number: `spline` or `affine`.
        bins: of splines.
        reach: half of the interval that splines bend, for numbers of unit scale.
        scales: of `coupling` over grids: at each but the first, squares of two by two places are one place, and behind
            each of those but the last half of the channels is finished.
        patch: places along each axis of a grid that are one place for `autoregressive`.
        token_size: numbers of one place that `autoregressive` transforms at once; with 1 each is given all before it.
        width, layers, heads: of the transformer in each block of `autoregressive`.
        pairing: of data and noise in `matching`: `independent`; `optimal` transport inside each batch; or `aligned`,
            for points in space and equivariant networks: noise turned and reordered to be near its own sample.
        noise: that classes turn into in `discrete`: `masked`, `uniform` or `marginal`, their frequencies.
        steps: of sampling by `matching` and `discrete`, and of the densities of `matching`, where none are asked for.
        samples: of `discrete` where none are asked for, see `PathOptions`.
        draws: of the bound on the density of classes and levels where none are asked for, see `BoundOptions`.
    """

    variant: str = ""
    dequantisation: str = ""
    rounds: int = 4
    transform: str = "spline"
    bins: int = 8
    reach: float = 4.0
    draws: int = 8
    scales: int = 1
    patch: int = 1
    token_size: int = 1
    width: int = 128
    layers: int = 2
    heads: int = 4
    pairing: str = "independent"
    noise: str = "masked"
    steps: int = 100
    samples: int = 32

    def __post_init__(self) -> None:
        for name, least in LEAST.items():
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be at least {least}, not {getattr(self, name)}")
        if self.width % (2 * self.heads):
            raise ValueError(f"the width {self.width} must be a multiple of twice the heads, {2 * self.heads}")
        _require_even(self.samples)
        if not 0 < self.reach < inf:
            raise ValueError(f"reach must be above 0, not {self.reach}")


@dataclass(frozen=True)
class InvertibleSampling:
    """The options of `sample` of `coupling` and `autoregressive`.

    Attributes:
        temperature: multiplies the scale of the noise that samples are made from; 1 is the model itself.
    """

    temperature: float = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.temperature < inf:
            raise ValueError(f"temperature must be above 0, not {self.temperature}")


@dataclass(frozen=True)
class BoundOptions:
    """The options of `log_density` of `coupling` and `autoregressive`.

    Attributes:
        draws: of the noise in the cells of classes and levels, whose importance weights are averaged (Burda et al.,
            arXiv 1509.00519); 0 leaves it to the configuration. Densities of numbers without levels need none.
    """

    draws: int = 0

    def __post_init__(self) -> None:
        if self.draws < 0:
            raise ValueError(f"draws must be 0 or more, not {self.draws}")


@dataclass(frozen=True)
class DiscreteSampling:
    """The options of `sample` of discrete flow matching; all can be chosen after training.

    Attributes:
        steps: from noise to data; 0 leaves it to the configuration.
        guidance: w in u + w (c - u), of log-probabilities without (u) and with the condition (c); 1 is the model's.
        stochasticity: the rate of further jumps to noise and back, which repair mistakes (eta in arXiv 2402.04997).
        target_guidance: a further rate of jumps to what is predicted (omega in DeFoG, arXiv 2410.04263).
        distortion: times are powers of evenly spaced ones; above 1 steps are shorter near the data.
        temperature: divides the log-probabilities of classes.
    """

    steps: int = 0
    guidance: float = 1.0
    stochasticity: float = 0.0
    target_guidance: float = 0.0
    distortion: float = 1.0
    temperature: float = 1.0

    def __post_init__(self) -> None:
        if not -inf < self.guidance < inf:
            raise ValueError(f"guidance must be finite, not {self.guidance}")
        for name in ("steps", "stochasticity", "target_guidance"):
            if not 0 <= getattr(self, name) < inf:
                raise ValueError(f"{name} must be 0 or more, not {getattr(self, name)}")
        for name in ("distortion", "temperature"):
            if not 0 < getattr(self, name) < inf:
                raise ValueError(f"{name} must be above 0, not {getattr(self, name)}")


@dataclass(frozen=True)
class MatchingSampling:
    """The options of `sample` of flow matching.

    Attributes:
        steps: from noise to data, of two runs of the network each; 0 leaves it to the configuration.
        guidance: w in u + w (c - u), of velocities without (u) and with the condition (c); 1 is the model itself.
    """

    steps: int = 0
    guidance: float = 1.0

    def __post_init__(self) -> None:
        _require_steps(self.steps)
        if not -inf < self.guidance < inf:
            raise ValueError(f"guidance must be finite, not {self.guidance}")


@dataclass(frozen=True)
class EquationOptions:
    """The options of `log_density` of flow matching.

    Attributes:
        steps: of the integration; 0 leaves it to the configuration.
        directions: random ones, from which the divergence is estimated (Hutchinson); 0 computes it exactly, by a
            gradient for each number of a sample at every step. None is 0 for samples of few numbers and 2 for larger.
        draws: of the noise in classes and levels, whose importance weights are averaged.
    """

    steps: int = 0
    directions: int | None = None
    draws: int = 1

    def __post_init__(self) -> None:
        if self.draws < 1:
            raise ValueError(f"draws must be at least 1, not {self.draws}")
        _require_steps(self.steps)
        if self.directions is not None and self.directions < 0:
            raise ValueError(f"directions must be 0 (exact) or more, not {self.directions}")


def _require_steps(steps: int) -> None:
    if steps < 0:
        raise ValueError(f"steps must be 0 or more, not {steps}")


@dataclass(frozen=True)
class PathOptions:
    """The options of `log_density` of discrete flow matching.

    Attributes:
        samples: noised copies of each item that the network reads, an even number; 0 leaves it to the configuration.
    """

    samples: int = 0

    def __post_init__(self) -> None:
        _require_even(self.samples)


def _require_even(samples: int) -> None:
    if samples < 0 or samples % 2:
        raise ValueError(f"samples must be an even number, not {samples}")
