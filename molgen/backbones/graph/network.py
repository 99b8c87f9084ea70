"""The network over graphs: vectors of nodes and narrower ones of pairs of nodes, all elements at once.

Attention runs among nodes, so that time grows as N² D + N D² + N² P² and not as N⁴, as it does where each pair is a
token. Causally the same name gives the causal transformer.

Memory: a pair without direction is stored once, N (N - 1) / 2 vectors in the place of N². For its gradient a block
keeps about 18 P numbers for each stored pair, and P + 5 H for each of the N² orders, which attention reads: in float32,
with P = 32 and H = 8, 1.4 kB for each of the N² orders, and 2.6 kB where pairs have a direction.

Letters in shapes: B batch, T tokens, N nodes of one axis, E stored pairs, M modulating vectors, D width, P pair width,
H attention heads, W head width.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import pad, silu

from molgen.backbone import Backbone, Head, LinearHeads
from molgen.backbones.graph.config import GraphConfig
from molgen.backbones.graph.features import FEATURES, StructureEmbedding
from molgen.backbones.graph.layers import LAYERS, NODE_MODULATIONS, PAIR_MODULATIONS, Block, GraphContext
from molgen.backbones.graph.pairs import joining, pairs_of
from molgen.backbones.transformer.causal import CausalTransformer
from molgen.batch import Batch, Partial
from molgen.errors import UnsupportedSpace
from molgen.layers.aligned_condition import Alignment, split_condition
from molgen.layers.attention import rotation
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
)
from molgen.space import Axis, Field, Layout, Space, axes, is_pairwise, is_symmetric


class Graph(LinearHeads, Backbone):
    """Reads nodes and pairs of nodes, at any time, under any condition; also sets, rows and what has no axes.

    The tokens are the elements of every axis, one for each field without axes, and one for the whole sample; each
    group of pairs stands between the tokens of its axis. Positions are read in ordered directions only; along
    unordered axes the outputs move with the elements. Inputs and heads may lie over other axes: an encoder reads
    nodes and writes slots, a decoder the other way round. A head over a pair has one output for both orders
    unless an input over the pair is not symmetric; one without axes reads the means of tokens and of pairs.

    Two nodes are joined, for messages and features, where a field of classes over their pair is not of class 0;
    where there is no such field, all are joined for messages, and features say nothing.

    A condition over axes of the sample is read place by place, others by one vector.

    Raises:
        UnsupportedSpace: something rotates; or a field lies over several axes that are not one axis twice; or a
            condition has an axis of the sample with another length.
    """

    Config = GraphConfig
    molgen_tiny: ClassVar[Mapping[str, Any]] = {"width": 24, "pair_width": 8, "layers": 2, "heads": 3}
    layouts = frozenset({Layout.GRAPH, Layout.SET, Layout.SEQUENCE, Layout.RECORD})
    causal = True

    @classmethod
    def class_for(cls, inputs: Space, causal: bool) -> type[Backbone]:
        """The network of all elements at once, or the causal transformer."""
        return CausalTransformer if causal else cls

    def __init__(
        self, inputs: Space, outputs: Mapping[str, Head], config: GraphConfig, condition: Space | None = None
    ) -> None:
        super().__init__(inputs, outputs, config, condition)
        _require_names(config)
        if any(head.rotates for head in outputs.values()):
            raise UnsupportedSpace("a graph network is not equivariant, so it has no output that rotates")
        known = axes({**{f"head {name}": Field(head.axes) for name, head in outputs.items()}, **inputs})
        placed, rest = split_condition(condition or {}, known, lambda own: len(own) == 1 or is_pairwise(Field(own)))
        others = [alignment.placed for alignment in placed.values()]
        every = groups_of(inputs, others, [*(head.axes for head in outputs.values()), *_lines(known)])
        self.nodes = tuple(group for group in every if len(group.axes) < 2)
        self.pairs = tuple(group for group in every if len(group.axes) > 1)
        _require_pairs(self.pairs)
        self.elements = _embedding(inputs, placed, self.nodes, config.width)
        self.pair_elements = _embedding(inputs, placed, self.pairs, config.pair_width) if self.pairs else None
        self.structures = nn.ModuleDict(
            {
                str(number): StructureEmbedding(group, config)
                for number, group in enumerate(self.pairs)
                if config.features and joining(group, inputs)
            }
        )
        self.time = TimeEmbedding(inputs, config.width)
        self.condition = ConditionEmbedding(rest, config.width) if rest else None
        self._build_blocks()
        self.heads = NamedModules({name: nn.Linear(self._read_width(name), h.width) for name, h in outputs.items()})

    def _build_blocks(self) -> None:
        config = self.config
        self.modulation = _zero(nn.Linear(config.width, (NODE_MODULATIONS + 2) * config.width))
        self.pair_modulation = (
            _zero(nn.Linear(config.width, (PAIR_MODULATIONS + 2) * config.pair_width)) if self.pairs else None
        )
        read_last = any(not head.axes or is_pairwise(Field(head.axes)) for head in self.outputs.values())
        self.blocks = nn.ModuleList(
            Block(self.pairs, config, writes=read_last or number < config.layers)
            for number in range(1, config.layers + 1)
        )
        self.norm = nn.RMSNorm(config.width, elementwise_affine=False)
        self.pair_norm = nn.RMSNorm(config.pair_width, elementwise_affine=False)

    def _read_width(self, name: str) -> int:
        span = self.outputs[name].axes
        if not span:
            return self.config.width + len(self.pairs) * self.config.pair_width
        return self.config.pair_width if len(span) > 1 else self.config.width

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
        lengths = lengths_of((*self.nodes, *self.pairs), self.inputs, batch)
        arrangement = arrange(self.nodes, tuple(lengths.items()))
        x = self.elements(batch, condition, arrangement, lengths)
        context = self._context(batch, arrangement, lengths, x)
        pairs = self._pair_vectors(batch, condition, lengths)
        x = self._with_structure(x, pairs, context)
        about = silu(self._about(batch, time, condition))
        modulation, of_pairs = self._modulations(about)
        for block in self.blocks:
            x, pairs = block(x, pairs, context, modulation[:, 2:], of_pairs[:, 2:])
        x = self.norm(x) * (1 + modulation[:, :1]) + modulation[:, 1:2]
        pairs = [self.pair_norm(own) * (1 + of_pairs[:, :1]) + of_pairs[:, 1:2] for own in pairs]
        return {name: self._read(name, x, pairs, context, arrangement, lengths) for name in self.outputs}

    def _about(self, batch: Batch, time: Tensor | Mapping[str, Tensor] | None, condition: Partial | None) -> Tensor:
        """What modulates every block, (B, D)."""
        about = self.time(time, len(batch))
        return about if self.condition is None else about + self.condition(condition, len(batch))

    def _modulations(self, about: Tensor) -> tuple[Tensor, Tensor]:
        """(B, M, D) and (B, M, P); the first two are those of the last normalisation."""
        of_nodes = self.modulation(about).unflatten(-1, (-1, self.config.width))
        if self.pair_modulation is None:
            return of_nodes, of_nodes[..., :0]
        return of_nodes, self.pair_modulation(about).unflatten(-1, (-1, self.config.pair_width))

    def _context(self, batch: Batch, arrangement: Arrangement, lengths: Lengths, x: Tensor) -> GraphContext:
        rows = len(batch)
        each = [group.exists(Field(group.axes), batch.sizes, lengths, rows).to(x.device) for group in self.nodes]
        whole = torch.ones(rows, 1, dtype=torch.bool, device=x.device)
        exists = torch.cat([whole, *each], dim=1)
        pairs = []
        for group in self.pairs:
            span = arrangement.spans[self._number(group.axes[:1])]
            pairs.append(pairs_of(group, self.inputs, batch, span, exists[:, span], lengths, x))
        return GraphContext(rotation(arrangement.positions, self.config.channels, x), exists, pairs)

    def _number(self, span: tuple[Axis, ...]) -> int:
        """The number of the group of nodes along one axis."""
        return [group.axes for group in self.nodes].index(span)

    def _pair_vectors(self, batch: Batch, condition: Partial | None, lengths: Lengths) -> list[Tensor]:
        """The first vectors of each group of pairs, (B, E, P)."""
        if self.pair_elements is None:
            return []
        arrangement = arrange(self.pairs, tuple(lengths.items()))
        found = self.pair_elements(batch, condition, arrangement, lengths)
        return [found[:, :1] + found[:, span] for span in arrangement.spans]

    def _with_structure(self, x: Tensor, pairs: list[Tensor], context: GraphContext) -> Tensor:
        """The tokens with features of their structure; those of pairs is added to those in the list."""
        for number, structure in self.structures.items():
            places = context.pairs[int(number)]
            nodes, of_pairs, whole = structure(places)
            x = x + pad(nodes, (0, 0, places.span.start, x.shape[1] - places.span.stop))
            if of_pairs is not None:
                pairs[int(number)] = pairs[int(number)] + of_pairs
            if whole is not None:
                x = x + pad(whole[:, None], (0, 0, 0, x.shape[1] - 1))
        return x

    def _read(
        self,
        name: str,
        x: Tensor,
        pairs: list[Tensor],
        context: GraphContext,
        arrangement: Arrangement,
        lengths: Lengths,
    ) -> Tensor:
        head = self.outputs[name]
        if not head.axes:
            means = [places.mean(own) for own, places in zip(pairs, context.pairs, strict=True)]
            return self.heads[name](torch.cat([context.mean(x), *means], dim=-1))
        if len(head.axes) == 1:
            number = self._number(head.axes)
            span = arrangement.spans[number]
            return self.nodes[number].spread(self.heads[name](x[:, span]), context.exists[:, span], lengths)
        number = [group.axes for group in self.pairs].index(head.axes)
        group = self.pairs[number]
        full = group.spread(self.heads[name](pairs[number]), context.pairs[number].exists, lengths)
        if is_symmetric(self.inputs.get(name)) and not group.symmetric:
            full = (full + full.transpose(1, 2)) / 2
        return full


def _lines(known: Mapping[str, Axis]) -> list[tuple[Axis, ...]]:
    """Each axis by itself, so that its elements are tokens where only pairs of them have fields."""
    return [(axis,) for axis in known.values()]


def _embedding(inputs: Space, placed: Mapping[str, Alignment], groups: Sequence[Group], width: int) -> ElementEmbedding:
    """The first vectors of the places of some groups."""
    names = {group.name for group in groups}
    own = {name: field for name, field in inputs.items() if group_name(name, field.axes) in names}
    conditions = {name: one for name, one in placed.items() if group_name(name, one.axes) in names}
    return ElementEmbedding(own, conditions, tuple(groups), width)


def _zero(layer: nn.Linear) -> nn.Linear:
    """With gates at zero every block starts as the identity."""
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer


def _require_names(config: GraphConfig) -> None:
    if config.layer not in LAYERS:
        raise ValueError(f"no layer {config.layer!r}; known: {', '.join(LAYERS)}")
    if unknown := [name for name in config.features if name not in FEATURES]:
        raise ValueError(f"no feature {unknown[0]!r}; known: {', '.join(FEATURES)}")


def _require_pairs(groups: Sequence[Group]) -> None:
    for group in groups:
        if not is_pairwise(Field(group.axes)):
            raise UnsupportedSpace(
                f"a graph network takes fields over one axis or over one axis twice, not over {group.name}; choose "
                "another backbone, such as transformer"
            )
