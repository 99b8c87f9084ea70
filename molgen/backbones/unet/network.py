"""The U-Net (Ronneberger et al., arXiv 1505.04597) over grids and rows, all elements at once.

Causally the same name gives `pixelcnn` over grids and `wavenet` over sequences.

Letters in shapes: B batch, H and W places along the two directions, C channels, D width of what modulates,
N a width of a head.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, cast

import torch
from torch import Tensor, nn
from torch.nn.functional import silu

from molgen.backbone import Backbone, CausalBackbone, Head, LinearHeads
from molgen.backbones.unet.blocks import Gather, Spread, Stage, masked
from molgen.backbones.unet.config import UNetConfig
from molgen.backbones.unet.inputs import InputStem
from molgen.backbones.unet.pixelcnn import CausalGrid
from molgen.backbones.unet.resolutions import Frame, Grid, Pyramid, Span, fitted, head_shape
from molgen.backbones.unet.wavenet import CausalConvolutions
from molgen.batch import Batch, Partial, lengths, mask
from molgen.errors import UnsupportedSpace
from molgen.layers.aligned_condition import Alignment, split_condition
from molgen.layers.condition_embedding import ConditionEmbedding, with_rows
from molgen.layers.named import NamedModules
from molgen.layers.time_embedding import TimeEmbedding
from molgen.layers.token_embedding import element_embedding
from molgen.space import Field, Layout, Space, axes, layout

#: The causal network for each layout.
CAUSAL: Mapping[Layout, type[CausalBackbone]] = {Layout.GRID: CausalGrid, Layout.SEQUENCE: CausalConvolutions}


class UNet(LinearHeads, Backbone):
    """Reads grids of two ordered axes, or rows of one, at several resolutions, at any time, under any condition.

    Inputs, conditions and heads may lie on grids of other axes, as long as the sizes of the largest samples divide
    each other: an encoder reads (28, 28) and writes a latent over (7, 7), a decoder the other way round; see
    `Pyramid`. No resolution is built that leads from no input to no head. A head without axes reads the mean of the
    coarsest resolution; an input without axes, like time and other conditions, modulates all blocks.

    A condition over axes of the sample is read place by place, others by one vector.

    Raises:
        UnsupportedSpace: something rotates, an axis is not ordered, axes do not fit each other, or nothing has axes.
    """

    Config = UNetConfig
    molgen_tiny: ClassVar[Mapping[str, Any]] = {"width": 8, "levels": 2, "blocks": 1, "heads": 2}
    layouts = frozenset({Layout.GRID, Layout.SEQUENCE, Layout.RECORD})
    causal = True

    @classmethod
    def class_for(cls, inputs: Space, causal: bool) -> type[Backbone]:
        """The network of all elements at once, or causal convolutions.

        Raises:
            UnsupportedSpace: there are no causal convolutions over such a space.
        """
        if not causal:
            return cls
        if layout(inputs) not in CAUSAL:
            raise UnsupportedSpace(f"causal convolutions read sequences and grids, not a {layout(inputs).value}")
        return CAUSAL[layout(inputs)]

    def __init__(
        self, inputs: Space, outputs: Mapping[str, Head], config: UNetConfig, condition: Space | None = None
    ) -> None:
        super().__init__(inputs, outputs, config, condition)
        if any(head.rotates for head in outputs.values()):
            raise UnsupportedSpace("a U-Net is not equivariant, so it has no output that rotates")
        known = axes({**{f"head {name}": Field(head.axes) for name, head in outputs.items()}, **inputs})
        spans = [span for span in (*(f.axes for f in inputs.values()), *(h.axes for h in outputs.values())) if span]
        placed, rest = split_condition(condition or {}, known, lambda own: _span_of(own, spans) is not None)
        places = {name: _span_of(one.axes, spans) or () for name, one in placed.items()}
        self.pyramid = Pyramid(spans, config.levels)
        self.widths = [config.width_at(level) for level in range(config.levels)]
        self.time = TimeEmbedding(inputs, self.widths[-1])
        self.condition = ConditionEmbedding(rest, self.widths[-1]) if rest else None
        self.alone = NamedModules(
            {name: element_embedding(field, self.widths[-1]) for name, field in inputs.items() if not field.axes}
        )
        self.kernel = (3 if self.pyramid.wide[0] else 1, 3 if self.pyramid.wide[1] else 1)
        self.readings = nn.ModuleList(self._readings(inputs, placed, places))
        self._build_stages([*(field.axes for field in inputs.values()), *places.values()])
        self._build_heads()

    def _readings(self, inputs: Space, placed: Mapping[str, Alignment], places: Mapping[str, Span]) -> list[InputStem]:
        """What reads the fields over each grid."""
        found = []
        for span in dict.fromkeys(span for span in (*(f.axes for f in inputs.values()), *places.values()) if span):
            grid = self.pyramid.grids[span]
            fields = {name: field for name, field in inputs.items() if field.axes == span}
            conditions = {name: one for name, one in placed.items() if places[name] == span}
            found.append(InputStem(fields, conditions, grid, self.widths[grid.level], self.kernel))
        return found

    def _build_stages(self, spans: Sequence[Span]) -> None:
        """The resolutions from the finest that is read to the coarsest and on to the finest that is written."""
        config, bottom = self.config, self.config.levels - 1
        self.first = min((self._level(span) for span in spans if span), default=bottom)
        self.last = min((self._level(head.axes) for head in self.outputs.values() if head.axes), default=bottom)
        step = self.pyramid.step(1)

        def stage(level: int, heads: int = 0) -> Stage:
            return Stage(self.widths[level], self.kernel, self.widths[-1], config.blocks, config.dropout, heads)

        self.down = nn.ModuleDict({str(level): stage(level) for level in range(self.first, bottom)})
        self.coarser = nn.ModuleDict(
            {str(k): Gather(self.widths[k], self.widths[k + 1], step) for k in range(self.first, bottom)}
        )
        self.bottom = stage(bottom, config.heads)
        self.finer = nn.ModuleDict(
            {str(k): Spread(self.widths[k + 1], self.widths[k], step) for k in range(self.last, bottom)}
        )
        self.merge = nn.ModuleDict(
            {str(k): nn.Linear(2 * self.widths[k], self.widths[k]) for k in range(max(self.first, self.last), bottom)}
        )
        self.up = nn.ModuleDict({str(level): stage(level) for level in range(self.last, bottom)})
        coarsest = Frame(self.pyramid, self.pyramid.extent, None).shape(self.pyramid.step(bottom))
        self.places = nn.ParameterList(0.1 * torch.randn(length, self.widths[-1]) for length in coarsest)

    def _build_heads(self) -> None:
        levels = {name: self._level(head.axes) for name, head in self.outputs.items()}
        self.norms = nn.ModuleDict({str(level): nn.LayerNorm(self.widths[level]) for level in {*levels.values()}})
        self.heads = NamedModules(
            {
                name: Gather(self.widths[levels[name]], head.width, self._grid(head).patch)
                if head.axes
                else nn.Linear(self.widths[-1], head.width)
                for name, head in self.outputs.items()
            }
        )

    def _grid(self, head: Head) -> Grid:
        return self.pyramid.grids[head.axes]

    def _level(self, span: tuple[Any, ...]) -> int:
        """The resolution of some axes; what has none belongs to the coarsest."""
        return self.pyramid.grids[span].level if span else self.config.levels - 1

    def forward(
        self, batch: Batch, time: Tensor | Mapping[str, Tensor] | None, condition: Partial | None
    ) -> dict[str, Tensor]:
        """The outputs of every head, (B, *axes, N), zero in the padding.

        Args:
            batch: the inputs, and the sizes of the variable axes of inputs and heads.
            time: of each row, or of each field and row; None is time 0, data.
            condition: what is given; None is nothing.
        """
        batch = with_rows(batch, condition)
        frame = self.pyramid.frame(batch)
        about = silu(self._about(batch, time, condition))
        exists = [frame.exists(level) for level in range(self.config.levels)]
        levels = self._levels(batch, condition, frame, exists, about)
        found = {k: masked(silu(norm(levels[int(k)])), exists[int(k)]) for k, norm in self.norms.items()}
        return {name: self._read(name, found, batch, exists[-1]) for name in self.outputs}

    def _about(self, batch: Batch, time: Tensor | Mapping[str, Tensor] | None, condition: Partial | None) -> Tensor:
        """What modulates every block, (B, D)."""
        about = self.time(time, len(batch))
        for name, embedding in self.alone.items():
            about = about + embedding(batch.fields[name])
        return about if self.condition is None else about + self.condition(condition, len(batch))

    def _levels(
        self, batch: Batch, condition: Partial | None, frame: Frame, exists: list[Tensor | None], about: Tensor
    ) -> dict[int, Tensor]:
        """The last vectors of every resolution on the way up, (B, H, W, C) each."""
        bottom, skips = self.config.levels - 1, {}
        arriving: dict[int, Tensor] = {bottom: self._where(frame, len(batch))}
        for reading in cast(list[InputStem], list(self.readings)):
            level, x = reading.grid.level, reading(batch, condition, frame)
            arriving[level] = arriving[level] + x if level in arriving else x
        for k, stage in self.down.items():
            level = int(k)
            skips[k] = stage(masked(arriving[level], exists[level]), exists[level], about)
            x = self.coarser[k](skips[k])
            arriving[level + 1] = arriving[level + 1] + x if level + 1 in arriving else x
        x = self.bottom(masked(arriving[bottom], exists[bottom]), exists[bottom], about)
        found = {bottom: x}
        for level in range(bottom - 1, self.last - 1, -1):
            k = str(level)
            x = fitted(self.finer[k](x), frame.shape(self.pyramid.step(level)))
            if k in self.merge:
                x = self.merge[k](torch.cat([x, skips[k]], dim=-1))
            x = found[level] = self.up[k](masked(x, exists[level]), exists[level], about)
        return found

    def _where(self, frame: Frame, rows: int) -> Tensor:
        """The position of each place of the coarsest resolution, (B, H, W, C)."""
        height, width = frame.shape(self.pyramid.step(self.config.levels - 1))
        return (self.places[0][:height, None] + self.places[1][None, :width]).expand(rows, -1, -1, -1)

    def _read(self, name: str, found: Mapping[str, Tensor], batch: Batch, exists: Tensor | None) -> Tensor:
        head = self.outputs[name]
        x = found[str(self._level(head.axes))]
        if not head.axes:
            whole = torch.ones_like(x[..., :1]) if exists is None else exists.to(x)
            return self.heads[name](x.sum((1, 2)) / whole.sum((1, 2)).clamp(min=1))
        grid, shape = self._grid(head), head_shape(head.axes, lengths(self.inputs, batch), batch.sizes)
        output = grid.gather(fitted(self.heads[name](x), (1, *shape)[-2:]))
        if not any(axis.variable for axis in head.axes):
            return output
        inside = mask(Field(head.axes), batch.sizes, shape, len(batch)).to(output.device)
        return torch.where(inside[..., None], output, 0.0)


def _span_of(own: Span, spans: Sequence[Span]) -> Span | None:
    """The first grid that has all of some axes; what a condition has along one of two is the same along the other."""
    return next((span for span in spans if len({*own}) == len(own) and {*own} <= {*span}), None)
