"""Markov chains under an energy, and what they say of its partition function on the way.

Letters in shapes: B batch, T steps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from molgen.families.energy.moves import FLIPS, Langevin, Move, transition
from molgen.families.energy.target import Point, RelativeEnergy, State, Target
from molgen.families.parts.elements import ElementNoise
from molgen.seeding import Rng

#: The share of moves that should be taken (Roberts & Rosenthal, J. R. Statist. Soc. B 60, 255, 1998), and how quickly
#: widths follow.
TAKEN, RATE = 0.574, 0.2


@dataclass
class Run:
    """Where chains are, and how they went.

    Attributes:
        point: their states.
        log_weights: of annealed importance sampling, (B,).
        taken: by move, the moves taken and made in each chain, (B,) each.
    """

    point: Point
    log_weights: Tensor
    taken: dict[str, tuple[Tensor, int]] = field(default_factory=dict)

    def note(self, move: Move, taken: Tensor) -> None:
        """Count a move."""
        before, made = self.taken.get(move.name, (torch.zeros_like(self.log_weights), 0))
        self.taken[move.name] = before + taken, made + 1

    @property
    def acceptance(self) -> Tensor:
        """The share of moves that were taken in each chain, (B,)."""
        made = sum(count for _, count in self.taken.values())
        return torch.stack([taken for taken, _ in self.taken.values()]).sum(0) / max(1, made)


class Chains(nn.Module):
    """Runs chains: in each step numbers move by Langevin's step, and classes and levels by one of the flips in turn.

    How far moves go is kept with the weights; it is learned in training, from how many are taken.

    Args:
        model: says which moves there are.
        names: of flips.
    """

    def __init__(self, model: RelativeEnergy, names: Sequence[str]) -> None:
        super().__init__()
        self.flips = tuple(names) if model.choices else ()
        for move in self._classes(model):
            self.register_buffer(f"width_{move.name}", torch.tensor(move.first_width))

    def _classes(self, model: RelativeEnergy) -> list[type[Move]]:
        own: list[type[Move]] = [Langevin] if model.numbers else []
        return [*own, *(FLIPS[name] for name in dict.fromkeys(self.flips))]

    def _moves(self, model: RelativeEnergy, number: int) -> list[Move]:
        """The moves of one step."""
        own: list[type[Move]] = [Langevin] if model.numbers else []
        if self.flips:
            own.append(FLIPS[self.flips[number % len(self.flips)]])
        return [move(float(self.get_buffer(f"width_{move.name}"))) for move in own]

    def run(self, target: Target, state: State, rng: Rng, steps: int, *, anneal: bool = False, first: int = 0) -> Run:
        """Take steps from a state.

        Args:
            target: what the chains follow.
            state: where they start.
            rng: random numbers for the rows.
            steps: T.
            anneal: go from the reference to the target by shares 1/T, 2/T, ..., 1 of the energy. From states of the
                reference the mean of exp(log_weights) is then the partition function (Neal, Statistics and Computing
                11, 125, 2001).
            first: the number of the first step, which tells its random numbers from others.
        """
        noise, whole = ElementNoise(target.elements, rng), target.share
        here = target.at(target.keep(state))
        found = Run(here, torch.zeros_like(here.energy))
        for number in range(steps):
            if anneal:
                found.log_weights = found.log_weights - whole / steps * found.point.energy
                target.share = whole * (number + 1) / steps
            for move in self._moves(target.model, first + number):
                found.point, taken = transition(target, found.point, move, noise, first + number)
                found.note(move, taken)
        target.share = whole
        return found

    def adapt(self, run: Run) -> None:
        """Let moves go further where too many are taken, and less far where too few are."""
        every: list[type[Move]] = [Langevin, *FLIPS.values()]
        for move in every:
            if move.adapts and move.name in run.taken:
                taken, made = run.taken[move.name]
                self.get_buffer(f"width_{move.name}").add_(RATE * (float(taken.mean()) / made - TAKEN))
