"""Moves of chains, each with the probability of the way back, so that Metropolis and Hastings can correct it.

Letters in shapes: B batch, E packed elements, K choices of an element, M pairs of an element and a choice.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from math import exp
from typing import ClassVar

import torch
from torch import Tensor

from molgen.families.energy.target import Point, State, Target
from molgen.families.parts.elements import ElementNoise
from molgen.seeding import Rng, inverse_cdf


class Move(ABC):
    """propose(target, here) -> states; log_q(target, here, there) -> the log-probability of this proposal, (B,).

    Args:
        width: how far the move goes: the logarithm of a step, or of how readily elements flip.
    """

    name: ClassVar[str]
    #: whether it goes further or less far while a model is trained, and from where.
    adapts: ClassVar[bool] = False
    first_width: ClassVar[float] = 0.0

    def __init__(self, width: float) -> None:
        self.width = width

    @abstractmethod
    def propose(self, target: Target, here: Point, noise: ElementNoise, number: int) -> dict[str, Tensor]:
        """States to go to.

        Args:
            target: what the chain follows.
            here: where it is.
            noise: random numbers.
            number: of the step, which tells its random numbers from others.
        """

    @abstractmethod
    def log_q(self, target: Target, here: Point, there: State) -> Tensor:
        """The log-density of proposing `there`, up to what is the same for the way back, (B,)."""


class Langevin(Move):
    """A step along the slope of the density with noise: x + s g + sqrt(2 s) n, of all numbers at once.

    The Metropolis-adjusted Langevin algorithm (Roberts & Tweedie, Bernoulli 2, 341, 1996).
    """

    name = "langevin"
    adapts = True
    first_width = -2.0

    def propose(self, target: Target, here: Point, noise: ElementNoise, number: int) -> dict[str, Tensor]:
        """All numbers one step on; the others as they are."""
        step, there = exp(self.width), dict(here.state)
        for name in target.model.numbers:
            n = noise.normal(name, "langevin", number)
            moved = self._mean(target, here, name) + (2 * step) ** 0.5 * n
            there[name] = torch.where(target.free[name], moved, here.state[name].double()).to(here.state[name])
        return target.keep(there)

    def _mean(self, target: Target, here: Point, name: str) -> Tensor:
        """Where a step leads without noise, in float64."""
        x, slope = here.state[name].double(), here.slopes[name].double()
        return x + exp(self.width) * (-x - target.share * slope) / target.temperature

    def log_q(self, target: Target, here: Point, there: State) -> Tensor:
        """Normal about the mean; of a known fragment only what can move counts."""
        step, total = exp(self.width), torch.zeros_like(here.energy)
        for name in target.model.numbers:
            mean = target.keep({**there, name: self._mean(target, here, name)})[name]
            square = torch.where(target.free[name], (there[name].double() - mean) ** 2, 0.0)
            total = total - square.sum(1) / (4 * step)
        return total


class Flips(Move):
    """What moves of classes and levels have in common: how much each choice would gain, to first order."""

    def gains(self, target: Target, here: Point) -> dict[str, Tensor]:
        """By field, (B, E, K)."""
        return {
            name: site.gains(here.state[name], here.slopes[name], target.share) / target.temperature
            for name, site in target.model.choices.items()
        }


class Gibbs(Flips):
    """One element to one other choice, with probabilities proportional to exp(half of what it gains).

    Gibbs with gradients (Grathwohl et al., arXiv 2102.04509, algorithm 1).
    """

    name = "gibbs"

    def propose(self, target: Target, here: Point, noise: ElementNoise, number: int) -> dict[str, Tensor]:
        """One element of all fields flips; where none can, all stay."""
        logits = self._logits(target, here)
        joined = torch.cat([own.flatten(1) for own in logits.values()], dim=1)
        if not joined.numel():
            return dict(here.state)
        able = (joined > -torch.inf).any(1)
        chances = torch.where(able[:, None], joined, 0.0).softmax(1)
        chosen = inverse_cdf(chances, noise.rng.uniform("gibbs", step=number).to(joined.device))
        there, first = dict(here.state), 0
        for name, own in logits.items():
            place = (chosen - first).clamp(0, max(0, own[0].numel() - 1))
            mine = able & (chosen >= first) & (chosen < first + own[0].numel())
            element, choice = place // own.shape[2], place % own.shape[2]
            flips = mine[:, None] & (torch.arange(own.shape[1], device=own.device) == element[:, None])
            there[name] = torch.where(flips, choice[:, None], there[name])
            first += own[0].numel()
        return there

    def log_q(self, target: Target, here: Point, there: State) -> Tensor:
        """Of the one flip; 0 where all stay."""
        logits, found = self._logits(target, here), torch.zeros_like(here.energy)
        joined = torch.cat([own.flatten(1) for own in logits.values()], dim=1)
        if not joined.numel():
            return found
        total = joined.logsumexp(1)
        for name, own in logits.items():
            flips = here.state[name] != there[name]
            picked = own.gather(2, there[name][..., None]).squeeze(-1) - total[:, None]
            found = found + torch.where(flips, picked, 0.0).sum(1)
        return found

    def _logits(self, target: Target, here: Point) -> dict[str, Tensor]:
        """Of every element and other choice, (B, E, K) by field."""
        found = {}
        for name, gain in self.gains(target, here).items():
            site = target.model.choices[name]
            able = target.free[name][..., None] & (site.distance(here.state[name]) > 0)
            found[name] = torch.where(able, gain / 2, -torch.inf)
        return found


class Block(Flips):
    """Every element at once, each by half of what its choices gain and less for what lies far.

    The discrete Langevin proposal (Zhang et al., arXiv 2206.09914, equation 4).
    """

    name = "block"
    adapts = True
    first_width = -4.0

    def propose(self, target: Target, here: Point, noise: ElementNoise, number: int) -> dict[str, Tensor]:
        """All elements that may move."""
        there = dict(here.state)
        for name, log_p in self._log_p(target, here).items():
            u = noise.uniform(name, "block", number)
            chosen = inverse_cdf(log_p.exp().flatten(0, 1), u.flatten()).view(u.shape)
            there[name] = torch.where(target.free[name], chosen, there[name])
        return there

    def log_q(self, target: Target, here: Point, there: State) -> Tensor:
        """Of all elements, which are independent."""
        found = torch.zeros_like(here.energy)
        for name, log_p in self._log_p(target, here).items():
            picked = log_p.gather(2, there[name][..., None]).squeeze(-1)
            found = found + torch.where(target.free[name], picked, 0.0).sum(1)
        return found

    def _log_p(self, target: Target, here: Point) -> dict[str, Tensor]:
        """Of every choice of each element, (B, E, K) by field; -width is what the nearest choice costs."""
        return {
            name: (gain / 2 + self.width * target.model.choices[name].distance(here.state[name])).log_softmax(2)
            for name, gain in self.gains(target, here).items()
        }


class Swap(Move):
    """Two elements of one field exchange what they are; any two are as likely, so the way back is too."""

    name = "swap"

    def propose(self, target: Target, here: Point, noise: ElementNoise, number: int) -> dict[str, Tensor]:
        """Two elements of a field, which is the same in all rows."""
        there, names = dict(here.state), list(target.model.choices)
        chance = Rng(noise.rng.seed, [0]).uniform("swapped field", step=number)
        name = names[int(chance * len(names))]
        free, state = target.free[name], here.state[name]
        if state.shape[1] < 2:
            return there
        u = torch.where(free, noise.uniform(name, "swap", number), -1.0)
        (first, second) = u.topk(2, dim=1).indices.split(1, dim=1)
        able = free.sum(1, keepdim=True) > 1
        swapped = state.scatter(1, first, state.gather(1, second)).scatter(1, second, state.gather(1, first))
        there[name] = torch.where(able, swapped, state)
        return there

    def log_q(self, target: Target, here: Point, there: State) -> Tensor:
        """The same for both ways."""
        return torch.zeros_like(here.energy)


#: The moves of classes and levels by their names in the configuration.
FLIPS: Mapping[str, type[Move]] = {"gibbs": Gibbs, "block": Block, "swap": Swap}


def transition(target: Target, here: Point, move: Move, noise: ElementNoise, number: int) -> tuple[Point, Tensor]:
    """Where a chain is after a move that Metropolis and Hastings let pass by chance, and whether they did, (B,)."""
    there = target.at(move.propose(target, here, noise, number))
    forth, back = move.log_q(target, here, there.state), move.log_q(target, there, here.state)
    ratio = target.log_p(there) - target.log_p(here) + back - forth
    taken = accepts(noise.rng, move.name, number).to(ratio.device) < ratio
    return there.where(taken, here), taken


def accepts(rng: Rng, name: str, number: int) -> Tensor:
    """The logarithm of a uniform number for each row, (B,)."""
    return rng.uniform(f"accept {name}", step=number).log()
