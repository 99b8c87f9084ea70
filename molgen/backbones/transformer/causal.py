"""The causal transformer: each slice reads from the slices before it.

Letters in shapes: B batch, T slices, S slices of one field, D width, W head width.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from molgen.backbone import CausalBackbone, Head, LinearHeads, State
from molgen.backbones.transformer.config import LAYOUTS, TransformerConfig, require_few_elements
from molgen.batch import Partial
from molgen.layers.aligned_condition import StepVectors, ordered_condition
from molgen.layers.attention import Cache, Rotation, rotation
from molgen.layers.causal_block import CausalBlock
from molgen.layers.choice_ids import ChoiceIds, largest_count
from molgen.layers.condition_embedding import ConditionEmbedding
from molgen.layers.named import NamedModules
from molgen.ordering import TokenBatch
from molgen.space import Slice, Space


@dataclass(frozen=True)
class TransformerState(State):
    """The keys and values of the slices so far, and the embedded condition, (B, D) and at every step."""

    cache: Cache
    condition: Tensor | None
    placed: StepVectors | None = None

    def take(self, rows: Tensor) -> TransformerState:
        """The state of the given rows."""
        condition = None if self.condition is None else self.condition[rows]
        placed = None if self.placed is None else self.placed.take(rows)
        return TransformerState(self.cache.take(rows), condition, placed)


class CausalTransformer(LinearHeads, CausalBackbone):
    """Each slice's token is the choice before it and what is asked now; positions, in generation order, are rotary.

    Along an unordered axis generation follows the encoder's canonical order, as any autoregressive model must: the
    density is of that order, and the network sees it. `step` records no gradients: train by `forward`.

    Raises:
        UnsupportedSpace: a field has neither classes nor levels; or the largest sample has more choices than
            `most_elements`.
    """

    Config = TransformerConfig
    layouts = LAYOUTS

    def __init__(
        self, inputs: Space, outputs: Mapping[str, Head], config: TransformerConfig, condition: Space | None = None
    ) -> None:
        super().__init__(inputs, outputs, config, condition)
        self.ids = ChoiceIds(inputs)
        require_few_elements(largest_count(inputs), config)
        self.choice = nn.Embedding(self.ids.choices, config.width)
        self.question = nn.Embedding(self.ids.questions, config.width)
        self.place = nn.Embedding(self.ids.places, config.width)
        self.condition = ConditionEmbedding(condition, config.width) if condition else None
        self.placed = ordered_condition(condition, inputs, config.width)
        self.blocks = nn.ModuleList(
            CausalBlock(config.width, config.heads, config.layers, config.dropout) for _ in range(config.layers)
        )
        self.norm = nn.RMSNorm(config.width)
        self.heads = NamedModules({name: nn.Linear(config.width, head.width) for name, head in outputs.items()})
        for embedding in (self.choice, self.question, self.place):
            nn.init.normal_(embedding.weight, std=0.1)
        self.ids.put_levels_on_lines(self.choice)

    def forward(self, batch: TokenBatch, time: Any, condition: Partial | None) -> dict[str, Tensor]:
        """The outputs (B, S, W) of every field's slices."""
        device, ordering = self.choice.weight.device, batch.ordering
        x = self.choice(self.ids.choices_before(batch))
        x = x + self.question(self.ids.questions_of(ordering).to(device))
        x = x + self.place(self.ids.places_of(ordering).to(device))
        if self.condition is not None:
            x = x + self.condition(condition, len(x))[:, None]
        if self.placed is not None:
            x = x + self.placed(condition, len(x)).along(ordering)
        turns = self._turns(range(len(ordering)))
        for block in self.blocks:
            x = block(x, turns)
        x = self.norm(x)
        return {name: head(x[:, ordering.steps[name].to(device)]) for name, head in self.heads.items()}

    def start(self, condition: Partial | None, rows: int) -> TransformerState:
        """The state before the first slice: nothing to read from."""
        config = self.config
        cache = Cache.empty(config.layers, rows, config.heads, config.channels, self.choice.weight)
        embedded = None if self.condition is None else self.condition(condition, rows)
        return TransformerState(cache, embedded, None if self.placed is None else self.placed(condition, rows))

    @torch.no_grad()
    def step(self, slice: Slice, state: State, previous: tuple[Slice, Tensor] | None) -> tuple[Tensor, State]:
        """The output (B, W) for one slice and the state after it."""
        assert isinstance(state, TransformerState)
        cache = state.cache.following()
        device = self.choice.weight.device
        x = self.choice(self.ids.choice(previous, cache.rows, device))
        x = x + self.question.weight[self.ids.question(slice)] + self.place.weight[self.ids.place(slice)]
        x = x if state.condition is None else x + state.condition
        x = (x if state.placed is None else x + state.placed.at(slice))[:, None]
        turns = self._turns([cache.length - 1])
        for layer, block in enumerate(self.blocks):
            x = block(x, turns, cache, layer)
        return self.heads[slice.field](self.norm(x)[:, 0]), replace(state, cache=cache)

    def _turns(self, positions: Any) -> Rotation:
        return rotation(torch.tensor([*positions])[:, None], self.config.channels, self.choice.weight)
