"""What the U-Net and the causal convolutions have in common: their settings."""

from __future__ import annotations

from dataclasses import dataclass

#: Levels beyond which there is nothing: 2 to this power is more than any axis has places.
MOST_LEVELS = 64


@dataclass(frozen=True)
class UNetConfig:
    """The size of the network.

    Attributes:
        width: channels at the finest resolution.
        growth: by how much a coarser resolution is wider than the one before; causal convolutions keep one width.
        levels: resolutions, each half as fine as the one before; for causal convolutions, where nothing is made
            coarser, the dilations 1, 2, 4, ... instead.
        blocks: residual blocks at each resolution on the way down and on the way up; causally, for each dilation.
        heads: of the attention among all places of the coarsest resolution (0: none); causally there is none.
        dropout: acts within each block.
    """

    width: int = 32
    growth: int = 2
    levels: int = 3
    blocks: int = 2
    heads: int = 4
    dropout: float = 0.0

    def __post_init__(self) -> None:
        for name in ("width", "growth", "levels", "blocks"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, not {getattr(self, name)}")
        if self.levels > MOST_LEVELS:
            raise ValueError(f"levels must be at most {MOST_LEVELS}, not {self.levels}")
        if self.heads < 0 or (self.heads and self.width_at(self.levels - 1) % (2 * self.heads)):
            raise ValueError(
                f"the width of the coarsest resolution, {self.width_at(self.levels - 1)}, must be a multiple of twice "
                f"the heads, {2 * self.heads}; heads=0 stands for no attention"
            )
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout must be at least 0 and below 1, not {self.dropout}")

    def width_at(self, level: int) -> int:
        """The channels of a resolution, the finest being number 0."""
        return self.width * self.growth**level
