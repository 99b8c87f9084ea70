"""WaveNet (van den Oord et al., arXiv 1609.03499) for long sequences, such as the samples of a sound.

What a slice reads does not depend on its place, only on the choices before it, so that a sequence may have any length.

Letters in shapes: B batch, T slices, S slices of one field, D width, E numbers of a choice in the context, C context,
K kernel, N width of a head.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, cast

import torch
from torch import Tensor, nn
from torch.nn.functional import pad, silu

from molgen.backbone import CausalBackbone, Head, LinearHeads, State
from molgen.backbones.unet.wavenet import FIRST_SCALE, Gate, Last, Memory, taken
from molgen.batch import Partial
from molgen.layers.aligned_condition import StepVectors, ordered_condition
from molgen.layers.choice_ids import ChoiceIds
from molgen.layers.condition_embedding import ConditionEmbedding
from molgen.layers.named import NamedModules
from molgen.ordering import TokenBatch
from molgen.space import Layout, Slice, Space

#: The longest dilation: no sequence has more choices.
LONGEST = 1 << 24


@dataclass(frozen=True)
class WaveNetConfig:
    """The size of the network. An output depends on the last `reach` choices.

    Attributes:
        width: of every layer.
        context: the last choices that the first layer reads at once, each with weights of its own; 0 leaves it out.
        embedding: numbers that stand for a choice there.
        kernel: places that a dilated convolution reads.
        growth: how many times as far apart they are in each next layer.
        levels: layers from a dilation of 1 on.
        rounds: how often the dilations start anew from 1.
        dropout: acts within each layer.
    """

    width: int = 64
    context: int = 16
    embedding: int = 16
    kernel: int = 2
    growth: int = 2
    levels: int = 9
    rounds: int = 1
    dropout: float = 0.0

    def __post_init__(self) -> None:
        for name in ("width", "embedding", "growth", "levels", "rounds"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, not {getattr(self, name)}")
        if self.context < 0 or self.kernel < 2:
            raise ValueError("context must be at least 0, and kernel at least 2")
        if self.growth ** (self.levels - 1) > LONGEST:
            raise ValueError(f"the dilation of the last level, growth ** (levels - 1), must be at most {LONGEST:,}")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout must be at least 0 and below 1, not {self.dropout}")

    def dilations(self) -> list[int]:
        """How far apart are the places that each layer reads."""
        return [self.growth**level for _ in range(self.rounds) for level in range(self.levels)]

    @property
    def reach(self) -> int:
        """How many choices an output depends on, those behind gaps between the places of the layers included."""
        return max(1, self.context) + (self.kernel - 1) * sum(self.dilations())


class Dilated(nn.Module):
    """A gated residual layer that reads each place and K - 1 before it, each `dilation` before the next."""

    def __init__(self, config: WaveNetConfig, dilation: int) -> None:
        super().__init__()
        self.back = [dilation * k for k in range(1, config.kernel)]
        self.norm = nn.LayerNorm(config.width)
        self.read = nn.Linear(config.kernel * config.width, 2 * config.width)
        self.gate = Gate(config.width, config.dropout)

    def forward(self, x: Tensor, beside: Tensor | None) -> Tensor:
        """(B, T, D) to (B, T, D); `beside`, (B, 1, 2D), is added to what is found."""
        now = self.norm(x)
        before = [pad(now, (0, 0, back, 0))[:, : now.shape[1]] for back in self.back]
        return self._finish(x, [now, *before], beside)

    def step(self, x: Tensor, memory: Memory, beside: Tensor | None) -> tuple[Tensor, Memory]:
        """One more place, (B, D), and the memory after it."""
        now = self.norm(x)
        return self._finish(x, [now, *(memory[-back] for back in self.back)], beside), (*memory[1:], now)

    def _finish(self, x: Tensor, places: Sequence[Tensor], beside: Tensor | None) -> Tensor:
        found = self.read(torch.cat(tuple(places), dim=-1))
        return self.gate(x, found if beside is None else found + beside)

    def empty(self, like: Tensor) -> Memory:
        """The memory before the first place; `like` is (B, D)."""
        return (torch.zeros_like(like),) * self.back[-1]


class Context(nn.Module):
    """Reads the last C choices at once."""

    def __init__(self, choices: int, config: WaveNetConfig) -> None:
        super().__init__()
        self.length = config.context
        self.choice = nn.Embedding(choices, config.embedding)
        self.read = nn.Linear(config.embedding * config.context, config.width)
        nn.init.normal_(self.choice.weight, std=FIRST_SCALE)

    def forward(self, ids: Tensor) -> Tensor:
        """The choices before each slice, (B, T), to (B, T, D)."""
        vectors = pad(self.choice(ids), (0, 0, self.length - 1, 0))
        return self.read(vectors.unfold(1, self.length, 1).flatten(2))

    def step(self, ids: Tensor, memory: Tensor) -> tuple[Tensor, Tensor]:
        """One more choice, (B,), and the memory (B, E, C - 1) after it."""
        vectors = torch.cat([memory, self.choice(ids)[..., None]], dim=-1)
        return self.read(vectors.flatten(1)), vectors[..., 1:]

    def empty(self, rows: int) -> Tensor:
        """The memory before the first choice."""
        return self.choice.weight.new_zeros(rows, self.choice.embedding_dim, self.length - 1)


@dataclass(frozen=True)
class WaveNetState(State):
    """What the layers and the context remember, and what all slices know from the condition, (B, 2D) for each layer."""

    memories: tuple[Memory, ...]
    context: Tensor | None
    beside: tuple[Tensor | None, ...]
    rows: int
    placed: StepVectors | None = None

    def take(self, rows: Tensor) -> WaveNetState:
        """The state of the given rows."""
        beside = tuple(None if one is None else one[rows] for one in self.beside)
        placed = None if self.placed is None else self.placed.take(rows)
        context = None if self.context is None else self.context[rows]
        return WaveNetState(taken(self.memories, rows), context, beside, len(rows), placed)


class WaveNet(LinearHeads, CausalBackbone):
    """Causal dilated convolutions over the choices of a sequence, wherever they are in it.

    Each input is the choice before, and which slice is asked for now. Drawing keeps what each layer still has to read
    in a queue (Le Paine et al., arXiv 1611.09482), so that a choice costs the same wherever it is.

    Raises:
        UnsupportedSpace: a field has neither classes nor levels.
    """

    Config = WaveNetConfig
    molgen_tiny: ClassVar[Mapping[str, Any]] = {"width": 8, "context": 3, "embedding": 4, "kernel": 3, "levels": 2}
    layouts = frozenset({Layout.SEQUENCE})

    def __init__(
        self, inputs: Space, outputs: Mapping[str, Head], config: WaveNetConfig, condition: Space | None = None
    ) -> None:
        super().__init__(inputs, outputs, config, condition)
        self.ids, width = ChoiceIds(inputs), config.width
        self.choice = nn.Embedding(self.ids.choices, width)
        self.question = nn.Embedding(self.ids.questions, width)
        for embedding in (self.choice, self.question):
            nn.init.normal_(embedding.weight, std=FIRST_SCALE)
        self.ids.put_levels_on_lines(self.choice)
        self.context = Context(self.ids.choices, config) if config.context else None
        if self.context is not None:
            self.ids.put_levels_on_lines(self.context.choice)
        self.condition = ConditionEmbedding(condition, width) if condition else None
        self.placed = ordered_condition(condition, inputs, width)
        self.layers = nn.ModuleList(Dilated(config, dilation) for dilation in config.dilations())
        self.modulate = nn.Linear(width, 2 * width * len(self.layers)) if condition else None
        self.last = Last(width)
        self.heads = NamedModules({name: nn.Linear(2 * width, head.width) for name, head in outputs.items()})

    def forward(self, batch: TokenBatch, time: Any, condition: Partial | None) -> dict[str, Tensor]:
        """The outputs (B, S, N) of every field's slices."""
        device, ordering = self.choice.weight.device, batch.ordering
        ids = self.ids.choices_before(batch)
        x = self.choice(ids) + self.question(self.ids.questions_of(ordering).to(device))
        if self.context is not None:
            x = x + self.context(ids)
        if self.placed is not None:
            x = x + self.placed(condition, len(x)).along(ordering)
        for layer, beside in zip(self._each(), self._beside(condition, len(x)), strict=True):
            x = layer(x, None if beside is None else beside[:, None])
        x = self.last(x)
        return {name: head(x[:, ordering.steps[name].to(device)]) for name, head in self.heads.items()}

    def _each(self) -> list[Dilated]:
        return cast(list[Dilated], list(self.layers))

    def _beside(self, condition: Partial | None, rows: int) -> tuple[Tensor | None, ...]:
        """What the condition adds to what each layer finds, (B, 2D)."""
        if self.condition is None or self.modulate is None:
            return (None,) * len(self.layers)
        return self.modulate(silu(self.condition(condition, rows))).chunk(len(self.layers), dim=-1)

    def start(self, condition: Partial | None, rows: int) -> WaveNetState:
        """The state before the first slice: nothing was read."""
        like = self.choice.weight.new_zeros(rows, self.config.width)
        memories = tuple(layer.empty(like) for layer in self._each())
        context = None if self.context is None else self.context.empty(rows)
        placed = None if self.placed is None else self.placed(condition, rows)
        return WaveNetState(memories, context, self._beside(condition, rows), rows, placed)

    def step(self, slice: Slice, state: State, previous: tuple[Slice, Tensor] | None) -> tuple[Tensor, State]:
        """The output (B, N) for one slice and the state after it."""
        assert isinstance(state, WaveNetState)
        ids = self.ids.choice(previous, state.rows, self.choice.weight.device)
        x, context = self.choice(ids) + self.question.weight[self.ids.question(slice)], state.context
        if self.context is not None and context is not None:
            found, context = self.context.step(ids, context)
            x = x + found
        if state.placed is not None:
            x = x + state.placed.at(slice)
        memories = []
        for layer, memory, beside in zip(self._each(), state.memories, state.beside, strict=True):
            x, memory = layer.step(x, memory, beside)
            memories.append(memory)
        after = WaveNetState(tuple(memories), context, state.beside, state.rows, state.placed)
        return self.heads[slice.field](self.last(x)), after
