"""An exact product of conditionals in the generation order of a space, for families that decide token after token.

log p(x) = sum over slices of log p(token | tokens before), where a token is a class, a level, a cell or END. END has
probability 1 at the maximum of an axis and 0 below its minimum, and what the grammar of a field rules out has
probability 0 (see `parts.grammar`), so the probabilities of all samples of a space sum to one. The levels of a
quantised field have a softmax (van den Oord et al., arXiv 1601.06759, section 3.4): it can be any distribution over
them, and with up to 256 it costs little, so no mixture needs to stand in for it. Numbers without levels are cut into
cells of equal mass; log of the density inside the cell is added to log p of its token (see `parts.cells`). Points in
space are told by their coordinates in the frame of the first three, so that the density does not depend on how a sample
is turned, exactly, and any causal network serves (see `parts.frames`).

An axis that the condition has too has its size there: END is then no decision, and costs nothing.

Letters in shapes: B batch, A rows still growing, T slices, S slices of one field, K classes (+ END).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from molgen.backbone import Build, CausalBackbone, Head
from molgen.batch import Batch, Partial, field_mask, lengths, pack, pack_field, unpack_field
from molgen.config import options_of
from molgen.data.standardise import standardised_quantiles
from molgen.data.statistics import Statistics
from molgen.families.parts.cells import Cells, quantiles_by_channel
from molgen.families.parts.elements import ElementNoise, PackedElements
from molgen.families.parts.frames import FINEST, FrameCoordinates, Frames, is_free
from molgen.families.parts.grammar import LogitMask, RowStates, grammar_of, mask_of_rows
from molgen.families.parts.known import with_known
from molgen.families.parts.sampling_options import SamplingOptions
from molgen.families.parts.sizes import UNKNOWN, condition_sizes
from molgen.family import Capability, Density, Family, Generated, Known, LogDensity, Loss
from molgen.layers.named import NamedModules
from molgen.ordering import (
    NOT_END,
    Ordering,
    TokenBatch,
    batch_from_tokens,
    batch_to_tokens,
    ending_fields,
    full_ordering,
    known_tokens,
    ordering_of,
    vocabulary_size,
)
from molgen.seeding import Rng, inverse_cdf
from molgen.space import Real, Slice, Space, variable_axes

#: Rows leave the batch in multiples of this, because smaller matrix products round differently.
ROW_MULTIPLE = 32
#: The batch shrinks once at most this share of its rows is still growing; each shrink copies the state.
SHRINK_BELOW = 0.85
#: Random numbers are made for so many slices at a time.
BLOCK = 1024


@dataclass(frozen=True)
class TokenConfig:
    """How numbers become tokens: `bins` is the most cells into which a channel without levels is cut."""

    bins: int = 64

    def __post_init__(self) -> None:
        if self.bins < 1:
            raise ValueError(f"bins must be at least 1, not {self.bins}")


class TokenModel(Family):
    """loss = -log p(x), exact; sampling decides slice after slice and stops where END is drawn."""

    Config = TokenConfig
    molgen_tiny: ClassVar[Mapping[str, Any]] = {"bins": 5}
    capability = Capability(density=Density.EXACT, known=Known.PREFIX)
    loss_unit = "nats"
    causal = True

    def __init__(self, space: Space, build: Build, config: TokenConfig, condition: Space | None = None) -> None:
        super().__init__(space, build, config, condition)
        self.frames = Frames(space)
        #: what is decided: points are replaced by their coordinates.
        self.inner = self.frames.coordinates
        numbers = {name: f for name, f in self.inner.items() if isinstance(f, Real) and f.levels is None}
        self.cells = NamedModules({name: Cells(name, field, config.bins) for name, field in numbers.items()})
        tokens = {cells.name: cells.tokens for cells in self._each_cells()}
        #: what the network reads and decides: numbers are replaced by the numbers of their cells.
        self.token_space = {**self.inner, **tokens}
        self.ending = ending_fields(space)
        self.classes = {name: vocabulary_size(field) for name, field in self.token_space.items()}
        heads = {
            name: Head(self.classes[name] + (name in self.ending), axes=field.axes) for name, field in space.items()
        }
        backbone = build(self.token_space, heads, causal=True)
        assert isinstance(backbone, CausalBackbone)
        self.backbone = backbone

    def _each_cells(self) -> list[Cells]:
        return [cells for cells in self.cells.values() if isinstance(cells, Cells)]

    # --- the density ----------------------------------------------------------------------------------

    def loss(self, batch: Batch, condition: Partial | None, rng: Rng, phase: str = "model") -> Loss:
        """-log p(x | condition) in nats; with a grammar, before its mask, which is never less."""
        batch = self.frames.to_coordinates(batch)
        made = self._tokens(batch)
        inside = self._log_density_inside(batch)
        return Loss(-self._log_probabilities(made, condition, self._read(made, rng)).sum(1) - inside)

    def _read(self, made: TokenBatch, rng: Rng) -> TokenBatch:
        """What the network reads of the tokens in training."""
        return made

    def log_density(
        self, batch: Batch, condition: Partial | None = None, rng: Rng | None = None, **options: Any
    ) -> LogDensity:
        """log p(x | condition) in nats, exact."""
        if options:
            raise ValueError(f"the autoregressive density has no option {', '.join(sorted(options))}")
        rows = _padded_rows(len(batch)).to(self.device)
        whole = self.frames.to_coordinates(batch.take(rows))
        made = self._tokens(whole)
        with torch.no_grad():
            log_p = self._log_probabilities(made, condition and condition.take(rows), masks=self._masks(made))
            value = log_p.double().sum(1) + self._log_density_inside(whole)
        return LogDensity(value[: len(batch)], Density.EXACT, self._counts_of(batch))

    def _counts_of(self, batch: Batch) -> Tensor:
        """The free elements of samples, (B,)."""
        return PackedElements.of_batch(self.space, batch, self.device).counts()

    def log_known(self, known: Partial, condition: Partial | None = None, **options: Any) -> Tensor:
        """The log of the probability that a draw begins with each known part, (B,); options are those of sampling."""
        sampling = options_of(SamplingOptions, "autoregressive sampling", options)
        rows = _padded_rows(len(known.batch)).to(self.device)
        known = self.frames.known(known.to(self.device))
        tokens = Partial(self._to_cells(known.batch), known.given, known.closed).take(rows)
        ordering = ordering_of(self.token_space, tokens.batch)
        forced = known_tokens(self.token_space, ordering, tokens, None, len(rows)).to(self.device)
        made = TokenBatch(ordering, forced.clamp(min=0), forced >= 0)
        with torch.no_grad():
            given = condition and condition.take(rows)
            log_p = self._log_probabilities(made, given, masks=self._masks(made), sampling=sampling)
        return log_p.double().sum(1)[: len(known.batch)]

    def _elements(self, batch: Batch) -> PackedElements:
        return PackedElements.of(self.inner, batch.sizes, lengths(self.inner, batch), len(batch), self.device)

    def _tokens(self, batch: Batch) -> TokenBatch:
        return batch_to_tokens(self.token_space, self._to_cells(batch))

    def _to_cells(self, batch: Batch) -> Batch:
        """The batch with the cells of numbers in their place, as levels."""
        fields = dict(batch.fields)
        for cells in self._each_cells():
            exists = field_mask(self.inner, batch, cells.name)
            packed = pack_field(cells.field, fields[cells.name], exists)
            fields[cells.name] = unpack_field(cells.field, cells.to_tokens(packed.values), exists)
        return batch.with_fields(fields)

    def _log_density_inside(self, batch: Batch) -> Tensor:
        """log of the density of all numbers inside their cells, and of points in their coordinates, (B,) in float64."""
        total = self.frames.log_volume(batch).to(self.device)
        for cells in self._each_cells():
            name = cells.name
            values, exists = pack_field(cells.field, batch.fields[name], field_mask(self.inner, batch, name))
            total = total + torch.where(exists, cells.log_density(values), 0.0).sum(1)
        return total

    def _masks(self, made: TokenBatch) -> Mapping[str, LogitMask]:
        """What the grammars of fields allow at their slices, (B, S, K + 1)."""
        grammars = {name: grammar for name, field in self.inner.items() if (grammar := grammar_of(field))}
        steps = made.ordering.steps
        return {
            name: mask_of_rows(grammar, made.ids[:, steps[name]], made.mask[:, steps[name]])
            for name, grammar in grammars.items()
        }

    def _log_probabilities(
        self,
        made: TokenBatch,
        condition: Partial | None,
        read: TokenBatch | None = None,
        masks: Mapping[str, LogitMask] | None = None,
        sampling: SamplingOptions | None = None,
    ) -> Tensor:
        """log p of each token, (B, T); zero where a row takes no part.

        Args:
            made: the tokens.
            condition: what is given.
            read: replaces what the network reads.
            masks: of the grammars of fields.
            sampling: options that change the distribution.
        """
        outputs = self.backbone(made if read is None else read, None, condition)
        # Networks may run in 16 bits; sums of log-probabilities need more.
        kind = torch.promote_types(next(iter(outputs.values())).dtype, torch.float32)
        total = torch.zeros(made.ids.shape, dtype=kind, device=made.ids.device)
        sizes = self._sizes(condition)
        for name, logits in outputs.items():
            steps, taking = made.ordering.steps[name], made.mask[:, made.ordering.steps[name]]
            slices = [made.ordering.slices[step] for step in steps.tolist()]
            logits = self._possible(name, logits.to(kind), slices)
            if masks and name in masks:
                logits = masks[name].apply(logits)
            logits = self._with_sizes(name, logits, slices, sizes)
            if sampling is not None:
                logits = sampling.probabilities(logits.flatten(0, 1)).view(logits.shape).log().to(kind)
            targets = torch.where(taking, made.ids[:, steps], 0)
            log_p = -torch.nn.functional.cross_entropy(logits.transpose(1, 2), targets, reduction="none")
            total[:, steps] = torch.where(taking, log_p, 0.0)
        return total

    def _possible(self, name: str, logits: Tensor, slices: Sequence[Slice]) -> Tensor:
        """Logits (B, S, W) without END where an axis may not end, and without cells that a channel does not have."""
        field, width = self.inner[name], logits.shape[-1]
        possible = torch.ones(len(slices), width, dtype=torch.bool)
        if name in self.ending:
            least = field.axes[0].minimum
            possible[:, -1] = torch.tensor([s.ends is not None and s.index[0] >= least for s in slices])
        for cells in self._each_cells():
            if cells.name == name:
                channel = [_flat_index(s.index[len(field.axes) :], field.channels_shape) for s in slices]
                possible[:, : cells.bins] &= cells.used.cpu()[channel]
                if isinstance(field, FrameCoordinates):
                    fixed = torch.tensor([not is_free(*s.index) for s in slices])
                    # What the frame fixes is 0, see `_to_cells`, at no cost.
                    possible[fixed, : cells.bins] = torch.arange(cells.bins) == cells.bins // 2
        return logits if bool(possible.all()) else logits.masked_fill(~possible.to(logits.device), -torch.inf)

    def _sizes(self, condition: Partial | None) -> dict[str, Tensor]:
        """The sizes that the condition has, see `condition_sizes`."""
        return condition_sizes(variable_axes(self.inner), self.condition_space, condition)

    def _with_sizes(self, name: str, logits: Tensor, slices: Sequence[Slice], sizes: Mapping[str, Tensor]) -> Tensor:
        """Logits (B, S, W) where rows of known size, (B,), end there and nowhere else."""
        if name not in self.ending or self.inner[name].axes[0].name not in sizes:
            return logits
        size = sizes[self.inner[name].axes[0].name].to(logits.device)[:, None]
        index = torch.tensor([s.index[0] for s in slices], device=logits.device)
        ends = torch.tensor([s.ends is not None for s in slices], device=logits.device) & (size != UNKNOWN)
        end = torch.arange(logits.shape[-1], device=logits.device) == logits.shape[-1] - 1
        logits = logits.masked_fill((ends & (index != size))[..., None] & end, -torch.inf)
        return torch.where((ends & (index == size))[..., None], torch.where(end, 0.0, -torch.inf).to(logits), logits)

    # --- sampling -------------------------------------------------------------------------------------

    def sample(
        self,
        count: int,
        condition: Partial | None = None,
        rng: Rng | None = None,
        known: Partial | None = None,
        sizes: Mapping[str, Tensor] | None = None,
        **options: Any,
    ) -> Generated:
        """Draw samples; `known` must begin the generation order; options are those of `SamplingOptions`.

        Raises:
            ValueError: an option or a size that is none, a known part behind a gap, or a size that the condition has
                otherwise.
        """
        sampling = options_of(SamplingOptions, "autoregressive sampling", options)
        rng = rng if rng is not None else Rng(int(torch.randint(1 << 62, ())), range(count))
        ordering = full_ordering(self.token_space)
        self._require_same_sizes(sizes or {}, condition)
        told = known and self.frames.known(known.to(self.device))
        tokens = told and Partial(self._to_cells(told.batch), told.given, told.closed)
        forced = known_tokens(self.token_space, ordering, tokens, sizes, count).to(self.device)
        rows = _padded_rows(count)
        with torch.no_grad():
            given = condition and condition.take(rows.to(self.device))
            ids, log_p = self._grow(ordering, given, rng.take(rows), forced[rows.to(self.device)], sampling)
            batch = self._from_tokens(batch_from_tokens(self.token_space, ordering, ids[:count]), rng, told)
            log_p = log_p[:count] + self._log_density_inside(batch)
            batch = self.frames.to_points(batch, rng, known)
        return Generated(batch, LogDensity(log_p, Density.EXACT, self._counts_of(batch)))

    def _require_same_sizes(self, sizes: Mapping[str, Tensor], condition: Partial | None) -> None:
        for name, own in self._sizes(condition).items():
            if name in sizes and bool(((own != UNKNOWN) & (own != sizes[name].to(own.device))).any()):
                raise ValueError(f"the sizes of {name!r} that are asked for are not those of the condition")

    def _from_tokens(self, batch: Batch, rng: Rng, known: Partial | None) -> Batch:
        """Numbers from inside their cells, where they are not known."""
        if not self.cells:
            return batch
        elements, fields = self._elements(batch), dict(batch.fields)
        noise = ElementNoise(elements, rng)
        for cells in self._each_cells():
            name = cells.name
            drawn = cells.from_tokens(elements.pack(name, fields[name]), noise.uniform(name, "number within"))
            fields[name] = elements.unpack(name, torch.where(elements.exists[name], drawn, 0.0))
            if known is not None and name in known.given:
                fields[name] = with_known(fields[name], known, name)
        return batch.with_fields(fields)

    def _grow(
        self, ordering: Ordering, condition: Partial | None, rng: Rng, forced: Tensor, sampling: SamplingOptions
    ) -> tuple[Tensor, Tensor]:
        """The tokens (B, T), -1 behind the end of a row, and log p under the model without options (B,)."""
        count = len(forced)
        ids = torch.full((count, len(ordering)), -1, dtype=torch.long, device=self.device)
        log_p = torch.zeros(count, dtype=torch.float64, device=self.device)
        rows = torch.arange(count, device=self.device)
        growing = torch.ones(count, dtype=torch.bool, device=self.device)
        state, states, sizes = (
            self.backbone.start(condition, count),
            RowStates(self.inner, count),
            self._sizes(condition),
        )
        previous: tuple[Slice, Tensor] | None = None
        for t, step in enumerate(ordering.slices):
            if t % BLOCK == 0:
                uniform = rng.uniform("choice", (min(BLOCK, len(ordering) - t),), start=t).to(self.device)
            outputs, state = self.backbone.step(step, state, previous)
            logits = self._possible(step.field, outputs[:, None], [step])[:, 0]
            logits = states.apply(step.field, rows, growing, logits)
            own = {name: size.to(rows.device)[rows] for name, size in sizes.items()}
            logits = self._with_sizes(step.field, logits[:, None], [step], own)[:, 0]
            token = self._choose(logits, uniform[rows, t % BLOCK], forced[rows, t], sampling)
            gained = torch.log_softmax(logits.double(), -1).gather(-1, token[:, None]).squeeze(-1)
            ids[rows, t] = torch.where(growing, token, ids[rows, t])
            log_p[rows] += torch.where(growing, gained, 0.0)
            growing &= token < self.classes[step.field]
            if not growing.any():
                break
            states.read(step.field, rows, growing, token)
            token = token.clamp(max=self.classes[step.field] - 1)
            if kept := _rows_to_keep(growing):
                index = torch.tensor(kept, device=self.device)
                rows, growing, token, state = rows[index], growing[index], token[index], state.take(index)
            previous = (step, token)
        return ids, log_p

    def _choose(self, logits: Tensor, uniform: Tensor, forced: Tensor, sampling: SamplingOptions) -> Tensor:
        """The forced token where there is one, else a draw; see `ordering.known_tokens` for the codes."""
        not_end = forced == NOT_END
        if not_end.any():
            # Before the options, which might leave nothing but END.
            end = torch.arange(logits.shape[-1], device=logits.device) == logits.shape[-1] - 1
            logits = logits.masked_fill(not_end[:, None] & end, -torch.inf)
        return torch.where(forced >= 0, forced, inverse_cdf(sampling.probabilities(logits), uniform))

    # --- before training ------------------------------------------------------------------------------

    def initialise(self, batch: Batch, statistics: Statistics) -> None:
        """Cut numbers into cells, and start from the frequencies of tokens."""
        batch = self.frames.to_coordinates(batch)
        self._cut(batch, statistics)
        made = self._tokens(batch)
        for name in self.inner:
            counts = statistics.marginals.get(name) or self._counts(name, made)
            smooth = torch.tensor(counts, dtype=torch.float64) + 0.5
            self.backbone.set_output_bias(name, (smooth / smooth.sum()).log())

    def _cut(self, batch: Batch, statistics: Statistics) -> None:
        """Take the cells from all of the data where the statistics have their quantiles, else from the batch."""
        for cells in self._each_cells():
            if cells.name in statistics.quantiles and cells.name not in self.frames.names:
                cells.cut(standardised_quantiles(cells.field, cells.name, statistics))
                continue
            values, exists = (part.unflatten(1, (-1, cells.channels)) for part in pack(self.inner, batch)[cells.name])
            if exists.any():
                finest = FINEST if cells.name in self.frames.names else 0.0
                cells.cut(quantiles_by_channel(values.numpy(force=True), exists.numpy(force=True), finest))

    def _counts(self, name: str, made: TokenBatch) -> list[int]:
        """How often each token of a field occurs, END aside."""
        steps = made.ordering.steps[name]
        ids = made.ids[:, steps][made.mask[:, steps]]
        return torch.bincount(ids, minlength=self.classes[name])[: self.classes[name]].tolist()


def _flat_index(index: Sequence[int], shape: Sequence[int]) -> int:
    flat = 0
    for place, length in zip(index, shape, strict=True):
        flat = flat * length + place
    return flat


def _padded_rows(count: int) -> Tensor:
    """Rows, the last ones more than once, of a number that rounds as that of any other batch."""
    return torch.arange(-(-count // ROW_MULTIPLE) * ROW_MULTIPLE).clamp(max=count - 1)


def _rows_to_keep(growing: Tensor) -> list[int] | None:
    """The rows of a smaller batch that holds all growing rows, or None where shrinking is not worth it."""
    count, alive = len(growing), int(growing.sum())
    wanted = min(count, -(-alive // ROW_MULTIPLE) * ROW_MULTIPLE)
    if wanted > SHRINK_BELOW * count:
        return None
    # Finished rows fill the batch up; what they compute is thrown away.
    ranked = torch.argsort((~growing).to(torch.int8), stable=True)[:wanted]
    return sorted(ranked.tolist())
