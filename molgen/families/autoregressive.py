"""The autoregressive family: an exact product of conditionals along the walk of a space.

log p(x) = sum over slices of log p(choice | choices before), where a choice is a class, a level or END. END has
probability 1 at the maximum of an axis and 0 below its minimum, and what the grammar of a field rules out has
probability 0 (see `readings`), so the probabilities of all samples of a space sum to one. The levels of a quantised
field have a softmax (van den Oord et al., arXiv 1601.06759, section 3.4): it can be any distribution over them, and
with up to 256 it costs little, so no mixture needs to stand in for it.

Letters in shapes: B batch, A rows still growing, T slices, S slices of one field, K classes (+ END).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import inf
from typing import Any

import torch
from torch import Tensor

from molgen.backbone import Build, CausalBackbone, Head
from molgen.batch import Batch, Partial, pack
from molgen.config import options_of
from molgen.data.statistics import Statistics
from molgen.families.parts.grammar import Advice, Readings, advice_along, grammar_of
from molgen.family import Capability, Density, Family, Generated, Known, LogDensity, Loss
from molgen.ordering import (
    GOES_ON,
    Ordering,
    TokenBatch,
    batch_from_tokens,
    batch_to_tokens,
    ending_fields,
    full_ordering,
    known_tokens,
    vocabulary_size,
)
from molgen.seeding import Rng, inverse_cdf
from molgen.space import Slice, Space

#: Rows leave the batch in multiples of this, because smaller matrix products round differently.
ROW_MULTIPLE = 32
#: The batch shrinks once at most this share of its rows is still growing; each shrink copies the state.
SHRINK_BELOW = 0.85


@dataclass(frozen=True)
class AutoregressiveConfig:
    """The family has no settings of its own; the network has."""


@dataclass(frozen=True)
class SamplingOptions:
    """How sampling departs from the model's distribution; the defaults do not depart.

    `temperature` divides the logits; `top_k` keeps the k likeliest choices and their equals (0: all); `top_p` the
    smallest set of choices whose probability reaches p (Holtzman et al., arXiv 1904.09751).
    """

    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.temperature < inf:
            raise ValueError(f"temperature must be above 0, not {self.temperature}")
        if self.top_k < 0:
            raise ValueError(f"top_k must be 0 (all) or more, not {self.top_k}")
        if not 0 < self.top_p <= 1:
            raise ValueError(f"top_p must be above 0 and at most 1, not {self.top_p}")

    def probabilities(self, logits: Tensor) -> Tensor:
        """The distribution to draw from, (A, K) in float64."""
        logits = logits.double()
        # The largest becomes 0, so that no temperature is too low.
        p = torch.softmax((logits - logits.amax(-1, keepdim=True)) / self.temperature, -1)
        if 0 < self.top_k < p.shape[-1]:
            p = torch.where(p >= p.topk(self.top_k).values[:, -1:], p, 0.0)
        if self.top_p < 1:
            p = _nucleus(p / p.sum(-1, keepdim=True), self.top_p)
        return p


def _nucleus(p: Tensor, mass: float) -> Tensor:
    ranked, places = p.sort(dim=-1, descending=True, stable=True)
    # A choice stays while the choices before it have not reached the mass yet.
    ranked = torch.where(ranked.cumsum(-1) - ranked < mass, ranked, 0.0)
    return torch.zeros_like(p).scatter(-1, places, ranked)


class Autoregressive(Family):
    """loss = -log p(x), exact; sampling decides slice after slice and stops where END is drawn."""

    Config = AutoregressiveConfig
    loss_unit = "nats"
    capability = Capability(density=Density.EXACT, known=Known.PREFIX)
    causal = True

    def __init__(
        self, space: Space, build: Build, config: AutoregressiveConfig, condition: Space | None = None
    ) -> None:
        super().__init__(space, build, config, condition)
        ending = ending_fields(space)
        self.classes = {name: vocabulary_size(field) for name, field in space.items()}
        heads = {name: Head(self.classes[name] + (name in ending), axes=field.axes) for name, field in space.items()}
        backbone = build(space, heads, causal=True)
        assert isinstance(backbone, CausalBackbone)
        self.backbone = backbone
        self.ending = ending

    def loss(self, batch: Batch, condition: Partial | None, rng: Rng, phase: str = "model") -> Loss:
        """-log p(x | condition) in nats; with a grammar, before its advice, which is never less."""
        return Loss(-self._log_probabilities(batch_to_tokens(self.space, batch), condition).sum(1))

    def log_density(
        self, batch: Batch, condition: Partial | None = None, rng: Rng | None = None, **options: Any
    ) -> LogDensity:
        """log p(x | condition) in nats, exact."""
        if options:
            raise ValueError(f"the autoregressive density has no option {', '.join(sorted(options))}")
        made = batch_to_tokens(self.space, batch)
        with torch.no_grad():
            value = self._log_probabilities(made, condition, advice=self._advice(made)).double().sum(1)
        return LogDensity(value, Density.EXACT, _dims(self.space, batch))

    def _advice(self, made: TokenBatch) -> Mapping[str, Advice]:
        """What the grammars of fields say at their slices, (B, S, K + 1)."""
        grammars = {name: grammar for name, field in self.space.items() if (grammar := grammar_of(field))}
        steps = made.ordering.steps
        return {
            name: advice_along(grammar, made.ids[:, steps[name]], made.mask[:, steps[name]])
            for name, grammar in grammars.items()
        }

    def _log_probabilities(
        self,
        made: TokenBatch,
        condition: Partial | None,
        read: TokenBatch | None = None,
        advice: Mapping[str, Advice] | None = None,
    ) -> Tensor:
        """log p of each choice, (B, T); zero where a row takes no part.

        Args:
            made: the choices.
            condition: what is given.
            read: replaces what the network reads.
            advice: of the grammars of fields.
        """
        outputs = self.backbone(made if read is None else read, None, condition)
        # Networks may run in 16 bits; sums of log-probabilities need more.
        kind = torch.promote_types(next(iter(outputs.values())).dtype, torch.float32)
        total = torch.zeros(made.ids.shape, dtype=kind, device=made.ids.device)
        for name, logits in outputs.items():
            steps = made.ordering.steps[name]
            logits = self._without_forbidden_end(name, logits.to(kind), made.ordering.may_end[name].to(logits.device))
            if advice and name in advice:
                logits = advice[name].followed(logits)
            targets = torch.where(made.mask[:, steps], made.ids[:, steps], 0)
            log_p = -torch.nn.functional.cross_entropy(logits.transpose(1, 2), targets, reduction="none")
            total[:, steps] = torch.where(made.mask[:, steps], log_p, 0.0)
        return total

    def _without_forbidden_end(self, name: str, logits: Tensor, may_end: Tensor) -> Tensor:
        if name not in self.ending or bool(may_end.all()):
            return logits
        forbidden = torch.zeros(logits.shape[1:], dtype=torch.bool, device=logits.device)
        forbidden[..., -1] = ~may_end
        return logits.masked_fill(forbidden, -torch.inf)

    def sample(
        self,
        count: int,
        condition: Partial | None = None,
        rng: Rng | None = None,
        known: Partial | None = None,
        sizes: Mapping[str, Tensor] | None = None,
        **options: Any,
    ) -> Generated:
        """Draw samples; `known` must be a prefix of the walk; options are those of `SamplingOptions`."""
        sharpening = options_of(SamplingOptions, "autoregressive sampling", options)
        rng = rng if rng is not None else Rng(int(torch.randint(1 << 62, ())), range(count))
        ordering = full_ordering(self.space)
        forced = known_tokens(self.space, ordering, known, sizes, count).to(self.device)
        with torch.no_grad():
            ids, log_p = self._grow(ordering, condition, rng, forced, sharpening, count)
        batch = batch_from_tokens(self.space, ordering, ids)
        return Generated(batch, LogDensity(log_p, Density.EXACT, _dims(self.space, batch)))

    def _grow(
        self,
        ordering: Ordering,
        condition: Partial | None,
        rng: Rng,
        forced: Tensor,
        sharpening: SamplingOptions,
        count: int,
    ) -> tuple[Tensor, Tensor]:
        """The choices (B, T), -1 behind the end of a row, and log p under the unsharpened model (B,)."""
        ids = torch.full((count, len(ordering)), -1, dtype=torch.long, device=self.device)
        log_p = torch.zeros(count, dtype=torch.float64, device=self.device)
        uniform = rng.uniform("choice", (len(ordering),)).to(self.device)
        rows = torch.arange(count, device=self.device)
        growing = torch.ones(count, dtype=torch.bool, device=self.device)
        state, readings = self.backbone.start(condition, count), Readings(self.space, count)
        previous: tuple[Slice, Tensor] | None = None
        for t, step in enumerate(ordering.slices):
            outputs, state = self.backbone.step(step, state, previous)
            logits = self._step_logits(step, outputs)
            logits = readings.followed(step.field, rows, growing, logits)
            choice = self._choose(logits, uniform[rows, t], forced[rows, t], sharpening)
            gained = torch.log_softmax(logits.double(), -1).gather(-1, choice[:, None]).squeeze(-1)
            ids[rows, t] = torch.where(growing, choice, ids[rows, t])
            log_p[rows] += torch.where(growing, gained, 0.0)
            growing &= choice < self.classes[step.field]
            if not growing.any():
                break
            readings.read(step.field, rows, growing, choice)
            choice = choice.clamp(max=self.classes[step.field] - 1)
            if kept := _rows_to_keep(growing):
                index = torch.tensor(kept, device=self.device)
                rows, growing, choice, state = rows[index], growing[index], choice[index], state.take(index)
            previous = (step, choice)
        return ids, log_p

    def _step_logits(self, step: Slice, logits: Tensor) -> Tensor:
        may_end = step.ends is not None and step.index[0] >= self.space[step.field].axes[0].minimum
        return self._without_forbidden_end(step.field, logits, torch.tensor(may_end, device=logits.device))

    def _choose(self, logits: Tensor, uniform: Tensor, forced: Tensor, sharpening: SamplingOptions) -> Tensor:
        """The forced choice where there is one, else a draw; see `ordering.known_tokens` for the codes."""
        goes_on = forced == GOES_ON
        if goes_on.any():
            # Before sharpening, which might leave nothing but END.
            end = torch.arange(logits.shape[-1], device=logits.device) == logits.shape[-1] - 1
            logits = logits.masked_fill(goes_on[:, None] & end, -torch.inf)
        return torch.where(forced >= 0, forced, inverse_cdf(sharpening.probabilities(logits), uniform))

    def initialise(self, batch: Batch, statistics: Statistics) -> None:
        """Start from the frequencies of classes and levels."""
        made = batch_to_tokens(self.space, batch)
        for name in self.space:
            counts = statistics.marginals.get(name) or self._counts(name, made)
            smooth = torch.tensor(counts, dtype=torch.float64) + 0.5
            self.backbone.set_output_bias(name, (smooth / smooth.sum()).log())

    def _counts(self, name: str, made: TokenBatch) -> list[int]:
        """How often each class or level of a field was chosen."""
        steps = made.ordering.steps[name]
        ids = made.ids[:, steps][made.mask[:, steps]]
        return torch.bincount(ids, minlength=self.classes[name])[: self.classes[name]].tolist()


def _rows_to_keep(growing: Tensor) -> list[int] | None:
    """The rows of a smaller batch that holds all growing rows, or None where shrinking is not worth it."""
    count, alive = len(growing), int(growing.sum())
    wanted = min(count, -(-alive // ROW_MULTIPLE) * ROW_MULTIPLE)
    if wanted > SHRINK_BELOW * count:
        return None
    # Finished rows fill the batch up; what they compute is thrown away.
    ranked = torch.argsort((~growing).to(torch.int8), stable=True)[:wanted]
    return sorted(ranked.tolist())


def _dims(space: Space, batch: Batch) -> Tensor:
    return torch.stack([packed.mask.sum(1) for packed in pack(space, batch).values()]).sum(0)
