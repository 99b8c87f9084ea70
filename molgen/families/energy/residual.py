"""A residual energy: p(x | c) = q(x | c) exp(-E(x, c)) / Z(c) over a trained base q.

E is learned by telling data from draws of the base, with the logistic loss of noise-contrastive estimation (Gutmann &
Hyvarinen, AISTATS 2010; over a base: Deng et al., arXiv 2004.11714): the best classifier has -E = log p - log q. A
sample is chosen among some draws of the base with weights exp(-E), and Z = E_q exp(-E) is a mean over draws. The base
gives sizes, known parts and guidance. As it never changes, its draws may serve for several steps of training.

Letters in shapes: B batch, N draws of the base for each row.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import softplus

from molgen.batch import Batch, Partial
from molgen.config import options_of
from molgen.data.statistics import Statistics
from molgen.families.energy.config import Partition, Resampling
from molgen.families.energy.partition import AT_A_TIME, log_mean_exp
from molgen.families.energy.replay import EMPTY, Replay
from molgen.families.energy.rows import alike, numbers_of, repeated, together
from molgen.families.energy.variant import EnergyNetwork, Parts, Variant
from molgen.families.energy.warm_start import counterpart, start_from
from molgen.families.parts.trained import Trained
from molgen.family import Density, Diagnostics, LogDensity, Loss
from molgen.seeding import Rng

#: The share of draws that count, below which the weights are said to rest on few of them.
FEW = 0.05


class Residual(Variant):
    """loss: telling data from draws of the base; sample: one of several draws of the base, by its energy."""

    over = ("base",)
    loss_unit = "noise-contrastive loss"
    Sampling, Scoring = Resampling, Partition

    def __init__(self, parts: Parts) -> None:
        super().__init__(parts)
        self.base = Trained(parts.trained["base"], parts.condition)
        self.energy = EnergyNetwork(parts.space, parts.build)
        self._first = counterpart(self.energy.network, self.base) if self.config.warm_start else {}
        self.replay = Replay(parts.space, parts.condition, self.config.memory)
        # Which draws stand beside an item depends on the steps before.
        self.coupled = self.config.renew < 1  # type: ignore[misc]
        able = self.base.family.capability
        self.known, self.guidance = able.known, able.guidance
        self.density = min(able.density, Density.ESTIMATE)
        #: partition functions and their errors by what they depend on, and the weights that they are of.
        self._partitions: dict[Any, tuple[Tensor, Tensor]] = {}
        self._estimated_with = 0

    def loss(self, batch: Batch, condition: Partial | None, rng: Rng) -> Loss:
        """-log of the probability that an item is data, and that a draw is one of the base, for the classifier -E."""
        drawn, asked = self._beside(len(batch), condition, rng.fold("base"))
        on_data = softplus(self.energy(batch, condition))
        on_draws = softplus(-self.energy(drawn, asked))
        return Loss(on_data + on_draws, {"data": on_data, "draws": on_draws})

    def _beside(self, rows: int, condition: Partial | None, rng: Rng) -> tuple[Batch, Partial | None]:
        """Draws of the base and what was asked of them: new ones, or in training some of the memory, partly renewed."""
        if not self.training or self.config.renew == 1:
            return self._draw(rows, condition, rng), condition
        places = self.replay.choose(rows, rng)
        new = ((self.replay.ages[places] == EMPTY) | rng.bernoulli(self.config.renew, "new")).nonzero().squeeze(1)
        if len(new):
            asked = condition.take(new.to(self.device)) if condition is not None else None
            self.replay.put(places[new], self._draw(len(new), asked, rng.take(new)), asked)
            self.replay.ages[places[new]] = 0
        drawn, asked = self.replay.take(places)
        return drawn.to(self.device), asked.to(self.device) if asked is not None else None

    def initialise(self, batch: Batch, statistics: Statistics) -> None:
        """Start the network from the base's, where that is asked for."""
        start_from(self.energy.network, self._first)

    def training_state(self) -> dict[str, Tensor]:
        """The draws of the base that are kept."""
        return self.replay.state()

    def load_training_state(self, state: Mapping[str, Tensor]) -> None:
        """Take the draws back."""
        self.replay.load(state)

    def diagnose(self, batch: Batch, condition: Partial | None, rng: Rng) -> Diagnostics:
        """log Z, the gain over the base in nats, and how many draws of the base count as samples."""
        rows = len(batch)
        with torch.no_grad():
            data = self.energy(batch, condition).double()
            draws = self.energy(self._draw(rows, condition, rng.fold("base")), condition).double()
        log_z, error = log_mean_exp(-draws[:, None])
        share = float(torch.exp(2 * (-draws).logsumexp(0) - (-2 * draws).logsumexp(0))) / rows
        values = {
            "log_partition": float(log_z),
            "log_partition_error": float(error),
            "gain_nats": float(-data.mean() - log_z),
            "draws_that_count": share,
        }
        few = (
            f"the energy lets {share:.1%} of the base's draws count: samples by resampling repeat, and log Z is unsure"
        )
        return Diagnostics(values, (few,) if share < FEW and rows * FEW > 1 else ())

    def sample(
        self,
        count: int,
        condition: Partial | None,
        rng: Rng,
        known: Partial | None,
        sizes: Mapping[str, Tensor] | None,
        options: Mapping[str, Any],
    ) -> Batch:
        """One of several draws of the base for each row, with weights exp(-E): self-normalised importance sampling.

        In the limit of many proposals samples are those of p; of one proposal, those of the base.

        Raises:
            ValueError: an unknown option, or what the base cannot do.
        """
        own, others = _split(Resampling, "sampling from a residual energy", options)
        proposals = own.proposals or self.config.proposals
        found = []
        for first in range(0, proposals, step := max(1, AT_A_TIME // max(1, count))):
            some = min(step, proposals - first)
            drawn = self._proposals(count, condition, rng, known, sizes, (first, some), others)
            # In the order of the numbers of the proposals, whatever is drawn at a time.
            found += [drawn.take(torch.arange(number, count * some, some)) for number in range(some)]
        energies = torch.stack([self.energy(drawn, condition).double() for drawn in found], dim=1)
        weights = (-own.strength * energies).softmax(1)
        chosen = rng.categorical(weights.cpu(), "chosen")
        return together(self.space, found).take(chosen * count + torch.arange(count))

    def _proposals(
        self,
        count: int,
        condition: Partial | None,
        rng: Rng,
        known: Partial | None,
        sizes: Mapping[str, Tensor] | None,
        numbers: tuple[int, int],
        options: Mapping[str, Any],
    ) -> Batch:
        """The proposals of each row from a number on, so many of them; those of a row side by side."""
        first, some = numbers
        rows = torch.arange(count).repeat_interleave(some)
        asked = condition.take(rows) if condition is not None else None
        kept = known.take(rows) if known is not None else None
        own = {name: size[rows.to(size.device)] for name, size in sizes.items()} if sizes is not None else None
        return self._draw(count * some, asked, repeated(rng.fold("proposals"), some, first), kept, own, options)

    def _draw(
        self,
        count: int,
        condition: Partial | None,
        rng: Rng,
        known: Partial | None = None,
        sizes: Mapping[str, Tensor] | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> Batch:
        """Draws of the base."""
        with torch.no_grad():
            asked = self.base.condition(condition)
            return self.base.family.sample(count, asked, rng, known, sizes, **(options or {})).batch

    def log_density(self, batch: Batch, condition: Partial | None, rng: Rng, options: Mapping[str, Any]) -> LogDensity:
        """log q(x | c) - E(x, c) - log Z(c), with Z(c) from draws of the base, the same for all items.

        A base without a density of its own leaves the logarithm of the ratio to it, and a value of its kind.

        Raises:
            ValueError: an unknown option.
        """
        own, others = _split(Partition, "the density of a residual energy", options)
        base = self.base.family.log_density(batch, self.base.condition(condition), rng.fold("base"), **others)
        log_z, error = self._partition(len(batch), condition, rng.seed, own.draws or self.config.draws)
        value = -self.energy(batch, condition).double() - log_z.to(base.value.device)
        if base.kind > Density.CRITIC:
            value = value + base.value.double()
        error = error.to(value)
        if base.standard_error is not None:
            error = torch.hypot(error, base.standard_error.to(value))
        kind = min(base.kind, Density.ESTIMATE)
        return replace(base, value=value, kind=kind, standard_error=error)

    def _partition(self, rows: int, condition: Partial | None, seed: int, draws: int) -> tuple[Tensor, Tensor]:
        """log Z of the condition of each row and its standard error, (B,); rows that ask the same share draws."""
        self._forget_other_weights()
        asked = numbers_of(condition)
        first, number = alike(asked, rows)
        keys = [(seed, draws, *(part[row].cpu().numpy().tobytes() for part in asked)) for row in first.tolist()]
        if new := [place for place, key in enumerate(keys) if key not in self._partitions]:
            found = zip(*self._estimated(condition, first[new], seed, draws), strict=True)
            self._partitions |= dict(zip([keys[place] for place in new], found, strict=True))
        log_z, error = (torch.stack(part) for part in zip(*(self._partitions[key] for key in keys), strict=True))
        return log_z[number], error[number]

    def _forget_other_weights(self) -> None:
        """Estimates are remembered for the weights as they are."""
        version = sum(parameter._version for parameter in self.parameters())
        if version != self._estimated_with:
            self._partitions, self._estimated_with = {}, version

    def _estimated(self, condition: Partial | None, rows: Tensor, seed: int, draws: int) -> tuple[Tensor, Tensor]:
        """log Z of the conditions of some rows from draws of the base, the same for each, and its standard error."""
        rng = Rng(seed, torch.arange(draws).repeat(len(rows)).numpy()).fold("partition")
        asked, energies = rows.repeat_interleave(draws), []
        for start in range(0, len(rng), AT_A_TIME):
            some = slice(start, start + AT_A_TIME)
            given = condition.take(asked[some]) if condition is not None else None
            drawn = self._draw(len(asked[some]), given, rng.take(some))
            energies.append(self.energy(drawn, given).double().cpu())
        return log_mean_exp(-torch.cat(energies).view(-1, draws).T)


def _split(schema: type[Any], what: str, options: Mapping[str, Any]) -> tuple[Any, dict[str, Any]]:
    """The options of a dataclass, and all others."""
    names = {one.name for one in fields(schema)}
    own = options_of(schema, what, {name: value for name, value in options.items() if name in names})
    return own, {name: value for name, value in options.items() if name not in names}
