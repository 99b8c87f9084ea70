"""A causal recurrent network: GRU (Cho et al. 2014) or LSTM (Hochreiter & Schmidhuber 1997).

Letters in shapes: B batch, T slices, S slices of one field, H width, L layers, E embedding width, W head width.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from molgen.backbone import Backbone, CausalBackbone, Head, LinearHeads, State
from molgen.backbones.recurrent.bidirectional import Bidirectional
from molgen.batch import Partial
from molgen.layers.aligned_condition import StepVectors, ordered_condition
from molgen.layers.choice_ids import ChoiceIds
from molgen.layers.condition_embedding import ConditionEmbedding
from molgen.layers.named import NamedModules
from molgen.ordering import TokenBatch
from molgen.space import Layout, Slice, Space

Hidden = tuple[Tensor, ...]
#: Rows are read without what lies behind their ends where less than this share of the slices is theirs.
PACK_BELOW = 0.9


@dataclass(frozen=True)
class RecurrentConfig:
    """The size of the network; `cell` is `gru` or `lstm`, and `dropout` acts between layers."""

    cell: str = "gru"
    width: int = 384
    layers: int = 3
    embedding: int = 96
    dropout: float = 0.0

    def __post_init__(self) -> None:
        if self.cell not in ("gru", "lstm"):
            raise ValueError(f"no recurrent cell {self.cell!r}; known: gru, lstm")
        for name in ("width", "layers", "embedding"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, not {getattr(self, name)}")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout must be at least 0 and below 1, not {self.dropout}")


class _Gru(nn.GRU):
    tensors = 1

    def forward(self, inputs: Tensor, hidden: Hidden) -> tuple[Tensor, Hidden]:  # type: ignore[override]
        outputs, last = super().forward(inputs, hidden[0])
        return outputs, (last,)


class _Lstm(nn.LSTM):
    tensors = 2

    def forward(self, inputs: Tensor, hidden: Hidden) -> tuple[Tensor, Hidden]:  # type: ignore[override]
        return super().forward(inputs, (hidden[0], hidden[1]))


CELLS: Mapping[str, type[_Gru] | type[_Lstm]] = {"gru": _Gru, "lstm": _Lstm}


@dataclass(frozen=True)
class RecurrentState(State):
    """The hidden state, (L, B, H) for each tensor of the cell, and the embedded condition, (B, E) and at every step."""

    hidden: Hidden
    condition: Tensor | None
    placed: StepVectors | None = None

    def take(self, rows: Tensor) -> RecurrentState:
        """The state of the given rows."""
        condition = None if self.condition is None else self.condition[rows]
        placed = None if self.placed is None else self.placed.take(rows)
        return RecurrentState(tuple(tensor[:, rows] for tensor in self.hidden), condition, placed)


class Recurrent(LinearHeads, CausalBackbone):
    """Reads the choices one by one; each input is the choice before, and which slice is asked for now.

    Along an unordered axis generation follows the encoder's canonical order, as any autoregressive
    model must: the density is of that order.
    """

    Config = RecurrentConfig
    molgen_tiny: ClassVar[Mapping[str, Any]] = {"width": 12, "layers": 2, "embedding": 6}
    layouts = frozenset({Layout.RECORD, Layout.SEQUENCE, Layout.SET, Layout.GRID, Layout.GRAPH})

    @classmethod
    def class_for(cls, inputs: Space, causal: bool) -> type[Backbone]:
        """The causal network, or the one that reads rows of elements from both ends."""
        return cls if causal else Bidirectional

    def __init__(
        self, inputs: Space, outputs: Mapping[str, Head], config: RecurrentConfig, condition: Space | None = None
    ) -> None:
        super().__init__(inputs, outputs, config, condition)
        self.ids = ChoiceIds(inputs)
        self.choice = nn.Embedding(self.ids.choices, config.embedding)
        self.question = nn.Embedding(self.ids.questions, config.embedding)
        self.cell = CELLS[config.cell](
            config.embedding,
            config.width,
            config.layers,
            batch_first=True,
            dropout=config.dropout if config.layers > 1 else 0,
        )
        self.heads = NamedModules({name: nn.Linear(config.width, head.width) for name, head in outputs.items()})
        self.condition = ConditionEmbedding(condition, config.embedding) if condition else None
        self.placed = ordered_condition(condition, inputs, config.embedding)
        self.first_hidden = nn.Linear(config.embedding, config.layers * config.width) if condition else None
        self._initialise()

    def _initialise(self) -> None:
        self.ids.put_levels_on_lines(self.choice)
        nn.init.normal_(self.question.weight, std=0.1)
        for name, parameter in self.cell.named_parameters():
            if name.startswith("weight_hh"):
                for gate in parameter.data.split(self.config.width):
                    nn.init.orthogonal_(gate)

    def forward(self, batch: TokenBatch, time: Any, condition: Partial | None) -> dict[str, Tensor]:
        """The outputs (B, S, W) of every field's slices."""
        state = self.start(condition, len(batch.ids))
        outputs = self._along(self._inputs(batch, state), state.hidden, _lengths(batch.mask))
        return {
            name: head(outputs[:, batch.ordering.steps[name].to(outputs.device)]) for name, head in self.heads.items()
        }

    def _along(self, inputs: Tensor, hidden: Hidden, lengths: Tensor) -> Tensor:
        """What the cell makes of every slice, (B, T, H); anything behind the last slice of a row."""
        if not self.training or lengths.sum() > PACK_BELOW * inputs.shape[0] * inputs.shape[1]:
            return self.cell(inputs, hidden)[0]
        longest_first = torch.argsort(lengths, descending=True).to(inputs.device)
        packed = pack_padded_sequence(inputs[longest_first], lengths[longest_first.cpu()], batch_first=True)
        outputs, _ = self.cell(packed, tuple(tensor[:, longest_first] for tensor in hidden))
        padded, _ = pad_packed_sequence(outputs, batch_first=True, total_length=inputs.shape[1])
        return padded[torch.argsort(longest_first)]

    def start(self, condition: Partial | None, rows: int) -> RecurrentState:
        """The state before the first slice: zero, or made from the condition."""
        like = self.choice.weight
        shape = (self.config.layers, rows, self.config.width)
        if self.condition is None or self.first_hidden is None:
            return RecurrentState(tuple(like.new_zeros(shape) for _ in range(self.cell.tensors)), None)
        embedded = self.condition(condition, rows)
        first = torch.tanh(self.first_hidden(embedded)).view(rows, shape[0], shape[2]).transpose(0, 1).contiguous()
        placed = None if self.placed is None else self.placed(condition, rows)
        hidden = (first, *(torch.zeros_like(first) for _ in range(self.cell.tensors - 1)))
        return RecurrentState(hidden, embedded, placed)

    def step(self, slice: Slice, state: State, previous: tuple[Slice, Tensor] | None) -> tuple[Tensor, RecurrentState]:
        """The output (B, W) for one slice and the state after it."""
        assert isinstance(state, RecurrentState)
        choice = self.ids.choice(previous, state.hidden[0].shape[1], self.choice.weight.device)
        inputs = self.choice(choice) + self.question.weight[self.ids.question(slice)]
        if state.condition is not None:
            inputs = inputs + state.condition
        if state.placed is not None:
            inputs = inputs + state.placed.at(slice)
        outputs, hidden = self.cell(inputs[:, None], state.hidden)
        return self.heads[slice.field](outputs[:, 0]), replace(state, hidden=hidden)

    def _inputs(self, batch: TokenBatch, state: RecurrentState) -> Tensor:
        """What the cell reads at every slice, (B, T, E)."""
        questions = self.ids.questions_of(batch.ordering).to(self.choice.weight.device)
        inputs = self.choice(self.ids.choices_before(batch)) + self.question(questions)
        if state.placed is not None:
            inputs = inputs + state.placed.along(batch.ordering)
        return inputs if state.condition is None else inputs + state.condition[:, None]


def _lengths(mask: Tensor) -> Tensor:
    """Up to which of the slices (B, T) each row takes part, (B,) on the CPU; at least one."""
    places = torch.arange(1, mask.shape[1] + 1, device=mask.device)
    return torch.where(mask, places, 1).amax(1).cpu()
