"""Causal convolutions over grids in the order of generation, in the manner of gated PixelCNN.

One network goes down the rows and sees all rows above; another goes along each row and sees what was chosen in it,
beside what the first found there. So every choice before is in sight, with no blind spot (van den Oord et al.,
arXiv 1606.05328, section 2.2). A row is computed once when it begins, and then one place after the other.

Letters in shapes: B batch, T slices, R rows, C columns, K choices at one place, L = C K slices of one row, D width,
N width of a head, F slices without axes, S slices of one field.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, pad, silu

from molgen.backbone import CausalBackbone, Head, LinearHeads, State
from molgen.backbones.unet.config import UNetConfig
from molgen.backbones.unet.pixelcnn_row import Line
from molgen.backbones.unet.wavenet import FIRST_SCALE, Along, Gate, Last, Memory, reaches, taken
from molgen.batch import Partial
from molgen.layers.aligned_condition import StepVectors, ordered_condition
from molgen.layers.choice_ids import ChoiceIds, most_elements
from molgen.layers.condition_embedding import ConditionEmbedding
from molgen.layers.named import NamedModules
from molgen.ordering import TokenBatch
from molgen.space import Layout, Slice, Space


class Down(nn.Module):
    """A gated residual block that reads three places of its row and of the one `reach` rows above it."""

    def __init__(self, width: int, reach: int, share: float) -> None:
        super().__init__()
        self.reach = reach
        self.norm = nn.LayerNorm(width)
        self.read = nn.Conv2d(width, 2 * width, (2, 3), dilation=reach)
        self.gate = Gate(width, share)

    def forward(self, x: Tensor, beside: Tensor | None) -> Tensor:
        """(B, R, C, D) to (B, R, C, D); `beside`, (B, 1, 1, 2D), is added to what is found."""
        now = self.norm(x)
        found = self._read(pad(now, (0, 0, 0, 0, self.reach, 0)), self.reach)
        return self.gate(x, found if beside is None else found + beside)

    def step(self, x: Tensor, memory: Memory, beside: Tensor | None) -> tuple[Tensor, Memory]:
        """One more row, (B, 1, C, D), and the memory after it."""
        now = self.norm(x)
        found = self._read(torch.cat([memory[0], now], dim=1), 1)
        return self.gate(x, found if beside is None else found + beside), (*memory[1:], now)

    def empty(self, like: Tensor) -> Memory:
        """The memory before the first row; `like` is (B, 1, C, D)."""
        return (torch.zeros_like(like),) * self.reach

    def _read(self, rows: Tensor, dilation: int) -> Tensor:
        rows = pad(rows, (0, 0, self.reach, self.reach)).permute(0, 3, 1, 2)
        read = self.read
        return conv2d(rows, read.weight, read.bias, dilation=(dilation, self.reach)).permute(0, 2, 3, 1)


class Block(nn.Module):
    """One block down the rows, and one along each row that reads at every slice what the first found at its place."""

    def __init__(self, line: Line, width: int, reach: int, share: float) -> None:
        super().__init__()
        self.line = line
        self.down = Down(width, reach, share)
        self.link = nn.Linear(width, 2 * width * line.kinds)
        self.along = Along(width, reach, share)

    def linked(self, above: Tensor, beside: Tensor | None) -> Tensor:
        """What each slice of a row reads from above, (B, R, C, D) to (B, R, L, 2D)."""
        found = self.line.in_order(self.link(above).unflatten(-1, (self.line.kinds, -1)))
        return found if beside is None else found + beside


@dataclass(frozen=True)
class GridState(State):
    """What a network over a grid remembers.

    Attributes:
        rows: B.
        about: what the condition and the fields without axes say, (B, D).
        above: of each block, the rows that it reaches back, (B, 1, C, D) each.
        links: of each block, what the slices of the row read from above, (B, L, 2D).
        before: of each block, the slices of the row that it reaches back, (B, D) each.
        row: the numbers of what was chosen in the row so far, (B,) each.
        placed: what conditions have at each place.
    """

    rows: int
    about: Tensor | None
    above: tuple[Memory, ...]
    links: tuple[Tensor, ...] = ()
    before: tuple[Memory, ...] = ()
    row: tuple[Tensor, ...] = ()
    placed: StepVectors | None = None

    def take(self, rows: Tensor) -> GridState:
        """The state of the given rows."""
        return GridState(
            len(rows),
            None if self.about is None else self.about[rows],
            taken(self.above, rows),
            tuple(link[rows] for link in self.links),
            taken(self.before, rows),
            tuple(numbers[rows] for numbers in self.row),
            None if self.placed is None else self.placed.take(rows),
        )


class CausalGrid(LinearHeads, CausalBackbone):
    """Reads the choices of a grid, row by row; fields without axes come first and are known at every place.

    Each slice reads the choice before it, those at its place that came earlier, and through the blocks all rows above
    and its row so far, as far as they reach: `blocks` (2**`levels` - 1) rows and places.

    Raises:
        UnsupportedSpace: a field has neither classes nor levels, or fields with axes have not the same two, ordered.
    """

    Config = UNetConfig
    layouts = frozenset({Layout.GRID})

    def __init__(
        self, inputs: Space, outputs: Mapping[str, Head], config: UNetConfig, condition: Space | None = None
    ) -> None:
        super().__init__(inputs, outputs, config, condition)
        self.line, self.ids, width = Line(inputs), ChoiceIds(inputs), config.width
        alone = [field for field in inputs.values() if not field.axes]
        self.ahead = sum(map(most_elements, alone))
        self.choice = nn.Embedding(self.ids.choices, width)
        self.question = nn.Embedding(self.ids.questions, width)
        self.place = nn.Embedding(self.ids.places, width)
        self.above = nn.Embedding(self.line.numbers, width)
        self.row = nn.Embedding(self.line.rows, width)
        self.column = nn.Embedding(self.line.columns, width)
        self.beside = nn.Embedding(self.line.numbers, width) if self.line.kinds > 1 else None
        self.condition = ConditionEmbedding(condition, width) if condition else None
        self.placed = ordered_condition(condition, inputs, width)
        self.first = nn.Sequential(nn.Linear(width, width), nn.SiLU()) if alone else None
        self.blocks = nn.ModuleList(Block(self.line, width, reach, config.dropout) for reach in reaches(config))
        self.modulate = nn.Linear(width, 4 * width * len(self.blocks)) if condition or alone else None
        self.last = Last(width)
        self.heads = NamedModules({name: nn.Linear(2 * width, head.width) for name, head in outputs.items()})
        for part in self.children():
            if isinstance(part, nn.Embedding):
                nn.init.normal_(part.weight, std=FIRST_SCALE)
        self.ids.put_levels_on_lines(self.choice)
        self.line.put_levels_on_lines(self.above)

    # --- all rows at once -----------------------------------------------------------------------------

    def forward(self, batch: TokenBatch, time: Any, condition: Partial | None) -> dict[str, Tensor]:
        """The outputs (B, S, N) of every field's slices."""
        ordering, device, ahead = batch.ordering, self.choice.weight.device, self.ahead
        asked = self.question(self.ids.questions_of(ordering).to(device))
        x = self.choice(self.ids.choices_before(batch)) + asked
        x = x + self.place(self.ids.places_of(ordering).to(device))
        if self.placed is not None:
            x = x + self.placed(condition, len(x)).along(ordering)
        x = x[:, ahead:].unflatten(1, (-1, len(self.line)))
        numbers = batch.ids[:, ahead:].unflatten(1, (-1, len(self.line))) + self.line.first.to(device)
        known = self._known_before(self.choice(self.ids.choices_of(batch)[:, :ahead]), condition)
        x = self._rows(x, numbers, None if known is None else known[:, -1]).flatten(1, 2)
        if self.first is not None and known is not None:
            x = torch.cat([self.first(known[:, :-1] + asked[:ahead]), x], dim=1)
        x = self.last(x)
        return {name: head(x[:, ordering.steps[name].to(device)]) for name, head in self.heads.items()}

    def _each(self) -> list[Block]:
        return cast(list[Block], list(self.blocks))

    def _known_before(self, chosen: Tensor, condition: Partial | None) -> Tensor | None:
        """What is known before each slice without axes and behind them all, (B, F + 1, D), from (B, F, D)."""
        about = self._about(condition, len(chosen))
        if about is None:
            return None
        return about[:, None] + pad(chosen, (0, 0, 1, 0)).cumsum(1)

    def _about(self, condition: Partial | None, rows: int) -> Tensor | None:
        """What is known before the first slice, (B, D)."""
        if self.condition is not None:
            return self.condition(condition, rows)
        return self.choice.weight.new_zeros(rows, self.config.width) if self.ahead else None

    def _modulations(self, about: Tensor | None) -> Sequence[Tensor | None]:
        """The modulations of both parts of each block, (B, 1, 1, 2D)."""
        if about is None or self.modulate is None:
            return [None] * 2 * len(self.blocks)
        return self.modulate(silu(about))[:, None, None].chunk(2 * len(self.blocks), dim=-1)

    def _rows(self, x: Tensor, numbers: Tensor, about: Tensor | None) -> Tensor:
        """The vectors of all slices, (B, R, L, D), from their first ones and the numbers of all choices, (B, R, L)."""
        if self.beside is not None:
            x = x + torch.einsum("kl,brld->brkd", self.line.earlier.to(x), self.beside(numbers))
        above = pad(self._chosen(numbers)[:, :-1], (0, 0, 0, 0, 1, 0)) + self._where(range(x.shape[1]))
        modulations = self._modulations(about)
        for number, block in enumerate(self._each()):
            above = block.down(above, modulations[2 * number])
            x = block.along(x, block.linked(above, modulations[2 * number + 1]))
        return x

    def _chosen(self, numbers: Tensor) -> Tensor:
        """What was chosen at each place, (B, R, L) to (B, R, C, D)."""
        return self.above(self.line.at_places(numbers)).sum(3)

    def _where(self, rows: range) -> Tensor:
        """Where each place is, (R, C, D)."""
        return self.row.weight[rows.start : rows.stop, None] + self.column.weight

    # --- slice by slice -------------------------------------------------------------------------------

    def start(self, condition: Partial | None, rows: int) -> GridState:
        """The state before the first slice."""
        like = self.choice.weight.new_zeros(rows, 1, self.line.columns, self.config.width)
        above = tuple(block.down.empty(like) for block in self._each())
        placed = None if self.placed is None else self.placed(condition, rows)
        return GridState(rows, self._about(condition, rows), above, placed=placed)

    def step(self, slice: Slice, state: State, previous: tuple[Slice, Tensor] | None) -> tuple[Tensor, State]:
        """The output (B, N) for one slice and the state after it."""
        assert isinstance(state, GridState)
        chosen = self.choice(self.ids.choice(previous, state.rows, self.choice.weight.device))
        state = self._noted(state, previous, chosen)
        asked = self.question.weight[self.ids.question(slice)]
        if not self.inputs[slice.field].axes:
            assert self.first is not None
            assert state.about is not None
            return self.heads[slice.field](self.last(self.first(state.about + asked))), state
        slot = self.line.slot(slice)
        if slot == 0:
            state = self._next_row(state, slice.index[0])
        x = chosen + asked + self.place.weight[self.ids.place(slice)]
        if state.placed is not None:
            x = x + state.placed.at(slice)
        if self.beside is not None:
            for earlier in self.line.earlier[slot].nonzero()[:, 0].tolist():
                x = x + self.beside(state.row[earlier])
        memories = []
        for block, memory, link in zip(self._each(), state.before, state.links, strict=True):
            x, memory = block.along.step(x, memory, link[:, slot])
            memories.append(memory)
        return self.heads[slice.field](self.last(x)), replace(state, before=tuple(memories))

    def _noted(self, state: GridState, previous: tuple[Slice, Tensor] | None, chosen: Tensor) -> GridState:
        """The state that knows the choice before."""
        if previous is None:
            return state
        if not self.inputs[previous[0].field].axes:
            assert state.about is not None
            return replace(state, about=state.about + chosen)
        number = previous[1] + int(self.line.first[self.line.slot(previous[0])])
        return replace(state, row=(*state.row, number))

    def _next_row(self, state: GridState, row: int) -> GridState:
        """The state at the beginning of a row: all that its slices read from above."""
        above = self._where(range(row, row + 1)).expand(state.rows, -1, -1, -1)
        if state.row:
            above = above + self._chosen(torch.stack(state.row, dim=-1)[:, None])
        memories, links = [], []
        modulations = self._modulations(state.about)
        for number, (block, memory) in enumerate(zip(self._each(), state.above, strict=True)):
            above, memory = block.down.step(above, memory, modulations[2 * number])
            memories.append(memory)
            links.append(block.linked(above, modulations[2 * number + 1])[:, 0])
        before = tuple(block.along.empty(above[:, 0, 0]) for block in self._each())
        return GridState(state.rows, state.about, tuple(memories), tuple(links), before, placed=state.placed)
