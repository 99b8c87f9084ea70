"""What the two transformers have in common: their settings and the spaces that they accept."""

from __future__ import annotations

from dataclasses import dataclass

from molgen.errors import UnsupportedSpace
from molgen.space import Layout

LAYOUTS = frozenset({Layout.RECORD, Layout.SEQUENCE, Layout.SET, Layout.GRID, Layout.GRAPH})


@dataclass(frozen=True)
class TransformerConfig:
    """The size of the network.

    Attributes:
        width: of the vector of each token.
        layers: blocks of attention and feed-forward network.
        heads: of each attention; each takes an even share of the width.
        dropout: acts on what each part of a block adds.
        most_elements: a space whose largest sample has more is refused: time and memory grow with the square.
    """

    width: int = 256
    layers: int = 6
    heads: int = 8
    dropout: float = 0.0
    most_elements: int = 1024

    def __post_init__(self) -> None:
        for name in ("width", "layers", "heads", "most_elements"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, not {getattr(self, name)}")
        if self.width % (2 * self.heads):
            raise ValueError(f"the width {self.width} must be a multiple of twice the heads, {2 * self.heads}")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout must be at least 0 and below 1, not {self.dropout}")

    @property
    def channels(self) -> int:
        """The width of one attention head."""
        return self.width // self.heads


def require_few_elements(count: int, config: TransformerConfig) -> None:
    """Refuse a space that is too large.

    Raises:
        UnsupportedSpace: it has more elements than that.
    """
    if count > config.most_elements:
        raise UnsupportedSpace(
            f"the largest sample has {count} elements, more than the {config.most_elements} that this transformer "
            "takes; raise most_elements, or choose another backbone"
        )
