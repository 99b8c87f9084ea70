"""A contrastive energy: log p(x | size, c) = log q0(x) - E(x, c) - log Z(size, c), learned from chains that follow it.

The gradient of the likelihood is that of E at chains less that at the data (Hinton, Neural Computation 14, 1771, 2002).
Chains persist from step to step, each with its size and condition. Numbers move by Langevin's steps, classes and levels
by flips that follow the slope of the energy; every move is corrected, so that chains follow p itself.

Letters in shapes: B batch, M chains of annealed importance sampling.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from molgen.batch import Batch, Partial
from molgen.config import options_of
from molgen.data.statistics import Statistics
from molgen.families.energy.chains import Chains, Run
from molgen.families.energy.config import AnnealedScoring, ChainSampling
from molgen.families.energy.partition import AT_A_TIME, log_mean_exp
from molgen.families.energy.replay import EMPTY, Replay
from molgen.families.energy.rows import alike, numbers_of
from molgen.families.energy.target import RelativeEnergy, Target
from molgen.families.energy.variant import Parts, Variant
from molgen.families.parts.elements import PackedElements, fitted
from molgen.families.parts.known import KnownElements, least_sizes
from molgen.families.parts.sizes import SizeModel
from molgen.families.parts.trained import Trained
from molgen.family import Density, Diagnostics, Known, LogDensity, Loss, Phase
from molgen.seeding import Rng

#: Updates after which a chain counts as old.
OLD = 1000
#: Steps of the chains that a check runs.
CHECKED = 64
#: The share of moves that chains must take, and the nats between data and chains, beyond which training has failed.
STUCK, APART = 0.02, 50.0


class Contrastive(Variant):
    """loss: E of the data less E of chains; sample: chains from the reference, or from samples of another model."""

    over = ("start",)
    coupled = True
    known = Known.EXACT
    loss_unit = "contrastive divergence"
    Sampling, Scoring = ChainSampling, AnnealedScoring

    def __init__(self, parts: Parts) -> None:
        super().__init__(parts)
        self.model = RelativeEnergy(parts.space, parts.build)
        self.chains = Chains(self.model, self.config.moves)
        self.sizes = SizeModel(parts.space, parts.condition)
        start = parts.trained.get("start")
        self.start = Trained(start, parts.condition) if start is not None else None
        self.replay = Replay(parts.space, parts.condition, self.config.chains)

    @property
    def phase(self) -> Phase:
        """Without momentum: the energy follows chains that follow it."""
        return Phase((self,), betas=(0.0, 0.99), weight_decay=0.0)

    # --- learning ---------------------------------------------------------------------------------

    def loss(self, batch: Batch, condition: Partial | None, rng: Rng) -> Loss:
        """E(x) - E(chain) and the penalty on both, and -log p(size | condition)."""
        elements = self._elements(batch)
        chains, asked, run = self._chains(batch, condition, rng)
        with torch.no_grad():
            data = self.model.state(elements, batch)
        on_data = self.model(elements, data, condition)
        on_chains = self.model(chains, run.point.state, asked)
        penalty = self.config.penalty * (on_data**2 + on_chains**2)
        surprise = -self._log_size(batch, condition).to(on_data)
        parts = {"data": on_data, "chains": on_chains, "size": surprise, "taken": run.acceptance.to(on_data)}
        parts["old"] = torch.full_like(on_data, float((self.replay.ages > OLD).float().mean()))
        return Loss(on_data - on_chains + penalty + surprise, parts)

    def _chains(self, batch: Batch, condition: Partial | None, rng: Rng) -> tuple[PackedElements, Partial | None, Run]:
        """Chains some steps on: those that persist in training, else new ones of the sizes of the items."""
        with torch.no_grad():
            if not self.training:
                elements = self._elements(batch)
                state = self._started(elements, condition, rng)
                target = Target(self.model, elements, condition)
                return elements, condition, self.chains.run(target, state, rng, self.config.chain_steps)
            places = self.replay.choose(len(batch), rng)
            chains, asked = self._resumed(places, batch, condition, rng)
            elements = self._elements(chains)
            target = Target(self.model, elements, asked)
            run = self.chains.run(target, self.model.state(elements, chains), rng, self.config.chain_steps)
            self.chains.adapt(run)
            self.replay.put(places, self.model.batch(elements, run.point.state), asked)
            self.replay.ages[places] += 1
            return elements, asked, run

    def _resumed(
        self, places: Tensor, batch: Batch, condition: Partial | None, rng: Rng
    ) -> tuple[Batch, Partial | None]:
        """The chains of some places; where there is none yet, or by chance, new ones of the sizes of items."""
        new = (self.replay.ages[places] == EMPTY) | rng.bernoulli(self.config.restart, "restart")
        rows = new.nonzero().squeeze(1)
        if len(rows):
            some = batch.take(rows.to(self.device))
            asked = condition.take(rows.to(self.device)) if condition is not None else None
            elements = self._elements(some)
            state = self._started(elements, asked, rng.take(rows))
            self.replay.put(places[rows], self.model.batch(elements, state), asked)
            self.replay.ages[places[rows]] = 0
        chains, asked = self.replay.take(places)
        return chains.to(self.device), asked.to(self.device) if asked is not None else None

    def validate(self, batch: Batch, condition: Partial | None, rng: Rng) -> Loss:
        """By how much chains that start at the items gain, in nats: 0 on average where the items follow p (CD_k)."""
        elements = self._elements(batch)
        with torch.no_grad():
            target = Target(self.model, elements, condition)
            state = self.model.state(elements, batch)
            before = target.at(state)
            run = self.chains.run(target, state, rng, self.config.chain_steps)
            gained = target.log_p(run.point) - target.log_p(before)
        return Loss(gained, {"energy": before.energy, "taken": run.acceptance})

    def diagnose(self, batch: Batch, condition: Partial | None, rng: Rng) -> Diagnostics:
        """The energies of the items less those of new chains of their sizes, and the share of moves that are taken."""
        elements = self._elements(batch)
        with torch.no_grad():
            target = Target(self.model, elements, condition)
            data = target.at(self.model.state(elements, batch)).energy.mean().item()
            state = self._started(elements, condition, rng)
            run = self.chains.run(target, state, rng, CHECKED, anneal=self.start is None)
        gap, taken = data - run.point.energy.mean().item(), run.acceptance.mean().item()
        values = {"energy_gap": gap, "moves_taken": taken}
        if taken < STUCK:
            return Diagnostics(values, (f"chains are stuck: {taken:.1%} of their moves are taken; lower the rate",))
        far = (
            f"energies of the data and of chains are {abs(gap):.0f} nats apart; raise family.chain_steps or "
            "family.penalty, or lower training.learning_rate"
        )
        return Diagnostics(values, (far,) if abs(gap) > APART else ())

    # --- sampling ---------------------------------------------------------------------------------

    def sample(
        self,
        count: int,
        condition: Partial | None,
        rng: Rng,
        known: Partial | None,
        sizes: Mapping[str, Tensor] | None,
        options: Mapping[str, Any],
    ) -> Batch:
        """Chains that hold what is known, from the reference by shares of the energy, or from samples of `start`.

        Raises:
            ValueError: an unknown option.
        """
        own = options_of(ChainSampling, "sampling from a contrastive energy", options)
        drawn = self.sizes.sample(count, condition, rng, sizes, least_sizes(self.space, known))
        elements = PackedElements.of_sizes(self.space, drawn, count, self.device)
        held = KnownElements.of(known, elements, lambda name, values: self.model.site(name).state(values))
        target = Target(self.model, elements, condition, held, temperature=own.temperature)
        state = self._started(elements, condition, rng)
        steps = own.steps or self.config.steps
        run = self.chains.run(target, state, rng, steps, anneal=self.start is None)
        return held.exactly_in(self.model.batch(elements, run.point.state))

    def _started(self, elements: PackedElements, condition: Partial | None, rng: Rng) -> dict[str, Tensor]:
        """Where chains start: states of the reference, or samples of another model, of these sizes."""
        if self.start is None:
            return self.model.start(elements, rng)
        asked, sizes = self.start.condition(condition), dict(elements.sizes)
        drawn = self.start.family.sample(len(elements), asked, rng.fold("start"), sizes=sizes or None).batch
        shapes = {name: places.shape[1:] for name, places in elements.places.items()}
        whole = {name: fitted(drawn.fields[name], shape) for name, shape in shapes.items()}
        return self.model.state(elements, Batch(whole, sizes).to(self.device))

    # --- density ----------------------------------------------------------------------------------

    def log_density(self, batch: Batch, condition: Partial | None, rng: Rng, options: Mapping[str, Any]) -> LogDensity:
        """log q0(x) - E(x, c) + log p(size | c); less log Z(size, c) where `annealing` asks for that.

        Raises:
            ValueError: an unknown option.
        """
        own = options_of(AnnealedScoring, "the density of a contrastive energy", options)
        elements = self._elements(batch)
        state = self.model.state(elements, batch)
        energy = self.model(elements, state, condition).double()
        value = self.model.log_reference(elements, state) - energy + self._log_size(batch, condition)
        if not own.annealing:
            return LogDensity(value, Density.UNNORMALISED, elements.counts())
        log_z, error = self._partition(batch, condition, rng.seed, own)
        return LogDensity(value - log_z.to(value), Density.ESTIMATE, elements.counts(), error.to(value))

    def _partition(
        self, batch: Batch, condition: Partial | None, seed: int, options: AnnealedScoring
    ) -> tuple[Tensor, Tensor]:
        """log Z of the size and condition of each row and its standard error, (B,)."""
        first, number = alike(numbers_of(condition, batch.sizes), len(batch))
        rows = first.repeat_interleave(options.chains)
        weights = []
        for start in range(0, len(rows), step := max(1, AT_A_TIME // options.chains) * options.chains):
            some = rows[start : start + step]
            # Chains of every size and condition have the same random numbers.
            rng = Rng(seed, torch.arange(options.chains).repeat(len(some) // options.chains).numpy()).fold("annealing")
            asked = condition.take(some) if condition is not None else None
            weights.append(self._annealed(batch.take(some), asked, rng, options.annealing))
        log_z, error = log_mean_exp(torch.cat(weights).view(-1, options.chains).T)
        return log_z[number], error[number]

    def _annealed(self, like: Batch, condition: Partial | None, rng: Rng, steps: int) -> Tensor:
        """The log-weights of chains from the reference, of the sizes of some samples, (B,)."""
        elements = self._elements(like)
        target = Target(self.model, elements, condition)
        return self.chains.run(target, self.model.start(elements, rng), rng, steps, anneal=True).log_weights.cpu()

    # --- what is counted --------------------------------------------------------------------------

    def initialise(self, batch: Batch, statistics: Statistics) -> None:
        """Take the reference from the items."""
        elements = self._elements(batch)
        for name, state in self.model.state(elements, batch).items():
            self.model.site(name).count(state, elements.exists[name])

    def set_statistics(self, statistics: Statistics) -> None:
        """Take over the frequencies of sizes."""
        self.sizes.initialise(statistics)

    def training_state(self) -> dict[str, Tensor]:
        """The chains."""
        return self.replay.state()

    def load_training_state(self, state: Mapping[str, Tensor]) -> None:
        """Take the chains back."""
        self.replay.load(state)

    def _elements(self, batch: Batch) -> PackedElements:
        return PackedElements.of_batch(self.space, batch, self.device)

    def _log_size(self, batch: Batch, condition: Partial | None) -> Tensor:
        """log p(size | condition), (B,)."""
        return self.sizes.log_probability(batch.sizes, condition).expand(len(batch))
