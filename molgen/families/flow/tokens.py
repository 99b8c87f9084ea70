"""The numbers of samples as a row of tokens, and a causal network that reads it.

A token is one number, or some channels of one place; places come in the order of the space, field after field. Only
tokens that exist are in the row, so that padding changes nothing.

Letters in shapes: B batch, E packed numbers of one field, P places, T tokens, S numbers of a token, D width.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from molgen.batch import Partial
from molgen.families.flow.config import FlowConfig
from molgen.families.flow.layers import States
from molgen.families.parts.elements import PackedElements, of_own_place
from molgen.layers.aligned_condition import ordered_condition, split_condition
from molgen.layers.attention import Cache, Rotation, rotation
from molgen.layers.causal_block import CausalBlock
from molgen.layers.condition_embedding import ConditionEmbedding
from molgen.layers.named import NamedModules
from molgen.space import Real, Space, axes, is_pairwise, variable_axes


class Tokens:
    """Which numbers are in which token.

    Args:
        space: the fields of numbers.
        size: S, at most; the last token of a place may have fewer.
    """

    def __init__(self, space: Mapping[str, Real], size: int) -> None:
        self.space = dict(space)
        self.channels = {name: prod(field.channels) for name, field in space.items()}
        self.size = min(size, max(self.channels.values()))
        #: tokens of one place of each field.
        self.count = {name: -(-channels // self.size) for name, channels in self.channels.items()}

    @property
    def most(self) -> int:
        """How many tokens the largest sample has."""
        return sum(
            self.count[name] * of_own_place(replace(field, channels=()), _ones(field))[0].numel()
            for name, field in self.space.items()
        )

    def of(self, values: States) -> Tensor:
        """Packed numbers as tokens, field after field, (B, T, S)."""
        return torch.cat([self._cut(name, values[name]) for name in self.space], 1)

    def _cut(self, name: str, values: Tensor) -> Tensor:
        channels = self.channels[name]
        numbers = values.unflatten(1, (-1, channels)) if values.shape[1] else values.new_zeros(len(values), 0, channels)
        return pad(numbers, (0, self.count[name] * self.size - channels)).reshape(len(values), -1, self.size)

    def back(self, tokens: Tensor, elements: PackedElements) -> dict[str, Tensor]:
        """The inverse of `of`."""
        found, start = {}, 0
        for name, channels in self.channels.items():
            length = elements.exists[name].shape[1] // channels * self.count[name]
            own = tokens[:, start : start + length].reshape(len(tokens), -1, self.count[name] * self.size)
            found[name], start = own[..., :channels].flatten(1), start + length
        return found

    def indices(self, name: str, elements: PackedElements) -> list[Tensor]:
        """The index of each place of a field along each of its axes, (P,)."""
        field, found = replace(self.space[name], channels=()), []
        shape = elements.places[name].shape[1:]
        for place, length in enumerate(shape):
            steps = torch.arange(length, dtype=torch.float64).view(-1, *(1 for _ in shape[place + 1 :]))
            found.append(of_own_place(field, steps.expand(shape)[None])[0].long())
        return found


def _ones(field: Real) -> Tensor:
    return torch.ones(1, *(axis.maximum for axis in field.axes))


@dataclass(frozen=True)
class Row:
    """The tokens of a batch in the order in which they are read; those that exist come first.

    Attributes:
        tokens: how numbers become tokens.
        elements: the numbers.
        order: which token stands where, (B, T).
        exists: which numbers do, (B, T, S).
    """

    tokens: Tokens
    elements: PackedElements
    order: Tensor
    exists: Tensor

    @classmethod
    def of(cls, tokens: Tokens, elements: PackedElements, backwards: bool) -> Row:
        """The tokens that exist in the order of the space, or from its end."""
        exists = tokens.of({name: own.double() for name, own in elements.exists.items()}) > 0
        missing = (~exists[..., 0]).int()
        if backwards:
            order = missing.shape[1] - 1 - missing.flip(1).argsort(dim=1, stable=True)
        else:
            order = missing.argsort(dim=1, stable=True)
        order = order[:, : int((1 - missing).sum(1).max())]
        return cls(tokens, elements, order, in_order(exists, order))

    def __len__(self) -> int:
        return self.order.shape[1]

    def read(self, values: States) -> Tensor:
        """Packed numbers in the order of the row, (B, T, S)."""
        return in_order(self.tokens.of(values), self.order)

    def write(self, values: Tensor) -> dict[str, Tensor]:
        """The inverse of `read`, zero where nothing exists."""
        values = torch.where(self.exists, values, 0.0)
        length = sum(
            own.shape[1] // self.tokens.channels[name] * self.tokens.count[name]
            for name, own in self.elements.exists.items()
        )
        full = values.new_zeros(len(values), length, values.shape[2])
        full = full.scatter(1, self.order[..., None].expand(-1, -1, values.shape[2]), values)
        return self.tokens.back(full, self.elements)


def in_order(tokens: Tensor, order: Tensor) -> Tensor:
    """What belongs to tokens, (B, T of all, ...), as `Row` has them, (B, T, ...)."""
    return tokens.gather(1, order[..., None].expand(-1, -1, tokens.shape[2]))


class Questions(nn.Module):
    """What is asked at each token, (B, T, D): which numbers of which place, and what is known of it and of all."""

    def __init__(self, tokens: Tokens, condition: Space, width: int) -> None:
        super().__init__()
        self.tokens = tokens
        space = tokens.space
        twice = {axis.name: axis for field in space.values() if is_pairwise(field) for axis in field.axes}
        self.kind = _embeddings(tokens.count, width)
        self.place = _embeddings({name: axis.maximum for name, axis in axes(space).items()}, width)
        self.column = _embeddings({name: axis.maximum for name, axis in twice.items()}, width)
        self.size = _embeddings({name: axis.maximum + 1 for name, axis in variable_axes(space).items()}, width)
        self.placed = ordered_condition(condition, space, width)
        _, rest = split_condition(condition, axes(space))
        self.condition = ConditionEmbedding(rest, width) if rest else None

    def forward(self, row: Row, condition: Partial | None) -> Tensor:
        """The vectors in the order of the row."""
        rows, elements = len(row.order), row.elements
        parts = [self._of_field(name, elements, condition, rows) for name in self.tokens.space]
        about = in_order(torch.cat(parts, 1), row.order)
        for name, embedding in self.size.items():
            about = about + embedding(elements.sizes[name])[:, None]
        return about if self.condition is None else about + self.condition(condition, rows)[:, None]

    def _of_field(self, name: str, elements: PackedElements, condition: Partial | None, rows: int) -> Tensor:
        """The vectors of the tokens of a field in the order of the space, (B, T, D)."""
        kind = self.kind[name](torch.arange(self.tokens.count[name], device=elements.device))
        indices = [index.to(elements.device) for index in self.tokens.indices(name, elements)]
        places = elements.exists[name].shape[1] // self.tokens.channels[name]
        at = kind.new_zeros(1, places, kind.shape[1])
        for number, (axis, index) in enumerate(zip(self.tokens.space[name].axes, indices, strict=True)):
            again = axis in self.tokens.space[name].axes[:number]
            at = at + (self.column if again else self.place)[axis.name](index)
        if self.placed is not None:
            at = at + self.placed(condition, rows).read(name, indices)
        return (at[:, :, None] + kind).flatten(1, 2).expand(rows, -1, -1)


def _embeddings(counts: Mapping[str, int], width: int) -> NamedModules:
    found = {name: nn.Embedding(count, width) for name, count in counts.items()}
    for embedding in found.values():
        nn.init.normal_(embedding.weight, std=0.1)
    return NamedModules(found)


class Reader(nn.Module):
    """A causal transformer: what follows of each token from those before it, (B, T, W).

    Args:
        tokens: what it reads.
        condition: of the model.
        config: `width`, `layers` and `heads`.
        outputs: W.
    """

    def __init__(self, tokens: Tokens, condition: Space, config: FlowConfig, outputs: int) -> None:
        super().__init__()
        self.heads, self.channels = config.heads, config.width // config.heads
        self.questions = Questions(tokens, condition, config.width)
        self.value = nn.Linear(tokens.size, config.width)
        self.blocks = nn.ModuleList(
            CausalBlock(config.width, config.heads, config.layers) for _ in range(config.layers)
        )
        self.norm = nn.RMSNorm(config.width)
        self.head = nn.Linear(config.width, outputs)
        # All functions start as the identity.
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(self, values: Tensor, asked: Tensor) -> Tensor:
        """All tokens at once, from values (B, T, S) and `questions`, (B, T, D)."""
        before = pad(values, (0, 0, 1, 0))[:, :-1]
        x, turns = self.value(before.to(asked)) + asked, self._turns(range(values.shape[1]))
        for block in self.blocks:
            x = block(x, turns)
        return self.head(self.norm(x))

    def start(self, rows: int) -> Cache:
        """What is known before the first token."""
        return Cache.empty(len(self.blocks), rows, self.heads, self.channels, self.head.weight)

    def step(self, before: Tensor, asked: Tensor, cache: Cache) -> tuple[Tensor, Cache]:
        """One more token, from the value before it, (B, S), and its question, (B, D): the output, (B, W)."""
        cache = cache.following()
        x, turns = (self.value(before.to(asked)) + asked)[:, None], self._turns([cache.length - 1])
        for layer, block in enumerate(self.blocks):
            x = block(x, turns, cache, layer)
        return self.head(self.norm(x))[:, 0], cache

    def _turns(self, positions: Sequence[int] | range) -> Rotation:
        return rotation(torch.tensor([*positions])[:, None], self.channels, self.head.weight)
