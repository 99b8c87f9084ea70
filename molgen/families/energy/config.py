"""The settings of energy-based models, and the options of their sampling and scoring."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

from molgen.config import TrainedModel

#: Moves of classes and levels in a chain, one after the other; see `moves`.
MOVES = ("gibbs", "block", "swap")


@dataclass(frozen=True)
class EnergyConfig:
    """What an energy is of, and how it is trained.

    Attributes:
        variant: `residual`, `contrastive` or `matching`; see the modules of these names.
        base: the trained model that a residual energy corrects.
        start: a trained model whose samples contrastive chains start from; without one they start from the frequencies
            of the training data.
        proposals: draws of the base from which a residual energy chooses one sample.
        draws: of the base, from which the partition function of a residual energy is estimated.
        warm_start: whether the network of a residual energy starts from the weights of the base's own network.
        renew: the share of the draws of the base in a step of training that are new; the others are draws of earlier
            steps, which costs little where the base draws slowly.
        memory: draws of the base that are kept where not all are new.
        chains: that contrastive training keeps.
        chain_steps: of each chain in a step of training.
        restart: the share of chains that start anew in a step of training.
        moves: of classes and levels, of which chains take one after the other: `gibbs`, `block`, `swap`.
        penalty: the weight of squared energies, which keeps them near zero.
        steps: of a chain from its start to a sample; from noise to data for matching.
        mixing: steps of matching that mix samples at its temperature, after those from noise to data.
        pairing: of noise and data in matching: `optimal` for the shortest ways in a batch, or `independent`.
        temperature: of the samples of matching; its density is exp(-V / temperature).
        contrast: the weight of the contrastive loss of matching.
        contrast_from: the share of training after which it is added.
    """

    variant: str = "residual"
    base: TrainedModel = ""
    start: TrainedModel = ""
    proposals: int = 16
    draws: int = 1024
    warm_start: bool = False
    renew: float = 1.0
    memory: int = 1024
    chains: int = 1024
    chain_steps: int = 20
    restart: float = 0.02
    moves: tuple[str, ...] = MOVES
    penalty: float = 1e-3
    steps: int = 256
    mixing: int = 64
    pairing: str = "optimal"
    temperature: float = 0.01
    contrast: float = 1e-2
    contrast_from: float = 0.9

    def __post_init__(self) -> None:
        for name, least in (
            ("proposals", 1),
            ("draws", 2),
            ("memory", 1),
            ("chains", 1),
            ("chain_steps", 1),
            ("steps", 1),
        ):
            _at_least(name, getattr(self, name), least)
        _at_least("mixing", self.mixing, 0)
        for name in ("restart", "contrast_from"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must be from 0 to 1, not {getattr(self, name)}")
        if not 0 < self.renew <= 1:
            raise ValueError(f"renew must be above 0 and at most 1, not {self.renew}")
        for name in ("penalty", "contrast"):
            if not 0 <= getattr(self, name) < inf:
                raise ValueError(f"{name} must be at least 0, not {getattr(self, name)}")
        _above_zero("temperature", self.temperature)
        if not self.moves or (wrong := [move for move in self.moves if move not in MOVES]):
            raise ValueError(f"moves are some of {', '.join(MOVES)}, not {', '.join(wrong) if self.moves else 'none'}")
        if set(self.moves) <= {"swap"}:
            raise ValueError("moves need gibbs or block as well: swaps alone never change what is there")


@dataclass(frozen=True)
class Resampling:
    """The options of `sample` of a residual energy; all others are those of its base.

    Attributes:
        proposals: draws of the base from which one sample is chosen; 0 leaves it to the configuration.
        strength: a factor on the energy; 0 chooses any of them, as the base draws.
    """

    proposals: int = 0
    strength: float = 1.0

    def __post_init__(self) -> None:
        _at_least("proposals", self.proposals, 0)
        if not 0 <= self.strength < inf:
            raise ValueError(f"strength must be at least 0, not {self.strength}")


@dataclass(frozen=True)
class Partition:
    """The options of `log_density` of a residual energy; all others are those of its base.

    Attributes:
        draws: of the base for each condition, for the partition function; 0 leaves it to the configuration.
    """

    draws: int = 0

    def __post_init__(self) -> None:
        if self.draws:
            _at_least("draws", self.draws, 2)


@dataclass(frozen=True)
class ChainSampling:
    """The options of `sample` by chains.

    Attributes:
        steps: of each chain; 0 leaves it to the configuration.
        temperature: of the distribution, p^(1 / temperature); 1 is the model itself.
    """

    steps: int = 0
    temperature: float = 1.0

    def __post_init__(self) -> None:
        _at_least("steps", self.steps, 0)
        _above_zero("temperature", self.temperature)


@dataclass(frozen=True)
class AnnealedScoring:
    """The options of `log_density` of an energy that has no normalisation of its own.

    Attributes:
        annealing: steps of annealed importance sampling for the partition function of each size and condition; 0
            leaves the density unnormalised.
        chains: of it.
    """

    annealing: int = 0
    chains: int = 64

    def __post_init__(self) -> None:
        _at_least("annealing", self.annealing, 0)
        _at_least("chains", self.chains, 2)


@dataclass(frozen=True)
class MatchingSampling:
    """The options of `sample` of energy matching.

    Attributes:
        steps: from noise to data; 0 leaves it to the configuration.
        mixing: steps at the temperature of the model after that; None leaves it to the configuration.
        temperature: of these; None is that of the model.
    """

    steps: int = 0
    mixing: int | None = None
    temperature: float | None = None

    def __post_init__(self) -> None:
        _at_least("steps", self.steps, 0)
        _at_least("mixing", self.mixing or 0, 0)
        if self.temperature is not None:
            _above_zero("temperature", self.temperature)


@dataclass(frozen=True)
class PotentialScoring:
    """The potential of energy matching has no options."""


def _at_least(name: str, value: int, least: int) -> None:
    if value < least:
        raise ValueError(f"{name} must be at least {least}, not {value}")


def _above_zero(name: str, value: float) -> None:
    if not 0 < value < inf:
        raise ValueError(f"{name} must be above 0, not {value}")
