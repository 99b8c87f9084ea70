"""The blocks of the network over graphs: messages from nodes to nodes, and from two nodes to their pair.

Letters in shapes: B batch, T tokens, N nodes of one axis, E stored pairs, D width, P pair width, H attention heads,
C width of one head.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import dropout, pad, silu

from molgen.backbones.graph.config import GraphConfig
from molgen.backbones.graph.pairs import Pairs, widened
from molgen.layers.attention import Attention, FeedForward, Rotation
from molgen.layers.named import accept_old_names
from molgen.layers.tokens import Group

#: Shift, scale and gate of the two parts of a block; and of the update of pairs.
NODE_MODULATIONS, PAIR_MODULATIONS = 6, 3


@dataclass(frozen=True)
class GraphContext:
    """What the blocks need to know of a batch beside the vectors.

    Attributes:
        turns: rotary positions of tokens in ordered directions.
        exists: which tokens do, (B, T).
        pairs: of each group of pairs.
    """

    turns: Rotation
    exists: Tensor
    pairs: Sequence[Pairs]

    def mean(self, x: Tensor) -> Tensor:
        """The mean of the tokens that exist, (B, T, D) to (B, D)."""
        weight = self.exists[..., None].to(x)
        return (x * weight).sum(1) / weight.sum(1)


class Exchange(nn.Module, ABC):
    """(B, T, D) and the vectors of pairs, (B, E, P) of each group, to a message to each token, (B, T, D)."""

    @abstractmethod
    def __init__(self, groups: Sequence[Group], config: GraphConfig) -> None:
        super().__init__()

    @abstractmethod
    def forward(self, x: Tensor, pairs: Sequence[Tensor], context: GraphContext) -> Tensor:
        """The messages."""


class PairAttention(Exchange):
    """Attention among all tokens, biased by the pairs, whose vectors are summed with the weights of each head.

    A graph transformer as in DiGress (arXiv 2209.14734, appendix B.1), with one bias for each head in the place of
    one for each channel, so that attention stays a product of matrices. Softmax cannot count, so a node also gets
    the sum of its pairs, in parts of the square root of their number.
    """

    def __init__(self, groups: Sequence[Group], config: GraphConfig) -> None:
        nn.Module.__init__(self)
        self.width = config.pair_width
        self.attention = Attention(config.width, config.heads)
        outputs = config.heads + self.width
        self.pair_projections = nn.ModuleList(nn.Linear(self.width, outputs, bias=False) for _ in groups)
        self.message_projections = nn.ModuleList(
            nn.Linear((config.heads + 1) * self.width, config.width, bias=False) for _ in groups
        )
        accept_old_names(self, {"pair_projections": "say", "message_projections": "hear"})

    def forward(self, x: Tensor, pairs: Sequence[Tensor], context: GraphContext) -> Tensor:
        """The messages, (B, T, D)."""
        queries, keys, values = self.attention.project(x, context.turns)
        logits = (queries * queries.shape[-1] ** -0.5) @ keys.transpose(2, 3)
        messages = []
        for projection, own, places in zip(self.pair_projections, pairs, context.pairs, strict=True):
            bias, message = places.spread(projection(own)).split([logits.shape[1], self.width], dim=-1)
            logits = logits + widened(bias.permute(0, 3, 1, 2), places.span, x.shape[1])
            messages.append(message)
        weights = logits.masked_fill(~context.exists[:, None, None], -torch.inf).softmax(-1)
        found = self.attention.merge(weights @ values)
        for projection, message, places in zip(self.message_projections, messages, context.pairs, strict=True):
            found = found + projection(_summed(weights[..., places.span], message, places))
        return found


def _summed(weights: Tensor, messages: Tensor, places: Pairs) -> Tensor:
    """The sums of the messages of pairs by the weights of each head, and evenly, (B, T, (H+1) P).

    A node gets those of its own pairs, another token the means over the pairs of all nodes.

    Args:
        weights: of the nodes for each token, (B, H, T, N).
        messages: of pairs in both orders, (B, N, N, P).
        places: of the pairs.
    """
    exist = places.nodes[:, None].to(weights)
    count = exist.sum(2, keepdim=True).clamp(min=1)
    evenly = (exist * count**-0.5)[:, :, None].expand(-1, -1, weights.shape[2], -1)
    weights = torch.cat([weights, evenly], dim=1).transpose(1, 2)
    of_nodes = ((exist / count)[:, None] @ messages).squeeze(2)
    span = places.span
    near = (weights[:, span] @ messages).flatten(2)
    before, after = (
        (part.flatten(1, 2) @ of_nodes).view(len(part), -1, near.shape[2])
        for part in (weights[:, : span.start], weights[:, span.stop :])
    )
    return torch.cat([before, near, after], dim=1)


class MessagePassing(Exchange):
    """Messages along the pairs that are joined, by torch-geometric; and from the mean of all tokens to each.

    The second is the master node of Gilmer et al. (arXiv 1704.01212, section 5.2): it leads from part to part of a
    graph, and to the places of an axis that no pair joins, such as the slots of a latent.
    """

    def __init__(self, groups: Sequence[Group], config: GraphConfig) -> None:
        # Seconds to import: only who passes messages pays.
        from molgen.backbones.graph.convolution import Convolution

        nn.Module.__init__(self)
        self.convolutions = nn.ModuleList(Convolution(config.width, config.pair_width) for _ in groups)
        self.master = nn.Sequential(
            nn.Linear(config.width, config.width), nn.SiLU(), nn.Linear(config.width, config.width)
        )

    def forward(self, x: Tensor, pairs: Sequence[Tensor], context: GraphContext) -> Tensor:
        """The messages, (B, T, D)."""
        found = torch.zeros_like(x)
        for convolution, own, places in zip(self.convolutions, pairs, context.pairs, strict=True):
            messages = convolution(x[:, places.span], own, places)
            found = found + pad(messages, (0, 0, places.span.start, x.shape[1] - places.span.stop))
        return found + self.master(context.mean(x + found))[:, None]


#: The kinds of layer by the name that a configuration gives.
LAYERS: Mapping[str, type[Exchange]] = {"transformer": PairAttention, "message_passing": MessagePassing}


class Triangles(nn.Module):
    """A message to a pair (i, j) along its triangles: the sum over k of products of projections of (i, k) and (k, j).

    The multiplicative update of Jumper et al. (2021, supplementary algorithm 11) without its gates, in parts of the
    square root of the number of nodes; it takes time as N³ in each channel.
    """

    def __init__(self, group: Group, config: GraphConfig) -> None:
        super().__init__()
        self.group = group
        self.projection = nn.Linear(config.pair_width, 2 * config.triangles, bias=False)
        self.output = nn.Linear(config.triangles, config.pair_width, bias=False)
        accept_old_names(self, {"projection": "say", "output": "hear"})

    def forward(self, own: Tensor, places: Pairs) -> Tensor:
        """(B, E, P) to (B, E, P)."""
        count = places.nodes.sum(1).clamp(min=1).to(own)
        sides = self.projection(own) * (places.exists * count[:, None] ** -0.25)[..., None]
        first, second = places.spread(sides).permute(0, 3, 1, 2).chunk(2, dim=1)
        found = first @ second
        if self.group.symmetric:
            found = found + found.transpose(2, 3)
        return self.output(self.group.select(found.permute(0, 2, 3, 1)))


class PairUpdate(nn.Module):
    """Messages to a pair from its two nodes and along its triangles, and a gated network for each pair by itself.

    Sum and product of the projections of the nodes are the same in both orders; where a pair and its reverse differ,
    each end has a projection of its own.
    """

    def __init__(self, group: Group, config: GraphConfig) -> None:
        super().__init__()
        width = config.pair_width
        ends = 1 if group.symmetric else 2
        self.node_projections = nn.ModuleList(nn.Linear(config.width, 2 * width, bias=False) for _ in range(ends))
        accept_old_names(self, {"node_projections": "say"})
        self.triangles = Triangles(group, config) if config.triangles else None
        self.read = nn.Linear(2 * width, 4 * width, bias=False)
        self.write = nn.Linear(2 * width, width, bias=False)

    def forward(self, nodes: Tensor, own: Tensor, places: Pairs) -> Tensor:
        """(B, N, D) and (B, E, P) to (B, E, P)."""
        ends = [projection(nodes) for projection in self.node_projections]
        added, times = places.at(ends[0], 0).chunk(2, dim=-1)
        more, factor = places.at(ends[-1], 1).chunk(2, dim=-1)
        messages = added + more + times * factor
        if self.triangles is not None:
            messages = messages + self.triangles(own, places)
        gate, values = self.read(torch.cat([own, messages], dim=-1)).chunk(2, dim=-1)
        return self.write(silu(gate) * values)


class Block(nn.Module):
    """Messages to nodes, a network for each node by itself, then messages to each pair from its nodes.

    Each part reads normalised vectors, scaled and shifted, and its result is scaled again, by vectors that follow
    time and condition: adaLN-Zero (Peebles & Xie, arXiv 2212.09748). The vectors are made once for all blocks, and
    each block adds an offset of its own (Chen et al., arXiv 2310.00426, section 2.3).

    Args:
        groups: of pairs.
        config: the sizes.
        writes: whether pairs are still read after this block.
    """

    def __init__(self, groups: Sequence[Group], config: GraphConfig, writes: bool) -> None:
        super().__init__()
        self.dropout = config.dropout
        self.exchange = LAYERS[config.layer](groups, config)
        self.feed_forward = FeedForward(config.width)
        self.updates = nn.ModuleList(PairUpdate(group, config) for group in groups if writes)
        self.norm = nn.RMSNorm(config.width, elementwise_affine=False)
        self.pair_norm = nn.RMSNorm(config.pair_width, elementwise_affine=False)
        self.offset = nn.Parameter(torch.zeros(NODE_MODULATIONS, config.width))
        self.pair_offsets = nn.ParameterList(
            torch.zeros(PAIR_MODULATIONS if writes else 2, config.pair_width) for _ in groups
        )

    def forward(
        self, x: Tensor, pairs: list[Tensor], context: GraphContext, modulation: Tensor, of_pairs: Tensor
    ) -> tuple[Tensor, list[Tensor]]:
        """(B, T, D) and (B, E, P) of each group, one layer on; modulations are (B, 6, D) and (B, 3, P)."""
        shift, scale, gate, shift_2, scale_2, gate_2 = (modulation + self.offset)[:, :, None].unbind(1)
        vectors = [(of_pairs[:, : len(own)] + own)[:, :, None].unbind(1) for own in self.pair_offsets]
        read = [self.pair_norm(p) * (1 + v[1]) + v[0] for p, v in zip(pairs, vectors, strict=True)]
        x = x + gate * self._dropped(self.exchange(self.norm(x) * (1 + scale) + shift, read, context))
        x = x + gate_2 * self._dropped(self.feed_forward(self.norm(x) * (1 + scale_2) + shift_2))
        if len(self.updates):
            normal = self.norm(x)
            changes = [
                update(normal[:, places.span], own, places)
                for update, own, places in zip(self.updates, read, context.pairs, strict=True)
            ]
            pairs = [p + v[2] * new for p, v, new in zip(pairs, vectors, changes, strict=True)]
        return x, pairs

    def _dropped(self, x: Tensor) -> Tensor:
        return dropout(x, self.dropout, self.training)
