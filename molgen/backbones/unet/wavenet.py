"""Causal dilated convolutions over the choices of a sequence: WaveNet (van den Oord et al., arXiv 1609.03499).

Letters in shapes: B batch, T slices, S slices of one field, D width, N width of a head.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.functional import pad, silu

from molgen.backbone import CausalBackbone, Head, LinearHeads, State
from molgen.backbones.unet.config import UNetConfig
from molgen.batch import Partial
from molgen.layers.aligned_condition import StepVectors, ordered_condition
from molgen.layers.choice_ids import ChoiceIds
from molgen.layers.condition_embedding import ConditionEmbedding
from molgen.layers.named import NamedModules
from molgen.ordering import TokenBatch
from molgen.space import Layout, Slice, Space

#: The standard deviation of the first vectors of choices and places.
FIRST_SCALE = 0.5
#: What a convolution read before, the oldest first: as many vectors as it reaches back.
Memory = tuple[Tensor, ...]


class Gate(nn.Module):
    """What a convolution found, half of it as a gate of the other half, to be added to the input."""

    def __init__(self, width: int, share: float) -> None:
        super().__init__()
        self.write, self.dropout = nn.Linear(width, width), nn.Dropout(share)

    def forward(self, x: Tensor, found: Tensor) -> Tensor:
        """(..., D) and (..., 2D) to (..., D)."""
        value, gate = found.chunk(2, dim=-1)
        return x + self.dropout(self.write(value * torch.sigmoid(gate)))


class Along(nn.Module):
    """A gated residual block that reads each place and the one `reach` places before it."""

    def __init__(self, width: int, reach: int, share: float) -> None:
        super().__init__()
        self.reach = reach
        self.norm = nn.LayerNorm(width)
        self.read = nn.Linear(2 * width, 2 * width)
        self.gate = Gate(width, share)

    def forward(self, x: Tensor, beside: Tensor | None = None) -> Tensor:
        """(..., T, D) to (..., T, D); `beside`, (..., T, 2D) or as one for all, is added to what is found."""
        now = self.norm(x)
        before = pad(now, (0, 0, self.reach, 0))[..., : now.shape[-2], :]
        return self._finish(x, now, before, beside)

    def step(self, x: Tensor, memory: Memory, beside: Tensor | None = None) -> tuple[Tensor, Memory]:
        """One more place, (B, D), and the memory after it."""
        now = self.norm(x)
        return self._finish(x, now, memory[0], beside), (*memory[1:], now)

    def _finish(self, x: Tensor, now: Tensor, before: Tensor, beside: Tensor | None) -> Tensor:
        found = self.read(torch.cat([now, before], dim=-1))
        return self.gate(x, found if beside is None else found + beside)

    def empty(self, like: Tensor) -> Memory:
        """The memory before the first place; `like` is (B, D)."""
        return (torch.zeros_like(like),) * self.reach


class Last(nn.Sequential):
    """What the heads read: a small network for each slice by itself, (..., D) to (..., 2D)."""

    def __init__(self, width: int) -> None:
        super().__init__(nn.LayerNorm(width), nn.Linear(width, 2 * width), nn.SiLU())


def reaches(config: UNetConfig) -> list[int]:
    """How far back each block reads: 1, 2, 4, ... and once more from the start, for as many rounds as `blocks` says."""
    return [2**level for _ in range(config.blocks) for level in range(config.levels)]


def taken(memories: Sequence[Memory], rows: Tensor) -> tuple[Memory, ...]:
    """The memories of the given rows; what is there many times stays so."""
    kept = {id(tensor): tensor for memory in memories for tensor in memory}
    found = {key: tensor[rows] for key, tensor in kept.items()}
    return tuple(tuple(found[id(tensor)] for tensor in memory) for memory in memories)


@dataclass(frozen=True)
class ConvolutionState(State):
    """What the blocks remember, and what all slices know from the condition, (B, D), and each at its place."""

    memories: tuple[Memory, ...]
    about: Tensor | None
    rows: int
    placed: StepVectors | None = None

    def take(self, rows: Tensor) -> ConvolutionState:
        """The state of the given rows."""
        about = None if self.about is None else self.about[rows]
        placed = None if self.placed is None else self.placed.take(rows)
        return ConvolutionState(taken(self.memories, rows), about, len(rows), placed)


class CausalConvolutions(LinearHeads, CausalBackbone):
    """Reads the choices of a sequence; each input is the choice before, and which slice is asked for now.

    Every output depends on the last 1 + `blocks` (2**`levels` - 1) choices, and on its place.

    Raises:
        UnsupportedSpace: a field has neither classes nor levels.
    """

    Config = UNetConfig
    layouts = frozenset({Layout.SEQUENCE})

    def __init__(
        self, inputs: Space, outputs: Mapping[str, Head], config: UNetConfig, condition: Space | None = None
    ) -> None:
        super().__init__(inputs, outputs, config, condition)
        self.ids, width = ChoiceIds(inputs), config.width
        self.choice = nn.Embedding(self.ids.choices, width)
        self.question = nn.Embedding(self.ids.questions, width)
        self.place = nn.Embedding(self.ids.places, width)
        for embedding in (self.choice, self.question, self.place):
            nn.init.normal_(embedding.weight, std=FIRST_SCALE)
        self.ids.put_levels_on_lines(self.choice)
        self.condition = ConditionEmbedding(condition, width) if condition else None
        self.placed = ordered_condition(condition, inputs, width)
        self.blocks = nn.ModuleList(Along(width, reach, config.dropout) for reach in reaches(config))
        self.modulate = nn.Linear(width, 2 * width * len(self.blocks)) if condition else None
        self.last = Last(width)
        self.heads = NamedModules({name: nn.Linear(2 * width, head.width) for name, head in outputs.items()})

    def forward(self, batch: TokenBatch, time: Any, condition: Partial | None) -> dict[str, Tensor]:
        """The outputs (B, S, N) of every field's slices."""
        device, ordering = self.choice.weight.device, batch.ordering
        x = self.choice(self.ids.choices_before(batch))
        x = x + self.question(self.ids.questions_of(ordering).to(device))
        x = x + self.place(self.ids.places_of(ordering).to(device))
        if self.placed is not None:
            x = x + self.placed(condition, len(x)).along(ordering)
        about = None if self.condition is None else self.condition(condition, len(x))
        for block, beside in zip(self._each(), self._beside(about), strict=True):
            x = block(x, None if beside is None else beside[:, None])
        x = self.last(x)
        return {name: head(x[:, ordering.steps[name].to(device)]) for name, head in self.heads.items()}

    def _each(self) -> list[Along]:
        return cast(list[Along], list(self.blocks))

    def _beside(self, about: Tensor | None) -> Sequence[Tensor | None]:
        """The modulation of each block by the condition, (B, 2D)."""
        if about is None or self.modulate is None:
            return [None] * len(self.blocks)
        return self.modulate(silu(about)).chunk(len(self.blocks), dim=-1)

    def start(self, condition: Partial | None, rows: int) -> ConvolutionState:
        """The state before the first slice: nothing was read."""
        about = None if self.condition is None else self.condition(condition, rows)
        like = self.choice.weight.new_zeros(rows, self.config.width)
        placed = None if self.placed is None else self.placed(condition, rows)
        return ConvolutionState(tuple(block.empty(like) for block in self._each()), about, rows, placed)

    def step(self, slice: Slice, state: State, previous: tuple[Slice, Tensor] | None) -> tuple[Tensor, State]:
        """The output (B, N) for one slice and the state after it."""
        assert isinstance(state, ConvolutionState)
        x = self.choice(self.ids.choice(previous, state.rows, self.choice.weight.device))
        x = x + self.question.weight[self.ids.question(slice)] + self.place.weight[self.ids.place(slice)]
        if state.placed is not None:
            x = x + state.placed.at(slice)
        memories = []
        for block, memory, beside in zip(self._each(), state.memories, self._beside(state.about), strict=True):
            x, memory = block.step(x, memory, beside)
            memories.append(memory)
        return self.heads[slice.field](self.last(x)), replace(state, memories=tuple(memories))
