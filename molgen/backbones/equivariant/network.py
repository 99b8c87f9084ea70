"""The networks over points in space, by the kind of their blocks: tokens, their vectors, and the outputs.

The tokens are those of the other networks: the elements of every axis, one for each field without axes, and one for the
whole sample. A token has scalars, and vectors that turn with space; those of a field that rotates start from its
numbers. What has no place, as the token of the whole sample, is at the common centre.

Letters in shapes: B batch, T tokens, N elements of one axis, E stored pairs, D width, V vectors, P pair width,
C given vectors, W width of a head.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import prod
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import pad, silu

from molgen.backbone import Backbone, Head, LinearHeads
from molgen.backbones.equivariant.config import EquivariantConfig
from molgen.backbones.equivariant.core import Core, Geometry, State, geometry, norms
from molgen.backbones.equivariant.egnn import EGNN
from molgen.batch import Batch, Partial
from molgen.config import by_name
from molgen.errors import UnsupportedSpace
from molgen.layers.aligned_condition import Alignment, split_condition
from molgen.layers.condition_embedding import ConditionEmbedding, with_rows
from molgen.layers.named import NamedModules
from molgen.layers.time_embedding import TimeEmbedding
from molgen.layers.token_embedding import ElementEmbedding
from molgen.layers.tokens import Arrangement, Group, Lengths, arrange, group_name, groups_of, lengths_of
from molgen.space import Axis, Field, Layout, Real, Space, axes, is_pairwise, is_symmetric

#: Fields whose distances are read in waves, at most: a position, and what was predicted of it before.
MOST_POSITIONS = 2


def _irreps(config: EquivariantConfig, radial: int, pairs: bool, reads_pairs: bool) -> Core:
    # e3nn takes seconds to import, which only those wait for who use it.
    from molgen.backbones.equivariant.irreps import Irreps

    return Irreps(config, radial, pairs, reads_pairs)


#: The blocks by the names of their kinds in the configuration.
KINDS: Mapping[str, Callable[[EquivariantConfig, int, bool, bool], Core]] = {"egnn": EGNN, "e3nn": _irreps}


class Equivariant(LinearHeads, Backbone):
    """Reads points in space, with classes, numbers and pairs, at any time, under any condition.

    Outputs turn with space where their head `rotates`, of which the width is three times the number of vectors, and
    stay otherwise. A mirror changes them as it changes the sample: left and right are told apart. Fields with a common
    centre are read by their differences, and from the centre. All pairs exchange messages.

    A condition over axes of the sample is read place by place, others by one vector.

    Raises:
        UnsupportedSpace: nothing rotates, or not in three dimensions; a field lies over several axes that are not one
            axis twice; a condition rotates; or a head over pairs rotates.
    """

    Config = EquivariantConfig
    molgen_tiny: ClassVar[Mapping[str, Any]] = {"width": 12, "layers": 2, "vectors": 4, "pair_width": 4, "radial": 4}
    layouts = frozenset({Layout.POINTS})

    def __init__(
        self, inputs: Space, outputs: Mapping[str, Head], config: EquivariantConfig, condition: Space | None = None
    ) -> None:
        super().__init__(inputs, outputs, config, condition)
        self.turning = {name: field for name, field in inputs.items() if isinstance(field, Real) and field.rotates}
        still = {name: field for name, field in inputs.items() if name not in self.turning}
        _require_vectors(self.turning, condition or {}, outputs)
        known = axes({**{f"head {name}": Field(head.axes) for name, head in outputs.items()}, **inputs})
        placed, rest = split_condition(condition or {}, known, lambda own: len(own) == 1 or is_pairwise(Field(own)))
        others = [alignment.placed for alignment in placed.values()]
        lines = [(axis,) for axis in known.values()]
        every = groups_of(inputs, others, [*(head.axes for head in outputs.values()), *lines])
        self.nodes = tuple(group for group in every if len(group.axes) < 2)
        self.pairs = tuple(group for group in every if len(group.axes) > 1)
        _require_pairs(self.pairs)
        self.elements = _embedding(still, placed, self.nodes, config.width)
        self.pair_elements = _embedding(still, placed, self.pairs, config.pair_width) if self.pairs else None
        self.directions = NamedModules(
            {name: nn.Linear(_vectors(field), config.vectors, bias=False) for name, field in self.turning.items()}
        )
        self.positions = _positions(self.turning)
        self.time = TimeEmbedding(inputs, config.width)
        self.condition = ConditionEmbedding(rest, config.width) if rest else None
        radial = config.radial * len(self.positions)
        of_pairs = any(len(head.axes) > 1 for head in outputs.values())
        self.core = by_name("kind", config.kind, KINDS)(config, radial, bool(self.pairs), of_pairs)
        self.norm = nn.RMSNorm(config.width + config.vectors)
        self.pair_read = nn.Linear(self._pair_numbers(radial), config.width) if of_pairs else None
        self.heads = NamedModules({name: self._head(head) for name, head in outputs.items()})

    def _pair_numbers(self, radial: int) -> int:
        return self.config.width + self.config.vectors + self.config.pair_width + radial

    def _head(self, head: Head) -> nn.Linear:
        if len(head.axes) > 1:
            return nn.Linear(self.config.width, head.width)
        read = self.config.width + self.config.vectors
        return nn.Linear(read, head.width // 3 * self.config.vectors if head.rotates else head.width)

    def output_bias(self, name: str) -> Tensor | None:
        """That of the last layer; vectors have none."""
        return None if self.outputs[name].rotates else super().output_bias(name)

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
        scalars = self.elements(batch, condition, arrangement, lengths)
        places = self._geometry(batch, arrangement, lengths, scalars)
        pairs = self._pair_vectors(batch, condition, arrangement, lengths)
        about = self.time(time, len(batch))
        if self.condition is not None:
            about = about + self.condition(condition, len(batch))
        state = State(scalars, self._vectors(batch, arrangement, scalars), pairs)
        state = self.core(state, places, silu(about))
        read = self.norm(torch.cat([state.scalars, norms(state.vectors)], -1))
        pair_read = self._pair_read(state, read, places)
        return {name: self._read(name, state, read, pair_read, places, arrangement, lengths) for name in self.outputs}

    # --- what goes in -----------------------------------------------------------------------------------

    def _span(self, axes: tuple[Axis, ...], arrangement: Arrangement, name: str = "") -> slice:
        """The tokens of the group over one axis, or of a field without axes."""
        return arrangement.spans[[group.name for group in self.nodes].index(group_name(name, axes))]

    def _geometry(self, batch: Batch, arrangement: Arrangement, lengths: Lengths, like: Tensor) -> Geometry:
        rows = len(batch)
        each = [group.exists(Field(group.axes), batch.sizes, lengths, rows).to(like.device) for group in self.nodes]
        whole = torch.ones(rows, 1, dtype=torch.bool, device=like.device)
        exists = torch.cat([whole, *each], dim=1)
        points = []
        for name in self.positions:
            own = _as_vectors(self.turning[name], batch.fields[name]).to(like)[:, :, 0]
            points.append(self._at_tokens(own, self._span(self.turning[name].axes, arrangement, name), like.shape[1]))
        return geometry(exists, points, self.config.radial)

    def _vectors(self, batch: Batch, arrangement: Arrangement, like: Tensor) -> Tensor:
        """The first vectors of all tokens, (B, T, V, 3)."""
        total = like.new_zeros(len(batch), like.shape[1], self.config.vectors, 3)
        for name, field in self.turning.items():
            own = _as_vectors(field, batch.fields[name]).to(like)
            mixed = self.directions[name](own.transpose(2, 3)).transpose(2, 3)
            total = total + self._at_tokens(mixed, self._span(field.axes, arrangement, name), like.shape[1])
        return total

    def _at_tokens(self, values: Tensor, span: slice, tokens: int) -> Tensor:
        """(B, N, ...) as (B, T, ...), zero elsewhere."""
        return pad(values, [0, 0] * (values.ndim - 2) + [span.start, tokens - span.stop])

    def _pair_vectors(
        self, batch: Batch, condition: Partial | None, arrangement: Arrangement, lengths: Lengths
    ) -> Tensor | None:
        """The first vectors of all pairs of tokens, (B, T, T, P)."""
        if self.pair_elements is None:
            return None
        stored = arrange(self.pairs, tuple(lengths.items()))
        found = self.pair_elements(batch, condition, stored, lengths)
        tokens = arrangement.spans[-1].stop if self.nodes else 1
        total = found[:, :1, None].expand(-1, tokens, tokens, -1)
        for group, span in zip(self.pairs, stored.spans, strict=True):
            exists = group.exists(Field(group.axes), batch.sizes, lengths, len(batch)).to(found.device)
            block = group.spread(found[:, span], exists, lengths)
            own = self._span(group.axes[:1], arrangement)
            before, after = own.start, tokens - own.stop
            total = total + pad(block, (0, 0, before, after, before, after))
        return total

    # --- what comes out ---------------------------------------------------------------------------------

    def _pair_read(self, state: State, read: Tensor, places: Geometry) -> Tensor | None:
        """What heads over pairs read, the same for both orders of a pair but for what fields say, (B, T, T, D)."""
        if self.pair_read is None:
            return None
        width = read.shape[-1]
        # The layer is split as that of messages is, see `core.Messages`.
        weight = self.pair_read.weight
        both = read @ weight[:, :width].T
        about = torch.cat([state.pairs, places.radial], -1) if state.pairs is not None else places.radial
        return silu(both[:, :, None] + both[:, None] + about @ weight[:, width:].T + self.pair_read.bias)

    def _read(
        self,
        name: str,
        state: State,
        read: Tensor,
        pair_read: Tensor | None,
        places: Geometry,
        arrangement: Arrangement,
        lengths: Lengths,
    ) -> Tensor:
        head = self.outputs[name]
        if len(head.axes) > 1:
            assert pair_read is not None
            return self._read_pairs(name, pair_read, places, arrangement)
        values = self.heads[name](read)
        if head.rotates:
            share = values.unflatten(-1, (-1, self.config.vectors))
            values = (share @ state.vectors).flatten(2)
        if not head.axes:
            weight = places.exists[..., None].to(values)
            return (values * weight).sum(1) / weight.sum(1)
        span = self._span(head.axes, arrangement)
        group = self.nodes[arrangement.spans.index(span)]
        return group.spread(values[:, span], places.exists[:, span], lengths)

    def _read_pairs(self, name: str, pair_read: Tensor, places: Geometry, arrangement: Arrangement) -> Tensor:
        axes = self.outputs[name].axes
        span = self._span(axes[:1], arrangement)
        values = self.heads[name](pair_read[:, span, span])
        group = next(group for group in self.pairs if group.axes == axes)
        if group.symmetric or is_symmetric(self.inputs.get(name)):
            values = (values + values.transpose(1, 2)) / 2
        exists = places.exists[:, span]
        return torch.where((exists[:, :, None] & exists[:, None])[..., None], values, 0.0)


def _vectors(field: Real) -> int:
    """How many vectors stand at each place."""
    return prod(field.channels) // 3


def _as_vectors(field: Real, tensor: Tensor) -> Tensor:
    """(B, N, C, 3) of the field over one axis; one without axes has one place."""
    return tensor.reshape(len(tensor), tensor.shape[1] if field.axes else 1, _vectors(field), 3)


def _positions(turning: Mapping[str, Real]) -> list[str]:
    """The fields that say where tokens are: those with a common centre, or the first where there is none."""
    centred = [name for name, field in turning.items() if field.centred]
    return (centred or list(turning))[: MOST_POSITIONS if centred else 1]


def _embedding(inputs: Space, placed: Mapping[str, Alignment], groups: Sequence[Group], width: int) -> ElementEmbedding:
    """The first scalars of the places of some groups."""
    names = {group.name for group in groups}
    own = {name: field for name, field in inputs.items() if group_name(name, field.axes) in names}
    conditions = {name: one for name, one in placed.items() if group_name(name, one.axes) in names}
    return ElementEmbedding(own, conditions, tuple(groups), width)


def _require_vectors(turning: Mapping[str, Real], condition: Space, outputs: Mapping[str, Head]) -> None:
    for name, own in turning.items():
        if own.channels[-1] != 3 or len(own.axes) > 1:
            raise UnsupportedSpace(f"{name!r} rotates, and is not one or more vectors of three numbers along one axis")
    for name, field in condition.items():
        if isinstance(field, Real) and field.rotates:
            raise UnsupportedSpace(f"the condition {name!r} rotates, and an equivariant network reads none that does")
    for name, head in outputs.items():
        if head.rotates and (head.width % 3 or len(head.axes) > 1):
            raise UnsupportedSpace(f"the output {name!r} rotates, and is not vectors of three numbers along one axis")


def _require_pairs(groups: Sequence[Group]) -> None:
    for group in groups:
        if not is_pairwise(Field(group.axes)):
            raise UnsupportedSpace(
                f"an equivariant network takes fields over one axis or over one axis twice, not over {group.name}"
            )
