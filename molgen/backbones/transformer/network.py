"""The transformer (Vaswani et al., arXiv 1706.03762) over all elements of a sample at once.

Causally the same name gives `causal`.

Letters in shapes: B batch, T tokens, E places of one group, M modulating vectors, D width, W head width.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import dropout, silu

from molgen.backbone import Backbone, Head, LinearHeads
from molgen.backbones.transformer.causal import CausalTransformer
from molgen.backbones.transformer.config import LAYOUTS, TransformerConfig, require_few_elements
from molgen.backbones.transformer.incidence import Incidence, incidence_matrices
from molgen.batch import Batch, Partial
from molgen.errors import UnsupportedSpace
from molgen.layers.aligned_condition import split_condition
from molgen.layers.attention import Attention, FeedForward, Rotation, rotation
from molgen.layers.condition_embedding import ConditionEmbedding, with_rows
from molgen.layers.named import NamedModules
from molgen.layers.time_embedding import TimeEmbedding
from molgen.layers.token_embedding import ElementEmbedding
from molgen.layers.tokens import (
    Arrangement,
    Group,
    Lengths,
    arrange,
    group_name,
    groups_of,
    lengths_of,
    ordered_directions,
    shared_axes,
)
from molgen.space import Axis, Field, Real, Space, axes, is_symmetric


@dataclass(frozen=True)
class Tokens:
    """What the blocks need to know of the tokens beside their vectors.

    Attributes:
        turns: rotary positions in ordered directions.
        exists: which tokens do, (B, T).
        spans: the tokens of each group.
        matrices: which tokens share an element, see `incidence_matrices`.
    """

    turns: Rotation
    exists: Tensor
    spans: tuple[slice, ...]
    matrices: Sequence[Tensor]

    def mean(self, x: Tensor) -> Tensor:
        """The mean of the tokens that exist, (B, T, D) to (B, D)."""
        weight = self.exists[..., None].to(x)
        return (x * weight).sum(1) / weight.sum(1)


class Block(nn.Module):
    """Messages between tokens that share an element, attention, and a network for each token by itself.

    Each part reads normalised tokens, scaled and shifted, and its result is scaled again, by vectors that follow
    time and condition: adaLN-Zero (Peebles & Xie, arXiv 2212.09748). The vectors are made once for all blocks, and
    each block adds an offset of its own (Chen et al., arXiv 2310.00426, section 2.3).
    """

    def __init__(self, groups: Sequence[Group], config: TransformerConfig) -> None:
        super().__init__()
        self.dropout = config.dropout
        self.incidence = Incidence(groups, config.width) if shared_axes(groups) else None
        self.attention = Attention(config.width, config.heads)
        self.feed_forward = FeedForward(config.width)
        self.norm = nn.RMSNorm(config.width, elementwise_affine=False)
        self.offset = nn.Parameter(torch.zeros(_modulations(groups), config.width))

    def forward(self, x: Tensor, tokens: Tokens, modulation: Tensor) -> Tensor:
        """(B, T, D) to (B, T, D); `modulation` is (B, M, D)."""
        vectors = (modulation + self.offset)[:, :, None].unflatten(1, (-1, 3)).unbind(1)
        for part, of_part in zip(self._parts(tokens), vectors, strict=True):
            shift, scale, gate = of_part.unbind(1)
            x = x + gate * dropout(part(self.norm(x) * (1 + scale) + shift), self.dropout, self.training)
        return x

    def _parts(self, tokens: Tokens) -> list[Callable[[Tensor], Tensor]]:
        attention = partial(self.attention, turns=tokens.turns, mask=tokens.exists[:, None, None])
        if self.incidence is None:
            return [attention, self.feed_forward]
        incidence = partial(self.incidence, exists=tokens.exists, spans=tokens.spans, matrices=tokens.matrices)
        return [incidence, attention, self.feed_forward]


def _modulations(groups: Sequence[Group]) -> int:
    """Shift, scale and gate of each part of a block."""
    return 9 if shared_axes(groups) else 6


class Transformer(LinearHeads, Backbone):
    """Reads every layout as a row of tokens, see `elements`: all inputs at once, at any time, under any condition.

    Positions (rotary, and a learned vector for each) are read in ordered directions only; along unordered axes the
    outputs move with the elements, and tokens that share an element exchange messages, see `Incidence`. A head
    over axes reads the tokens of their places; a pair of indices has one output for both orders unless an input
    over the pair is not symmetric. A head without axes reads the mean of all tokens.

    A condition over axes of the sample is read place by place, others by one vector.

    Raises:
        UnsupportedSpace: something rotates; or there are more elements than `most_elements`; or a condition has an
            axis of the sample with another length.
    """

    Config = TransformerConfig
    molgen_tiny: ClassVar[Mapping[str, Any]] = {"width": 24, "layers": 2, "heads": 3}
    layouts = LAYOUTS
    causal = True

    @classmethod
    def class_for(cls, inputs: Space, causal: bool) -> type[Backbone]:
        """The network of all elements at once, or the causal one."""
        return CausalTransformer if causal else cls

    def __init__(
        self, inputs: Space, outputs: Mapping[str, Head], config: TransformerConfig, condition: Space | None = None
    ) -> None:
        _require_no_rotation([*inputs.values(), *(condition or {}).values()], outputs)
        super().__init__(inputs, outputs, config, condition)
        spans = {*(field.axes for field in inputs.values()), *(head.axes for head in outputs.values())}
        known = {**_axes_of(outputs), **axes(inputs)}
        # A token for each pair costs too much where only a condition has pairs.
        placed, rest = split_condition(condition or {}, known, lambda own: len(own) == 1 or own in spans)
        others = [alignment.placed for alignment in placed.values()]
        self.groups = groups_of(inputs, others, [head.axes for head in outputs.values()])
        require_few_elements(sum(group.most for group in self.groups), config)
        _require_few_directions(self.groups, config)
        self.elements = ElementEmbedding(inputs, placed, self.groups, config.width)
        self.time = TimeEmbedding(inputs, config.width)
        self.condition = ConditionEmbedding(rest, config.width) if rest else None
        self.modulation = nn.Linear(config.width, (_modulations(self.groups) + 2) * config.width)
        self.blocks = nn.ModuleList(Block(self.groups, config) for _ in range(config.layers))
        self.norm = nn.RMSNorm(config.width, elementwise_affine=False)
        self.heads = NamedModules({name: nn.Linear(config.width, head.width) for name, head in outputs.items()})
        # With gates at zero every block starts as the identity.
        nn.init.zeros_(self.modulation.weight)
        nn.init.zeros_(self.modulation.bias)

    def forward(
        self, batch: Batch, time: Tensor | Mapping[str, Tensor] | None, condition: Partial | None
    ) -> dict[str, Tensor]:
        """The outputs of every head, (B, *axes, W), zero in the padding.

        Args:
            batch: the inputs, and the sizes of the variable axes of inputs and heads.
            time: of each row, or of each field and row; None is time 0, data.
            condition: what is given; None is nothing.
        """
        batch = with_rows(batch, condition)
        lengths = lengths_of(self.groups, self.inputs, batch)
        arrangement = arrange(self.groups, tuple(lengths.items()))
        x = self.elements(batch, condition, arrangement, lengths)
        tokens = self._tokens(batch, arrangement, lengths, x)
        about = self.time(time, len(batch))
        if self.condition is not None:
            about = about + self.condition(condition, len(batch))
        modulation = self.modulation(silu(about)).unflatten(-1, (-1, self.config.width))
        for block in self.blocks:
            x = block(x, tokens, modulation[:, 2:])
        x = self.norm(x) * (1 + modulation[:, :1]) + modulation[:, 1:2]
        return {name: self._read(name, x, tokens, lengths) for name in self.outputs}

    def _tokens(self, batch: Batch, arrangement: Arrangement, lengths: Lengths, x: Tensor) -> Tokens:
        rows = len(batch)
        exists = [group.exists(Field(group.axes), batch.sizes, lengths, rows).to(x.device) for group in self.groups]
        whole = torch.ones(rows, 1, dtype=torch.bool, device=x.device)
        return Tokens(
            turns=rotation(arrangement.positions, self.config.channels, x),
            exists=torch.cat([whole, *exists], dim=1),
            spans=arrangement.spans,
            matrices=[matrix.to(x) for matrix in incidence_matrices(self.groups, arrangement, lengths)],
        )

    def _read(self, name: str, x: Tensor, tokens: Tokens, lengths: Lengths) -> Tensor:
        head = self.outputs[name]
        if not head.axes:
            return self.heads[name](tokens.mean(x))
        number = [group.name for group in self.groups].index(group_name(name, head.axes))
        group, span = self.groups[number], tokens.spans[number]
        full = group.spread(self.heads[name](x[:, span]), tokens.exists[:, span], lengths)
        if is_symmetric(self.inputs.get(name)) and not group.symmetric:
            full = (full + full.transpose(1, 2)) / 2
        return full


def _axes_of(outputs: Mapping[str, Head]) -> dict[str, Axis]:
    return axes({name: Field(head.axes) for name, head in outputs.items()})


def _require_no_rotation(fields: Iterable[Field], outputs: Mapping[str, Head]) -> None:
    if any(isinstance(field, Real) and field.rotates for field in fields) or any(
        head.rotates for head in outputs.values()
    ):
        raise UnsupportedSpace("a transformer is not equivariant, so nothing that rotates can pass through it")


def _require_few_directions(groups: Sequence[Group], config: TransformerConfig) -> None:
    count, most = len(ordered_directions(groups)), config.channels // 2
    if count > most:
        raise UnsupportedSpace(f"positions along {count} ordered axes need more than the {most} pairs of one head")
