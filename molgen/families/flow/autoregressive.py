"""The autoregressive flow: each number is transformed by a function that follows from the numbers before it.

Blocks of masked autoregressive flows (Papamakarios et al., arXiv 1705.07057) with causal transformers, every other one
from the end to the beginning, as in TarFlow (Zhai et al., arXiv 2412.06329). A density takes one run of each network,
a sample one step of it for each token.

Letters in shapes: B batch, T tokens, S numbers of a token, P parameters of one number.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from molgen.backbone import Build
from molgen.batch import Partial
from molgen.config import by_name
from molgen.errors import UnsupportedSpace
from molgen.families.flow.config import FlowConfig
from molgen.families.flow.invertible import TRANSFORMS, Invertible
from molgen.families.flow.layers import Layer, Moved, States
from molgen.families.flow.scales import Squeeze
from molgen.families.flow.splines import Mapped, Transform
from molgen.families.flow.tokens import Reader, Row, Tokens
from molgen.families.parts.elements import PackedElements
from molgen.space import Real, Space

#: Time and memory of attention grow with the square of the number of tokens.
MOST_TOKENS = 2048


class Block(Layer):
    """Every number by a function whose parameters a causal network reads off the tokens before its own.

    Args:
        space: the fields of numbers.
        condition: of the model.
        config: of the family.
        transform: the function of one number.
        backwards: whether from the last token to the first.

    Raises:
        UnsupportedSpace: samples have too many tokens.
    """

    def __init__(
        self, space: Mapping[str, Real], condition: Space, config: FlowConfig, transform: Transform, backwards: bool
    ) -> None:
        super().__init__()
        self.tokens, self.transform, self.backwards = Tokens(space, config.token_size), transform, backwards
        if self.tokens.most > MOST_TOKENS:
            raise UnsupportedSpace(
                f"the largest sample has {self.tokens.most} tokens, more than the {MOST_TOKENS} of an autoregressive "
                "flow; raise family.token_size or family.patch, or choose family.variant=coupling"
            )
        self.reader = Reader(self.tokens, condition, config, self.tokens.size * transform.count)

    def map(self, states: States, elements: PackedElements, condition: Partial | None) -> Moved:
        """From data towards noise, all tokens at once."""
        row = Row.of(self.tokens, elements, self.backwards)
        values = row.read(states)
        outputs = self.reader(values, self.reader.questions(row, condition))
        moved, log_slope = self.transform.map(values, self._split(outputs, values))
        return row.write(moved), _sum(log_slope, row)

    @torch.no_grad()
    def unmap(self, states: States, elements: PackedElements, condition: Partial | None) -> Moved:
        """The inverse of `map`, token after token, with the logarithm of its own determinant; without gradients."""
        row = Row.of(self.tokens, elements, self.backwards)
        values, asked = row.read(states), self.reader.questions(row, condition)
        found, slopes, cache = torch.zeros_like(values), torch.zeros_like(values), self.reader.start(len(values))
        before = values.new_zeros(len(values), values.shape[2])
        for number in range(len(row)):
            outputs, cache = self.reader.step(before, asked[:, number], cache)
            moved, slopes[:, number] = self._unmapped(values[:, number], outputs)
            before = found[:, number] = torch.where(row.exists[:, number], moved, 0.0)
        return row.write(found), _sum(slopes, row)

    def _unmapped(self, values: Tensor, outputs: Tensor) -> Mapped:
        return self.transform.unmap(values, self._split(outputs, values))

    def _split(self, outputs: Tensor, values: Tensor) -> Tensor:
        return outputs.to(values.dtype).unflatten(-1, (self.tokens.size, -1))


def _sum(log_slope: Tensor, row: Row) -> Tensor:
    return torch.where(row.exists, log_slope.double(), 0.0).sum((1, 2))


class AutoregressiveFlow(Invertible):
    """f is a sequence of blocks; along unordered axes it follows the encoder's order, as any such model must."""

    def __init__(self, space: Space, build: Build, config: FlowConfig, condition: Space) -> None:
        super().__init__(space, build, config, condition)
        transform, own = by_name("transform", config.transform, TRANSFORMS)(config), self.dequantisation.space
        layers: list[Layer] = []
        if config.patch > 1:
            squeeze = Squeeze(own, config.patch)
            layers, own = [squeeze], squeeze.space
        layers += [Block(own, condition, config, transform, bool(turn % 2)) for turn in range(config.rounds)]
        self.layers = nn.ModuleList(layers)
